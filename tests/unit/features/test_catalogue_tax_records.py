"""Features of filings, payments, arrears, violations, grades and registration against numbers worked out by hand."""

from __future__ import annotations

import math
from datetime import date

import pytest

D = date


def filing(filed_on, **values):
    return {"tax_code": "vat", "due_on": D(2026, 1, 15), "filed_on": filed_on, "tax_payable_fen": 100} | values


def test_filings_count_from_the_day_they_were_made(compute, records, invoices):
    filings = records(
        "filing",
        filing(D(2026, 1, 15), revenue_fen=50_000),
        filing(D(2026, 1, 16), tax_payable_fen=0, revenue_fen=30_000),
        filing(D(2026, 4, 1)),  # late as well, but nobody knows it yet on 31 March
        filing(D(2026, 1, 17), is_void=True, void_on=D(2026, 2, 1)),  # voided before the day
        filing(D(2026, 1, 18), is_void=True, void_on=D(2026, 4, 2)),  # voided after the day: still stands
        filing(D(2026, 1, 19), tax_code="stamp_duty", revenue_fen=10**6),
    )
    issued = invoices("invoice_issued", (D(2026, 1, 5), 1000))
    found = compute(filing=filings, invoice_issued=issued)
    assert found["late_filings_24m"] == 3
    assert found["nil_vat_filings_12m"] == 1
    assert found["declared_to_invoiced_12m"] == 0.8


def test_payments_of_tax_late_fees_and_their_growth(compute, records):
    payments = records(
        "payment",
        {"payment_kind": "tax", "due_on": D(2026, 1, 15), "paid_on": D(2026, 1, 15), "paid_fen": 300_000},
        {"payment_kind": "tax", "due_on": D(2026, 2, 15), "paid_on": D(2026, 2, 20), "paid_fen": 100_000},
        {"payment_kind": "tax", "due_on": None, "paid_on": D(2025, 2, 15), "paid_fen": 100_000},
        {"payment_kind": "late_fee", "paid_on": D(2026, 2, 20), "paid_fen": 2_400},
        {"payment_kind": "fine", "paid_on": D(2026, 2, 20), "paid_fen": 2_400},
        {"payment_kind": "tax", "paid_on": D(2026, 4, 1), "paid_fen": 10**9},
    )
    found = compute(payment=payments)
    assert found["tax_paid_12m_fen"] == 400_000
    assert found["log_annual_tax_12m"] == pytest.approx(math.log1p(4000 / 12), rel=1e-14)
    assert found["tax_growth_12m"] == 300_000 / 500_000
    assert found["tax_months_12m"] == 2
    assert found["late_payments_24m"] == 1
    assert found["log_late_fees_24m"] == pytest.approx(math.log1p(48 / 24), rel=1e-14)


def test_arrears_are_what_was_owed_on_the_day(compute, records):
    arrears = records(
        "arrears",
        {"due_on": D(2025, 5, 1), "arose_on": D(2025, 5, 2), "due_fen": 900, "owed_fen": 500},
        {"due_on": D(2025, 5, 1), "arose_on": None, "cleared_on": D(2025, 6, 1), "due_fen": 900, "owed_fen": 0},
        {"due_on": D(2026, 3, 1), "cleared_on": D(2026, 4, 5), "due_fen": 700, "owed_fen": 0},
        {"due_on": D(2026, 4, 1), "arose_on": D(2026, 4, 2), "due_fen": 10**9, "owed_fen": 10**9},
    )
    found = compute(arrears=arrears)
    assert found["arrears_owed_fen"] == 500 + 700
    assert found["arrears_cases_24m"] == 3
    assert found["log_arrears_owed"] == pytest.approx(math.log1p(12), rel=1e-14)


def test_void_violations_and_first_offences_without_penalty_do_not_count(compute, records):
    violations = records(
        "violation",
        {"violation_kind": "evasion", "registered_on": D(2025, 1, 1)},
        {"violation_kind": "invoice", "registered_on": D(2025, 1, 1)},
        {"violation_kind": "evasion", "registered_on": D(2025, 1, 1), "is_void": True},
        {"violation_kind": "filing", "registered_on": D(2025, 1, 1), "first_offence_no_penalty": True},
        {"violation_kind": "evasion", "registered_on": D(2022, 1, 1)},
    )
    found = compute(violation=violations)
    assert found["violations_36m"] == 2
    assert found["serious_violations_36m"] == 1


def test_a_grade_counts_from_its_publication(compute, records):
    grades = records(
        "tax_credit_grade",
        {"year": 2023, "grade": "A", "evaluated_on": None},
        {"year": 2024, "grade": "C", "evaluated_on": D(2025, 4, 20)},
        {"year": 2025, "grade": "D", "evaluated_on": None},  # published in April 2026
    )
    found = compute(tax_credit_grade=grades)
    assert (found["tax_credit_grade_rank"], found["tax_credit_grade_change"]) == (2, -3)
    later = compute(tax_credit_grade=grades, as_of=D(2026, 4, 30))
    assert (later["tax_credit_grade_rank"], later["tax_credit_grade_change"]) == (1, -1)


def test_age_and_capital_of_the_firm(compute, records):
    registration = records("registration", {"registered_on": D(2020, 4, 1), "registered_capital_fen": 100_000_000})
    found = compute(registration=registration)
    assert found["registered_months"] == 71
    assert found["log_registered_capital"] == pytest.approx(math.log1p(1_000_000), rel=1e-14)


def test_no_grade_is_unknown_and_no_violation_is_none(compute, records):
    found = compute(tax_credit_grade=records("tax_credit_grade"), violation=records("violation"))
    assert found["tax_credit_grade_rank"] is None
    assert found["violations_36m"] == 0
