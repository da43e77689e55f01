"""The rows that a bureau's ingests kept out."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, StringConstraints

from shuiqiao.client.operation import Operation
from shuiqiao.client.pages import Page, PageQuery
from shuiqiao.client.wire import Count, Name, Wire, example

_REPORT = {"ingest": "20260105T081500.418Z-4711-3", "bytes": 1830}


class QuarantineReport(Wire):
    """The list of rows that one ingest kept out or met again."""

    model_config = example(**_REPORT)

    ingest: Name
    bytes: Count


class QuarantineReportPage(Page[QuarantineReport]):
    """Lists of rows kept out, the oldest ingest first."""

    model_config = example(items=[_REPORT], next=None)


_ROW = {
    "file": "invoices.csv",
    "row": 17,
    "field": "amount_fen",
    "rule": "sum_equals",
    "value": "100",
    "rows": None,
}


class QuarantinedRow(Wire):
    """One row that was kept out, or met again, and why."""

    model_config = example(**_ROW)

    file: Annotated[str, Field(max_length=4_096)]
    row: Count
    field: Name
    rule: Annotated[str, Field(max_length=200)]
    """``duplicate`` and ``already_ingested`` say that nothing is missing."""
    value: Annotated[str, Field(max_length=100_000)]
    rows: Count | None
    """How many further rows broke the same rule and are not listed, in a line that says so."""


class QuarantinedRowPage(Page[QuarantinedRow]):
    """Rows in the order of the ingest."""

    model_config = example(items=[_ROW], next="101")


class QuarantineQuestion(PageQuery):
    """Asks for rows that one ingest kept out, from a line of its list on, which is the cursor."""

    model_config = example(ingest="20260105T081500.418Z-4711-3", limit=100, cursor="100")

    ingest: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z.-]{1,100}$")]
    cursor: Annotated[str, StringConstraints(pattern=r"^(0|[1-9][0-9]{0,15})$")] | None = None


LIST_QUARANTINED: Final = Operation(
    method="GET",
    path="/ingests/{ingest}/quarantine",
    sent=QuarantineQuestion,
    told=QuarantinedRowPage,
    act="ingest.read_quarantine",
    subject=lambda asked: f"ingest/{asked.ingest}",
    shows_taxpayer=True,
)
