"""What a party puts into joint training: columns of 0 and 1 of its own features, cut by itself and without labels.

Rule: docs/spec/training.md [TRAIN-5]. Cuts are quantiles of the rows trained on, and each bin of theirs has at least so
many of them. Values are whole millionths, ``UNKNOWN`` for what is not known, as in ``binning``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import numpy.typing as npt

from shuiqiao.base.errors import InvalidInput
from shuiqiao.credit.binning import UNKNOWN

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureColumns:
    """The columns of one feature.

    cuts: rising; bin i holds cuts[i-1] <= value < cuts[i]. has_unknown: whether unknown values have a column.
    """

    feature: str
    cuts: tuple[int, ...]
    has_unknown: bool

    def bins(self, values: Integers) -> Flags:
        """Return a column for each bin, which holds for the values in it, and that of unknown ones: for a scorecard."""
        places = np.searchsorted(np.asarray(self.cuts, dtype=np.int64), values, side="right")
        known = values != UNKNOWN
        held = (places[:, np.newaxis] == np.arange(len(self.cuts) + 1)) & known[:, np.newaxis]
        return self._with_unknown(held, known)

    def steps(self, values: Integers) -> Flags:
        """Return a column for each cut, which holds for values below it, and that of unknown ones: for trees."""
        known = values != UNKNOWN
        held = (values[:, np.newaxis] < np.asarray(self.cuts, dtype=np.int64)) & known[:, np.newaxis]
        return self._with_unknown(held, known)

    def _with_unknown(self, held: Flags, known: Flags) -> Flags:
        return np.column_stack([held, ~known]) if self.has_unknown else held


def cut_feature(feature: str, *, values: Integers, bins: int, least: int) -> FeatureColumns:
    """Return the columns of one feature. values: of the rows trained on. least: rows that each bin has of them.

    Raises InvalidInput ``credit.joint_plan_wrong`` for fewer than two bins.
    """
    if bins <= 1:
        raise InvalidInput("credit.joint_plan_wrong", f"{bins} bins of {feature}, where two are the fewest")
    known = np.sort(values[values != UNKNOWN])
    kept, before = list[int](), 0
    for number in range(1, bins) if known.size else ():
        cut = int(known[number * known.size // bins])
        below = int(known.searchsorted(cut))
        if below - before >= least and known.size - below >= least:
            kept.append(cut)
            before = below
    unknown = values.size - known.size
    return FeatureColumns(feature=feature, cuts=tuple(kept), has_unknown=unknown >= least and known.size > 0)


def split_order(rows: int, *, seed: bytes) -> Integers:
    """Return an order of rows that all parties work out alike: the first are trained on, the rest is held out."""
    keys: Sequence[bytes] = [sha256(seed + number.to_bytes(8, "big")).digest() for number in range(rows)]
    return np.asarray(sorted(range(rows), key=keys.__getitem__), dtype=np.int64)
