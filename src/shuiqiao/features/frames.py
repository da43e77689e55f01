"""Shared shapes of the Ibis expressions: which records count on the day of judgement, and how old each is.

No look-ahead: every record enters through ``before``, which joins it to the population's own ``as_of`` and keeps only
what was dated on or before that day. Months are counted back from ``as_of``: month 0 is the one that ends on that day,
so that a window of 12 months is ages 0 to 11 whatever the day of the month.

Sums are taken over whole fen (HUGEINT in DuckDB), never over doubles, so that the same records give the same bits
whatever the order in which threads add them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import ibis
import ibis.expr.operations as ops

from shuiqiao.features.inputs import INPUTS

Frame: TypeAlias = Any
"""An Ibis table expression. Its columns are made at run time, so a type checker knows none of them."""

YEAR = 12
TWO_YEARS = 24
THREE_YEARS = 36
"""Windows, in months."""

POPULATION: Frame = ibis.table({"uscc": "string", "as_of": "date"}, name="population")
"""Who is judged, and on which day: one row per taxpayer."""

_IBIS_TYPES = {"VARCHAR": "string", "BIGINT": "int64", "DATE": "date", "BOOLEAN": "boolean"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FactGroup:
    """Facts that one aggregation per taxpayer gives: what is aggregated, and fact name to aggregate over it."""

    records: Frame
    facts: Mapping[str, Any]

    def rows(self) -> Frame:
        """Return one row per taxpayer: uscc and the facts."""
        return self.records.group_by("uscc").aggregate(**self.facts)

    def prefixed(self, prefix: str) -> FactGroup:
        """Return the group with ``<prefix>_`` before every fact's name."""
        return FactGroup(records=self.records, facts={f"{prefix}_{name}": fact for name, fact in self.facts.items()})

    def only(self, wanted: frozenset[str] | None) -> FactGroup:
        """Return the group without the facts that are not wanted (None: all are); there may be none left."""
        if wanted is None:
            return self
        return FactGroup(
            records=self.records, facts={name: fact for name, fact in self.facts.items() if name in wanted}
        )


def columns_read(expression: Frame) -> frozenset[str]:
    """Return the names of all columns that a table expression reads, at whatever depth."""
    return frozenset(field.name for field in expression.op().find(ops.Field))


def record_frame(record_type: str) -> Frame:
    """Return the unbound Ibis table of a record type's input columns."""
    columns = {column.name: _IBIS_TYPES[column.sql_type] for column in INPUTS[record_type]}
    return ibis.table(columns, name=record_type)


def before(records: Frame, *, dated: str) -> Frame:
    """Return the records of the population dated on or before its as_of, with ``age`` in months."""
    joined = records.inner_join(POPULATION, "uscc")
    kept = joined.filter(joined[dated] <= joined.as_of)
    return kept.mutate(age=month_age(kept[dated], kept.as_of))


def join_all(first: Frame, others: Sequence[Frame]) -> Frame:
    """Return the left joins of tables keyed by uscc, written as one chain so that one SELECT comes of it."""
    joined = first
    for place, other in enumerate(others):
        joined = joined.left_join(other, "uscc", rname=f"{{name}}_{place}")
    return joined.select(*(name for name in joined.columns if not name.startswith("uscc_")))


def month_age(day: Any, as_of: Any) -> Any:
    """Return how many whole months lie between a day and as_of, both date values or deferred ones."""
    months = (as_of.year() - day.year()) * YEAR + (as_of.month() - day.month())
    return months - ibis.ifelse(day.day() > as_of.day(), 1, 0)
