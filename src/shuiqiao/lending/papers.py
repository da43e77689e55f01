"""Papers handed in beside the application, held against records that were proven on the ledger.

A copy of an issued invoice is believed only if the proven records hold an invoice of the same number, day and total
that is still valid. What nothing proves is a contradiction: an altered amount and an invented invoice look alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperInvoice:
    """What a paper copy of an issued invoice claims."""

    paper: str
    invoice_no: str
    issue_date: date
    total_fen: int


def unproven_papers(papers: Iterable[PaperInvoice], *, issued: Any) -> tuple[str, ...]:
    """Return the ids of papers that no proven record supports.

    issued: a pyarrow table or record batch of invoice_issued with invoice_no, issue_date, total_fen and status, all of
    them proven (``ReceivedData.records``).
    """
    claims = list(papers)
    if not claims:
        return ()
    proven = _proven_invoices(issued, numbers={claim.invoice_no for claim in claims})
    return tuple(claim.paper for claim in claims if (claim.invoice_no, claim.issue_date, claim.total_fen) not in proven)


def _proven_invoices(issued: Any, *, numbers: set[str]) -> set[tuple[str, date, int]]:
    columns: Sequence[Sequence[Any]] = [
        issued.column(name).to_pylist() for name in ("invoice_no", "issue_date", "total_fen", "status")
    ]
    return {
        (number, day, total)
        for number, day, total, status in zip(*columns, strict=True)
        if status == "valid" and number in numbers
    }
