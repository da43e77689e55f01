"""The files on the bank's side, and the truth that neither side has.

The bank's tables carry no forgery mark, no outcome and nothing from the bureau; the truth tables name papers and
outcomes so that a run can be judged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from shuiqiao.sandbox.economy.model import Case, FinancialStatement, InvoiceCopy

Columns = Mapping[str, Sequence[Any]]
Tabulate = Callable[[int, Sequence[Case]], Columns]

APPLICANT_SCHEMA = pa.schema(
    [
        ("uscc", pa.string()),
        ("taxpayer_name", pa.string()),
        ("industry_code", pa.string()),
        ("province_code", pa.string()),
        ("requested_fen", pa.int64()),
        ("term_months", pa.int64()),
        ("turnover_12m_fen", pa.int64()),
        ("average_balance_fen", pa.int64()),
        ("account_months", pa.int64()),
        ("history_months", pa.int64()),
        ("overdue_count", pa.int64()),
        ("inquiries_3m", pa.int64()),
        ("other_debt_fen", pa.int64()),
        ("collateral_fen", pa.int64()),
    ]
)
STATEMENT_SCHEMA = pa.schema(
    [
        ("uscc", pa.string()),
        ("paper_id", pa.string()),
        ("year_to", pa.date32()),
        ("revenue_fen", pa.int64()),
        ("profit_fen", pa.int64()),
        ("assets_fen", pa.int64()),
        ("liabilities_fen", pa.int64()),
    ]
)
COPY_SCHEMA = pa.schema(
    [
        ("uscc", pa.string()),
        ("paper_id", pa.string()),
        ("invoice_no", pa.string()),
        ("issue_date", pa.date32()),
        ("buyer_uscc", pa.string()),
        ("amount_fen", pa.int64()),
        ("tax_fen", pa.int64()),
        ("total_fen", pa.int64()),
    ]
)
OUTCOME_SCHEMA = pa.schema([("uscc", pa.string()), ("defaulted", pa.bool_())])
FORGERY_SCHEMA = pa.schema([("uscc", pa.string()), ("paper_id", pa.string()), ("forgery", pa.string())])

_FROM_CASE = ("uscc", "taxpayer_name", "industry_code", "province_code")


def tabulate_applicant(_seed: int, cases: Sequence[Case]) -> Columns:
    """Return what the bank's own systems say of each applicant."""
    named: dict[str, Sequence[Any]] = {
        "uscc": [case.taxpayer.uscc for case in cases],
        "taxpayer_name": [case.taxpayer.name for case in cases],
        "industry_code": [case.taxpayer.section for case in cases],
        "province_code": [case.taxpayer.province_code for case in cases],
    }
    seen = [name for name in APPLICANT_SCHEMA.names if name not in _FROM_CASE]
    return {**named, **{name: [getattr(case.bank_view, name) for case in cases] for name in seen}}


def tabulate_statement(_seed: int, cases: Sequence[Case]) -> Columns:
    """Return the yearly statements handed in."""
    names = STATEMENT_SCHEMA.names[1:]
    return {
        "uscc": [case.taxpayer.uscc for case in cases],
        **{name: [getattr(case.papers.statement, name) for case in cases] for name in names},
    }


def tabulate_copies(_seed: int, cases: Sequence[Case]) -> Columns:
    """Return the invoice copies handed in."""
    rows = [(case.taxpayer.uscc, copy) for case in cases for copy in case.papers.invoice_copies]
    names = COPY_SCHEMA.names[1:]
    return {"uscc": [uscc for uscc, _ in rows], **{name: [getattr(copy, name) for _, copy in rows] for name in names}}


def tabulate_outcomes(_seed: int, cases: Sequence[Case]) -> Columns:
    """Return who defaults within twelve months after ``as_of``."""
    return {
        "uscc": [case.taxpayer.uscc for case in cases],
        "defaulted": [case.defaulted for case in cases],
    }


def tabulate_forgeries(_seed: int, cases: Sequence[Case]) -> Columns:
    """Return which papers are forged, and how."""
    rows = [
        (case.taxpayer.uscc, paper.paper_id, paper.forgery.value)
        for case in cases
        for paper in _papers(case)
        if paper.forgery is not None
    ]
    return {
        "uscc": [uscc for uscc, _, _ in rows],
        "paper_id": [paper_id for _, paper_id, _ in rows],
        "forgery": [forgery for _, _, forgery in rows],
    }


def _papers(case: Case) -> tuple[FinancialStatement | InvoiceCopy, ...]:
    return (case.papers.statement, *case.papers.invoice_copies)


BANK_TABLES: Mapping[str, tuple[pa.Schema, Tabulate]] = {
    "applicant": (APPLICANT_SCHEMA, tabulate_applicant),
    "financial_statement": (STATEMENT_SCHEMA, tabulate_statement),
    "invoice_copy": (COPY_SCHEMA, tabulate_copies),
}
"""File name -> schema and columns, for the bank."""

TRUTH_TABLES: Mapping[str, tuple[pa.Schema, Tabulate]] = {
    "outcome": (OUTCOME_SCHEMA, tabulate_outcomes),
    "forgery": (FORGERY_SCHEMA, tabulate_forgeries),
}
"""File name -> schema and columns, for judging a run."""
