"""``jobs``: the work that goes on without a person waiting: seen, cancelled, confirmed."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shuiqiao.base.clock import iso_from_ms
from shuiqiao.cli.options import Home, Json, command_group, open_home
from shuiqiao.cli.output import print_json, say

if TYPE_CHECKING:
    from shuiqiao.node.jobs.model import Job
    from shuiqiao.node.jobs.service import JobService

jobs_app = command_group("Work that goes on by itself, and what it waits for 后台作业.")

_Id = Annotated[str, typer.Argument(help="The beginning of its id 编号开头.")]


@contextmanager
def _service(home: Path) -> Generator[JobService]:
    from shuiqiao.node.jobs.duties import job_kinds
    from shuiqiao.node.jobs.service import JobService
    from shuiqiao.node.jobs.store import JobStore

    with open_home(home) as institution:
        store, around = JobStore(institution.database, cipher=institution.cipher), institution.dependencies
        yield JobService(store, kinds=job_kinds(institution), clock=around.clock, entropy=around.entropy)


@jobs_app.command("list")
def list_jobs(*, home: Home, json: Json = False) -> None:
    """List jobs, the newest first 列出."""
    with _service(home) as service:
        jobs = service.jobs()
    if json:
        print_json({"jobs": [job.as_json() for job in jobs]})
        return
    for job in jobs:
        say(f"{job.id.hex()[:16]}  {job.kind:<18}  {job.state:<9}  {_words(job)}")
    if any(job.state == "held" for job in jobs):
        say("next      shuiqiao jobs show ID, then shuiqiao jobs confirm ID")
    elif not jobs:
        say("no jobs yet: the server of this home makes them 暂无作业")


@jobs_app.command("show")
def show_job(job: _Id, *, home: Home, json: Json = False) -> None:
    """Show one job: progress, cause of failure, result 查看."""
    _act(lambda service: service.find(job), home=home, as_json=json)


@jobs_app.command("cancel")
def cancel_job(job: _Id, *, home: Home, json: Json = False) -> None:
    """Cancel a job; a duty passes over this time only 取消."""
    _act(lambda service: service.cancel(job), home=home, as_json=json)


@jobs_app.command("confirm")
def confirm_job(job: _Id, *, home: Home, json: Json = False) -> None:
    """Let a job that stopped to be confirmed go on 确认."""
    _act(lambda service: service.confirm(job), home=home, as_json=json)


def _act(act: Callable[[JobService], Job], *, home: Path, as_json: bool) -> None:
    with _service(home) as service:
        job = act(service)
    if as_json:
        print_json(job.as_json())
        return
    say(f"job 作业   {job.id.hex()}")
    say(f"kind      {job.kind}")
    say(f"state     {job.state}  {_words(job)}")
    say(f"attempts  {job.attempts} of {job.max_attempts}")
    for name, value in (job.result or {}).items():
        say(f"result    {name}: {value}")
    if job.message:
        say(f"cause     {job.code}: {job.message}")


def _words(job: Job) -> str:
    """Return in one line what there is to say of a job now."""
    if job.state == "running":
        return f"{job.step} {job.done:,}" + ("" if job.total is None else f" of {job.total:,}")
    if job.code:
        return f"{job.code}, next 下次 {iso_from_ms(job.due_ms)}" if job.state == "waiting" else job.code
    if job.state == "waiting":
        return f"next 下次 {iso_from_ms(job.due_ms)}"
    return "" if job.finished_ms is None else f"ended 结束 {iso_from_ms(job.finished_ms)}"
