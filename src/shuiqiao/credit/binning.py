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
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from shuiqiao.credit.model import MICRO
from shuiqiao.features.model import Direction

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Pools = list[tuple[float, int]]
"""Adjacent bins that share one bad rate: the rate and how many bins they are."""

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
    order = np.argsort(values)
    ordered = values[order]
    # UNKNOWN is the least of all values, so that firms of unknown value stand first.
    unknown_count = int(ordered.searchsorted(UNKNOWN, side="right"))
    bad_before = [0, *bad[order].cumsum().tolist()]
    unknown_bad = bad_before[unknown_count]
    known = ordered[unknown_count:]
    starts = _bin_starts(known, settings=settings)
    edges = [0, *starts, known.size]
    counts = [end - start for start, end in pairwise(edges)]
    bad_edges = [bad_before[unknown_count + edge] for edge in edges]
    bad_counts = [end - start for start, end in pairwise(bad_edges)]
    base = (bad_before[-1] + 0.5) / (bad.size + 1.0)
    pools = _monotone_pools(counts, bad_counts, base=base, direction=direction, smoothing=settings.smoothing)
    ends = list(accumulate(bins for _, bins in pools))
    spans = [slice(end - bins, end) for (_, bins), end in zip(pools, ends, strict=True)]
    unknown_rate = (unknown_bad + settings.unknown_smoothing * base) / (unknown_count + settings.unknown_smoothing)
    return FeatureBins(
        feature=feature,
        cuts=tuple(_cut(known, starts[end - 1]) for end in ends[:-1]),
        woe=tuple(_woe(rate, base=base) for rate, _ in pools),
        unknown_woe=_woe(unknown_rate, base=base),
        counts=(*(sum(counts[span]) for span in spans), unknown_count),
        bad=(*(sum(bad_counts[span]) for span in spans), unknown_bad),
    )


def _woe(rate: float, *, base: float) -> float:
    return math.log((1 - rate) / rate) - math.log((1 - base) / base)


def _bin_starts(ordered: Integers, *, settings: BinningSettings) -> list[int]:
    """Return where the second and later bins start among ordered values, bins being about equal in size.

    Equal values stay together: a cut that would fall among them moves to the nearer end of their run.
    """
    runs = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    if not runs.size:
        return []
    wished = np.arange(1, settings.bins) * ordered.size / settings.bins
    right = np.minimum(runs.searchsorted(wished), runs.size - 1)
    left = np.maximum(right - 1, 0)
    least, kept = settings.min_share * ordered.size, [0]
    for wish, before, after in zip(wished.tolist(), runs[left].tolist(), runs[right].tolist(), strict=True):
        place = before if wish - before <= after - wish else after
        # At least so many firms stand between one start and the next, and at either end.
        if place - kept[-1] >= least and ordered.size - place >= least and place != kept[-1]:
            kept.append(place)
    return kept[1:]


def _cut(ordered: Integers, place: int) -> int:
    """Return the value halfway between the last value before a place and the one on it."""
    lower, upper = int(ordered[place - 1]), int(ordered[place])
    return lower + max(upper // 2 - lower // 2, 1)


def _monotone_pools(
    counts: Sequence[int], bad: Sequence[int], *, base: float, direction: Direction, smoothing: float
) -> Pools:
    """Return adjacent bins pooled until their bad rates move one way only, all in one where the trend contradicts it.

    There are a dozen bins: plain numbers are several times faster than arrays at that length.
    """
    scores = _normal_scores(counts)
    intercept, slope = _trend(scores, counts=counts, bad=bad, base=base)
    rising = slope > 0 if direction is Direction.OPEN else direction is Direction.HIGHER_RISK
    if slope == 0 or (slope > 0) != rising:
        return [(base, len(counts))]
    weights = [count + smoothing for count in counts]
    rates = [
        (of_bad + smoothing * 0.5 * (1.0 + math.tanh(0.5 * (intercept + slope * score)))) / weight
        for score, of_bad, weight in zip(scores, bad, weights, strict=True)
    ]
    return _pool(rates, weights, rising=rising)


def _normal_scores(counts: Sequence[int]) -> list[float]:
    """Return the standard normal quantile of each bin's middle rank."""
    total = max(sum(counts), 1)
    middle = [(end - count / 2) / total for count, end in zip(counts, accumulate(counts), strict=True)]
    return [_NORMAL.inv_cdf(share) if 0 < share < 1 else 0.0 for share in middle]


def _trend(scores: Sequence[float], *, counts: Sequence[int], bad: Sequence[int], base: float) -> tuple[float, float]:
    """Return intercept and slope of the logistic regression of bad on score, by Newton steps on the bins' totals.

    The slope carries a ridge of one pseudo-observation, so that separated bins do not send it to infinity.
    """
    intercept, slope = math.log(base / (1 - base)), 0.0
    for _ in range(_TREND_STEPS):
        gradient, tilt, a, b, d = 0.0, slope, 1e-9, 0.0, 1.0
        for score, count, of_bad in zip(scores, counts, bad, strict=True):
            rate = 0.5 * (1.0 + math.tanh(0.5 * (intercept + slope * score)))
            residual, weight = count * rate - of_bad, count * rate * (1 - rate)
            gradient += residual
            tilt += residual * score
            a += weight
            b += weight * score
            d += weight * score * score
        determinant = a * d - b * b
        steps = ((d * gradient - b * tilt) / determinant, (a * tilt - b * gradient) / determinant)
        # A step is cut at 2 in log odds, which keeps Newton's method from overshooting on separated bins.
        intercept -= max(-2.0, min(2.0, steps[0]))
        slope -= max(-2.0, min(2.0, steps[1]))
        if abs(steps[0]) + abs(steps[1]) < _TREND_TOLERANCE:
            break
    return intercept, slope if abs(slope) > _TREND_TOLERANCE else 0.0


def _pool(rates: Sequence[float], weights: Sequence[float], *, rising: bool) -> Pools:
    """Return the nearest rates that move one way only (weighted isotonic regression, pool adjacent violators)."""
    pools: list[tuple[float, float, int]] = []
    for rate, weight in zip(rates, weights, strict=True):
        entry = (rate, weight, 1)
        while pools and ((pools[-1][0] >= entry[0]) if rising else (pools[-1][0] <= entry[0])):
            left = pools.pop()
            total = left[1] + entry[1]
            entry = ((left[0] * left[1] + entry[0] * entry[1]) / total, total, left[2] + entry[2])
        pools.append(entry)
    return [(rate, bins) for rate, _, bins in pools]
