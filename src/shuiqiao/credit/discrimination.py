"""How well scores separate bad from good: AUC with DeLong's interval, paired comparison, KS, Brier, calibration.

Sources: DeLong, DeLong and Clarke-Pearson 1988 for the variance of one AUC and of a difference on the same firms;
Sun and Xu 2014 for its computation from midranks. The interval is taken on the logit scale, so that it stays within
0..1. Higher scores mean riskier; ties count half.

Arrays: ``bad`` is bool of length n, ``risk`` is float64 of length n or, for repeated cross-validation, r x n (one row
per repeat). With repeats, the AUC is the mean of the repeats' pooled AUCs, and DeLong's components, being linear, are
averaged over the repeats before the variance is taken: it is the uncertainty of n firms, not of r times n.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from shuiqiao.base.errors import InvalidInput
from shuiqiao.credit.model import Interval

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_CONFIDENCE = 0.95
_LEAST_PER_CLASS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaEstimate:
    """An AUC, its standard error and its 95 % interval."""

    auc: float
    standard_error: float
    interval: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaComparison:
    """The difference of two AUCs on the same firms, its standard error and the two-sided p value of no difference."""

    difference: float
    standard_error: float
    interval_low: float
    interval_high: float
    p_value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """One point of a curve: share of good firms and of bad firms whose risk is at least ``risk``."""

    risk: float
    good_share: float
    bad_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationBand:
    """Firms of similar predicted probability: how many, how many of them bad, and the mean prediction."""

    n: int
    bad: int
    mean_predicted: float


def estimate_area(bad: Flags, *, risk: Floats) -> AreaEstimate:
    """Return AUC with DeLong's standard error and a 95 % logit interval.

    Raises InvalidInput ``credit.one_class_only`` unless there are at least two bad and two good firms.
    """
    bad_part, good_part = _components(bad, risk=risk)
    auc = float(bad_part.mean())
    error = float(np.sqrt(bad_part.var(ddof=1) / bad_part.size + good_part.var(ddof=1) / good_part.size))
    return AreaEstimate(auc=auc, standard_error=error, interval=_logit_interval(auc, standard_error=error))


def compare_areas(bad: Flags, *, risk: Floats, baseline: Floats) -> AreaComparison:
    """Return DeLong's paired comparison of two scores of the same firms, ``risk`` less ``baseline``."""
    bad_part, good_part = (
        ours - theirs for ours, theirs in zip(_components(bad, risk=risk), _components(bad, risk=baseline), strict=True)
    )
    difference = float(bad_part.mean())
    error = float(np.sqrt(bad_part.var(ddof=1) / bad_part.size + good_part.var(ddof=1) / good_part.size))
    reach = _z() * error
    p_value = 2 * (1 - NormalDist().cdf(abs(difference) / error)) if error > 0 else float(difference == 0)
    return AreaComparison(
        difference=difference,
        standard_error=error,
        interval_low=difference - reach,
        interval_high=difference + reach,
        p_value=p_value,
    )


def area(bad: Flags, *, risk: Floats) -> float:
    """Return the AUC alone (of one row of risks), by midranks."""
    bad_count = int(bad.sum())
    good_count = bad.size - bad_count
    ranks = midranks(risk)
    return float((ranks[bad].sum() - bad_count * (bad_count + 1) / 2) / (bad_count * good_count))


def grouped_area(groups: Iterable[tuple[float, int, int]]) -> float:
    """Return the AUC of firms that come in groups of equal risk: (risk, firms, of them bad). Same bits as ``area``."""
    good, bad, won = 0, 0, 0.0
    for _, tied in groupby(sorted(groups), key=itemgetter(0)):
        members = list(tied)
        group_bad = sum(entry[2] for entry in members)
        group_good = sum(entry[1] for entry in members) - group_bad
        won += group_bad * (good + group_good / 2)
        good, bad = good + group_good, bad + group_bad
    return won / (bad * good)


def kolmogorov_smirnov(bad: Flags, *, risk: Floats) -> float:
    """Return the greatest distance between the shares of bad and good firms at or above a risk."""
    return max(point.bad_share - point.good_share for point in curve(bad, risk=risk))


def brier(bad: Flags, *, probability: Floats) -> float:
    """Return the mean squared error of probabilities."""
    return float(np.mean((probability - bad) ** 2))


def curve(bad: Flags, *, risk: Floats) -> tuple[CurvePoint, ...]:
    """Return the ROC curve, one point per distinct risk from the highest down, starting at (0, 0).

    KS at a point is ``bad_share - good_share``.
    """
    order = np.argsort(-risk, kind="stable")
    ordered_risk, ordered_bad = risk[order], bad[order]
    last_of_tie = np.append(ordered_risk[1:] != ordered_risk[:-1], [True])
    bad_share = (np.cumsum(ordered_bad) / max(int(bad.sum()), 1))[last_of_tie]
    good_share = (np.cumsum(~ordered_bad) / max(int((~bad).sum()), 1))[last_of_tie]
    points = zip(ordered_risk[last_of_tie], good_share, bad_share, strict=True)
    start = CurvePoint(risk=float("inf"), good_share=0.0, bad_share=0.0)
    return (start, *(CurvePoint(risk=float(r), good_share=float(g), bad_share=float(b)) for r, g, b in points))


def calibration_table(bad: Flags, *, probability: Floats, bands: int = 5) -> tuple[CalibrationBand, ...]:
    """Return bands of equal size by predicted probability, lowest first, with predicted and observed default."""
    parts = np.array_split(np.argsort(probability, kind="stable"), min(bands, bad.size))
    return tuple(
        CalibrationBand(n=part.size, bad=int(bad[part].sum()), mean_predicted=float(probability[part].mean()))
        for part in parts
    )


def midranks(values: Floats) -> Floats:
    """Return ranks from 1, ties sharing the mean of their places."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    first = np.searchsorted(ordered, ordered, side="left")
    last = np.searchsorted(ordered, ordered, side="right")
    ranks = np.empty(values.size)
    ranks[order] = (first + last + 1) / 2
    return ranks


def _components(bad: Flags, *, risk: Floats) -> tuple[Floats, Floats]:
    """Return DeLong's structural components of bad and of good firms, averaged over the rows of ``risk``."""
    bad_count, good_count = int(bad.sum()), int((~bad).sum())
    if min(bad_count, good_count) < _LEAST_PER_CLASS:
        raise InvalidInput(
            "credit.one_class_only", f"{bad_count} bad and {good_count} good firms where two of each are needed"
        )
    rows = np.atleast_2d(risk)
    bad_part, good_part = np.zeros(bad_count), np.zeros(good_count)
    for row in rows:
        together = midranks(row)
        bad_part += (together[bad] - midranks(row[bad])) / good_count
        good_part += 1 - (together[~bad] - midranks(row[~bad])) / bad_count
    return bad_part / len(rows), good_part / len(rows)


def _logit_interval(auc: float, *, standard_error: float) -> Interval:
    """Return the interval on the logit scale; at 0 or 1 no spread is estimable."""
    if not 0 < auc < 1:
        return Interval(low=auc, high=auc)
    centre = np.log(auc / (1 - auc))
    reach = _z() * standard_error / (auc * (1 - auc))
    return Interval(low=float(_sigmoid(centre - reach)), high=float(_sigmoid(centre + reach)))


def _sigmoid(value: float) -> float:
    return float(1 / (1 + np.exp(-value)))


def _z() -> float:
    return NormalDist().inv_cdf(0.5 + _CONFIDENCE / 2)
