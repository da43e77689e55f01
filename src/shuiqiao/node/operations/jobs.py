"""Shows an institution's jobs, cancels and confirms them, for a message of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuiqiao.client.resources import jobs
from shuiqiao.node.jobs.service import JobService
from shuiqiao.node.jobs.store import JobStore
from shuiqiao.node.operations.paging import page_after

if TYPE_CHECKING:
    from shuiqiao.client.pages import PageQuery
    from shuiqiao.node.institution import Institution
    from shuiqiao.node.jobs.model import Job


def list_jobs(institution: Institution, asked: PageQuery) -> jobs.JobPage:
    """Return the jobs: the duties, then all others, the newest first."""
    items, following = page_after(_service(institution).jobs(), asked, name=lambda job: job.id.hex())
    return jobs.JobPage(items=tuple(map(_record, items)), next=following)


def read_job(institution: Institution, chosen: jobs.JobChoice) -> jobs.JobRecord:
    """Return one job; raises InvalidInput ``jobs.name_unclear``."""
    return _record(_service(institution).find(chosen.job))


def cancel_job(institution: Institution, chosen: jobs.JobChoice) -> jobs.JobRecord:
    """Cancel a job, or ask whoever runs it to end it; raises what ``JobService.cancel`` raises."""
    return _record(_service(institution).cancel(chosen.job))


def confirm_job(institution: Institution, chosen: jobs.JobChoice) -> jobs.JobRecord:
    """Let a job go on that stopped to be confirmed; raises what ``JobService.confirm`` raises."""
    return _record(_service(institution).confirm(chosen.job))


def _service(institution: Institution) -> JobService:
    """Return what looks at jobs and decides on them; here none is asked for."""
    around = institution.dependencies
    store = JobStore(institution.database, cipher=institution.cipher)
    return JobService(store, kinds={}, clock=around.clock, entropy=around.entropy)


def _record(job: Job) -> jobs.JobRecord:
    return jobs.JobRecord.model_validate(job.as_json())
