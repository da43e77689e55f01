"""Asks for an ingest, and shows an institution's jobs, cancels and confirms them, for a message of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuiqiao.client.resources import jobs
from shuiqiao.client.resources.own_files import path_from_root
from shuiqiao.members.model import Role
from shuiqiao.node.home.settings import require_role
from shuiqiao.node.jobs.model import JobState
from shuiqiao.node.jobs.service import JobService
from shuiqiao.node.jobs.store import JobStore
from shuiqiao.node.operations.paging import page_after

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shuiqiao.client.resources.own_files import OwnFiles
    from shuiqiao.node.institution import Institution
    from shuiqiao.node.jobs.model import Job, JobKind


def ask_ingest(institution: Institution, named: OwnFiles) -> jobs.JobRecord:
    """Keep an ingest of files of this machine as a job, which this home's server does; again is another job.

    Raises Denied ``node.role_wrong``, InvalidInput ``client.path_invalid``, ``jobs.parameters_too_large``.
    """
    from shuiqiao.node.jobs.duties import job_kinds
    from shuiqiao.node.jobs.ingests import INGEST

    require_role(institution.settings, Role.TAX_BUREAU)
    for text in named.files:
        path_from_root(text)
    service = _service(institution, kinds=job_kinds(institution))
    return _record(service.ask(INGEST, {"files": [*named.files], "record_type": named.record_type}))


def list_jobs(institution: Institution, asked: jobs.JobsQuestion) -> jobs.JobPage:
    """Return the jobs: the duties, then all others, the newest first."""
    state = None if asked.state is None else JobState(asked.state)
    found = _service(institution).jobs(kind=asked.kind, state=state)
    items, following = page_after(found, asked, name=lambda job: job.id.hex())
    return jobs.JobPage(items=tuple(map(_record, items)), next=following)


def read_job(institution: Institution, chosen: jobs.JobChoice) -> jobs.JobRecord:
    """Return one job; raises InvalidInput ``jobs.name_unclear``."""
    return _record(_service(institution).find(chosen.job))


def cancel_job(institution: Institution, chosen: jobs.JobChoice) -> jobs.JobRecord:
    """Cancel a job, or ask whoever runs it to end it; raises what ``JobService.cancel`` raises."""
    from shuiqiao.node.jobs.duties import job_kinds

    return _record(_service(institution, kinds=job_kinds(institution)).cancel(chosen.job))


def confirm_job(institution: Institution, chosen: jobs.JobChoice) -> jobs.JobRecord:
    """Let a job go on that stopped to be confirmed; raises what ``JobService.confirm`` raises."""
    return _record(_service(institution).confirm(chosen.job))


def _service(institution: Institution, *, kinds: Mapping[str, JobKind] | None = None) -> JobService:
    """Return what looks at jobs and decides on them. kinds: of those that are asked for or end here."""
    around = institution.dependencies
    store = JobStore(institution.database, cipher=institution.cipher)
    return JobService(store, kinds=kinds or {}, clock=around.clock, entropy=around.entropy)


def _record(job: Job) -> jobs.JobRecord:
    return jobs.JobRecord.model_validate(job.as_json())
