"""Tables of decisions that identify no firm: by grade, industry section and province, each a full grid.

Rule: docs/spec/lending.md [LENDING-7] to [LENDING-9]. The rows of a table are groups of categories and its columns are
groups of outcomes, and every cell of the grid holds at least k firms. Small categories are put together until that is
so: no cell is left out, so there is none to be found by subtracting, even for one who knows how many firms of each
category there are. And no row lies in one column alone, so that to know a firm's category is not to know its outcome.
Where not even the whole can be split, the table is one cell.

Which decisions a table counts is decided by releases (``service``), since two tables of nearly the same decisions could
be subtracted from each other.

LIMIT: a bank can subtract what it decided itself, and banks can do so together; and that a category was put with others
says that one of its cells was small.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from shuiqiao.ledger.model import LedgerEngine
from shuiqiao.ledger.transactions.kinds import KindTable
from shuiqiao.lending.model import Outcome
from shuiqiao.lending.openings import DecisionOpening
from shuiqiao.oversight.model import OTHERS, Table, TableRow
from shuiqiao.oversight.openings import indexed_transactions

LEAST_FIRMS = 5
"""Firms in a cell where the regulator asks for no other number."""

MIN_LEAST_FIRMS = 2

ATTRIBUTES = ("grade", "industry", "province")

_COLUMNS: tuple[tuple[tuple[Outcome, ...], ...], ...] = (
    ((Outcome.APPROVED,), (Outcome.REFUSED,), (Outcome.REFERRED,)),
    ((Outcome.APPROVED,), (Outcome.REFUSED, Outcome.REFERRED)),
    ((Outcome.APPROVED, Outcome.REFUSED, Outcome.REFERRED),),
)
"""Ways to put outcomes together, the finest first; the last one holds as soon as there are enough firms at all."""

_Cell = tuple[str, Outcome]


def tabulate(decisions: Sequence[DecisionOpening], *, least_firms: int) -> tuple[Table, ...]:
    """Return a table for each attribute, every cell of at least so many firms; none where there are fewer in all.

    Example::

        tables = tabulate(opened.decisions, least_firms=5)
    """
    if len({decision.firm for decision in decisions}) < least_firms:
        return ()
    return tuple(_table(decisions, attribute, least_firms=least_firms) for attribute in ATTRIBUTES)


def transactions_by_kind(engine: LedgerEngine, *, kinds: KindTable) -> Mapping[str, int]:
    """Count every accepted transaction by kind, from genesis: what anybody who has the ledger can count."""
    return dict(sorted(Counter(tx.kind for _, tx in indexed_transactions(engine, kinds=kinds)).items()))


def _table(decisions: Sequence[DecisionOpening], attribute: str, *, least_firms: int) -> Table:
    """Return the grid with the most cells; of equals the one with more columns."""
    grids = (_Grid(decisions, attribute, columns=columns, least_firms=least_firms) for columns in _COLUMNS)
    return max((grid.table() for grid in grids if grid.holds), key=lambda table: len(table.rows) * len(table.columns))


class _Grid:
    """One attribute's decisions under one way to put outcomes together."""

    def __init__(
        self,
        decisions: Sequence[DecisionOpening],
        attribute: str,
        *,
        columns: tuple[tuple[Outcome, ...], ...],
        least_firms: int,
    ) -> None:
        self._attribute = attribute
        self._columns = columns
        self._least_firms = least_firms
        self._decisions: Counter[_Cell] = Counter()
        self._firms: dict[_Cell, set[bytes]] = {}
        for decision in decisions:
            cell = (str(getattr(decision, attribute)), decision.outcome)
            self._decisions[cell] += 1
            self._firms.setdefault(cell, set()).add(decision.firm)
        self._categories = sorted({category for category, _ in self._decisions})

    @property
    def holds(self) -> bool:
        """Whether there is any grid: all categories together have enough firms in each column."""
        return self._is_large(self._categories)

    def table(self) -> Table:
        """Return the grid: large categories by themselves, the small ones with as many of the smallest as they need."""
        alone = [category for category in self._categories if self._is_large([category])]
        together = [category for category in self._categories if category not in alone]
        alone.sort(key=lambda category: (self._size(category), category), reverse=True)
        while together and not self._is_large(together):
            together.append(alone.pop())
        rows = [TableRow(category=category, counts=self._counts([category])) for category in sorted(alone)]
        if together:
            rows.append(TableRow(category=OTHERS, counts=self._counts(together)))
        return Table(
            attribute=self._attribute,
            columns=tuple(tuple(str(outcome) for outcome in column) for column in self._columns),
            rows=tuple(rows),
        )

    def _is_large(self, categories: Sequence[str]) -> bool:
        """[LENDING-8]: whether categories counted together hold enough firms in every column."""
        return all(len(self._firms_in(categories, column)) >= self._least_firms for column in self._columns)

    def _firms_in(self, categories: Sequence[str], column: tuple[Outcome, ...]) -> set[bytes]:
        return {firm for name in categories for outcome in column for firm in self._firms.get((name, outcome), ())}

    def _size(self, category: str) -> int:
        return sum(self._decisions[category, outcome] for outcome in Outcome)

    def _counts(self, group: Sequence[str]) -> tuple[int, ...]:
        return tuple(
            sum(self._decisions[category, outcome] for category in group for outcome in column)
            for column in self._columns
        )
