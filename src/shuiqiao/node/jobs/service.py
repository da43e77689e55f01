"""What a person or a part of the node does about jobs: asks for one, looks, cancels, confirms. ``runner`` runs them."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from shuiqiao.base.encoding import encode_json
from shuiqiao.base.errors import Conflict, InvalidInput
from shuiqiao.base.ids import new_id
from shuiqiao.client import request_id
from shuiqiao.node.jobs.model import ENDED, MAX_PARAMETERS_BYTES, Job, JobState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shuiqiao.base.clock import Clock
    from shuiqiao.base.ids import Entropy
    from shuiqiao.node.jobs.model import JobKind
    from shuiqiao.node.jobs.store import JobStore

MAX_LISTED: Final = 1000
_SHORTEST_NAME: Final = 4
_ID_BYTES: Final = 16
_ID_BEGINNING: Final = re.compile(r"[0-9a-f]{1,32}")


class JobService:
    """The jobs of one institution.

    ::

        job = service.ask("vault.ingest", {"files": ["/data/invoices.parquet"]})
        assert service.find(job.id.hex()).state is JobState.WAITING
    """

    def __init__(self, store: JobStore, *, kinds: Mapping[str, JobKind], clock: Clock, entropy: Entropy) -> None:
        self._store = store
        self._kinds = kinds
        self._clock = clock
        self._entropy = entropy

    def ask(self, kind: str, parameters: Mapping[str, Any], *, id: bytes | None = None) -> Job:  # noqa: A002
        """Ask for a job to be done, kept when this returns. id: the same one again is the same job.

        Whatever the job has logged and asked of others stands under the id of the request that is answered here.
        Raises InvalidInput ``jobs.kind_unknown``, ``jobs.parameters_too_large``; Conflict ``jobs.id_taken`` for an id
        under which something else was asked.
        """
        found = self._kinds.get(kind)
        if found is None or found.every_ms is not None:
            known = sorted(name for name, each in self._kinds.items() if each.every_ms is None)
            raise InvalidInput("jobs.kind_unknown", f"no job is called {kind[:64]!r}; there are {', '.join(known)}")
        size = len(encode_json(dict(parameters)))
        if size > MAX_PARAMETERS_BYTES:
            raise InvalidInput(
                "jobs.parameters_too_large", f"the parameters of a {kind} have {size} bytes of {MAX_PARAMETERS_BYTES}"
            )
        job = _new_job(found, id=id or new_id(self._entropy), parameters=parameters, now_ms=self._clock.now_ms())
        job = replace(job, request_id=request_id.current.get() or None)
        if not self._store.add(job):
            before = self._store.job(job.id)
            if before is None or (before.kind, before.parameters) != (kind, dict(parameters)):
                raise Conflict("jobs.id_taken", f"job {job.id.hex()} was asked before, and is another one")
            return before
        return job

    def hasten(self, duty: str) -> None:
        """Have a duty that waits for its time be due now."""
        self._store.hasten([duty], now_ms=self._clock.now_ms())

    def hasten_resuming(self) -> None:
        """Have the duties that go on with what was stopped be due now."""
        resuming = [kind.name for kind in self._kinds.values() if kind.resumes]
        self._store.hasten(resuming, now_ms=self._clock.now_ms())

    def add_duties(self) -> None:
        """Keep the duties that are not kept yet, each due at once."""
        for kind in self._kinds.values():
            if kind.every_ms is not None:
                self._store.add(_new_job(kind, id=duty_id(kind.name), parameters={}, now_ms=self._clock.now_ms()))

    def jobs(self, *, at_most: int = MAX_LISTED, kind: str | None = None, state: JobState | None = None) -> list[Job]:
        """Return jobs: the duties, then all others, the newest first. kind, state: those alone, None for any."""
        return self._store.jobs(at_most=min(at_most, MAX_LISTED), kind=kind, state=state)

    def find(self, name: str) -> Job:
        """Return the one job whose id begins with a name; raises InvalidInput ``jobs.name_unclear``."""
        found = self._beginning_with(name.lower())
        if len(name) < _SHORTEST_NAME or len(found) != 1:
            raise InvalidInput(
                "jobs.name_unclear",
                f"{name[:64]!r} begins the id of {'no job' if not found else 'more than one job'}; {_SHORTEST_NAME} or "
                "more of its characters that begin no other are needed",
            )
        return found[0]

    def _beginning_with(self, name: str) -> list[Job]:
        """Return the jobs whose ids begin so, two at most."""
        if not _ID_BEGINNING.fullmatch(name):
            return []
        first, last = (bytes.fromhex(name.ljust(2 * _ID_BYTES, digit)) for digit in "0f")
        return self._store.named(first=first, last=last, at_most=2)

    def cancel(self, name: str) -> Job:
        """Cancel a job, or ask whoever runs it to end it; a duty passes over this time only.

        Raises InvalidInput ``jobs.name_unclear``, Conflict ``jobs.ended`` for one that ended already.
        """
        job = self.find(name)
        if job.state in ENDED:
            raise Conflict("jobs.ended", f"job {job.id.hex()} is {job.state} already")
        self._store.cancel(job, now_ms=self._clock.now_ms())
        self.clear(job.id)
        return self._store.job(job.id) or job

    def clear(self, id: bytes) -> None:  # noqa: A002
        """Remove what was kept for a job, if it has ended for good; while it has not this changes nothing."""
        job = self._store.job(id)
        clear = None if job is None or job.kind not in self._kinds else self._kinds[job.kind].clear
        if clear is not None and job is not None and job.state in ENDED:
            clear(job)

    def confirm(self, name: str) -> Job:
        """Let a job that stopped to be confirmed go on, with exactly what it said that it would do.

        Raises InvalidInput ``jobs.name_unclear``, Conflict ``jobs.not_held``.
        """
        job = self.find(name)
        is_held = job.state is JobState.HELD and job.result is not None
        if not is_held or not self._store.confirm(job, confirmed=job.result or {}, now_ms=self._clock.now_ms()):
            raise Conflict("jobs.not_held", f"job {job.id.hex()} is {job.state}, and waits for nobody's confirmation")
        return self._store.job(job.id) or job


def duty_id(kind: str) -> bytes:
    """Return the id of the one job of a duty, the same in every process."""
    return hashlib.sha256(b"duty " + kind.encode()).digest()[:_ID_BYTES]


def _new_job(kind: JobKind, *, id: bytes, parameters: Mapping[str, Any], now_ms: int) -> Job:  # noqa: A002
    return Job(
        id=id,
        kind=kind.name,
        parameters=dict(parameters),
        state=JobState.WAITING,
        created_ms=now_ms,
        due_ms=now_ms,
        every_ms=kind.every_ms,
        attempts=0,
        max_attempts=kind.max_attempts,
        owner=None,
        lease_until_ms=None,
        step="",
        done=0,
        total=None,
        code="",
        message="",
        cancel_asked=False,
        confirmed=None,
        result=None,
        finished_ms=None,
        request_id=None,
    )
