"""All per-taxpayer facts in one wide row: what the feature formulas are written over."""

from __future__ import annotations

from functools import cache

import ibis

from shuiqiao.credit.features.frames import POPULATION, FactGroup, Frame, join_all
from shuiqiao.credit.features.invoice_facts import invoice_facts, self_trading_facts
from shuiqiao.credit.features.tax_facts import (
    arrears_facts,
    filing_facts,
    grade_facts,
    payment_facts,
    registration_facts,
    violation_facts,
)

_STAY_NULL = (
    "_day",
    "_gap_24m",
    "largest_24m",
    "peak_month_12m",
    "grade_rank",
    "grade_rank_before",
    "registered_months",
    "registered_capital",
)
"""Endings of facts that have no value where there is no record; every other missing total is a true zero."""


def facts_table(*, wanted: frozenset[str]) -> Frame:
    """Return one row per taxpayer of the population, columns uscc, as_of and the facts wanted.

    What only other facts need is not in the expression at all: no join, no aggregation.
    """
    needed = [group.only(wanted) for group in _groups(wanted)]
    wide = join_all(POPULATION, [group.rows() for group in needed if group.facts])
    totals = [name for name in wide.columns if name not in ("uscc", "as_of") and not name.endswith(_STAY_NULL)]
    return wide.mutate(**{name: wide[name].fill_null(0) for name in totals})


@cache
def every_fact() -> Frame:
    """Return an unbound table ``facts`` with every fact there is, to see which ones an expression reads."""
    rows = [group.rows() for group in _groups(None)]
    columns = {name: fact_type for row in rows for name, fact_type in row.schema().items()}
    return ibis.table({"uscc": "string", "as_of": "date"} | columns, name="facts")


def _groups(wanted: frozenset[str] | None) -> tuple[FactGroup, ...]:
    return (
        *invoice_facts("invoice_issued", prefix="sales", wanted=wanted),
        *invoice_facts("invoice_received", prefix="purchase", wanted=wanted),
        self_trading_facts(),
        filing_facts(),
        payment_facts(),
        arrears_facts(),
        violation_facts(),
        grade_facts(),
        registration_facts(),
    )
