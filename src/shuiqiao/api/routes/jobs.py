"""``/jobs``: what an institution does by itself, how far it is, and why it failed; cancelling and confirming."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path

from shuiqiao.api.door import Running
from shuiqiao.api.problems import not_found
from shuiqiao.api.routes.members import first_rows
from shuiqiao.api.routing import DEFAULT_LIMIT, Cursor, Limit, Routes
from shuiqiao.client.resources.jobs import JobPage, JobRecord
from shuiqiao.node.jobs.model import Job

jobs = Routes("jobs", prefix="/jobs")

JobId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", examples=["c4" * 16])]


@jobs.get("", permission="jobs.read")
def list_jobs(running: Running, limit: Limit = DEFAULT_LIMIT, cursor: Cursor | None = None) -> JobPage:
    """List the jobs, the newest first."""
    found = running.jobs.jobs()
    ids = [job.id.hex() for job in found]
    found = found[ids.index(cursor) + 1 :] if cursor in ids else found
    records, following = first_rows([_record(job) for job in found[: limit + 1]], limit=limit)
    return JobPage(items=records, next=records[-1].id if following else None)


@jobs.get("/{job}", permission="jobs.read", codes=("api.not_found",))
def read_job(job: JobId, running: Running) -> JobRecord:
    """Tell of one job."""
    return _record(_found(running, job))


@jobs.post("/{job}/cancel", permission="jobs.manage", codes=("api.not_found", "jobs.ended"))
def cancel_job(job: JobId, running: Running) -> JobRecord:
    """Cancel a job, or ask whoever runs it to end it; a duty passes over this time only."""
    return _record(running.jobs.cancel(_found(running, job).id.hex()))


@jobs.post("/{job}/confirm", permission="jobs.manage", codes=("api.not_found", "jobs.not_held"))
def confirm_job(job: JobId, running: Running) -> JobRecord:
    """Let a job that stopped to be confirmed go on, with exactly what it said that it would do."""
    return _record(running.jobs.confirm(_found(running, job).id.hex()))


def _found(running: Running, name: str) -> Job:
    for job in running.jobs.jobs():
        if job.id.hex() == name:
            return job
    raise not_found()


def _record(job: Job) -> JobRecord:
    return JobRecord.model_validate(job.as_json())
