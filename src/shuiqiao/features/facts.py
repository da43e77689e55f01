"""Per-taxpayer facts from which the features are formed: totals over invoices and over the tax record, in one row.

No look-ahead: every record enters through ``before``, which joins it to the population's own ``as_of`` and keeps only
what was dated on or before that day. Months are counted back from ``as_of``: month 0 is the one that ends on that day,
so that a window of 12 months is ages 0 to 11 whatever the day of the month. Sums are taken over whole fen (HUGEINT in
DuckDB), never over doubles, so that the same records give the same bits whatever the order in which threads add them.

Invoices: a sale counts in its net effect, so red-letter invoices (negative) stay in, with the invoices that they
reverse, and void ones stay out; an invoice that is not void is called valid here. Amounts are without VAT
(``amount_fen``), as turnover is counted. Every total of a taxpayer without records is zero, every date is null.

The tax record: each record is placed in time by the day on which the bureau could first know it: filed, paid, arisen,
registered, evaluated. A grade without its day of evaluation counts from 30 April of the year after the one it rates,
because grades are published each April (Announcement 2025 No. 12).

`LIMIT:` only the live version of a record is seen, with the status and values that it has when it is read: an invoice
voided, a filing corrected or an arrears case reduced after as_of is seen as it is now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import ibis
import ibis.expr.operations as ops
from ibis import _

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


_MAX_MONTH_FEN = 10**15
"""Monthly sums are cut at ±10^13 yuan before they are squared, so that 36 squares fit 127 bits."""

_TOP = 5
"""Partners that count as the largest."""

_WINDOWS: Mapping[str, tuple[int, int]] = {
    "6m": (0, 6),
    "prior_6m": (6, 12),
    "12m": (0, 12),
    "prior_12m": (12, 24),
    "24m": (0, 24),
    "36m": (0, THREE_YEARS),
}


def invoice_facts(record_type: str, *, prefix: str, wanted: frozenset[str] | None) -> tuple[FactGroup, ...]:
    """Return the totals of one invoice direction per taxpayer, facts ``<prefix>_<name>``; wanted: None for all."""
    invoices = _invoices(record_type)
    groups = (_totals(invoices, prefix=prefix, wanted=wanted), _gaps(invoices), _partners(invoices))
    return (groups[0], *(group.prefixed(prefix) for group in groups[1:]))


def self_trading_facts() -> FactGroup:
    """Return per taxpayer the sales of 24 months that stand among its own purchases too (same number, day, total)."""
    issued = _invoices("invoice_issued")
    issued = issued.filter(issued.is_valid, issued.age < TWO_YEARS)
    received = _invoices("invoice_received")
    keys = ["uscc", "invoice_no", "issue_date", "total_fen"]
    both = issued.semi_join(received.filter(received.is_valid), keys)
    return FactGroup(records=both, facts={"self_traded_24m": both.amount_fen.abs().sum()})


def _invoices(record_type: str) -> Frame:
    invoices = before(record_frame(record_type), dated="issue_date")
    return invoices.mutate(
        is_valid=invoices.status != "void", is_red=invoices.is_red_letter & (invoices.status != "void")
    )


_MONTHLY: Mapping[str, Any] = {
    "amount": _.amount_fen.sum(where=_.is_valid),
    "tax": _.tax_fen.sum(where=_.is_valid),
    "count": _.is_valid.sum(),
    "void_count": (~_.is_valid).sum(),
    "red_count": _.is_red.sum(),
    "absolute": _.amount_fen.abs().sum(),
    "void_absolute": _.amount_fen.abs().sum(where=~_.is_valid),
    "red_absolute": _.amount_fen.abs().sum(where=_.is_red),
    "largest": _.amount_fen.max(where=_.is_valid),
    "first_day": _.issue_date.min(),
    "last_day": _.issue_date.max(where=_.is_valid),
}
"""Totals of one taxpayer's month, over its invoices."""


def _total_facts() -> Mapping[str, Any]:
    """Return the facts over a taxpayer's monthly totals."""
    capped = _.amount.clip(-_MAX_MONTH_FEN, _MAX_MONTH_FEN).cast("decimal(38, 0)")
    year, within_24m = _.age < YEAR, _.age < TWO_YEARS
    facts: dict[str, Any] = {}
    for window, (start, end) in _WINDOWS.items():
        inside = (_.age >= start) & (_.age < end)
        facts[f"amount_{window}"] = _.amount.sum(where=inside)
        facts[f"months_{window}"] = (_["count"] > 0).sum(where=inside)
    for name in ("tax", "count", "void_count", "red_count", "absolute", "void_absolute", "red_absolute"):
        facts[f"{name}_24m"] = _[name].sum(where=within_24m)
    return facts | {
        "capped_12m": capped.sum(where=year),
        "squares_12m": (capped * capped).sum(where=year),
        "peak_month_12m": _.amount.max(where=year),
        "largest_24m": _.largest.max(where=within_24m),
        "first_day": _.first_day.min(),
        "last_day": _.last_day.max(),
    }


def _totals(invoices: Frame, *, prefix: str, wanted: frozenset[str] | None) -> FactGroup:
    """Return the facts over monthly totals, over no more monthly totals than the wanted facts read."""
    months = invoices.group_by(["uscc", "as_of", "age"])
    group = FactGroup(records=months.aggregate(**_MONTHLY), facts=_total_facts()).prefixed(prefix).only(wanted)
    read = columns_read(group.rows())
    monthly = months.aggregate(**{name: total for name, total in _MONTHLY.items() if name in read})
    return FactGroup(records=monthly, facts=group.facts)


def _gaps(invoices: Frame) -> FactGroup:
    days = invoices.filter(invoices.is_valid, invoices.age < TWO_YEARS).select("uscc", "issue_date").distinct()
    window = ibis.window(group_by="uscc", order_by="issue_date")
    gaps = days.mutate(gap=days.issue_date.delta(days.issue_date.lag().over(window), unit="day"))
    return FactGroup(records=gaps, facts={"longest_gap_24m": gaps.gap.max()})


def _partners(invoices: Frame) -> FactGroup:
    recent = invoices.filter(invoices.is_valid, invoices.age < TWO_YEARS, invoices.counterparty_id.notnull())
    by_partner = recent.group_by(["uscc", "counterparty_id"]).aggregate(
        now=recent.amount_fen.sum(where=recent.age < YEAR).fill_null(0),
        then=recent.amount_fen.sum(where=recent.age >= YEAR).fill_null(0),
    )
    window = ibis.window(group_by="uscc", order_by=[ibis.desc("now"), "counterparty_id"])
    ranked = by_partner.mutate(rank=ibis.row_number().over(window))
    active, before_too = ranked.now > 0, ranked.then > 0
    return FactGroup(
        records=ranked,
        facts={
            "partners_12m": active.sum(),
            "partners_prior_12m": before_too.sum(),
            "partners_kept": (active & before_too).sum(),
            "partner_amount_12m": ranked.now.sum(where=active),
            "top5_amount_12m": ranked.now.sum(where=active & (ranked["rank"] < _TOP)),
            "kept_amount_12m": ranked.now.sum(where=active & before_too),
        },
    )


SERIOUS_VIOLATIONS = ("evasion", "arrears_evasion", "refund_fraud", "false_invoice")
"""Kinds that lead straight to grade D."""

GRADE_RANKS = (("D", 1), ("C", 2), ("M", 3), ("B", 4), ("A", 5))
"""Grades as ordinals, the best being the highest."""

_NO = ibis.literal(value=False)


def filing_facts() -> FactGroup:
    """Return per taxpayer: filings, late and nil ones, and the revenue declared for VAT, by day of filing."""
    filings = before(record_frame("filing"), dated="filed_on")
    voided = filings.is_void.fill_null(_NO) & (filings.void_on.isnull() | (filings.void_on <= filings.as_of))
    live = filings.filter(~voided)
    year = live.age < YEAR
    vat = live.tax_code == "vat"
    return FactGroup(
        records=live,
        facts={
            "filings_24m": live.count(where=live.age < TWO_YEARS),
            "late_filings_24m": live.count(where=(live.age < TWO_YEARS) & (live.filed_on > live.due_on)),
            "vat_filings_12m": live.count(where=year & vat),
            "nil_vat_filings_12m": live.count(where=year & vat & (live.tax_payable_fen == 0)),
            "declared_revenue_12m": live.revenue_fen.sum(where=year & vat),
        },
    )


def payment_facts() -> FactGroup:
    """Return per taxpayer: tax paid, late payments, late fees and fines, by day of receipt."""
    payments = before(record_frame("payment"), dated="paid_on")
    tax = payments.payment_kind == "tax"
    age, paid = payments.age, payments.paid_fen
    return FactGroup(
        records=payments,
        facts={
            "tax_paid_12m": paid.sum(where=tax & (age < YEAR)),
            "tax_paid_prior_12m": paid.sum(where=tax & (age >= YEAR) & (age < TWO_YEARS)),
            "tax_paid_24m": paid.sum(where=tax & (age < TWO_YEARS)),
            "tax_months_12m": age.nunique(where=tax & (age < YEAR)),
            "late_payments_24m": payments.count(where=tax & (age < TWO_YEARS) & (payments.paid_on > payments.due_on)),
            "late_fees_24m": paid.sum(where=payments.payment_kind.isin(("late_fee", "fine")) & (age < TWO_YEARS)),
        },
    )


def arrears_facts() -> FactGroup:
    """Return per taxpayer: cases of arrears that arose, and what was still owed on the day."""
    records = record_frame("arrears")
    dated = records.mutate(known_on=ibis.coalesce(records.arose_on, records.due_on))
    arrears = before(dated, dated="known_on")
    open_still = arrears.cleared_on.isnull()
    cleared_later = arrears.cleared_on > arrears.as_of
    owed: Any = ibis.cases(
        (open_still, arrears.owed_fen),
        (cleared_later, ibis.coalesce(arrears.due_fen, arrears.owed_fen)),
        else_=0,
    )
    return FactGroup(
        records=arrears,
        facts={
            "arrears_cases_24m": arrears.count(where=arrears.age < TWO_YEARS),
            "arrears_open": arrears.count(where=open_still | cleared_later),
            "arrears_owed": owed.sum(),
        },
    )


def violation_facts() -> FactGroup:
    """Return per taxpayer: violations of 36 months, void ones and first offences without penalty left out."""
    violations = before(record_frame("violation"), dated="registered_on")
    ignored: Any = violations.is_void.fill_null(_NO) | violations.first_offence_no_penalty.fill_null(_NO)
    counted = violations.filter(~ignored, violations.age < THREE_YEARS)
    return FactGroup(
        records=counted,
        facts={
            "violations_36m": counted.count(),
            "serious_violations_36m": counted.count(where=counted.violation_kind.isin(SERIOUS_VIOLATIONS)),
        },
    )


def grade_facts() -> FactGroup:
    """Return per taxpayer: the latest grade known on the day and the one before it, as ranks (``GRADE_RANKS``)."""
    records = record_frame("tax_credit_grade")
    published = ibis.date(records.year + 1, 4, 30)
    dated = records.mutate(known_on=ibis.coalesce(records.evaluated_on, published))
    grades = before(dated, dated="known_on")
    ranked = grades.mutate(rank=grades.grade.cases(*GRADE_RANKS))
    window = ibis.window(group_by="uscc", order_by=[ibis.desc("year"), ibis.desc("known_on"), "grade"])
    ordered = ranked.mutate(place=ibis.row_number().over(window))
    return FactGroup(
        records=ordered,
        facts={
            "grade_rank": ordered["rank"].max(where=ordered.place == 0),
            "grade_rank_before": ordered["rank"].max(where=ordered.place == 1),
        },
    )


def registration_facts() -> FactGroup:
    """Return per taxpayer: months since registration and registered capital."""
    registrations = before(record_frame("registration"), dated="registered_on")
    return FactGroup(
        records=registrations,
        facts={
            "registered_months": registrations.age.max(),
            "registered_capital": registrations.registered_capital_fen.max(),
        },
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
