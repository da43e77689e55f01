"""The ingest as a job: files of the bureau's own machine, or one that was sent and lies in the home until its job ends.

A file that was sent is whole and on the disk before there is a job, and the job names it, not where it lies. So an
upload that breaks off leaves nothing [API-11]: what a killed server left half is removed when the home is served again,
and so is the file of a job that ended. One ingest is at work at a time, and the others wait for it.

Whoever names files over the home's socket waits for the end of the job, and gets the whole report. A server that ends
gives its ingest back; the next one begins it anew, which changes nothing about what is anchored already.
"""

from __future__ import annotations

import shutil
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Final, Protocol

import msgspec

from shuiqiao.base.durable import sync_folder, write_file
from shuiqiao.base.encoding import decode_json, encode_json, typed
from shuiqiao.base.errors import Conflict, InvalidInput, Unavailable
from shuiqiao.base.ids import new_id
from shuiqiao.client.resources.own_files import path_of
from shuiqiao.members.model import Role
from shuiqiao.node.home.settings import require_role
from shuiqiao.node.jobs.model import ENDED, MAX_PARAMETERS_BYTES, JobInterrupted, JobKind
from shuiqiao.standards.readers.source import open_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from shuiqiao.node.home.settings import Home
    from shuiqiao.node.institution import Institution
    from shuiqiao.node.jobs.model import Job, RunningJob
    from shuiqiao.vault.model import IngestReport

INGEST: Final = "vault.ingest"

MAX_NAMED: Final = 50
"""Batches that a job's result names; it counts them all."""

MAX_WAITING: Final = 8
"""Callers of the home's socket that wait for the end of their ingest."""

RETRY_S: Final = 5.0
_LOOK_S: Final = 0.2
_LIST: Final = "files.json"
_MAX_LIST_BYTES: Final = 256 << 20


class IngestParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an ingest is asked with: a file that was sent, by its name, or files of this machine, by absolute paths.

    Paths are written as ``own_files.path_text`` does. listed: how many stand in a file of the home, where they are too
    long for the table of jobs. record_type: of all files; None sees it from the columns.
    """

    files: tuple[Annotated[str, msgspec.Meta(max_length=3 * 4096)], ...] = ()
    listed: Annotated[int, msgspec.Meta(ge=0)] = 0
    sent: Annotated[str, msgspec.Meta(max_length=64, pattern=r"^[^/\\\x00]*\Z")] = ""
    record_type: Annotated[str, msgspec.Meta(max_length=64)] | None = None

    def __post_init__(self) -> None:
        if sum(map(bool, (self.files, self.listed, self.sent))) != 1:
            raise ValueError("an ingest has files, or one that was sent")


class SentFiles:
    """Files that were sent to a home, each in a folder that is named after its job.

    ::

        sent = SentFiles(home)
        sent.folder_of(job.id) / "invoices.csv"
    """

    def __init__(self, home: Home) -> None:
        self.folder = home.folder / "uploads"

    def folder_of(self, job: bytes) -> Path:
        """Return where the file of a job lies."""
        return self.folder / job.hex()

    def count(self) -> int:
        """Return how many come in at this moment or wait for the end of their job."""
        return sum(1 for _ in self.folder.iterdir()) if self.folder.exists() else 0

    def make_durable(self, job: bytes) -> None:
        """Return when the name of a job's file is on the medium, as its bytes are."""
        for folder in (self.folder_of(job), self.folder, self.folder.parent):
            sync_folder(folder)

    def remove(self, job: bytes) -> None:
        """Remove the file of a job, if there is one."""
        shutil.rmtree(self.folder_of(job), ignore_errors=True)

    def sweep(self, job_of: Callable[[bytes], Job | None]) -> None:
        """Remove what no job waits for: for a server that starts, before anything comes in."""
        for path in self.folder.iterdir() if self.folder.exists() else ():
            job = None
            with suppress(ValueError):
                job = job_of(bytes.fromhex(path.name))
            if job is None or job.state in ENDED:
                shutil.rmtree(path, ignore_errors=True)


class Asked(Protocol):
    """Where jobs are asked for."""

    def ask_soon(self, kind: str, parameters: Mapping[str, Any], *, id: bytes) -> Job:  # noqa: A002
        """Ask for a job, and have it looked at at once."""
        ...

    def job_of(self, id: bytes) -> Job | None:  # noqa: A002
        """Return a job as it stands."""
        ...


class IngestJobs:
    """The ingests of one running bureau.

    ::

        report = running.ingests.take_in(["/data/invoices.parquet"], record_type=None, jobs=running)
    """

    def __init__(self, institution: Institution) -> None:
        self.sent = SentFiles(institution.home)
        self._institution = institution
        self._ends = threading.Condition()
        self._waited: dict[bytes, IngestReport | BaseException | None] = {}
        self._is_ending = False

    def kind(self) -> JobKind:
        """Return what an ingest does as a job."""
        return JobKind(name=INGEST, act=self.ingest, one_at_a_time=True, clear=lambda job: self.sent.remove(job.id))

    def require_readable(self, files: Iterable[Path], *, record_type: str | None) -> None:
        """Return if files are of records, as far as their beginnings show; raises what ``open_source`` raises.

        What is refused here need not become a job. Raises Denied ``node.role_wrong`` where no records are taken in.
        """
        require_role(self._institution.settings, Role.TAX_BUREAU)
        catalogue = self._institution.catalogue
        known = None if record_type is None else catalogue.get(record_type)
        for path in files:
            open_source(path, record_type=known, catalogue=catalogue)

    def ingest(self, running: RunningJob) -> Mapping[str, Any]:
        """Take files in. Raises InvalidInput ``jobs.parameters_invalid``, and what ``Vault.ingest`` raises."""
        job = running.job
        try:
            report = self._taken_in(running)
        except JobInterrupted:
            raise
        except BaseException as error:
            self._tell(job.id, error)
            raise
        self._tell(job.id, report)
        batches = report.anchored[:MAX_NAMED]
        return {
            "ingest": report.report.stem,
            "records_read": report.records_read,
            "records_ingested": report.records_ingested,
            "records_superseding": report.records_superseding,
            "records_quarantined": report.records_quarantined,
            "duplicates_reported": report.duplicates_reported,
            "anchors": report.anchors,
            "anchored": [
                {"batch": each.batch.hex(), "standard": each.standard, "records": each.records, "index": each.index}
                for each in batches
            ],
            "report": str(report.report),
        }

    def _taken_in(self, running: RunningJob) -> IngestReport:
        try:
            wanted = typed(dict(running.job.parameters), IngestParameters)
        except msgspec.ValidationError as error:
            raise InvalidInput("jobs.parameters_invalid", f"an ingest cannot be asked so: {error}") from error
        institution, folder = self._institution, self.sent.folder_of(running.job.id)
        known = None if wanted.record_type is None else institution.catalogue.get(wanted.record_type)
        if wanted.sent:
            files = [folder / wanted.sent]
        elif wanted.listed:
            files = [path_of(text) for text in decode_json((folder / _LIST).read_bytes(), max_bytes=_MAX_LIST_BYTES)]
        else:
            files = [path_of(text) for text in wanted.files]
        return institution.vault.ingest(files, anchor=institution.outbox, record_type=known, progress=running.progress)

    def take_in(self, files: Sequence[str], *, record_type: str | None, jobs: Asked) -> IngestReport:
        """Have files of this machine taken in as a job, and wait for its end.

        Raises what ``Vault.ingest`` raises; Unavailable ``vault.busy`` while too many wait, ``node.server_ending``
        where the server ends before the job does; Conflict ``jobs.cancelled``.
        """
        self.require_readable(map(path_of, files), record_type=record_type)
        job = new_id(self._institution.dependencies.entropy)
        with self._ends:
            if len(self._waited) >= MAX_WAITING:
                raise Unavailable("vault.busy", f"{MAX_WAITING} ingests wait already", retry_after_s=RETRY_S)
            self._waited[job] = None
        try:
            jobs.ask_soon(INGEST, self._parameters(job, files, record_type=record_type), id=job)
            return self._outcome(job, jobs=jobs)
        finally:
            with self._ends:
                del self._waited[job]

    def end_waiting(self) -> None:
        """Let go whoever waits for a job: the server ends, and the next one goes on with it."""
        with self._ends:
            self._is_ending = True
            self._ends.notify_all()

    def _parameters(self, job: bytes, files: Sequence[str], *, record_type: str | None) -> dict[str, Any]:
        found: dict[str, Any] = {"files": list(files), "record_type": record_type}
        if len(encode_json(found)) <= MAX_PARAMETERS_BYTES:
            return found
        folder = self.sent.folder_of(job)
        folder.mkdir(mode=0o700, parents=True)
        write_file(folder / _LIST, [encode_json(list(files))], mode=0o600)
        self.sent.make_durable(job)
        return {"listed": len(files), "record_type": record_type}

    def _outcome(self, job: bytes, *, jobs: Asked) -> IngestReport:
        while True:
            found = jobs.job_of(job)
            with self._ends:
                said = self._waited[job]
                if not isinstance(said, BaseException | None):
                    return said
                if found is None or found.state in ENDED:
                    raise said or Conflict("jobs.cancelled", f"job {job.hex()} was cancelled before its end")
                if self._is_ending:
                    message = f"the server ends, and the next one goes on with job {job.hex()}"
                    raise Unavailable("node.server_ending", message)
                self._ends.wait(_LOOK_S)

    def _tell(self, job: bytes, outcome: IngestReport | BaseException) -> None:
        with self._ends:
            if job in self._waited:
                self._waited[job] = outcome
                self._ends.notify_all()
