"""``jobs``: the work that goes on without a person waiting: seen, cancelled, confirmed."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shuiqiao.cli.going_on import job_words
from shuiqiao.cli.home import all_items, home_at_work
from shuiqiao.cli.options import Home, Json, command_group
from shuiqiao.cli.output import print_json, say

if TYPE_CHECKING:
    from shuiqiao.client.operation import Operation
    from shuiqiao.client.resources.jobs import JobChoice, JobRecord

jobs_app = command_group("Work that goes on by itself, and what it waits for 后台作业.")


class StateChoice(StrEnum):
    """Where a job can be, as ``client.resources.jobs``."""

    WAITING = "waiting"
    RUNNING = "running"
    HELD = "held"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


_Kind = Annotated[str | None, typer.Option("--kind", help="Those of a kind alone, e.g. vault.ingest 作业种类.")]
_State = Annotated[StateChoice | None, typer.Option("--state", help="Those that stand so alone 状态.")]
_Id = Annotated[str, typer.Argument(help="The beginning of its id 编号开头.")]


@jobs_app.command("list")
def list_jobs(*, home: Home, kind: _Kind = None, state: _State = None, json: Json = False) -> None:
    """List jobs: the duties, then all others, the newest first 列出."""
    from shuiqiao.client.resources.jobs import LIST_JOBS, JobsQuestion

    with home_at_work(home) as at_work:
        wanted = JobsQuestion(kind=kind, state=None if state is None else state.value)
        jobs = all_items(at_work, LIST_JOBS, wanted)
    if json:
        print_json({"jobs": [job.model_dump(mode="json") for job in jobs]})
        return
    for job in jobs:
        say(f"{job.id[:16]}  {job.kind:<18}  {job.state:<9}  {job_words(job)}")
    if any(job.state == "held" for job in jobs):
        say("next      shuiqiao jobs show ID, then shuiqiao jobs confirm ID")
    elif not jobs and kind is None and state is None:
        say("no jobs yet: the server of this home makes them 暂无作业")


@jobs_app.command("show")
def read_job(job: _Id, *, home: Home, json: Json = False) -> None:
    """Show one job: progress, cause of failure, result 查看."""
    from shuiqiao.client.resources.jobs import READ_JOB

    _act(READ_JOB, job, home=home, as_json=json)


@jobs_app.command("cancel")
def cancel_job(job: _Id, *, home: Home, json: Json = False) -> None:
    """Cancel a job; a duty passes over this time only 取消."""
    from shuiqiao.client.resources.jobs import CANCEL_JOB

    _act(CANCEL_JOB, job, home=home, as_json=json)


@jobs_app.command("confirm")
def confirm_job(job: _Id, *, home: Home, json: Json = False) -> None:
    """Let a job that stopped to be confirmed go on 确认."""
    from shuiqiao.client.resources.jobs import CONFIRM_JOB

    _act(CONFIRM_JOB, job, home=home, as_json=json)


def _act(operation: Operation[JobChoice, JobRecord], name: str, *, home: Path, as_json: bool) -> None:
    from shuiqiao.client.resources.jobs import JobChoice

    with home_at_work(home) as at_work:
        job = at_work.perform(operation, JobChoice(job=name))
    show_job(job, as_json=as_json)


def show_job(job: JobRecord, *, as_json: bool) -> None:
    """Show a job as it stands."""
    if as_json:
        print_json(job.model_dump(mode="json"))
        return
    say(f"job 作业   {job.id}")
    say(f"kind      {job.kind}")
    say(f"state     {job.state}  {job_words(job)}")
    say(f"attempts  {job.attempts} of {job.max_attempts}")
    if job.request_id:
        say(f"request   {job.request_id}")
    for name_of_value, value in (job.result or {}).items():
        say(f"result    {name_of_value}: {value}")
    if job.cause is not None and job.cause.message:
        say(f"cause     {job.cause.code}: {job.cause.message}")
