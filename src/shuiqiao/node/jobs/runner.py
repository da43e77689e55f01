"""Does the jobs of a home: a bounded number at a time, each under a lease that is renewed while its process lives.

What goes wrong is noted with its code and words, and what becomes of the job follows from it:

* a party or a disk that is away (Unavailable): tried again later, each time about twice as late;
* a stop to be confirmed: held until a person confirms it;
* any other error of the product: failed, for another try would end the same;
* an error that is none of the product's: tried again as well, and then failed as ``jobs.act_broken``;
* the process is closed: given back as it was, and begun anew wherever a runner is next;
* the process dies: its lease ends, at the latest when the home's next server starts, and whoever looks next takes the
  job over; an act that kills its process again and again ends as ``jobs.worker_lost`` when its attempts are used up.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog

from shuiqiao.base.encoding import encode_json
from shuiqiao.base.errors import Conflict, IntegrityError, ShuiqiaoError, Unavailable
from shuiqiao.client import request_id, tracing
from shuiqiao.node.jobs.model import MAX_PARAMETERS_BYTES, ConfirmationWanted, JobInterrupted, JobState
from shuiqiao.node.jobs.store import Ending

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from shuiqiao.base.clock import Clock
    from shuiqiao.base.ids import Entropy
    from shuiqiao.node.jobs.model import Job, JobKind
    from shuiqiao.node.jobs.service import JobService
    from shuiqiao.node.jobs.store import JobStore

LEASE_MS: Final = 30_000
"""How long a job is believed to run without a word of its owner."""

THREADS: Final = 2
"""Jobs at a time. With four, five applications a second took longer: they wait for each other's interpreter lock."""

POLL_S: Final = 1.0
"""How soon a job that another process asked for, or whose time came, is seen."""

FIRST_RETRY_MS: Final = 2_000
LAST_RETRY_MS: Final = 15 * 60_000
"""After a first failure about 2 s, then about twice as long each time, and never more than 15 minutes."""

TELL_EVERY_S: Final = 0.5
"""Progress within one step is written at most this often."""

KEPT_MS: Final = 30 * 86_400_000
"""Jobs that ended are forgotten after 30 days."""

log: structlog.stdlib.BoundLogger = structlog.get_logger("shuiqiao")

_RENEWALS: Final = 3
"""A lease is renewed this often within its time."""


def owner_of_this_process(entropy: Entropy) -> str:
    """Return a name of this process that none had before: host, process id, and a random number."""
    return f"{socket.gethostname()[:80]}:{os.getpid()}:{entropy(8).hex()}"


@dataclass(slots=True)
class _Run:
    """One job while its act runs; what ``RunningJob`` asks for."""

    job: Job
    store: JobStore
    clock: Clock
    lease_ms: int
    renew_at_s: float
    """By this machine's monotonic clock, which nobody sets."""
    told_s: float = 0.0
    told_step: str = ""
    interrupted_by: str = ""
    """Why the act must end: cancelled, closing, or lost; empty while it may go on."""

    def heard(self, is_to_cancel: bool | None) -> None:  # noqa: FBT001 - what the store returned
        """Take in what the store said of this job's claim."""
        if is_to_cancel is None:
            self.interrupted_by = "lost"
        elif is_to_cancel and not self.interrupted_by:
            self.interrupted_by = "cancelled"

    def renew(self) -> None:
        """Put off the end of the lease, if the job is still this process' own."""
        self.renew_at_s = time.monotonic() + self.lease_ms / 1000 / _RENEWALS
        self.heard(self.store.renew(self.job, until_ms=self.clock.now_ms() + self.lease_ms))

    def progress(self, step: str, done: int, total: int | None, /) -> None:
        """See RunningJob."""
        if time.monotonic() >= self.renew_at_s:
            # This process may have stood still, and another one may have the job by now.
            self.renew()
        is_new = step != self.told_step or done == total
        if not self.interrupted_by and (is_new or time.monotonic() - self.told_s >= TELL_EVERY_S):
            self.told_s, self.told_step = time.monotonic(), step
            self.heard(self.store.tell(self.job, step=step, done=done, total=total))
        if self.interrupted_by:
            raise JobInterrupted(self.interrupted_by)


class JobRunner:
    """The workers of one process. Whoever makes one closes it.

    ::

        runner = JobRunner(store, service=service, kinds=kinds, clock=clock, entropy=entropy)
        runner.start()
        ...
        runner.close(timeout_s=10)
    """

    def __init__(
        self,
        store: JobStore,
        *,
        service: JobService,
        kinds: Mapping[str, JobKind],
        clock: Clock,
        entropy: Entropy,
        threads: int = THREADS,
        lease_ms: int = LEASE_MS,
    ) -> None:
        self.owner = owner_of_this_process(entropy)
        self._store = store
        self._service = service
        self._kinds = kinds
        self._clock = clock
        self._entropy = entropy
        self._lease_ms = lease_ms
        self._wake = threading.Condition()
        self._is_closing = False
        self._claiming = threading.Lock()
        self._runs: dict[bytes, _Run] = {}
        self._workers = [threading.Thread(target=self._work, name=f"job-{n}", daemon=True) for n in range(threads)]
        self._keeper = threading.Thread(target=self._keep, name="job-leases", daemon=True)

    def start(self, *, is_alone: bool = False) -> None:
        """Begin. is_alone: nobody else does jobs of this home now, so what runs was left by a process that died."""
        self._service.add_duties()
        if is_alone:
            self._store.end_leases(but=self.owner, now_ms=self._clock.now_ms())
            self._service.hasten_resuming()
        for thread in (*self._workers, self._keeper):
            thread.start()

    def wake(self) -> None:
        """Look at once whether there is something to do, e.g. because a job was asked for."""
        with self._wake:
            self._wake.notify_all()

    def close(self, *, timeout_s: float) -> None:
        """Take no more jobs, and give back what runs; an act that does not end in time is left to its lease."""
        with self._wake:
            self._is_closing = True
            for run in self._runs.values():
                run.interrupted_by = run.interrupted_by or "closing"
            self._wake.notify_all()
        ends_s = time.monotonic() + timeout_s
        for thread in (*self._workers, self._keeper):
            if thread.ident is not None:
                thread.join(max(0.0, ends_s - time.monotonic()))

    def run_one(self) -> bool:
        """Do the next job that is due, in this thread; tell whether there was one."""
        run = self._claim()
        if run is None:
            return False
        with _under_its_request(run.job):
            self._do(run)
        return True

    def _do(self, run: _Run) -> None:
        job = run.job
        try:
            with tracing.span(f"job {job.kind}", job=job.id.hex(), job_kind=job.kind, attempt=job.attempts) as span:
                if job.request_id:
                    span.tell(request=job.request_id)
                ending = self._ending(run)
                span.tell(state=ending.state, **({"code": ending.code} if ending.code else {}))
        finally:
            with self._wake:
                self._runs.pop(job.id, None)
        self._end(job, ending)
        if ending.code:
            log.warning("jobs.run_failed", job=job.id.hex(), code=ending.code)

    def _claim(self) -> _Run | None:
        with self._claiming:
            with self._wake:
                at_work = {run.job.kind for run in self._runs.values()}
            kinds = [name for name, kind in self._kinds.items() if not (kind.one_at_a_time and name in at_work)]
            renew_at_s, now_ms = time.monotonic() + self._lease_ms / 1000 / _RENEWALS, self._clock.now_ms()
            job = self._store.claim(owner=self.owner, kinds=kinds, now_ms=now_ms, until_ms=now_ms + self._lease_ms)
            if job is None:
                return None
            run = _Run(job=job, store=self._store, clock=self._clock, lease_ms=self._lease_ms, renew_at_s=renew_at_s)
            with self._wake:
                self._runs[job.id] = run
                if self._is_closing:
                    run.interrupted_by = "closing"
            return run

    def _end(self, job: Job, ending: Ending, *, only_if_lost: bool = False) -> None:
        if self._store.end(job, ending, now_ms=self._clock.now_ms(), only_if_lost=only_if_lost):
            self._service.clear(job.id)

    def _work(self) -> None:
        while not self._is_closing:
            is_done = False
            with _going_on():
                is_done = self.run_one()
            with self._wake:
                if not is_done and not self._is_closing:
                    self._wake.wait(POLL_S)

    def _keep(self) -> None:
        pause_s = self._lease_ms / 1000 / _RENEWALS
        while not self._is_closing:
            with _going_on():
                self.tend()
            with self._wake:
                if not self._is_closing:
                    self._wake.wait_for(lambda: self._is_closing, timeout=pause_s)

    def tend(self) -> None:
        """Renew the leases of what runs here, end what nobody takes over any more, forget what ended long ago."""
        now_ms = self._clock.now_ms()
        with self._wake:
            runs = [*self._runs.values()]
        for run in runs:
            run.renew()
        for job in self._store.lost(now_ms=now_ms):
            error = Unavailable(
                "jobs.worker_lost", f"its process {job.owner} went away in attempt {job.attempts} of {job.max_attempts}"
            )
            state = JobState.CANCELLED if job.cancel_asked else JobState.FAILED
            self._end(job, self._ended(job, state, error), only_if_lost=True)
        self._store.forget(before_ms=now_ms - KEPT_MS)

    def _ending(self, run: _Run) -> Ending:
        """Run the act of a job, and return what becomes of it."""
        job = run.job
        try:
            result = dict(self._kinds[job.kind].act(run))
            _require_bounded(job, result)
        except JobInterrupted:
            return self._interrupted(run)
        except ConfirmationWanted as wanted:
            error = Conflict("jobs.confirmation_needed", wanted.message)
            return Ending(
                state=JobState.HELD,
                due_ms=job.due_ms,
                attempts=0,
                code=error.code,
                message=error.message,
                result=wanted.offer,
            )
        except Unavailable as error:
            return self._retried(job, error, retry_after_s=error.retry_after_s)
        except ShuiqiaoError as error:
            return self._ended(job, JobState.FAILED, error)
        except Exception as error:  # noqa: BLE001 - whatever an act raises is told where the job is seen
            broken = IntegrityError("jobs.act_broken", f"{type(error).__name__}: {error}")
            return self._retried(job, broken, retry_after_s=None)
        return self._ended(job, JobState.DONE, None, result=result)

    def _interrupted(self, run: _Run) -> Ending:
        job = run.job
        if run.interrupted_by == "cancelled":
            error = Conflict("jobs.cancelled", "it was cancelled while it ran")
            return self._ended(job, JobState.CANCELLED, error)
        # Given back untried. Where the lease was lost this changes nothing, for the job is another's.
        return Ending(
            state=JobState.WAITING,
            due_ms=self._clock.now_ms(),
            attempts=job.attempts - 1,
            confirmed=job.confirmed,
            result=job.result,
        )

    def _retried(self, job: Job, error: ShuiqiaoError, *, retry_after_s: float | None) -> Ending:
        if job.attempts >= job.max_attempts:
            return self._ended(job, JobState.FAILED, error)
        wait_ms = max(self._backoff_ms(job.attempts), int(1000 * (retry_after_s or 0)))
        return Ending(
            state=JobState.WAITING,
            due_ms=self._clock.now_ms() + wait_ms,
            attempts=job.attempts,
            code=error.code,
            message=error.message,
            confirmed=job.confirmed,
            result=job.result,
        )

    def _backoff_ms(self, attempts: int) -> int:
        """Return how long to wait after so many attempts: between half of a doubling time and all of it."""
        whole_ms = min(LAST_RETRY_MS, FIRST_RETRY_MS << min(attempts - 1, 30))
        share = int.from_bytes(self._entropy(4), "big") / (1 << 32)
        return int(whole_ms * (1 + share) / 2)

    def _ended(
        self, job: Job, state: JobState, error: ShuiqiaoError | None, *, result: Mapping[str, Any] | None = None
    ) -> Ending:
        """Return the ending of a job; a duty waits for its next time instead, and keeps how it went."""
        now_ms = self._clock.now_ms()
        is_duty = job.every_ms is not None
        return Ending(
            state=JobState.WAITING if is_duty else state,
            due_ms=now_ms + (job.every_ms or 0),
            attempts=0 if is_duty else job.attempts,
            code="" if error is None else error.code,
            message=None if error is None else error.message,
            result=result,
            finished_ms=now_ms,
        )


@contextmanager
def _under_its_request(job: Job) -> Generator[None]:
    """Log, and ask others, under the id of the request by which a job was asked for."""
    outside = request_id.current.set(job.request_id or "")
    try:
        yield
    finally:
        request_id.current.reset(outside)


@contextmanager
def _going_on() -> Generator[None]:
    """Let a worker live whatever meets it: jobs wait in the table, and the next look finds what is due.

    The database may be away for a while, which is told elsewhere; what else stops a worker is logged.
    """
    try:
        yield
    except Unavailable:
        pass
    except ShuiqiaoError as error:
        log.warning("jobs.worker_failed", code=error.code)
    except Exception as error:  # noqa: BLE001 - a worker that ended would leave all jobs undone, and nobody would know
        log.error("jobs.worker_failed", error_type=type(error).__name__)  # noqa: TRY400 - its text may hold values


def _require_bounded(job: Job, result: Mapping[str, Any]) -> None:
    size = len(encode_json(dict(result)))
    if size > MAX_PARAMETERS_BYTES:
        raise IntegrityError("jobs.result_too_large", f"the result of a {job.kind} has {size} bytes")
