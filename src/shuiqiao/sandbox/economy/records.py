"""The bureau's facts as columns of the shared standard: one function per record type.

Column names are those of the catalogue; the schema itself comes from there, and a field that the economy does not
model stays null.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from shuiqiao.sandbox.economy.filings import VAT
from shuiqiao.sandbox.economy.invoices import invoice_numbers, join_rows
from shuiqiao.sandbox.economy.model import Case, Filing, InvoiceRows
from shuiqiao.sandbox.economy.parties import RESERVED_REGION, party_names, uscc_texts
from shuiqiao.sandbox.economy.seeds import IntArray

pc: Any = pyarrow.compute
Columns = Mapping[str, Sequence[Any] | pa.Array]

_RATE_TEXTS = {rate: f"0.{rate:02d}" for rate in (1, 3, 6, 9, 13)}
_TENTHS = 10


def tabulate_registration(_seed: int, cases: Sequence[Case]) -> Columns:
    """Return the columns of ``registration``."""
    taxpayers = [case.taxpayer for case in cases]
    return {
        "uscc": [taxpayer.uscc for taxpayer in taxpayers],
        "taxpayer_name": [taxpayer.name for taxpayer in taxpayers],
        "registration_serial": [f"{RESERVED_REGION}{taxpayer.index:018d}" for taxpayer in taxpayers],
        "status": ["abnormal" if taxpayer.is_abnormal else "normal" for taxpayer in taxpayers],
        "taxpayer_kind": [taxpayer.kind.value for taxpayer in taxpayers],
        "industry_code": [taxpayer.section for taxpayer in taxpayers],
        "province_code": [taxpayer.province_code for taxpayer in taxpayers],
        "registered_on": [taxpayer.registered_on for taxpayer in taxpayers],
        "registered_capital_fen": [taxpayer.capital_fen for taxpayer in taxpayers],
        "staff_count": [taxpayer.staff for taxpayer in taxpayers],
        "legal_rep_name": [f"样例代表{taxpayer.legal_representative[-6:]}" for taxpayer in taxpayers],
        "legal_rep_id_kind": ["other"] * len(taxpayers),
        "legal_rep_id": [taxpayer.legal_representative for taxpayer in taxpayers],
    }


def tabulate_tax_credit_grade(_seed: int, cases: Sequence[Case]) -> Columns:
    """Return the columns of ``tax_credit_grade``."""
    rows = [(case.taxpayer.uscc, grade) for case in cases for grade in case.facts.grades]
    return {
        "uscc": [uscc for uscc, _ in rows],
        "year": [grade.year for _, grade in rows],
        "grade": [grade.assessment.letter.value for _, grade in rows],
        "score": [_points_text(grade.assessment.points_tenths) for _, grade in rows],
        "direct_d": [grade.assessment.is_direct_d for _, grade in rows],
        "evaluated_on": [grade.evaluated_on for _, grade in rows],
    }


def _points_text(tenths: int | None) -> str | None:
    """Return points in the shortest decimal form, e.g. ``93`` or ``87.5``."""
    if tenths is None:
        return None
    whole, part = divmod(tenths, _TENTHS)
    return f"{whole}.{part}" if part else str(whole)


def tabulate_filing(_seed: int, cases: Sequence[Case]) -> Columns:
    """Return the columns of ``filing``: the returns that were filed by ``as_of``."""
    rows = [
        (case.taxpayer.uscc, filing) for case in cases for filing in case.facts.filings if filing.filed_on is not None
    ]
    filings = [filing for _, filing in rows]
    return {
        "uscc": [uscc for uscc, _ in rows],
        **_period(filings),
        "due_on": [filing.due_on for filing in filings],
        "filed_on": [filing.filed_on for filing in filings],
        "filing_kind": ["original"] * len(filings),
        "is_void": [False] * len(filings),
        "revenue_fen": [filing.revenue_fen for filing in filings],
        "tax_base_fen": [filing.revenue_fen if filing.tax_code == VAT else None for filing in filings],
        "tax_payable_fen": [filing.tax_payable_fen for filing in filings],
        "relief_fen": [filing.relief_fen for filing in filings],
        "prepaid_fen": [filing.prepaid_fen for filing in filings],
        "tax_due_fen": [filing.tax_due_fen for filing in filings],
    }


def _period(filings: Sequence[Filing]) -> dict[str, Sequence[Any]]:
    return {
        "tax_code": [filing.tax_code for filing in filings],
        "tax_item": [filing.tax_item for filing in filings],
        "period_from": [filing.period_from for filing in filings],
        "period_to": [filing.period_to for filing in filings],
    }


def tabulate_payment(_seed: int, cases: Sequence[Case]) -> Columns:
    """Return the columns of ``payment``."""
    rows = [(case.taxpayer.uscc, payment) for case in cases for payment in case.facts.payments]
    payments = [payment for _, payment in rows]
    return {
        "uscc": [uscc for uscc, _ in rows],
        "voucher_no": [payment.voucher_no for payment in payments],
        **_period([payment.filing for payment in payments]),
        "payment_kind": [payment.kind for payment in payments],
        "due_on": [payment.due_on for payment in payments],
        "paid_on": [payment.paid_on for payment in payments],
        "paid_fen": [payment.paid_fen for payment in payments],
    }


def tabulate_arrears(_seed: int, cases: Sequence[Case]) -> Columns:
    """Return the columns of ``arrears``."""
    rows = [(case.taxpayer.uscc, entry) for case in cases for entry in case.facts.arrears]
    entries = [entry for _, entry in rows]
    return {
        "uscc": [uscc for uscc, _ in rows],
        "arrears_no": [entry.arrears_no for entry in entries],
        **_period([entry.filing for entry in entries]),
        "payment_kind": ["tax"] * len(entries),
        "due_on": [entry.due_on for entry in entries],
        "arose_on": [entry.arose_on for entry in entries],
        "cleared_on": [entry.cleared_on for entry in entries],
        "due_fen": [entry.due_fen for entry in entries],
        "owed_fen": [entry.owed_fen for entry in entries],
    }


def tabulate_violation(_seed: int, cases: Sequence[Case]) -> Columns:
    """Return the columns of ``violation``."""
    rows = [(case.taxpayer.uscc, entry) for case in cases for entry in case.facts.violations]
    entries = [entry for _, entry in rows]
    return {
        "uscc": [uscc for uscc, _ in rows],
        "violation_no": [entry.violation_no for entry in entries],
        "violation_kind": [entry.kind for entry in entries],
        "violation_name": [entry.name for entry in entries],
        "state": [entry.state for entry in entries],
        "registered_on": [entry.registered_on for entry in entries],
        "first_offence_no_penalty": [entry.first_offence_no_penalty for entry in entries],
        "is_void": [False] * len(entries),
        "penalty_fen": [entry.penalty_fen for entry in entries],
    }


def tabulate_invoice_issued(seed: int, cases: Sequence[Case]) -> Columns:
    """Return the columns of ``invoice_issued``."""
    rows = join_rows(tuple(case.facts.issued for case in cases))
    return {**_parties(seed, owner=rows.seller, counterparty=rows.buyer), **_invoice_columns(rows)}


def tabulate_invoice_received(seed: int, cases: Sequence[Case]) -> Columns:
    """Return the columns of ``invoice_received``."""
    rows = join_rows(tuple(case.facts.received for case in cases))
    return {**_parties(seed, owner=rows.buyer, counterparty=rows.seller), **_invoice_columns(rows)}


def _parties(seed: int, *, owner: IntArray, counterparty: IntArray) -> dict[str, pa.Array]:
    return {
        "uscc": _spread(owner, lambda parties: uscc_texts(seed, parties)),
        "counterparty_id": _spread(counterparty, lambda parties: uscc_texts(seed, parties)),
        "counterparty_name": _spread(counterparty, lambda parties: party_names(seed, parties)),
    }


def _spread(parties: IntArray, name: Callable[[IntArray], list[str]]) -> pa.Array:
    """Return a text per row, made once per distinct party."""
    distinct, position = np.unique(parties, return_inverse=True)
    return pa.array(name(distinct), type=pa.string()).take(pa.array(position))


def _invoice_columns(rows: InvoiceRows) -> dict[str, Sequence[Any] | pa.Array]:
    return {
        "invoice_no": invoice_numbers(rows.day, rows.serial),
        "issue_date": pa.array(rows.day.astype(np.int32)).cast(pa.date32()),
        "status": _choose(rows.is_void, "void", "valid"),
        "is_red_letter": rows.is_red,
        "invoice_kind": _choose(rows.is_special, "special", "ordinary"),
        "original_invoice_no": _originals(rows),
        "amount_fen": rows.amount_fen,
        "tax_fen": rows.tax_fen,
        "total_fen": rows.total_fen,
        "tax_rate": _spread(rows.rate, lambda rates: [_RATE_TEXTS[rate] for rate in rates.tolist()]),
    }


def _choose(mask: Any, yes: str, no: str) -> pa.Array:
    return pc.if_else(pa.array(mask), yes, no)


def _originals(rows: InvoiceRows) -> list[str | None]:
    texts: list[str | None] = [None] * len(rows)
    at = np.flatnonzero(rows.is_red)
    numbers = invoice_numbers(rows.original_day[at], rows.original_serial[at])
    for position, number in zip(at.tolist(), numbers, strict=True):
        texts[position] = number
    return texts


RECORD_TABLES: Mapping[str, Callable[[int, Sequence[Case]], Columns]] = {
    "registration": tabulate_registration,
    "tax_credit_grade": tabulate_tax_credit_grade,
    "filing": tabulate_filing,
    "payment": tabulate_payment,
    "arrears": tabulate_arrears,
    "violation": tabulate_violation,
    "invoice_issued": tabulate_invoice_issued,
    "invoice_received": tabulate_invoice_received,
}
"""Record type id -> its columns."""
