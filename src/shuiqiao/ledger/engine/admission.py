"""Takes submissions in, decodes them and has their signatures checked, until a block takes them.

Order of arrival is kept: a transaction may rest on the one before it. Everything is bounded: what waits in the intake,
what is decoded ahead, what the verifier has in work. What is refused here never reaches a block.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from itertools import islice
from typing import Final

from shuiqiao.base.errors import MACHINE_FAILURES, IntegrityError, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.ledger.engine.port import BUSY_RETRY_S, ledger_busy, new_answer
from shuiqiao.ledger.model import Committed, StateView, Transaction
from shuiqiao.ledger.state.machine import StateMachine
from shuiqiao.ledger.transactions.kinds import MAX_BLOCK_WORK, expected_work
from shuiqiao.ledger.transactions.transaction import SignatureClaim
from shuiqiao.ledger.transactions.verifiers import (
    MAX_CHUNK_BYTES,
    MAX_CHUNK_JOBS,
    Verdicts,
    Verifier,
    verifier_failed,
)

MAX_DECODED_AHEAD: Final = 512
"""Signatures planned and not yet sent to be checked: more would only go stale."""

MIN_CHECKED_AHEAD: Final = 1_024
"""Signatures that should be in work when a block is begun: what the verifiers do while the engine makes a block."""

_TICKETS = 1 << 32


class Submission:
    """One transaction on its way; used by the writer's thread once it has left the intake."""

    __slots__ = ("future", "keys", "open_claims", "raw", "refused", "transaction", "work")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.future = new_answer()
        self.transaction: Transaction | None = None
        self.keys: tuple[bytes, ...] = ()
        self.open_claims = 0
        self.refused = False
        self.work = 0


class Intake:
    """Submissions that arrived: any thread puts in, the writer's thread takes out; bounded by what is not answered."""

    def __init__(self, *, max_waiting: int) -> None:
        self._max_waiting = max_waiting
        self._queue: deque[Submission] = deque()
        self._lock = threading.Lock()
        self._waiting = 0
        self._refusal: Unavailable | None = None
        self._is_sleeping = False
        self._is_released = False
        self.wake_descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def put(self, raw: bytes) -> Future[Committed]:
        """Take a submission, or answer at once: ``ledger.busy``, ``ledger.closed``, or why the engine stopped."""
        submission = Submission(raw)
        with self._lock:
            refusal = self._refusal or (ledger_busy(self._waiting) if self._waiting >= self._max_waiting else None)
            if refusal is None:
                self._waiting += 1
                self._queue.append(submission)
                if self._is_sleeping:
                    self.wake()
        return submission.future if refusal is None else new_answer(refusal)

    def take(self, limit: int) -> list[Submission]:
        """Return the next submissions in order of arrival."""
        queue = self._queue
        return [queue.popleft() for _ in range(min(limit, len(queue)))]

    def __len__(self) -> int:
        return len(self._queue)

    def answered(self, count: int) -> None:
        """Make room for others: this many submissions have their answer."""
        with self._lock:
            self._waiting -= count

    def refuse_all(self, reason: Unavailable) -> None:
        """Answer every later submission with a reason; the first reason given stays."""
        with self._lock:
            if self._refusal is None:
                self._refusal = reason
                self.wake()

    @property
    def is_refusing(self) -> bool:
        """Whether every later submission is refused."""
        return self._refusal is not None

    def sleep(self) -> bool:
        """Ask to be woken by the next submission; False if there is one already or all are refused."""
        with self._lock:
            self._is_sleeping = not self._queue and self._refusal is None
            return self._is_sleeping

    def woken(self) -> None:
        """Clear the wake descriptor after it woke the writer's thread."""
        self._is_sleeping = False
        try:
            os.eventfd_read(self.wake_descriptor)
        except BlockingIOError:
            return

    def wake(self) -> None:
        """Make the wake descriptor readable."""
        self._is_sleeping = False
        os.eventfd_write(self.wake_descriptor, 1)

    def rouse(self) -> None:
        """Wake the writer's thread for something else than a submission, unless this is closed."""
        with self._lock:
            if not self._is_released:
                self.wake()

    def close(self) -> None:
        """Release the wake descriptor."""
        with self._lock:
            self._is_released = True
            os.close(self.wake_descriptor)


class Admission:
    """What the writer's thread has taken in and not yet put into a block."""

    def __init__(self, *, machine: StateMachine, verifier: Verifier, intake: Intake) -> None:
        self._machine = machine
        self._verifier = verifier
        self._intake = intake
        self._queue: deque[Submission] = deque()
        self._jobs: deque[tuple[Submission, SignatureClaim]] = deque()
        self._in_work: dict[int, list[Submission]] = {}
        self._claims_in_work = 0
        self._next_ticket = 0

    def has_room(self) -> bool:
        """Tell whether more should be taken from the intake now."""
        return len(self._jobs) < MAX_DECODED_AHEAD

    def needs_submissions(self) -> bool:
        """Return whether the verifier would take more, and should have more before the engine turns to a block."""
        return self._claims_in_work < MIN_CHECKED_AHEAD and not self._jobs and self._verifier.has_room()

    def is_checking(self) -> bool:
        """Tell whether a signature is still to be checked, so that more will be ready soon."""
        return bool(self._jobs or self._in_work)

    def is_ready(self) -> bool:
        """Tell whether a transaction is ready for a block."""
        self._drop_refused()
        return bool(self._queue) and self._queue[0].open_claims == 0

    def is_empty(self) -> bool:
        """Tell whether everything taken in has left."""
        return not self._queue

    def admit(self, submissions: Sequence[Submission], state: StateView) -> None:
        """Decode submissions and plan which signatures to check, by the state as it is now."""
        for submission in submissions:
            try:
                transaction = self._machine.decode(submission.raw)
            except ShuiqiaoError as error:
                self.refuse(submission, error)
                continue
            except MACHINE_FAILURES as error:
                self.refuse(submission, _undecided(error))
                continue
            except Exception as error:  # noqa: BLE001 - hostile bytes that break the decoder must not stop the writer
                self.refuse(submission, undecodable(error))
                continue
            submission.transaction = transaction
            submission.work = expected_work(transaction)
            self._plan(submission, transaction, state)
            self._queue.append(submission)

    def _plan(self, submission: Submission, transaction: Transaction, state: StateView) -> None:
        try:
            claims = self._machine.plan_verification(transaction, state)
        except (ShuiqiaoError, *MACHINE_FAILURES):
            # A transaction that waits before it may give it its signers: the block asks again.
            return
        submission.keys = tuple([claim[0] for claim in claims])
        submission.open_claims = len(claims)
        for claim in claims:
            self._jobs.append((submission, claim))

    def start_checks(self) -> None:
        """Give planned signatures to the verifier while it has room."""
        while self._jobs and self._verifier.has_room():
            owners, jobs = self._next_chunk()
            ticket = self._next_ticket
            self._next_ticket = (ticket + 1) % _TICKETS
            self._in_work[ticket] = owners
            self._claims_in_work += len(owners)
            self._verifier.start(ticket, jobs)

    def _next_chunk(self) -> tuple[list[Submission], list[SignatureClaim]]:
        owners: list[Submission] = []
        jobs: list[SignatureClaim] = []
        room = MAX_CHUNK_BYTES
        while self._jobs and len(jobs) < MAX_CHUNK_JOBS and (room > 0 or not jobs):
            owner, job = self._jobs.popleft()
            owners.append(owner)
            jobs.append(job)
            room -= len(job[1])
        return owners, jobs

    def receive(self, answers: Sequence[Verdicts]) -> None:
        """Take verdicts: a signature that does not hold refuses its transaction, whatever the state will be."""
        for ticket, holds in answers:
            owners = self._in_work.pop(ticket)
            self._claims_in_work -= len(owners)
            if holds is None:
                for owner in owners:
                    self.refuse(owner, verifier_failed())
                continue
            for owner, is_held in zip(owners, holds, strict=True):
                owner.open_claims -= 1
                if not is_held and owner.transaction is not None:
                    self.refuse(owner, signature_invalid(owner.transaction))

    def refuse(self, submission: Submission, error: Exception) -> None:
        """Answer a submission with the error that refused it, once."""
        if not submission.refused:
            submission.refused = True
            self._intake.answered(1)
            submission.future.set_exception(error)

    def _drop_refused(self) -> None:
        while self._queue and self._queue[0].refused:
            self._queue.popleft()

    def is_block_full(self, *, max_transactions: int) -> bool:
        """Tell whether as many transactions are ready in a row as a block may hold."""
        return len(self._queue) >= max_transactions and not any(
            submission.open_claims for submission in islice(self._queue, max_transactions)
        )

    def take_block(self, *, max_transactions: int, max_bytes: int) -> list[Submission]:
        """Take the transactions of the next block: those that are ready in a row and fit, in order of arrival."""
        queue = self._queue
        taken: list[Submission] = []
        size = work = 0
        while queue and len(taken) < max_transactions:
            first = queue[0]
            if not first.refused:
                size += len(first.raw)
                work += first.work
                if first.open_claims or (taken and (size > max_bytes or work > MAX_BLOCK_WORK)):
                    break
                taken.append(first)
            queue.popleft()
        return taken

    def fail_all(self, error: Exception) -> None:
        """Answer everything that waits with one error, because the engine stops."""
        for submission in [*self._queue, *self._intake.take(len(self._intake))]:
            self.refuse(submission, error)
        self._queue.clear()
        self._jobs.clear()


def undecodable(error: Exception) -> InvalidInput:
    """Return what refuses bytes on which the decoder broke down."""
    return InvalidInput(
        "ledger.tx_undecodable",
        f"decoding the transaction broke down with {type(error).__name__}; it was refused",
        next_step="report this to the maintainers with the transaction",
    )


def _undecided(error: Exception) -> Unavailable:
    return Unavailable(
        "ledger.tx_undecided",
        f"decoding the transaction met {type(error).__name__} of this machine's own; nothing was decided",
        retry_after_s=BUSY_RETRY_S,
    )


def signature_invalid(tx: Transaction) -> IntegrityError:
    """Return what refuses a transaction whose signatures were checked ahead of its block."""
    return IntegrityError(
        "ledger.signature_invalid", f"a signature of {tx.kind} {tx.id.hex()} does not hold for the key that had to sign"
    )
