"""Fits a WOE logistic model: bins, choice of features, ridge regression whose signs may not flip, calibration.

Everything is learned from the firms handed over, and from nothing else: cuts, weights of evidence, the order of
features, the number of features and the penalty (by inner cross-validation), and the calibration line (from inner
out-of-fold scores). ``validation`` calls this inside each of its folds.

Signs: a feature may only lower the risk where its WOE is high. Those that get the other sign in company are taken out
one by one, so that no reason code ever says the opposite of what the feature shows alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
import numpy.typing as npt

from shuiqiao.base.errors import InvalidInput
from shuiqiao.credit.binning import BinningSettings, FeatureBins, fit_bins
from shuiqiao.credit.discrimination import area, grouped_area
from shuiqiao.credit.logistic import LogisticFit, fit_logistic, sigmoid
from shuiqiao.features.model import Direction

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_CALIBRATION_PENALTY = 50.0
_CALIBRATION_STEPS = 50
_CALIBRATION_TOLERANCE = 1e-9
_LEAST_SLOPE = 0.05
"""A calibration line flatter than this would reverse or erase the order of firms; it is held here instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One choice of inner cross-validation: how many features, and how strong a ridge."""

    features: int
    penalty: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """What training tries. The defaults are those of docs/explanation/credit-model.md."""

    binning: BinningSettings = field(default_factory=BinningSettings)
    feature_counts: tuple[int, ...] = (4, 8, 12)
    penalties: tuple[float, ...] = (5.0, 20.0, 60.0)
    inner_folds: int = 5

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Every combination, simplest first, so that ties go to the simpler model."""
        pairs = product(self.feature_counts, sorted(self.penalties, reverse=True))
        return tuple(Candidate(features=count, penalty=penalty) for count, penalty in pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """Firms with known outcome: values n x k in whole millionths, bad n, and the k features' names and directions."""

    names: tuple[str, ...]
    directions: tuple[Direction, ...]
    values: Integers
    bad: Flags

    def __post_init__(self) -> None:
        if self.values.shape != (self.bad.size, len(self.names)) or len(self.directions) != len(self.names):
            raise InvalidInput(
                "credit.training_shape_wrong",
                f"values of shape {self.values.shape} for {self.bad.size} firms and {len(self.names)} features",
            )

    def subset(self, rows: Flags | Integers) -> TrainingData:
        """Return the data of some firms."""
        return TrainingData(names=self.names, directions=self.directions, values=self.values[rows], bad=self.bad[rows])


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedModel:
    """Chosen features' bins and the calibrated log odds: log odds of bad = intercept + sum(coefficients · WOE)."""

    bins: tuple[FeatureBins, ...]
    columns: tuple[int, ...]
    intercept: float
    coefficients: tuple[float, ...]
    candidate: Candidate

    def log_odds(self, values: Integers) -> Floats:
        """Return calibrated log odds of bad. values: n x (all features of the training data)."""
        odds = np.full(len(values), self.intercept)
        for column, bins, coefficient in zip(self.columns, self.bins, self.coefficients, strict=True):
            odds += coefficient * bins.transform(values[:, column])
        return odds


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """Bins of every feature, fitted once on a set of firms, and the order in which features are taken."""

    bins: tuple[FeatureBins, ...]
    order: Integers
    woe: Floats

    def transform(self, values: Integers) -> Floats:
        return np.column_stack([bins.transform(values[:, place]) for place, bins in enumerate(self.bins)])


def stratified_folds(bad: Flags, *, folds: int, rng: np.random.Generator) -> Integers:
    """Return the fold number of each firm, bad and good firms being dealt out evenly."""
    numbers = np.zeros(bad.size, dtype=np.int64)
    start = 0
    for members in (np.flatnonzero(bad), np.flatnonzero(~bad)):
        numbers[rng.permutation(members)] = (np.arange(members.size) + start) % folds
        start += members.size
    return numbers


def train(data: TrainingData, *, settings: TrainingSettings, rng: np.random.Generator) -> FittedModel:
    """Return the model of these firms: the candidate chosen and calibrated by inner folds, fitted on all of them.

    Raises InvalidInput ``credit.too_few_firms`` where a class has fewer firms than there are inner folds.
    """
    least = min(int(data.bad.sum()), int((~data.bad).sum()))
    if least < settings.inner_folds:
        raise InvalidInput(
            "credit.too_few_firms",
            f"{least} firms of the rarer outcome, fewer than {settings.inner_folds} inner folds need",
        )
    candidates = settings.candidates
    inner = _inner_log_odds(data, settings=settings, candidates=candidates, rng=rng)
    best = int(np.argmax([area(data.bad, risk=odds) for odds in inner]))
    prepared = _prepare(data, settings=settings)
    fit, chosen = _fit(prepared, data.bad, candidate=candidates[best])
    line = _calibration_line(data.bad, log_odds=inner[best])
    return FittedModel(
        bins=tuple(prepared.bins[column] for column in chosen),
        columns=tuple(chosen),
        intercept=line[0] + line[1] * fit.intercept,
        coefficients=tuple(float(line[1] * weight) for weight in fit.coefficients),
        candidate=candidates[best],
    )


def _inner_log_odds(
    data: TrainingData, *, settings: TrainingSettings, candidates: Sequence[Candidate], rng: np.random.Generator
) -> Floats:
    """Return inner out-of-fold log odds, candidates x firms."""
    numbers = stratified_folds(data.bad, folds=settings.inner_folds, rng=rng)
    odds = np.zeros((len(candidates), data.bad.size))
    for number in range(settings.inner_folds):
        inside, outside = numbers != number, numbers == number
        prepared = _prepare(data.subset(inside), settings=settings)
        woe = prepared.transform(data.values[outside])
        for place, candidate in enumerate(candidates):
            fit, chosen = _fit(prepared, data.bad[inside], candidate=candidate)
            odds[place, outside] = fit.log_odds(woe[:, chosen])
    return odds


def _prepare(data: TrainingData, *, settings: TrainingSettings) -> _Prepared:
    """Bin every feature and order them by how well they part the training firms alone, best first."""
    bins = tuple(
        fit_bins(name, values=data.values[:, place], bad=data.bad, direction=direction, settings=settings.binning)
        for place, (name, direction) in enumerate(zip(data.names, data.directions, strict=True))
    )
    woe = np.column_stack([entry.transform(data.values[:, place]) for place, entry in enumerate(bins)])
    areas = np.array([_area_of(entry) for entry in bins])
    return _Prepared(bins=bins, order=np.argsort(-areas, kind="stable"), woe=woe)


def _area_of(bins: FeatureBins) -> float:
    """Return the AUC of one binned feature over the firms it was fitted on."""
    risks = [-woe for woe in (*bins.woe, bins.unknown_woe)]
    return grouped_area(zip(risks, bins.counts, bins.bad, strict=True))


def _fit(prepared: _Prepared, bad: Flags, *, candidate: Candidate) -> tuple[LogisticFit, list[int]]:
    """Fit on the first features of the order, taking out one wrong-signed feature at a time."""
    chosen = [int(column) for column in prepared.order[: candidate.features]]
    while True:
        fit = fit_logistic(prepared.woe[:, chosen], bad=bad, penalty=candidate.penalty)
        if not chosen or fit.coefficients.max() <= 0:
            return fit, chosen
        del chosen[int(np.argmax(fit.coefficients))]


def _calibration_line(bad: Flags, *, log_odds: Floats) -> tuple[float, float]:
    """Return a and b of Platt's line a + b · log odds, b shrunk towards 1 as if by ``_CALIBRATION_PENALTY``.

    The ridge already holds the scores near their true scale. A line fitted freely on a few dozen bad firms would add
    more noise than it takes away, so it only moves where the firms insist. b never falls below ``_LEAST_SLOPE``.
    """
    centre = float(log_odds.mean())
    spread = log_odds - centre
    shift, stretch = 0.0, 0.0
    for _ in range(_CALIBRATION_STEPS):
        probability = sigmoid(log_odds + shift + stretch * spread)
        residual, weight = probability - bad, probability * (1 - probability) + 1e-9
        gradient = np.array([residual.sum(), residual @ spread + _CALIBRATION_PENALTY * stretch])
        cross = weight @ spread
        curvature = np.array([[weight.sum(), cross], [cross, weight @ spread**2 + _CALIBRATION_PENALTY]])
        step = np.clip(np.linalg.solve(curvature, gradient), -1.0, 1.0)
        shift, stretch = shift - float(step[0]), stretch - float(step[1])
        if np.abs(step).max() < _CALIBRATION_TOLERANCE:
            break
    slope = max(1 + stretch, _LEAST_SLOPE)
    return shift + (1 - slope) * centre, slope
