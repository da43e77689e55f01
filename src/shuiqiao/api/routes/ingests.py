"""``/ingests``: files of records that a bureau takes in, and the rows that it kept out."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Annotated, Final

from fastapi import Path, Query, Request
from fastapi.concurrency import run_in_threadpool

from shuiqiao.api.door import Running
from shuiqiao.api.forms import WireResponse
from shuiqiao.api.problems import not_found
from shuiqiao.api.routes.ledger import Place
from shuiqiao.api.routes.members import first_rows
from shuiqiao.api.routing import DEFAULT_LIMIT, Cursor, Limit, Routes
from shuiqiao.client.resources.ingests import (
    AnchoredBatchRecord,
    IngestRecord,
    QuarantinedRow,
    QuarantinedRowPage,
    QuarantineReport,
    QuarantineReportPage,
)
from shuiqiao.members.model import Role
from shuiqiao.node.home.settings import require_role
from shuiqiao.vault.ingest.quarantine import find_report, read_rows, reports_in

if TYPE_CHECKING:
    from shuiqiao.node.institution import Institution
    from shuiqiao.vault.model import IngestReport

ingests = Routes("ingests", prefix="/ingests")

OCTETS: Final = "application/octet-stream"

FileName = Annotated[
    str,
    Query(
        pattern=r"^[^/\\\x00-\x1f\x7f]{1,60}\.(csv|parquet)$",
        description="The file's name: its ending says what it is",
        examples=["invoices.csv"],
    ),
]
TypeName = Annotated[
    str, Query(pattern=r"^[a-z][a-z0-9_]{0,59}(@[0-9]{1,9})?$", description="Record type, if the columns do not tell")
]
IngestName = Annotated[str, Path(pattern=r"^[0-9A-Za-z.-]{1,100}$", examples=["20260105T081500.418Z-4711-3"])]


@ingests.post(
    "",
    permission="ingest.write",
    codes=("node.role_wrong", "standards.type_unknown", "standards.type_unrecognised", "vault.busy"),
    streams=True,
    response_model=IngestRecord,
    openapi_extra={
        "requestBody": {
            "description": "The file itself",
            "required": True,
            "content": {OCTETS: {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def take_in_file(
    request: Request, running: Running, name: FileName, record_type: TypeName | None = None
) -> WireResponse:
    """Take a file of records in: every row is anchored, or kept out with the reason; the same file changes nothing.

    The answer comes once all of it is on the ledger. A file that is cut off on its way leaves nothing.
    """
    institution, door = running.institution, request.app.state.door
    require_role(institution.settings, Role.TAX_BUREAU)
    async with door.uploads.receive(request, name=name) as path:
        report = await run_in_threadpool(_take_in, institution, path, record_type)
    return WireResponse(_record(report))


def _take_in(institution: Institution, path: FilePath, record_type: str | None) -> IngestReport:
    known = None if record_type is None else institution.catalogue.get(record_type)
    return institution.vault.ingest([path], anchor=institution.outbox, record_type=known)


def _record(report: IngestReport) -> IngestRecord:
    return IngestRecord(
        ingest=report.report.stem,
        records_read=report.records_read,
        records_ingested=report.records_ingested,
        records_superseding=report.records_superseding,
        records_quarantined=report.records_quarantined,
        duplicates_reported=report.duplicates_reported,
        anchored=tuple(
            AnchoredBatchRecord(
                batch=entry.batch.hex(), standard=entry.standard, records=entry.records, index=entry.index
            )
            for entry in report.anchored
        ),
    )


@ingests.get("", permission="ingest.read", codes=("node.role_wrong",))
def list_quarantine_reports(
    running: Running, limit: Limit = DEFAULT_LIMIT, cursor: Cursor | None = None
) -> QuarantineReportPage:
    """List the ingests with what each kept out, the oldest first."""
    names = [path for path in reports_in(_folder(running.institution)) if path.stem > (cursor or "")]
    found, following = first_rows(
        [QuarantineReport(ingest=path.stem, bytes=path.stat().st_size) for path in names[: limit + 1]], limit=limit
    )
    return QuarantineReportPage(items=found, next=found[-1].ingest if following else None)


@ingests.get("/{ingest}/quarantine", permission="ingest.read", codes=("node.role_wrong", "api.not_found"))
def list_quarantined_rows(
    ingest: IngestName, running: Running, limit: Limit = DEFAULT_LIMIT, cursor: Place | None = None
) -> QuarantinedRowPage:
    """List the rows that an ingest kept out or met again, and why."""
    path = find_report(_folder(running.institution), ingest)
    if path is None:
        raise not_found()
    first = int(cursor or 0)
    rows = list(read_rows(path, first=first, limit=limit + 1))
    found, following = first_rows(
        [
            QuarantinedRow(
                file=row["file"],
                row=row["row"],
                field=row["field"],
                rule=row["rule"],
                value=row["value"],
                rows=row.get("rows"),
            )
            for row in rows
        ],
        limit=limit,
    )
    return QuarantinedRowPage(items=found, next=str(first + limit) if following else None)


def _folder(institution: Institution) -> FilePath:
    require_role(institution.settings, Role.TAX_BUREAU)
    return institution.home.vault / "quarantine"
