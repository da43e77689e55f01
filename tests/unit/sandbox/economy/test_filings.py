"""Returns and payments agree with the invoices, and nothing is dated after the day of looking."""

from __future__ import annotations

from collections import Counter

import numpy as np

from shuiqiao.sandbox.economy.filings import CIT, CIT_YEARLY_ITEM, VAT
from shuiqiao.sandbox.economy.generation import Economy
from shuiqiao.sandbox.economy.model import Case, Filing, InvoiceRows, TaxpayerKind, day_number


def sum_in(rows: InvoiceRows, values: np.ndarray, filing: Filing) -> int:
    inside = (rows.day >= day_number(filing.period_from)) & (rows.day <= day_number(filing.period_to))
    return int(values[inside & ~rows.is_void].sum())


def filings_of(cases: tuple[Case, ...], tax_code: str) -> list[tuple[Case, Filing]]:
    return [(case, filing) for case in cases for filing in case.facts.filings if filing.tax_code == tax_code]


def test_declared_revenue_is_what_was_invoiced_in_the_period(cases: tuple[Case, ...]) -> None:
    for case, filing in (*filings_of(cases, VAT), *filings_of(cases, CIT)):
        if filing.tax_item != CIT_YEARLY_ITEM:
            assert sum_in(case.facts.issued, case.facts.issued.amount_fen, filing) == filing.revenue_fen


def test_vat_of_general_taxpayers_is_output_less_deductible_input_with_credit_carried(cases: tuple[Case, ...]) -> None:
    for case in cases:
        if case.taxpayer.kind is not TaxpayerKind.GENERAL:
            continue
        issued, received, credit = case.facts.issued, case.facts.received, 0
        returns = sorted((f for _, f in filings_of((case,), VAT)), key=lambda filing: filing.period_from)
        for filing in returns:
            output = sum_in(issued, issued.tax_fen, filing)
            deductible = sum_in(received, np.where(received.is_special, received.tax_fen, 0), filing)
            net = output - deductible - credit
            credit = max(0, -net)
            assert max(0, net) == filing.tax_payable_fen


def test_small_scale_taxpayers_file_quarterly_and_small_quarters_are_exempt(cases: tuple[Case, ...]) -> None:
    exempt = taxed = 0
    for case, filing in filings_of(cases, VAT):
        if case.taxpayer.kind is TaxpayerKind.GENERAL:
            continue
        assert (filing.period_to - filing.period_from).days in range(89, 92)
        if filing.revenue_fen <= 30_000_000:
            assert filing.tax_due_fen == 0
            exempt += 1
        else:
            assert filing.tax_payable_fen == filing.tax_due_fen
            taxed += 1
    assert exempt > 50
    assert taxed > 50


def test_each_period_is_filed_once(cases: tuple[Case, ...]) -> None:
    for case in cases:
        counts = Counter(
            (filing.tax_code, filing.tax_item, filing.period_from, filing.period_to) for filing in case.facts.filings
        )
        assert {1} >= set(counts.values())


def test_what_is_due_is_paid_or_open_or_not_yet_payable(economy: Economy, cases: tuple[Case, ...]) -> None:
    for case in cases:
        paid = {id(payment.filing) for payment in case.facts.payments if payment.kind == "tax"}
        open_cases = {id(entry.filing) for entry in case.facts.arrears if entry.cleared_on is None}
        assert set() == paid & open_cases
        for filing in case.facts.filings:
            due_long_ago = (economy.as_of - filing.due_on).days > 10
            if filing.filed_on and filing.tax_due_fen > 0 and due_long_ago:
                assert id(filing) in paid | open_cases


def test_payments_are_exact_and_late_ones_bear_the_fee(cases: tuple[Case, ...]) -> None:
    late = 0
    for case in cases:
        for payment in case.facts.payments:
            days = (payment.paid_on - payment.due_on).days
            if payment.kind == "tax":
                assert payment.filing.tax_due_fen == payment.paid_fen
            else:
                assert payment.filing.tax_due_fen * 5 * days // 10_000 == payment.paid_fen
                assert days > 0
                late += 1
    assert late > 10


def test_nothing_is_known_before_it_happened(economy: Economy, cases: tuple[Case, ...]) -> None:
    for case in cases:
        facts = case.facts
        dates = [
            *(filing.filed_on for filing in facts.filings if filing.filed_on),
            *(payment.paid_on for payment in facts.payments),
            *(entry.arose_on for entry in facts.arrears),
            *(entry.cleared_on for entry in facts.arrears if entry.cleared_on),
            *(entry.registered_on for entry in facts.violations),
            *(grade.evaluated_on for grade in facts.grades),
            case.taxpayer.registered_on,
        ]
        assert max(dates) <= economy.as_of


def test_cleared_arrears_owe_nothing_and_open_ones_everything(cases: tuple[Case, ...]) -> None:
    entries = [entry for case in cases for entry in case.facts.arrears]

    assert len(entries) > 10
    for entry in entries:
        assert (0 if entry.cleared_on else entry.due_fen) == entry.owed_fen
        assert entry.due_fen > 0


def test_young_taxpayers_are_m_in_their_first_year(cases: tuple[Case, ...]) -> None:
    first_years = [
        grade.assessment.letter.value
        for case in cases
        for grade in case.facts.grades
        if grade.year == case.taxpayer.registered_on.year
    ]

    assert len(first_years) > 3
    assert set(first_years) <= {"M", "D"}
