"""What a bank knows of an applicant without tax data: account turnover, credit history or none, collateral.

Each figure sees health only dimly: turnover is an unsteady share of sales, most small firms have no credit history,
collateral follows size. The bank's own data alone should judge worse than with tax facts; by how much, a run measures.
"""

from __future__ import annotations

import numpy as np

from shuiqiao.sandbox.economy.invoices import monthly_total
from shuiqiao.sandbox.economy.model import BankView, HiddenLife, InvoiceRows, Window
from shuiqiao.sandbox.economy.periods import MONTHS_PER_YEAR

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
    sales = float(monthly_total(issued, window)[-MONTHS_PER_YEAR:].sum())
    share = float(generator.beta(2.0, 2.6))
    turnover = max(0.0, sales * share * float(np.exp(0.35 * generator.standard_normal())))
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
