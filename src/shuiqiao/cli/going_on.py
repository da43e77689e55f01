"""What a home's server is at: a job in one line, and what it goes on with after a command was interrupted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuiqiao.base.clock import iso_from_ms
from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.cli.output import program

if TYPE_CHECKING:
    from shuiqiao.client.http import HttpClient
    from shuiqiao.client.resources.jobs import JobRecord


def what_goes_on(client: HttpClient, request: str) -> str:
    """Return what a server goes on with though who asked for it by this request waits no more, as far as it tells."""
    from shuiqiao.client.pages import MAX_ITEMS
    from shuiqiao.client.resources.jobs import LIST_JOBS, JobsQuestion

    try:
        jobs = client.perform(LIST_JOBS, JobsQuestion(limit=MAX_ITEMS)).items
    except ShuiqiaoError as error:
        return (
            f"the server of this home was asked for it and may go on with it; asked how far it is, it said {error.code}"
        )
    for job in jobs:
        if job.request_id == request:
            short = job.id[:16]
            return (
                f"the server of this home goes on with it 服务器继续处理: job {short} {job.state}, {job_words(job)}; "
                f"{program()} jobs show {short} tells how far it is, jobs cancel {short} ends it"
            )
    return "the server of this home may go on with it 服务器可能仍在处理"


def job_words(job: JobRecord) -> str:
    """Return in one line what there is to say of a job now."""
    progress = job.progress
    if job.state == "running":
        return f"{progress.step} {progress.done:,}" + ("" if progress.total is None else f" of {progress.total:,}")
    if job.cause is not None:
        code = job.cause.code
        return f"{code}, next 下次 {iso_from_ms(job.due_ms)}" if job.state == "waiting" else code
    if job.state == "waiting":
        return f"next 下次 {iso_from_ms(job.due_ms)}"
    return "" if job.finished_ms is None else f"ended 结束 {iso_from_ms(job.finished_ms)}"
