"""Returns and payments that follow from the invoices: VAT and corporate income tax, on time or late, and arrears.

VAT: general taxpayers monthly, output tax less the input tax of special invoices, credit carried forward; small-scale
taxpayers quarterly at the levied rate, exempt up to 300,000 yuan a quarter. Corporate income tax: quarterly prepayment
and a yearly return due on 31 May, small low-profit firms at an effective 5 %. Nothing dated after ``as_of`` exists: a
return not yet filed or a payment not yet made is missing, as it would be in the bureau's books.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np

from shuiqiao.sandbox.economy.behaviour import Character, Plan
from shuiqiao.sandbox.economy.industries import INDUSTRIES
from shuiqiao.sandbox.economy.invoices import monthly_amount, monthly_deductible_tax, monthly_tax
from shuiqiao.sandbox.economy.model import (
    MONTHS_PER_QUARTER,
    MONTHS_PER_YEAR,
    Arrears,
    Filing,
    InvoiceRows,
    Payment,
    TaxpayerKind,
    Window,
    due_day,
    first_day,
    last_day,
    year_of,
)
from shuiqiao.sandbox.economy.seeds import IntArray

VAT, CIT = "vat", "cit"
CIT_ITEM, CIT_YEARLY_ITEM = "应纳税所得额", "年度汇算清缴"
EXEMPT_FEN_PER_QUARTER = 30_000_000
SMALL_PROFIT_FEN_PER_YEAR = 300_000_000
_CIT_PERCENT, _SMALL_PROFIT_PERCENT = 25, 5
_LATE_FEE_PER_DAY = (5, 10_000)
"""0.05 % a day (Tax Collection Law, article 32), as a fraction."""
_ARREARS_AFTER_DAYS = 10
_QUICK_SHARE = 0.30
"""Share of late returns that follow within three days."""
_VAT_ITEM = {"A": "农产品", "C": "货物及劳务", "E": "建筑服务", "F": "货物及劳务", "G": "交通运输服务"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Punctuality:
    """How one return is handled: days against the due date, drawn once per return."""

    filed_after_days: int
    """Negative or 0 when on time."""
    paid_after_days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Returns:
    """What the returns of one taxpayer came to."""

    filings: tuple[Filing, ...]
    payments: tuple[Payment, ...]
    arrears: tuple[Arrears, ...]


def file_returns(
    generator: np.random.Generator,
    *,
    taxpayer: int,
    character: Character,
    plan: Plan,
    window: Window,
    issued: InvoiceRows,
    received: InvoiceRows,
    stops_filing_at: int | None,
) -> Returns:
    """Draw all returns of one taxpayer. stops_filing_at: first month of the window without a return, if any."""
    amount = monthly_amount(issued, window)
    margin = float(np.clip(0.07 + 0.05 * generator.standard_normal(), -0.05, 0.30))
    drafts = [
        *_vat(character, window, amount, monthly_tax(issued, window), monthly_deductible_tax(received, window)),
        *_income_tax(character, window, amount, margin),
    ]
    filings: list[Filing] = []
    payments: list[Payment] = []
    arrears: list[Arrears] = []
    for number, (last_month, draft) in enumerate(
        sorted(drafts, key=lambda entry: (entry[1].due_on, entry[1].tax_code))
    ):
        punctuality = _punctuality(generator, plan, last_month, stops_filing_at)
        filing = _filed(draft, punctuality, window.as_of)
        filings.append(filing)
        label = f"{taxpayer:07d}{number:04d}"
        payments += _payments(filing, punctuality, label, window.as_of)
        arrears += _arrears(filing, punctuality, label, window.as_of)
    return Returns(filings=tuple(filings), payments=tuple(payments), arrears=tuple(arrears))


def _vat(
    character: Character, window: Window, amount: IntArray, output_tax: IntArray, input_tax: IntArray
) -> Iterator[tuple[int, Filing]]:
    section = INDUSTRIES[character.industry].section
    item = _VAT_ITEM.get(section, "现代及生活服务")
    if character.kind is TaxpayerKind.SMALL_SCALE:
        for months in _quarters(character, window):
            revenue, tax = int(amount[months].sum()), max(0, int(output_tax[months].sum()))
            relief = tax if revenue <= EXEMPT_FEN_PER_QUARTER else 0
            yield _draft(VAT, item, window, months, revenue=revenue, payable=tax, relief=relief)
        return
    credit = 0
    for month in range(character.first_month, window.months):
        net = int(output_tax[month] - input_tax[month]) - credit
        credit = max(0, -net)
        months = slice(month, month + 1)
        yield _draft(VAT, item, window, months, revenue=int(amount[month]), payable=max(0, net), relief=0)


def _income_tax(character: Character, window: Window, amount: IntArray, margin: float) -> Iterator[tuple[int, Filing]]:
    prepaid_by_year: dict[int, int] = {}
    revenue_by_year: dict[int, int] = {}
    for months in _quarters(character, window):
        year = year_of(window.first_month + months.start)
        revenue = int(amount[months].sum())
        payable, relief = _income_tax_on(round(revenue * margin), months_covered=MONTHS_PER_QUARTER)
        prepaid_by_year[year] = prepaid_by_year.get(year, 0) + payable - relief
        revenue_by_year[year] = revenue_by_year.get(year, 0) + revenue
        yield _draft(CIT, CIT_ITEM, window, months, revenue=revenue, payable=payable, relief=relief)
    for months in _years(character, window):
        year = year_of(window.first_month + months.start)
        revenue = revenue_by_year.get(year, 0)
        payable, relief = _income_tax_on(round(revenue * margin * 1.04), months_covered=MONTHS_PER_YEAR)
        last, filing = _draft(CIT, CIT_YEARLY_ITEM, window, months, revenue=revenue, payable=payable, relief=relief)
        yield last, replace(filing, due_on=date(year + 1, 5, 31), prepaid_fen=prepaid_by_year.get(year, 0))


def _income_tax_on(profit_fen: int, *, months_covered: int) -> tuple[int, int]:
    """Return payable tax and the relief of small low-profit firms."""
    profit = max(0, profit_fen)
    payable = profit * _CIT_PERCENT // 100
    is_small = profit * MONTHS_PER_YEAR <= SMALL_PROFIT_FEN_PER_YEAR * months_covered
    return payable, profit * (_CIT_PERCENT - _SMALL_PROFIT_PERCENT) // 100 if is_small else 0


def _quarters(character: Character, window: Window) -> Iterator[slice]:
    """Yield the calendar quarters that lie wholly in the window and not wholly before the first month."""
    return _blocks(character, window, MONTHS_PER_QUARTER)


def _years(character: Character, window: Window) -> Iterator[slice]:
    return _blocks(character, window, MONTHS_PER_YEAR)


def _blocks(character: Character, window: Window, length: int) -> Iterator[slice]:
    for start in range(-window.first_month % length, window.months - length + 1, length):
        if start + length > character.first_month:
            yield slice(start, start + length)


def _draft(
    tax_code: str, item: str, window: Window, months: slice, *, revenue: int, payable: int, relief: int
) -> tuple[int, Filing]:
    last = window.first_month + months.stop - 1
    filing = Filing(
        tax_code=tax_code,
        tax_item=item,
        period_from=first_day(window.first_month + months.start),
        period_to=last_day(last),
        due_on=due_day(last),
        filed_on=None,
        revenue_fen=revenue,
        tax_payable_fen=payable,
        relief_fen=relief,
        prepaid_fen=0,
    )
    return months.stop - 1, filing


def _punctuality(generator: np.random.Generator, plan: Plan, month: int, stops_filing_at: int | None) -> Punctuality:
    # All draws are made whatever the branch, so that one return's luck does not shift the next one's.
    draws = generator.random(4)
    waits = generator.exponential(1.0, size=2)
    filed, paid = -int(draws[0] * 10), -int(draws[0] * 8)
    if draws[1] < plan.late_filing[month]:
        filed = 1 + int(draws[2] / _QUICK_SHARE * 3) if draws[2] < _QUICK_SHARE else 4 + int(30 * waits[0])
    if draws[3] < plan.late_payment[month]:
        paid = 2 + int(24 * waits[1] * (1 + 8 * plan.late_payment[month]))
    if stops_filing_at is not None and month >= stops_filing_at:
        filed = 10_000
    return Punctuality(filed_after_days=filed, paid_after_days=max(filed, paid))


def _filed(draft: Filing, punctuality: Punctuality, as_of: date) -> Filing:
    day = draft.due_on + timedelta(days=punctuality.filed_after_days)
    return replace(draft, filed_on=day) if day <= as_of else draft


def _payments(filing: Filing, punctuality: Punctuality, label: str, as_of: date) -> Iterator[Payment]:
    paid_on = filing.due_on + timedelta(days=punctuality.paid_after_days)
    if filing.filed_on is None or filing.tax_due_fen <= 0 or paid_on > as_of:
        return
    tax = Payment(
        voucher_no=f"V{label}",
        filing=filing,
        kind="tax",
        due_on=filing.due_on,
        paid_on=paid_on,
        paid_fen=filing.tax_due_fen,
    )
    yield tax
    per_day, parts = _LATE_FEE_PER_DAY
    late_fee = filing.tax_due_fen * per_day * max(0, punctuality.paid_after_days) // parts
    if late_fee:
        yield replace(tax, kind="late_fee", paid_fen=late_fee)


def _arrears(filing: Filing, punctuality: Punctuality, label: str, as_of: date) -> Iterator[Arrears]:
    """Yield the arrears case of a filed return that stayed unpaid for more than ten days."""
    arose_on = filing.due_on + timedelta(days=1)
    known_from = filing.due_on + timedelta(days=_ARREARS_AFTER_DAYS)
    is_late = punctuality.paid_after_days > _ARREARS_AFTER_DAYS
    if filing.filed_on is None or filing.tax_due_fen <= 0 or not is_late or known_from > as_of:
        return
    cleared_on = filing.due_on + timedelta(days=punctuality.paid_after_days)
    yield Arrears(
        arrears_no=f"Q{label}",
        filing=filing,
        due_on=filing.due_on,
        arose_on=arose_on,
        cleared_on=cleared_on if cleared_on <= as_of else None,
        due_fen=filing.tax_due_fen,
    )
