"""Monotone weight-of-evidence (WOE) binning of one feature, fitted on training firms only.

Rule: bins of about equal size. With few firms a bin's own bad rate is mostly noise, so each bin is shrunk by
``smoothing`` pseudo-firms towards a trend: a logistic regression of bad on the normal score of the bin's middle rank.
Then adjacent bins are pooled until the rate moves one way only (pool adjacent violators). With many firms per bin the
counts win over the trend. WOE is ln of the bin's good-to-bad odds over the odds of all training firms; positive means
safer. Unknown values are a bin of their own, shrunk towards the overall rate, so that a handful of firms cannot earn a
large weight.

Direction: as the feature declares; where it leaves it open, as the trend of the training firms shows it. A feature
that runs against its declared direction gets weight zero everywhere and so drops out.

Values are whole millionths (``MICRO``), cuts too: comparing them is exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from shuiqiao.credit.logistic import sigmoid
from shuiqiao.credit.model import MICRO, Direction

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

UNKNOWN = np.iinfo(np.int64).min
"""Stands for a value that is not known."""

_LARGEST = 9 * 10**18
_NORMAL = NormalDist()
_TREND_STEPS = 30
_TREND_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class BinningSettings:
    """How fine a feature is cut.

    bins: most bins of known values. min_share: least share of the known training firms in a bin. smoothing:
    pseudo-firms of the trend added to each bin. unknown_smoothing: pseudo-firms of the overall rate added to the bin of
    unknown values.
    """

    bins: int = 15
    min_share: float = 0.04
    smoothing: float = 40.0
    unknown_smoothing: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureBins:
    """The bins of one feature: bin i holds values v with cuts[i-1] <= v < cuts[i]; one more bin for unknown.

    woe: one per bin, ``unknown_woe`` for unknown. counts and bad: training firms, unknown last.
    """

    feature: str
    cuts: tuple[int, ...]
    woe: tuple[float, ...]
    unknown_woe: float
    counts: tuple[int, ...]
    bad: tuple[int, ...]

    def bin_of(self, values: Integers) -> Integers:
        """Return the bin number of each value, ``len(woe)`` for unknown."""
        places = np.searchsorted(np.asarray(self.cuts, dtype=np.int64), values, side="right")
        return np.where(values == UNKNOWN, len(self.woe), places)

    def transform(self, values: Integers) -> Floats:
        """Return the WOE of each value."""
        weights: Floats = np.asarray((*self.woe, self.unknown_woe))
        return weights[self.bin_of(values)]


def quantise(values: Floats) -> Integers:
    """Return values as whole millionths, NaN as ``UNKNOWN``; what is beyond ±9·10^12 is cut there."""
    known = np.isfinite(values)
    scaled = np.rint(np.where(known, values, 0.0) * MICRO)
    return np.where(known, np.clip(scaled, -_LARGEST, _LARGEST).astype(np.int64), UNKNOWN)


def fit_bins(
    feature: str, *, values: Integers, bad: Flags, direction: Direction, settings: BinningSettings
) -> FeatureBins:
    """Return the bins of one feature from training firms. values: int64 of length n; bad: bool of length n."""
    known = values != UNKNOWN
    cuts = _quantile_cuts(values[known], settings=settings)
    places = np.searchsorted(cuts, values[known], side="right")
    counts = np.bincount(places, minlength=cuts.size + 1)
    bad_counts = np.bincount(places, weights=bad[known], minlength=cuts.size + 1).astype(np.int64)
    base = (float(bad.sum()) + 0.5) / (bad.size + 1.0)
    rates = _monotone_rates(counts, bad_counts, base=base, direction=direction, smoothing=settings.smoothing)
    starts = np.flatnonzero(np.append([True], rates[1:] != rates[:-1]))
    unknown_count, unknown_bad = int((~known).sum()), int(bad[~known].sum())
    unknown_rate = (unknown_bad + settings.unknown_smoothing * base) / (unknown_count + settings.unknown_smoothing)
    return FeatureBins(
        feature=feature,
        cuts=tuple(int(cut) for cut in cuts[starts[1:] - 1]),
        woe=tuple(_woe(float(rate), base=base) for rate in rates[starts]),
        unknown_woe=_woe(unknown_rate, base=base),
        counts=(*(int(count) for count in np.add.reduceat(counts, starts)), unknown_count),
        bad=(*(int(count) for count in np.add.reduceat(bad_counts, starts)), unknown_bad),
    )


def _woe(rate: float, *, base: float) -> float:
    return math.log((1 - rate) / rate) - math.log((1 - base) / base)


def _quantile_cuts(values: Integers, *, settings: BinningSettings) -> Integers:
    """Return increasing cuts halfway between neighbouring distinct values, bins being about equal in size.

    Equal values stay together: a cut that would fall among them moves to the nearer end of their run.
    """
    ordered = np.sort(values)
    runs = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    if not runs.size:
        return np.empty(0, dtype=np.int64)
    wished = np.arange(1, settings.bins) * ordered.size / settings.bins
    right = np.searchsorted(runs, wished).clip(max=runs.size - 1)
    left = (right - 1).clip(min=0)
    nearest = np.where(wished - runs[left] <= runs[right] - wished, left, right)
    places = _spaced(np.unique(runs[nearest]), size=ordered.size, least=settings.min_share * ordered.size)
    lower, upper = ordered[places - 1], ordered[places]
    # Written so that the middle of two large values does not overflow.
    cuts: Integers = lower + (upper // 2 - lower // 2).clip(min=1)
    return cuts


def _spaced(places: Integers, *, size: int, least: float) -> Integers:
    """Return the places that leave at least ``least`` firms between one and the next, and at either end."""
    kept: list[int] = []
    for place in places.tolist():
        if place - (kept[-1] if kept else 0) >= least and size - place >= least:
            kept.append(place)
    return np.array(kept, dtype=np.int64)


def _monotone_rates(counts: Integers, bad: Integers, *, base: float, direction: Direction, smoothing: float) -> Floats:
    """Return one bad rate per bin, moving one way only; all equal to ``base`` where the trend contradicts it."""
    scores = _normal_scores(counts)
    intercept, slope = _trend(scores, counts=counts, bad=bad, base=base)
    rising = slope > 0 if direction is Direction.OPEN else direction is Direction.HIGHER_RISK
    if slope == 0 or (slope > 0) != rising:
        return np.full(counts.size, base)
    weights = counts.astype(np.float64) + smoothing
    rates = (bad + smoothing * sigmoid(intercept + slope * scores)) / weights
    return _pool(rates, weights, rising=rising)


def _normal_scores(counts: Integers) -> Floats:
    """Return the standard normal quantile of each bin's middle rank."""
    middle = (np.cumsum(counts) - counts / 2) / max(int(counts.sum()), 1)
    return np.array([_NORMAL.inv_cdf(share) if 0 < share < 1 else 0.0 for share in middle.tolist()])


def _trend(scores: Floats, *, counts: Integers, bad: Integers, base: float) -> tuple[float, float]:
    """Return intercept and slope of the logistic regression of bad on score, by Newton steps on the bins' totals.

    The slope carries a ridge of one pseudo-observation, so that separated bins do not send it to infinity.
    """
    intercept, slope = math.log(base / (1 - base)), 0.0
    for _ in range(_TREND_STEPS):
        rate = sigmoid(intercept + slope * scores)
        residual, weight = counts * rate - bad, counts * rate * (1 - rate)
        gradient = (float(residual.sum()), float(residual @ scores) + slope)
        a, b, d = float(weight.sum()) + 1e-9, float(weight @ scores), float(weight @ scores**2) + 1.0
        determinant = a * d - b * b
        steps = ((d * gradient[0] - b * gradient[1]) / determinant, (a * gradient[1] - b * gradient[0]) / determinant)
        # A step is cut at 2 in log odds, which keeps Newton's method from overshooting on separated bins.
        intercept -= max(-2.0, min(2.0, steps[0]))
        slope -= max(-2.0, min(2.0, steps[1]))
        if abs(steps[0]) + abs(steps[1]) < _TREND_TOLERANCE:
            break
    return intercept, slope if abs(slope) > _TREND_TOLERANCE else 0.0


def _pool(rates: Floats, weights: Floats, *, rising: bool) -> Floats:
    """Return the nearest rates that move one way only (weighted isotonic regression, pool adjacent violators)."""
    pools: list[tuple[float, float, int]] = []
    for rate, weight in zip(rates.tolist(), weights.tolist(), strict=True):
        entry = (rate, weight, 1)
        while pools and ((pools[-1][0] >= entry[0]) if rising else (pools[-1][0] <= entry[0])):
            left = pools.pop()
            total = left[1] + entry[1]
            entry = ((left[0] * left[1] + entry[0] * entry[1]) / total, total, left[2] + entry[2])
        pools.append(entry)
    return np.repeat([rate for rate, _, _ in pools], [size for _, _, size in pools])
