"""``/jobs``: what an institution does by itself, how far it is, and why it failed; cancelling and confirming."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

from shuiqiao.api.door import Running
from shuiqiao.api.journaling import performed
from shuiqiao.api.routing import DEFAULT_LIMIT, Caller, Cursor, Limit, Routes
from shuiqiao.client.resources import jobs as api

jobs = Routes("jobs")

JobId = Annotated[
    str,
    Path(pattern=r"^[0-9A-Za-z]{1,64}$", description="Its id, or the beginning of exactly one", examples=["c4" * 16]),
]
Kind = Annotated[api.KindName, Query(description="Those of this kind alone", examples=["vault.ingest"])]
State = Annotated[api.StateName, Query(description="Those that stand so alone")]


@jobs.perform(api.LIST_JOBS, permission="jobs.read")
def list_jobs(
    running: Running,
    caller: Caller,
    kind: Kind | None = None,
    state: State | None = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor | None = None,
) -> api.JobPage:
    """List the jobs: the duties, then all others, the newest first."""
    asked = api.JobsQuestion(kind=kind, state=state, limit=limit, cursor=cursor)
    return performed(running, caller, api.LIST_JOBS, asked)


@jobs.perform(api.READ_JOB, permission="jobs.read", codes=("jobs.name_unclear",))
def read_job(job: JobId, running: Running, caller: Caller) -> api.JobRecord:
    """Tell of one job."""
    return performed(running, caller, api.READ_JOB, api.JobChoice(job=job))


@jobs.perform(api.CANCEL_JOB, permission="jobs.manage", codes=("jobs.name_unclear", "jobs.ended"))
def cancel_job(job: JobId, running: Running, caller: Caller) -> api.JobRecord:
    """Cancel a job, or ask whoever runs it to end it; a duty passes over this time only."""
    return performed(running, caller, api.CANCEL_JOB, api.JobChoice(job=job))


@jobs.perform(api.CONFIRM_JOB, permission="jobs.manage", codes=("jobs.name_unclear", "jobs.not_held"))
def confirm_job(job: JobId, running: Running, caller: Caller) -> api.JobRecord:
    """Let a job that stopped to be confirmed go on, with exactly what it said that it would do."""
    return performed(running, caller, api.CONFIRM_JOB, api.JobChoice(job=job))
