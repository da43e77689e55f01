"""How many independent sums of a taxpayer's data are known: the exact rank of linear forms, in whole numbers.

A score of an open card is a sum of weights, one for each *indicator* that holds: that a feature is at or above a cut,
or not known. Who has as many independent sums as there are indicators solves for all of them; the rank says how far
that is. No floating point: two forms that differ by a rounding error would count as two.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import gcd

from shuiqiao.privacy.model import Row


class Elimination:
    """Forms taken in so far, reduced.

    Example::

        known = Elimination()
        known.add({"a": 2, "b": 1}), known.add({"a": 4, "b": 2})  # True, False
        known.rank                                               # 1
    """

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._reduced: dict[str, dict[str, int]] = {}
        for row in rows:
            self.add(row)

    @property
    def rank(self) -> int:
        """How many independent forms there are."""
        return len(self._reduced)

    def add(self, row: Row) -> bool:
        """Take in a form; tell whether it was independent of those before."""
        left = {name: weight for name, weight in row.items() if weight}
        # In the order in which they came: a later one holds no pivot of an earlier one.
        for pivot, reduced in self._reduced.items():
            weight = left.get(pivot)
            if weight:
                left = _without(left, reduced, times=weight, over=reduced[pivot])
        if not left:
            return False
        self._reduced[min(left)] = left
        return True


def _without(row: dict[str, int], reduced: dict[str, int], *, times: int, over: int) -> dict[str, int]:
    """Return ``over * row - times * reduced``, freed of a common divisor; its pivot is gone."""
    names = row.keys() | reduced.keys()
    found = {name: over * row.get(name, 0) - times * reduced.get(name, 0) for name in names}
    kept = {name: weight for name, weight in found.items() if weight}
    divisor = gcd(*kept.values()) if kept else 1
    return {name: weight // divisor for name, weight in kept.items()} if divisor > 1 else kept


def rank_of(rows: Iterable[Row]) -> int:
    """Return how many of some forms are independent."""
    return Elimination(rows).rank
