"""The writer: the one node that orders transactions, in a network whose genesis names an operator for it.

One thread owns the store. It takes what waits, has signatures checked (by worker processes or itself), executes what
is ready as one block, appends and flushes the block, indexes it, and only then answers; docs/spec/ledger-store.md
section 6 numbers these steps. A bad transaction is answered with its refusal and changes nothing for its neighbours.
When the disk fails in a way that leaves its content unknown, the engine stops and says so; reopening recovers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

from shuiqiao.base.clock import Clock
from shuiqiao.base.errors import ShuiqiaoError, Unavailable
from shuiqiao.crypto.model import SigningKey
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.checkpoints.signed_note import Checkpoint
from shuiqiao.ledger.clock_check import require_expected, require_not_behind
from shuiqiao.ledger.engine.admission import Admission, Intake, Submission
from shuiqiao.ledger.engine.ledger_copy import LedgerCopy
from shuiqiao.ledger.engine.local_ledger import LocalLedger
from shuiqiao.ledger.engine.port import EmbeddedSettings, ledger_closed
from shuiqiao.ledger.engine.signing import CheckpointSigner
from shuiqiao.ledger.log.entry import next_block_time
from shuiqiao.ledger.model import Block, Committed, KeyRing, NetworkParameters
from shuiqiao.ledger.receipts.making import make_receipt
from shuiqiao.ledger.replay.replay import Execution
from shuiqiao.ledger.state.machine import Candidate, StateMachine
from shuiqiao.ledger.store.frame import StoredFrame
from shuiqiao.ledger.tiles.publishing import LogSource, log_of_copy
from shuiqiao.ledger.transactions.kinds import KindTable
from shuiqiao.ledger.transactions.verifiers import open_verifier
from shuiqiao.ledger.witness.cosigning import WitnessPeer

_TAKEN_AT_ONCE: Final = 128
_LINGER_PER_COMMIT: Final = 4.0
"""A block waits up to this many times as long as the last commit took, so that flushing stays a small part."""

_MAX_LINGER_S: Final = 0.05
_RECOVERABLE: Final = frozenset({"ledger.disk_full", "ledger.clock_behind", "ledger.clock_unconfirmed"})
"""After these errors nothing was written, and the writer goes on."""


class EmbeddedLedger(LocalLedger):
    """A LedgerEngine that orders transactions itself.

    ::

        ledger = EmbeddedLedger.open(folder, operator_key=key, settings=EmbeddedSettings(), ...)
        committed = ledger.submit(raw).result()
        receipt = ledger.receipt(committed.index)
        ledger.close()
    """

    is_proven = True
    """In one process nobody stands between it and those who follow it."""

    def __init__(
        self,
        copy: LedgerCopy,
        *,
        clock: Clock,
        operator_keys: Iterable[SigningKey],
        settings: EmbeddedSettings,
    ) -> None:
        """Start the writer on an open copy; use ``open``."""
        super().__init__(lambda: copy)
        self._copy = copy
        self._clock = clock
        self._settings = settings
        self._intake = Intake(max_waiting=settings.max_waiting)
        self._signer = CheckpointSigner(copy, operator_keys=operator_keys, rouse=self._intake.rouse)
        self._verifier = open_verifier(copy.machine.suite, processes=settings.verifier_processes)
        self._admission = Admission(machine=copy.machine, verifier=self._verifier, intake=self._intake)
        self._disk_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger-disk")
        self._closing = threading.Lock()
        self._is_closed = False
        self._block_since: float | None = None
        self._commit_s = 0.0
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        parameters: NetworkParameters,
        kinds: KindTable,
        key_ring: KeyRing,
        clock: Clock,
        operator_key: SigningKey,
        settings: EmbeddedSettings,
        former_keys: Iterable[SigningKey] = (),
    ) -> EmbeddedLedger:
        """Open or create the ledger in a folder, recovering to the last acknowledged block.

        operator_key: of the epoch in force. former_keys: of epochs whose last checkpoint may not be signed yet. Raises
        what ``LedgerCopy`` raises, and Unavailable ``ledger.operator_key_missing``.
        """
        machine = StateMachine(parameters, kinds=kinds, key_ring=key_ring, suite=get_suite(parameters.suite))
        copy = LedgerCopy(folder, machine=machine, settings=settings)
        try:
            return cls(copy, clock=clock, operator_keys=(operator_key, *former_keys), settings=settings)
        except BaseException:
            copy.close()
            raise

    # The port: from any thread

    def submit(self, raw: bytes) -> Future[Committed]:
        """Hand in a signed transaction; the future resolves once it is durable, or fails with what refused it.

        Never raises: ``ledger.busy`` (with retry_after_s), ``ledger.closed`` and the reason of a stopped engine are in
        the future too.
        """
        return self._intake.put(raw)

    @property
    def signer(self) -> CheckpointSigner:
        """The operator's keys, and the witnesses it asks."""
        return self._signer

    def wait_for_block(self, height: int) -> None:
        """Return if the block is there: only this writer makes blocks. Raises Unavailable ``ledger.block_awaited``."""
        if self.last_block()[0] < height:
            raise self._block_awaited(height)

    def checkpoint(self, *, at_least: int = 0) -> Checkpoint:  # noqa: ARG002 - it always covers every leaf
        """Return the checkpoint of the last committed block, signed when first asked for and stored soon ([STORE-18]).

        It carries the operator's signature alone. Raises Unavailable ``ledger.checkpoint_not_stored`` when the disk
        refuses it, ``ledger.operator_key_missing``.
        """
        return self._signer.current()

    def confirmed(self) -> Checkpoint:
        """Return a checkpoint that covers the last committed block and has all signatures that its policy asks for.

        Raises Unavailable ``ledger.quorum_not_reached``.
        """
        return self._signer.confirmed().checkpoint

    def newest_confirmed(self) -> Checkpoint | None:
        """Return the newest checkpoint with all its signatures, without waiting; raises what ``checkpoint`` raises."""
        return self._signer.newest_confirmed()

    def public_log(self) -> LogSource | None:
        """Return the log at its newest checkpoint with all its signatures, to be published; None before the first.

        Raises what ``checkpoint`` raises.
        """
        confirmed = self._signer.newest_confirmed()
        return None if confirmed is None else log_of_copy(self._copy, confirmed)

    def add_witness(self, peer: WitnessPeer) -> None:
        """Ask a witness for its cosignatures from now on."""
        self._signer.add_witness(peer)

    def epoch_sizes(self) -> tuple[int, ...]:
        """Return the sizes of the checkpoints that closed an epoch."""
        return tuple(change.size for change in self._copy.epochs.trail.changes)

    def epoch_note(self, size: int) -> bytes:
        """Return the note that closed an epoch; raises Unavailable ``ledger.epoch_pending``."""
        return self._copy.epochs.note(size)

    def receipt(self, index: int, *, state_keys: Sequence[str] = ()) -> bytes:
        """Return the encoded receipt of the transaction at a leaf, with what the state holds at some keys.

        Raises InvalidInput ``ledger.index_unknown``, ``ledger.state_keys_too_many``; Unavailable
        ``ledger.quorum_not_reached``, ``ledger.epoch_pending``.
        """
        confirmed = self._signer.confirmed()
        return make_receipt(
            self._copy, index, checkpoint=confirmed.checkpoint, view=confirmed.view, state_keys=state_keys
        )

    def close(self) -> None:
        """Finish what was accepted, sign the last checkpoint, then release files and processes."""
        self._intake.refuse_all(ledger_closed())
        with self._closing:
            if self._is_closed:
                return
            self._is_closed = True
            self._thread.join()
            self._disk_thread.shutdown()
            self._verifier.close()
            self._signer.close()
            self._copy.close()
            self._intake.close()

    # The writer's thread

    def _run(self) -> None:
        try:
            while not (self._intake.is_refusing and not len(self._intake) and self._admission.is_empty()):
                self._step()
        except ShuiqiaoError as error:
            self._stop(error if isinstance(error, Unavailable) else _stopped(error))
        except Exception as error:  # noqa: BLE001 - whatever stops the writer must reach those who wait for it
            self._stop(_stopped(error))

    def _stop(self, reason: Unavailable) -> None:
        self._intake.refuse_all(reason)
        self._admission.fail_all(reason)

    def _step(self) -> None:
        """Take in, check, and write a block when one is due."""
        self._take_in()
        # Of these waits None is endless.
        waits_s = (self._wait_s(), self._copy.checkpoint_file.due_in_s(), self._signer.offer_in_s())
        self._receive(timeout_s=min((wait_s for wait_s in waits_s if wait_s is not None), default=None))
        self._copy.checkpoint_file.flush_due()
        self._signer.offer_due()
        if self._is_block_due() and not self._is_verifier_hungry():
            self._write_block()

    def _take_in(self) -> None:
        """Take some submissions in, and give their signatures to the verifier."""
        if self._admission.has_room() and len(self._intake):
            self._admission.admit(self._intake.take(_TAKEN_AT_ONCE), self._copy.current)
        self._admission.start_checks()

    def _receive(self, *, timeout_s: float | None) -> None:
        """Take verdicts; wait for them, or to be woken, no longer than a time."""
        answers = self._verifier.finished(wake=self._intake.wake_descriptor, timeout_s=timeout_s)
        self._intake.woken()
        self._admission.receive(answers)

    def _wait_s(self) -> float | None:
        """Return how long there is nothing to do but wait; None until woken."""
        if len(self._intake) and self._admission.has_room():
            return 0.0
        if self._admission.is_ready():
            return max(0.0, self._linger_end() - time.monotonic()) if self._is_worth_waiting() else 0.0
        if self._admission.is_checking() and (self._intake.is_refusing or not self._admission.has_room()):
            # Nothing more can be taken in now, and verdicts come by themselves.
            return None
        return None if self._intake.sleep() else 0.0

    def _is_worth_waiting(self) -> bool:
        """Tell whether waiting a little can make the block larger."""
        return self._admission.is_checking() or bool(len(self._intake))

    def _linger_end(self) -> float:
        if self._block_since is None:
            self._block_since = time.monotonic()
        linger_s = max(self._settings.linger_ms / 1000, _LINGER_PER_COMMIT * self._commit_s)
        return self._block_since + min(linger_s, _MAX_LINGER_S)

    def _is_block_due(self) -> bool:
        if not self._admission.is_ready():
            return False
        if not self._is_worth_waiting() or time.monotonic() >= self._linger_end():
            return True
        return self._admission.is_block_full(max_transactions=self._settings.max_block_transactions)

    def _is_verifier_hungry(self) -> bool:
        """Tell whether submissions should first be taken in, so that signatures are checked while a block is made.

        Not for long: what is refused when it is taken in feeds nobody, and blocks must not wait for a flood of it.
        """
        needs_submissions = bool(len(self._intake)) and self._admission.needs_submissions()
        return needs_submissions and time.monotonic() < self._linger_end() + _MAX_LINGER_S

    def _write_block(self) -> None:
        """Execute, store, answer, tell: steps 1 to 6 of [STORE-19]."""
        taken = self._admission.take_block(
            max_transactions=self._settings.max_block_transactions, max_bytes=self._settings.max_block_bytes
        )
        self._block_since = None
        try:
            execution = self._execute(taken)
            block = self._commit(execution)
        except Unavailable as error:
            self._refuse_block(taken, error)
            if error.code in _RECOVERABLE:
                return
            raise
        except BaseException as error:
            self._refuse_block(taken, _stopped(error))
            raise
        self._answer(taken, execution, block)
        if block is not None and self._listeners:
            self._listeners.tell(block, [event for outcome in execution.result.outcomes for event in outcome.events])

    def _execute(self, taken: Sequence[Submission]) -> Execution:
        _, last_ms = self.last_block()
        now_ms = self._clock.now_ms()
        require_not_behind(now_ms=now_ms, block_ms=last_ms)
        if not self._settings.is_clock_confirmed:
            require_expected(now_ms=now_ms, block_ms=last_ms)
        candidates = [
            Candidate(transaction=submission.transaction, proven_keys=submission.keys)
            for submission in taken
            if submission.transaction is not None
        ]
        self._copy.look_up(candidate.transaction for candidate in candidates)
        time_ms = next_block_time(clock_ms=now_ms, previous_ms=last_ms)
        return self._copy.execute(candidates, overlay=self._copy.overlay(), time_ms=time_ms)

    def _commit(self, execution: Execution) -> Block | None:
        if execution.result.entry is None:
            return None
        started = time.monotonic()
        block = self._copy.follow(execution, self._write_meanwhile(execution))
        self._copy.publish()
        if self._copy.epochs.key in execution.writes:
            self._signer.close_epochs()
        self._commit_s = time.monotonic() - started
        return block

    def _write_meanwhile(self, execution: Execution) -> StoredFrame:
        """Put a block on the medium, and take submissions in while the disk is waited for ([STORE-19])."""
        if not self._is_worth_waiting():
            # Nothing else to do: another thread would only come between.
            return self._copy.write(execution)
        written = self._disk_thread.submit(self._copy.write, execution)
        written.add_done_callback(lambda _: self._intake.rouse())
        while not written.done():
            self._take_in()
            is_more = len(self._intake) and self._admission.has_room()
            # What ends the wait: the disk, a verdict, or a submission that there is room for.
            may_sleep = not is_more and (
                not self._admission.has_room() or self._intake.sleep() or self._intake.is_refusing
            )
            if written.done():
                break
            self._receive(timeout_s=None if may_sleep else 0.0)
        return written.result()

    def _answer(self, taken: Sequence[Submission], execution: Execution, block: Block | None) -> None:
        self._intake.answered(len(taken))
        context = execution.result.context
        index = block.first_index if block is not None else 0
        for submission, outcome in zip(taken, execution.result.outcomes, strict=True):
            if outcome.refusal is not None:
                submission.future.set_exception(outcome.refusal)
                continue
            submission.future.set_result(Committed(index=index, height=context.height, time_ms=context.time_ms))
            index += 1

    def _refuse_block(self, taken: Sequence[Submission], error: Unavailable) -> None:
        for submission in taken:
            self._admission.refuse(submission, error)


def _stopped(error: BaseException) -> Unavailable:
    return Unavailable(
        "ledger.stopped",
        f"the ledger stopped: {error}; what was not acknowledged may or may not be kept",
        next_step="look into the cause, then open the ledger again: it recovers every acknowledged block",
    )
