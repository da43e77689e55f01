"""Per-taxpayer totals over filings, payments, arrears, violations, grades and the registration.

Each record is placed in time by the day on which the bureau could first know it: filed, paid, arisen, registered,
evaluated. A grade without its day of evaluation counts from 30 April of the year after the one it rates, because
grades are published each April (Announcement 2025 No. 12).

`LIMIT:` only the live version of a record is seen. Where a filing was corrected or an arrears case reduced after
as_of, its later values stand in for the ones of that day.
"""

from __future__ import annotations

from typing import Any

import ibis

from shuiqiao.credit.features.frames import THREE_YEARS, TWO_YEARS, YEAR, FactGroup, before, record_frame

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
