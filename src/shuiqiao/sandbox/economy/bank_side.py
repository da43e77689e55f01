"""What a bank has of an applicant without tax data: its own accounts and credit history, and papers handed in.

Each figure sees health only dimly: turnover is an unsteady share of sales, most small firms have no credit history,
collateral follows size. The bank's own data alone should judge worse than with tax facts; by how much, a run measures.

Papers are a yearly statement and copies of invoices, some of them forged. A forged copy either carries a larger total
than the invoice of that number, or a number that the bureau never saw. A forged statement claims revenue that was never
invoiced. Which ones are forged is ground truth: the bank's files do not say it, the ledger-anchored records show it.
"""

from __future__ import annotations

from datetime import date

import numpy as np

from shuiqiao.base.ids import Uscc
from shuiqiao.sandbox.economy.invoices import SERIALS_PER_PARTY, invoice_numbers, monthly_amount, monthly_total
from shuiqiao.sandbox.economy.model import (
    MONTHS_PER_YEAR,
    BankView,
    FinancialStatement,
    ForgeryKind,
    HiddenLife,
    InvoiceCopy,
    InvoiceRows,
    Papers,
    Window,
    date_of,
    last_day,
)
from shuiqiao.sandbox.economy.seeds import IntArray
from shuiqiao.sandbox.economy.taxpayers import private_party, uscc_texts

THIN_FILE_SHARE = 0.58
"""Applicants without any credit history."""
COLLATERAL_SHARE = 0.24
_TERMS = (6, 12, 12, 12, 24, 36)
_WAN_FEN = 1_000_000
_MIN_REQUEST_FEN, _MAX_REQUEST_FEN = 5 * _WAN_FEN, 500 * _WAN_FEN


def see_applicant(
    generator: np.random.Generator, *, life: HiddenLife, window: Window, issued: InvoiceRows, age_months: int
) -> BankView:
    """Draw the bank's view of one applicant at ``as_of``."""
    # Red letters for sales of years before can outweigh a year's own.
    sales = max(0.0, float(monthly_total(issued, window)[-MONTHS_PER_YEAR:].sum()))
    share = float(generator.beta(2.0, 2.6))
    turnover = sales * share * float(np.exp(0.35 * generator.standard_normal()))
    balance = turnover * float(np.exp(-3.4 + 0.22 * life.final + 0.7 * generator.standard_normal()))
    has_history = generator.random() >= THIN_FILE_SHARE
    history = min(age_months, int(generator.integers(6, 120)))
    overdue = int(generator.poisson(np.exp(-1.2 - 0.65 * life.final)))
    has_collateral = generator.random() < COLLATERAL_SHARE
    collateral = float(np.exp(14.2 + 0.25 * np.log(1 + sales / 1e8) + 0.8 * generator.standard_normal())) * 100
    request = sales * float(generator.uniform(0.05, 0.30))
    return BankView(
        turnover_12m_fen=round(turnover),
        average_balance_fen=round(balance),
        account_months=min(age_months, int(generator.integers(3, 96))),
        history_months=history if has_history else None,
        overdue_count=overdue if has_history else None,
        inquiries_3m=int(generator.poisson(np.exp(0.2 - 0.20 * life.final))),
        other_debt_fen=round(sales * float(generator.exponential(0.10))) if has_history else 0,
        collateral_fen=round(collateral) // _WAN_FEN * _WAN_FEN if has_collateral else 0,
        requested_fen=_rounded_request(request),
        term_months=_TERMS[int(generator.integers(len(_TERMS)))],
    )


def _rounded_request(fen: float) -> int:
    """Return a request in whole tens of thousands of yuan within the usual bounds of the products."""
    return min(max(round(fen / _WAN_FEN) * _WAN_FEN, _MIN_REQUEST_FEN), _MAX_REQUEST_FEN)


COPIES = 8
"""Invoice copies per applicant, if it issued as many."""
_RECENT_ROWS = 60
_FALSE_STATEMENT_SHARE, _INFLATED_COPY_SHARE = 0.7, 0.4
"""Of a forger's statements and invoice copies."""
_UNUSED_SERIAL = SERIALS_PER_PARTY - 1
"""An invented invoice takes serials from the top of the seller's range, which no real one reaches."""


def hand_in_papers(
    generator: np.random.Generator, *, seed: int, taxpayer: int, life: HiddenLife, window: Window, issued: InvoiceRows
) -> Papers:
    """Draw the papers of one applicant. Weak firms forge more often, but not all forgers are weak."""
    forges = bool(generator.random() < 1 / (1 + np.exp(2.25 + 0.85 * life.final)))
    statement = _statement(
        generator, taxpayer, window, issued, forges=forges and generator.random() < _FALSE_STATEMENT_SHARE
    )
    recent = np.flatnonzero(~issued.is_void & ~issued.is_red)[-_RECENT_ROWS:]
    chosen = np.sort(generator.permutation(recent)[:COPIES])
    buyers = uscc_texts(seed, issued.buyer[chosen])
    copies = [
        _copy(generator, taxpayer, number, issued, int(row), Uscc(buyer), forges=forges)
        for number, (row, buyer) in enumerate(zip(chosen, buyers, strict=True))
    ]
    if forges:
        copies.append(_invented(generator, seed, taxpayer, len(copies), window))
    return Papers(statement=statement, invoice_copies=tuple(copies))


def _statement(
    generator: np.random.Generator, taxpayer: int, window: Window, issued: InvoiceRows, *, forges: bool
) -> FinancialStatement:
    sales = max(0, int(monthly_amount(issued, window)[-MONTHS_PER_YEAR:].sum()))
    revenue = sales * float(generator.uniform(1.3, 3.0) if forges else np.exp(0.05 * generator.standard_normal()))
    assets = sales * float(np.exp(-0.3 + 0.6 * generator.standard_normal()))
    return FinancialStatement(
        paper_id=f"P{taxpayer:07d}00",
        year_to=last_day(window.first_month + window.months - 1),
        revenue_fen=round(revenue),
        profit_fen=round(revenue * float(np.clip(0.06 + 0.05 * generator.standard_normal(), -0.1, 0.3))),
        assets_fen=round(assets),
        liabilities_fen=round(assets * float(np.clip(0.5 + 0.2 * generator.standard_normal(), 0.05, 1.3))),
        forgery=ForgeryKind.INFLATED_STATEMENT if forges else None,
    )


def _copy(
    generator: np.random.Generator,
    taxpayer: int,
    number: int,
    issued: InvoiceRows,
    row: int,
    buyer: Uscc,
    *,
    forges: bool,
) -> InvoiceCopy:
    inflates = forges and generator.random() < _INFLATED_COPY_SHARE
    factor = int(generator.integers(2, 10)) if inflates else 1
    at = np.array([row])
    return InvoiceCopy(
        paper_id=f"P{taxpayer:07d}{number + 1:02d}",
        invoice_no=_number(issued.day[at], issued.serial[at]),
        issue_date=date_of(int(issued.day[row])),
        buyer_uscc=buyer,
        amount_fen=int(issued.amount_fen[row]) * factor,
        tax_fen=int(issued.tax_fen[row]) * factor,
        total_fen=int(issued.total_fen[row]) * factor,
        forgery=ForgeryKind.INFLATED_INVOICE if inflates else None,
    )


def _invented(generator: np.random.Generator, seed: int, taxpayer: int, number: int, window: Window) -> InvoiceCopy:
    amount = int(generator.integers(50, 900)) * 1_000_000
    day = _late_day(generator, window)
    days = np.array([(day - date(1970, 1, 1)).days], dtype=np.int64)
    serial = np.array([taxpayer * SERIALS_PER_PARTY + _UNUSED_SERIAL], dtype=np.int64)
    partner = private_party(taxpayer, generator.integers(20, size=1))
    return InvoiceCopy(
        paper_id=f"P{taxpayer:07d}{number + 1:02d}",
        invoice_no=_number(days, serial),
        issue_date=day,
        buyer_uscc=Uscc(uscc_texts(seed, partner)[0]),
        amount_fen=amount,
        tax_fen=amount * 13 // 100,
        total_fen=amount + amount * 13 // 100,
        forgery=ForgeryKind.INVENTED_INVOICE,
    )


def _late_day(generator: np.random.Generator, window: Window) -> date:
    month = window.first_month + window.months - 1 - int(generator.integers(min(3, window.months)))
    return last_day(month).replace(day=int(generator.integers(1, 29)))


def _number(day: IntArray, serial: IntArray) -> str:
    return invoice_numbers(day, serial)[0]
