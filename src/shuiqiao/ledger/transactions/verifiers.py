"""Signature checking for an engine: inline, or by worker processes that may die without losing a job [STORE-20].

A verifier takes chunks of jobs and later gives back one verdict per job; it judges single signatures only, which keys
must have signed is the state machine's business. Chunks are bounded in jobs and bytes, and so is what is in flight:
``has_room`` is how the engine feels back-pressure. Used by one thread.
"""

from __future__ import annotations

import os
import select
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Final, NamedTuple, Self

from shuiqiao.base.errors import Unavailable
from shuiqiao.base.worker_process import WorkerProcess
from shuiqiao.crypto.model import CipherSuite
from shuiqiao.ledger.transactions import verify_worker
from shuiqiao.ledger.transactions.transaction import SignatureClaim
from shuiqiao.ledger.transactions.verify_worker import HEAD, JOB, VERDICT_HEAD, verdict_bytes

MAX_CHUNK_JOBS: Final = 64
"""Jobs sent to a worker at once: about 5 ms of Ed25519 work, so that pipes cost little and no worker is a straggler."""

MAX_CHUNK_BYTES: Final = 128 * 1024
"""Bytes of messages sent to a worker at once; the last of them may go beyond it."""

MAX_SENT_BYTES: Final = 768 * 1024
"""Bytes a worker may have waiting: work for as long as the engine is busy with a block, within what its pipe holds."""

MAX_BARREN_DEATHS: Final = 8
"""Workers that may die in a row without one answer before the engine gives up on processes."""

MAX_CHUNK_DEATHS: Final = 3
"""Workers that may die over one chunk before its transactions are given up."""

_TICKETS = 1 << 32
_tickets = count()
_READ_BYTES = 65_536


class Verdicts(NamedTuple):
    """The answer to a chunk: one byte per job, 1 where the signature holds, or None when its workers kept dying."""

    ticket: int
    holds: bytes | None


class InlineVerifier:
    """Checks in the caller's own thread, for small uses and where processes are not wanted."""

    def __init__(self, suite: CipherSuite) -> None:
        self._suite = suite
        self._done: list[Verdicts] = []

    def has_room(self) -> bool:
        """Tell whether the last chunk was fetched."""
        return not self._done

    def start(self, ticket: int, jobs: Sequence[SignatureClaim]) -> None:
        """Check the chunk now."""
        self._done.append(Verdicts(ticket, verdict_bytes(self._suite.verify_signatures(jobs))))

    def finished(self, *, wake: int, timeout_s: float | None) -> list[Verdicts]:
        """Return what was checked; if nothing was, wait to be woken."""
        if not self._done:
            wait_readable([wake], timeout_s=timeout_s)
        done, self._done = self._done, []
        return done

    def close(self) -> None:
        """Nothing to stop."""


@dataclass(slots=True, eq=False)
class _Chunk:
    ticket: int
    data: bytes
    deaths: int = 0


@dataclass(slots=True, eq=False)
class _Worker:
    process: WorkerProcess
    chunks: deque[_Chunk] = field(default_factory=deque[_Chunk])
    sent_bytes: int = 0
    received: bytearray = field(default_factory=bytearray)


class ProcessVerifier:
    """Checks in worker processes; a worker that dies is replaced and its chunks are checked again."""

    def __init__(self, suite: CipherSuite, *, processes: int) -> None:
        """Start the workers; processes: 1 or more, about one per core."""
        self._suite_name = str(suite.name)
        self._given_up: list[Verdicts] = []
        self._barren_deaths = 0
        self._workers = [self._spawn() for _ in range(processes)]

    def _spawn(self) -> _Worker:
        process = WorkerProcess(verify_worker.main, self._suite_name)
        os.set_blocking(process.source, False)
        return _Worker(process=process)

    def has_room(self) -> bool:
        """Tell whether some worker has less than MAX_SENT_BYTES waiting."""
        return any(worker.sent_bytes < MAX_SENT_BYTES for worker in self._workers)

    def start(self, ticket: int, jobs: Sequence[SignatureClaim]) -> None:
        """Send a chunk to the least loaded worker."""
        self._send(_Chunk(ticket=ticket, data=_encode_chunk(ticket, jobs)))

    def _send(self, chunk: _Chunk) -> None:
        worker = min(self._workers, key=lambda candidate: candidate.sent_bytes)
        worker.chunks.append(chunk)
        worker.sent_bytes += len(chunk.data)
        try:
            _write_all(worker.process.sink, chunk.data)
        except BrokenPipeError:
            self._replace(worker)

    def finished(self, *, wake: int, timeout_s: float | None) -> list[Verdicts]:
        """Return finished chunks; wait for one, for the wake descriptor to be readable, or for the timeout."""
        readable = wait_readable(
            [wake, *(worker.process.source for worker in self._workers)], timeout_s=0 if self._given_up else timeout_s
        )
        done: list[Verdicts] = []
        for worker in list(self._workers):
            # A worker that was replaced meanwhile has no descriptor any more.
            if worker in self._workers and worker.process.source in readable:
                done += self._receive(worker)
        done += self._given_up
        self._given_up = []
        return done

    def _receive(self, worker: _Worker) -> list[Verdicts]:
        try:
            data = os.read(worker.process.source, _READ_BYTES)
        except BlockingIOError:
            return []
        worker.received += data
        done = _take_verdicts(worker)
        if done:
            self._barren_deaths = 0
        if not data:
            self._replace(worker)
        return done

    def _replace(self, worker: _Worker) -> None:
        """Put a new worker in a dead one's place and give it the chunks that were not answered."""
        if worker not in self._workers:
            return
        self._barren_deaths += 1
        if self._barren_deaths > MAX_BARREN_DEATHS:
            raise verifier_failed()
        _dispose(worker)
        self._workers[self._workers.index(worker)] = self._spawn()
        if worker.chunks:
            # Workers answer in order, so the first unanswered chunk is the one that was in work.
            worker.chunks[0].deaths += 1
        for chunk in worker.chunks:
            if chunk.deaths >= MAX_CHUNK_DEATHS:
                self._given_up.append(Verdicts(chunk.ticket, None))
            else:
                self._send(chunk)

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            _dispose(worker)
        self._workers = []


Verifier = InlineVerifier | ProcessVerifier
"""What checks signatures for an engine: in its own process, or in workers."""


def open_verifier(suite: CipherSuite, *, processes: int) -> Verifier:
    """Return an inline verifier for 0 processes, else a pool."""
    return ProcessVerifier(suite, processes=processes) if processes else InlineVerifier(suite)


class Batches:
    """Batches of signatures that a verifier checks while its owner does something else, and whose verdicts it takes."""

    def __init__(self, verifier: Verifier) -> None:
        """Use it in a ``with``, in which the verifier is its owner's alone."""
        self._verifier = verifier
        # Nobody writes to this pipe: it only fills the place of the engine's wake descriptor.
        self._quiet, self._other_end = os.pipe()
        self._waiting: deque[tuple[int, list[SignatureClaim]]] = deque()
        self._answers: dict[int, bytes | None] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._quiet)
        os.close(self._other_end)

    def give(self, jobs: Sequence[SignatureClaim]) -> list[int]:
        """Have signatures checked; return the tickets for their verdicts."""
        chunks = split_chunks(jobs)
        # No two batches of a process share a ticket: verdicts that nobody took are never taken for others.
        tickets = [next(_tickets) % _TICKETS for _ in chunks]
        self._waiting.extend(zip(tickets, chunks, strict=True))
        self._start()
        return tickets

    def take(self, tickets: Sequence[int]) -> list[bool]:
        """Wait for a batch; return one verdict per job. Raises Unavailable ``ledger.verifier_failed``."""
        while not all(ticket in self._answers for ticket in tickets):
            self._answers.update(self._verifier.finished(wake=self._quiet, timeout_s=None))
            self._start()
        return [bool(holds) for ticket in tickets for holds in _require_verdicts(self._answers.pop(ticket))]

    def _start(self) -> None:
        while self._waiting and self._verifier.has_room():
            self._verifier.start(*self._waiting.popleft())


def verify_all(verifier: Verifier, jobs: Sequence[SignatureClaim]) -> list[bool]:
    """Check many signatures and wait for all; return one verdict per job.

    Raises Unavailable ``ledger.verifier_failed`` if worker processes keep dying over them.
    """
    with Batches(verifier) as batches:
        return batches.take(batches.give(jobs))


def _require_verdicts(holds: bytes | None) -> bytes:
    if holds is None:
        raise verifier_failed()
    return holds


def verifier_failed() -> Unavailable:
    """Return the error for signatures over which worker processes kept dying."""
    return Unavailable(
        "ledger.verifier_failed",
        f"{MAX_CHUNK_DEATHS} signature-checking processes ended, one after the other, over the same transactions",
        next_step="look into the system log for the reason (memory, limits), then submit again",
        retry_after_s=1.0,
    )


def split_chunks(jobs: Sequence[SignatureClaim]) -> list[list[SignatureClaim]]:
    """Cut jobs into chunks of at most MAX_CHUNK_JOBS and, where a job is not larger itself, MAX_CHUNK_BYTES."""
    chunks: list[list[SignatureClaim]] = []
    room = 0
    for job in jobs:
        size = len(job[1])
        if not chunks or len(chunks[-1]) >= MAX_CHUNK_JOBS or size > room:
            chunks.append([])
            room = MAX_CHUNK_BYTES
        chunks[-1].append(job)
        room -= size
    return chunks


def wait_readable(descriptors: Sequence[int], *, timeout_s: float | None) -> set[int]:
    """Return which descriptors can be read (or are at their end) within the timeout; None waits for ever."""
    poller = select.poll()
    for descriptor in descriptors:
        poller.register(descriptor, select.POLLIN)
    return {descriptor for descriptor, _ in poller.poll(None if timeout_s is None else timeout_s * 1000)}


def _encode_chunk(ticket: int, jobs: Sequence[SignatureClaim]) -> bytes:
    table = [JOB.pack(len(key), len(signature), len(message)) for key, message, signature in jobs]
    parts = [part for key, message, signature in jobs for part in (key, signature, message)]
    body = b"".join((*table, *parts))
    return HEAD.pack(len(body), ticket, len(jobs)) + body


def _take_verdicts(worker: _Worker) -> list[Verdicts]:
    done: list[Verdicts] = []
    received = worker.received
    while len(received) >= VERDICT_HEAD.size:
        ticket, jobs = VERDICT_HEAD.unpack_from(received)
        end = VERDICT_HEAD.size + jobs
        if len(received) < end:
            break
        worker.sent_bytes -= len(worker.chunks.popleft().data)
        done.append(Verdicts(ticket, bytes(received[VERDICT_HEAD.size : end])))
        del received[:end]
    return done


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _dispose(worker: _Worker) -> None:
    worker.process.end()
    os.close(worker.process.sink)
    os.close(worker.process.source)
