"""Jobs of an institution: what it does by itself, how far each is, and why one failed or waits."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints

from shuiqiao.client.operation import Operation
from shuiqiao.client.pages import Page, PageQuery
from shuiqiao.client.wire import Count, Id, Name, TimeMs, Wire, example

_JOB = {
    "id": "c4" * 16,
    "kind": "vault.ingest",
    "state": "running",
    "parameters": {"files": ["/data/invoices.parquet"]},
    "created_ms": 1_767_225_600_000,
    "due_ms": 1_767_225_600_000,
    "every_ms": None,
    "attempts": 1,
    "max_attempts": 5,
    "owner": "bureau-host/4711/1",
    "progress": {"step": "anchor", "done": 3, "total": 10},
    "cause": None,
    "cancel_asked": False,
    "result": None,
    "finished_ms": None,
    "request_id": "5a" * 16,
}


class JobProgress(Wire):
    """How far a job is."""

    step: Annotated[str, Field(max_length=1_000)]
    done: Count
    total: Count | None


class JobCause(Wire):
    """Why a job failed, waits to be tried again, or is held."""

    code: Name
    message: Annotated[str, Field(max_length=10_000)]


class JobRecord(Wire):
    """One job as it stands."""

    model_config = example(**_JOB)

    id: Id
    kind: Name
    state: Name
    """waiting, running, held (a person has to confirm it), done, failed or cancelled."""
    parameters: dict[str, Any]
    created_ms: TimeMs
    due_ms: TimeMs
    every_ms: Count | None
    """Of a duty: from the end of one run to the next."""
    attempts: Count
    max_attempts: Count
    owner: Name | None
    progress: JobProgress
    cause: JobCause | None
    cancel_asked: bool
    result: dict[str, Any] | None
    finished_ms: TimeMs | None
    request_id: Name | None
    """Of the request by which it was asked for: log lines of the job have it, at other institutions too."""


class JobPage(Page[JobRecord]):
    """Jobs: the duties, then all others, the newest first."""

    model_config = example(items=[_JOB], next=None)


StateName = Literal["waiting", "running", "held", "done", "failed", "cancelled"]
KindName = Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,32}(\.[a-z_]{1,32}){0,2}$")]


class JobsQuestion(PageQuery):
    """Which jobs are asked for; what is left out fits any."""

    model_config = example(kind="vault.ingest", state="running", limit=100, cursor=None)

    kind: KindName | None = None
    state: StateName | None = None


class JobChoice(Wire):
    """Names a job by its id, or by the beginning of exactly one."""

    model_config = example(job="c4" * 16)

    job: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z]{1,64}$")]


def _job_id(chosen: JobChoice) -> str:
    return f"job/{chosen.job}"


LIST_JOBS: Final = Operation(method="GET", path="/jobs", sent=JobsQuestion, told=JobPage)
READ_JOB: Final = Operation(method="GET", path="/jobs/{job}", sent=JobChoice, told=JobRecord)
CANCEL_JOB: Final = Operation(
    path="/jobs/{job}/cancel", sent=JobChoice, told=JobRecord, act="jobs.cancel", subject=_job_id
)
CONFIRM_JOB: Final = Operation(
    path="/jobs/{job}/confirm", sent=JobChoice, told=JobRecord, act="jobs.confirm", subject=_job_id
)
