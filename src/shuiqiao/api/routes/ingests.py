"""``/ingests``: files of records that a bureau takes in, and the rows that it kept out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from fastapi import Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from shuiqiao.api.door import Door, Running
from shuiqiao.api.forms import WireResponse
from shuiqiao.api.journaling import journaled, performed
from shuiqiao.api.routes.ledger import Place
from shuiqiao.api.routes.members import first_rows
from shuiqiao.api.routing import ACT_FIELD, DEFAULT_LIMIT, Caller, Cursor, Limit, Routes
from shuiqiao.client.resources.ingests import (
    LIST_QUARANTINED,
    QuarantinedRowPage,
    QuarantineQuestion,
    QuarantineReport,
    QuarantineReportPage,
)
from shuiqiao.client.resources.jobs import JobRecord
from shuiqiao.client.resources.own_files import TAKE_IN_FILES
from shuiqiao.members.model import Role
from shuiqiao.node.home.settings import require_role
from shuiqiao.node.jobs.ingests import INGEST
from shuiqiao.node.operations.records import quarantine_of
from shuiqiao.vault.ingest.quarantine import reports_in

if TYPE_CHECKING:
    from shuiqiao.api.uploads import Upload
    from shuiqiao.node.accounts.model import Principal
    from shuiqiao.node.jobs.model import Job
    from shuiqiao.node.server import RunningInstitution

ingests = Routes("ingests")

TAKE_IN_ACT: Final = TAKE_IN_FILES.act
OCTETS: Final = "application/octet-stream"

FileName = Annotated[
    str,
    Query(
        pattern=r"^[^/\\\x00-\x1f\x7f]{1,60}\.(csv|parquet|ndjson|jsonl)$",
        description="The file's name: its ending says what it is",
        examples=["grades.csv"],
    ),
]
TypeName = Annotated[
    str,
    Query(
        pattern=r"^[a-z][a-z0-9_]{0,59}(@[0-9]{1,9})?$",
        description="Record type, if the columns do not tell",
        examples=["tax_credit_grade"],
    ),
]
IngestName = Annotated[str, Path(pattern=r"^[0-9A-Za-z.-]{1,100}$", examples=["20260105T081500.418Z-4711-3"])]


@ingests.post(
    "/ingests",
    permission="ingest.write",
    codes=("node.role_wrong", "standards.type_unknown", "standards.type_unrecognised"),
    streams=True,
    status_code=202,
    response_model=JobRecord,
    openapi_extra={
        ACT_FIELD: TAKE_IN_ACT,
        "requestBody": {
            "description": "The file itself",
            "required": True,
            "content": {
                OCTETS: {
                    "schema": {"type": "string", "format": "binary"},
                    "example": "uscc,year,grade\n91440300MA5EXAMPL1,2025,A\n",
                }
            },
        },
    },
)
async def take_in_file(
    request: Request, running: Running, caller: Caller, name: FileName, record_type: TypeName | None = None
) -> Response:
    """Take a file of records in, as a job: every row is anchored, or kept out with the reason.

    The answer is the job, once the file is whole and on the disk; what is no file of records is refused. The job's
    result names the ingest and counts its rows. A file that is cut off on its way leaves nothing.
    """
    require_role(running.institution.settings, Role.TAX_BUREAU)
    door: Door = request.app.state.door
    async with door.uploads.receive(request, name=name) as upload:

        async def act(_request: Request) -> WireResponse:
            job = await run_in_threadpool(_ask, running, caller, upload, record_type)
            return WireResponse(JobRecord.model_validate(job.as_json()), status_code=202)

        return await door.acts.once(request, caller=caller, file_digest=upload.digest, act=act)


def _ask(running: RunningInstitution, caller: Principal, upload: Upload, record_type: str | None) -> Job:
    with journaled(running, caller, act=TAKE_IN_ACT, subject=f"job/{upload.job.hex()}"):
        running.ingests.require_readable([upload.path], record_type=record_type)
        wanted = {"sent": upload.path.name, "record_type": record_type}
        job = running.ask_soon(INGEST, wanted, id=upload.job)
        upload.is_kept = True
        return job


@ingests.get("/ingests", permission="ingest.read", codes=("node.role_wrong",))
def list_quarantine_reports(
    running: Running, limit: Limit = DEFAULT_LIMIT, cursor: Cursor | None = None
) -> QuarantineReportPage:
    """List the ingests with what each kept out, the oldest first."""
    names = [path for path in reports_in(quarantine_of(running.institution)) if path.stem > (cursor or "")]
    found, following = first_rows(
        [QuarantineReport(ingest=path.stem, bytes=path.stat().st_size) for path in names[: limit + 1]], limit=limit
    )
    return QuarantineReportPage(items=found, next=found[-1].ingest if following else None)


@ingests.perform(LIST_QUARANTINED, permission="ingest.read", codes=("node.role_wrong", "api.not_found"))
def list_quarantined_rows(
    ingest: IngestName, running: Running, caller: Caller, limit: Limit = DEFAULT_LIMIT, cursor: Place | None = None
) -> QuarantinedRowPage:
    """List the rows that an ingest kept out or met again, and why."""
    asked = QuarantineQuestion(ingest=ingest, limit=limit, cursor=cursor)
    return performed(running, caller, LIST_QUARANTINED, asked)
