"""The follower: a member's own copy of the ledger, checked against the writer's block by block; it raises the alarm.

It forwards what it submits, pulls the writer's blocks, verifies every signature and executes every block itself, and
commits only what leads to a root that the operator signed. Rules: docs/spec/ledger-store.md section 7. It never
orders transactions. When the operator's signed log is not an extension of what was copied, it keeps both notes as
evidence (ForkAlarm), and refuses to go on: what was copied before stays readable. Over a channel on which anybody
could answer in the writer's place, only what the operator signed counts as that; all else is asked again [PEER-12].
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shuiqiao.base.clock import Clock
from shuiqiao.base.errors import IntegrityError, ShuiqiaoError, Unavailable
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.checkpoints.note import verify_log_signature, verify_note
from shuiqiao.ledger.checkpoints.signed_note import Checkpoint, decode_signed_note
from shuiqiao.ledger.engine.catch_up import HistoryBroken, LogCopier
from shuiqiao.ledger.engine.ledger_copy import LedgerCopy
from shuiqiao.ledger.engine.local_ledger import LocalLedger
from shuiqiao.ledger.engine.port import FollowerSettings, LedgerPeer, ledger_closed, new_answer
from shuiqiao.ledger.model import Block, Committed, Event, KeyRing, NetworkParameters
from shuiqiao.ledger.receipts.making import make_receipt
from shuiqiao.ledger.state.machine import StateMachine
from shuiqiao.ledger.store.alarm_file import AlarmFile, ForkAlarm, ForkKind
from shuiqiao.ledger.tiles.publishing import LogSource, log_of_copy
from shuiqiao.ledger.transactions.kinds import KindTable
from shuiqiao.ledger.transactions.verifiers import open_verifier

ALARMS_FOLDER: Final = "alarms"

_LOOKS: Final = 2
"""How often the writer is asked for what has to be there: its first answer may be one that it gave a moment before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Awaited:
    """A transaction the writer acknowledged and this copy does not hold yet."""

    raw: bytes
    committed: Committed
    future: Future[Committed]


class FollowerLedger(LocalLedger):
    """A LedgerEngine that copies the writer's log and believes nothing.

    ::

        copy = FollowerLedger.open(folder, writer=peer, settings=FollowerSettings(), ...)
        copy.sync()
        receipt = copy.receipt(index)
        copy.close()
    """

    def __init__(
        self, copy: LedgerCopy, *, folder: Path, clock: Clock, writer: LedgerPeer, settings: FollowerSettings
    ) -> None:
        """Start following on an open copy; use ``open``."""
        super().__init__(lambda: copy)
        self._copy = copy
        self._clock = clock
        self._writer = writer
        self._settings = settings
        (folder / ALARMS_FOLDER).mkdir(exist_ok=True)
        self._alarm_file = AlarmFile(folder / ALARMS_FOLDER, disk=settings.disk)
        self._alarm = self._alarm_file.load()
        self._accepted = copy.stored_checkpoint()
        self._trouble: ShuiqiaoError | None = None
        self._trouble_lock = threading.Lock()
        self._watcher: Callable[[ShuiqiaoError | None], None] = lambda _trouble: None
        self._public: Checkpoint | None = None
        self._public_due = 0.0
        self._verifier = open_verifier(copy.machine.suite, processes=settings.verifier_processes)
        self._copier = LogCopier(
            copy, writer=writer, verifier=self._verifier, settings=settings, tell=self._listeners.tell
        )
        self._sync_lock = threading.Lock()
        self._awaited: list[_Awaited] = []
        self._awaited_lock = threading.Lock()
        self._news = threading.Event()
        self._hurry = threading.Event()
        self._is_closing = False
        writer.subscribe(self._on_news)
        self._thread = threading.Thread(target=self._run, name="ledger-follower", daemon=True)
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
        writer: LedgerPeer,
        settings: FollowerSettings,
    ) -> FollowerLedger:
        """Open or create a copy in a folder and begin to follow; raises what ``LedgerCopy`` raises."""
        machine = StateMachine(parameters, kinds=kinds, key_ring=key_ring, suite=get_suite(parameters.suite))
        copy = LedgerCopy(folder, machine=machine, settings=settings)
        try:
            return cls(copy, folder=folder, clock=clock, writer=writer, settings=settings)
        except BaseException:
            copy.close()
            raise

    # The port: from any thread

    @property
    def alarm(self) -> ForkAlarm | None:
        """The alarm that stopped this follower, if any."""
        return self._alarm

    @property
    def has_followed(self) -> bool:
        """Whether this copy has a block of the writer's, or has reached the writer, which had none yet."""
        return self._accepted is not None or self.last_block()[0] > 0

    @property
    def trouble(self) -> ShuiqiaoError | None:
        """Why the last attempt to follow failed, None after one that did not: for ``doctor`` and the pages."""
        return self._trouble

    def watch(self, watcher: Callable[[ShuiqiaoError | None], None]) -> None:
        """Tell a watcher why following fails from now on, and with None once it goes on; also of what stands now.

        It is called by the thread that follows, so it must return soon and raise nothing.
        """
        with self._trouble_lock:
            self._watcher = watcher
            if self._trouble is not None:
                watcher(self._trouble)

    def _troubled(self, error: ShuiqiaoError | None) -> None:
        with self._trouble_lock:
            is_told = (error is None) is not (self._trouble is None)
            self._trouble = error
            if is_told:
                self._watcher(error)

    def submit(self, raw: bytes) -> Future[Committed]:
        """Forward a signed transaction; the future resolves once it is durable at the writer *and* in this copy."""
        try:
            self._require_sound()
            forwarded = self._writer.submit(raw)
        except ShuiqiaoError as error:
            return new_answer(error)
        future = new_answer()
        forwarded.add_done_callback(lambda done: self._acknowledged(raw, done, future))
        return future

    def _acknowledged(self, raw: bytes, done: Future[Committed], future: Future[Committed]) -> None:
        error = done.exception()
        if error is not None:
            future.set_exception(error)
            return
        with self._awaited_lock:
            refusal = ledger_closed() if self._is_closing else None
            if refusal is None:
                self._awaited.append(_Awaited(raw=raw, committed=done.result(), future=future))
        if refusal is not None:
            future.set_exception(refusal)
        self._wake(self._hurry, self._news)

    def time_at(self, size: int) -> int:
        """Return the time of the last block that a checkpoint of a size covers; raises ``ledger.not_followed``."""
        block = self._copy.view()[1].snapshot.block_of_index(size - 1)
        if block is None:
            raise Unavailable(
                "ledger.not_followed", f"this copy has not reached {size} leaves of the writer's yet", retry_after_s=1.0
            )
        return block.time_ms

    def wait_for_block(self, height: int) -> None:
        """Copy until this copy holds a block of the writer; raises what ``sync`` does, ``ledger.block_awaited``."""
        for _ in range(_LOOKS):
            if self.last_block()[0] < height:
                self.sync()
        if self.last_block()[0] < height:
            raise self._block_awaited(height)

    def checkpoint(self, *, at_least: int = 0) -> Checkpoint:
        """Return the operator's newest checkpoint that this copy has reached and agrees with."""
        self._require_sound()
        for _ in range(_LOOKS):
            if self._accepted is None or self._accepted.size < at_least:
                self.sync()
        if self._accepted is None:
            raise Unavailable(
                "ledger.not_followed", "no checkpoint of the writer has been reached yet", retry_after_s=1.0
            )
        return self._accepted

    def receipt(self, index: int, *, state_keys: Sequence[str] = ()) -> bytes:
        """Return the receipt of a transaction under a checkpoint that counts, made and checked from this copy.

        Raises InvalidInput ``ledger.index_unknown``, ``ledger.state_keys_too_many``; Unavailable
        ``ledger.quorum_not_reached``, ``ledger.epoch_pending``; what ``sync`` raises.
        """
        with self._sync_lock:
            self._require_sound()
            checkpoint = self._confirmed()
            self._fetch_epoch_notes(below_size=checkpoint.size)
            view = self._copy.view()[1]
        return make_receipt(self._copy, index, checkpoint=checkpoint, view=view, state_keys=state_keys)

    def _confirmed(self) -> Checkpoint:
        """Return a checkpoint with its quorum that this copy ends at."""
        self._follow(self._writer.checkpoint().note)
        note = self._writer.confirmed().note
        self._follow(note)
        size = self._copy.head.size
        return verify_note(note, policy=self.policy_at(size), suite=self._copy.machine.suite)

    def close(self) -> None:
        """Stop following and release files and processes."""
        with self._awaited_lock:
            is_first, self._is_closing = not self._is_closing, True
        if not is_first:
            return
        self._hurry.set()
        self._news.set()
        self._thread.join()
        self._fail_awaited(ledger_closed())
        with self._sync_lock:
            self._keep_confirmed()
            self._verifier.close()
            self._store_last_checkpoint()
            self._copy.close()

    def _keep_confirmed(self) -> None:
        """Keep the newest note of this copy's log that counts, for receipts once the writer cannot be asked."""
        try:
            if (found := self._newest_confirmed()) is not None:
                self._copy.cosigned_file.keep(found)
                self._copy.cosigned_file.flush()
        except (ShuiqiaoError, OSError, ValueError):
            # A writer that is closed already, or a disk that refuses: closing goes on without it.
            return

    def _newest_confirmed(self) -> Checkpoint | None:
        """Return the newest note of the writer's that counts and is of this copy's log, None where there is none."""
        note = None if self._alarm is not None else self._writer.newest_confirmed()
        if note is None or not 0 < note.size <= self._copy.head.size:
            return None
        found = verify_note(note.note, policy=self.policy_at(note.size), suite=self._copy.machine.suite)
        return found if found.root == self._copy.root_at(found.size) else None

    def public_log(self) -> LogSource | None:
        """Return the log at a checkpoint with all its signatures, to be published; None before the first.

        The writer is asked for a newer one at most once in the time of a poll, for each file of the log asks this;
        while it is away, the last one is shown. A log under an alarm is not. Raises what ``verify_note`` raises.
        """
        if self._alarm is not None:
            return None
        if time.monotonic() >= self._public_due:
            self._public_due = time.monotonic() + self._settings.poll_interval_s
            with suppress(Unavailable):
                self._public = self._newest_confirmed() or self._public
        return None if self._public is None else log_of_copy(self._copy, self._public)

    def _store_last_checkpoint(self) -> None:
        try:
            self._copy.checkpoint_file.flush()
        except OSError:
            # The writer's next checkpoint takes its place; closing must release the files whatever the disk does.
            return

    # Following

    def sync(self) -> None:
        """Copy everything up to the writer's newest checkpoint, now.

        Raises IntegrityError ``ledger.fork_detected`` (then and ever after), what ``verify_log_signature`` raises for
        a note that is not the operator's, and Unavailable for a writer that cannot be reached.
        """
        with self._sync_lock:
            self._require_sound()
            self._follow(self._writer.checkpoint().note)
        self._resolve_awaited()

    def _follow(self, note: bytes) -> None:
        if self._accepted is not None and note == self._accepted.note:
            return
        try:
            checkpoint = self._signed(note)
        except IntegrityError:
            # Keys that are not known here yet: go through the epochs that were closed since, one after the other.
            for size in self._writer.epoch_sizes():
                if size > self._copy.head.size:
                    self._accept(self._signed(self._writer.epoch_note(size)))
            checkpoint = self._signed(note)
        self._accept(checkpoint)

    def _signed(self, note: bytes) -> Checkpoint:
        size = decode_signed_note(note).head.size
        return verify_log_signature(note, policy=self.policy_at(size), suite=self._copy.machine.suite)

    def _accept(self, checkpoint: Checkpoint) -> None:
        try:
            self._copier.follow(checkpoint, accepted=self._accepted)
        except HistoryBroken as broken:
            if not (broken.is_signed or self._writer.is_proven):
                raise _writer_unproven(broken) from broken
            raise self._raise_alarm(broken, checkpoint) from broken
        self._copy.checkpoint_file.keep(checkpoint)
        self._accepted = checkpoint

    def _fetch_epoch_notes(self, *, below_size: int) -> None:
        """Take the notes that closed epochs from the writer, each only if it counts and is of this very log."""
        epochs = self._copy.epochs
        for size in epochs.missing_notes():
            if size >= below_size:
                return
            note = self._writer.epoch_note(size)
            found = verify_note(note, policy=self.policy_at(size), suite=self._copy.machine.suite)
            if (found.size, found.root) != (size, self._copy.root_at(size)):
                raise self._raise_alarm(
                    HistoryBroken(
                        ForkKind.ROOT_DIFFERS,
                        f"the note that closed the epoch at {size} leaves has another root",
                        is_signed=True,
                    ),
                    found,
                )
            epochs.keep_note(found)

    def _raise_alarm(self, broken: HistoryBroken, checkpoint: Checkpoint) -> IntegrityError:
        head, _ = self._copy.view()
        self._alarm = ForkAlarm(
            kind=broken.kind,
            found_ms=self._clock.now_ms(),
            own_size=head.size,
            own_root=head.root,
            own_note=self._accepted.note if self._accepted else b"",
            new_note=checkpoint.note,
            detail=broken.detail,
        )
        self._alarm_file.save(self._alarm)
        error = _fork_detected(self._alarm)
        self._fail_awaited(error)
        return error

    def _require_sound(self) -> None:
        if self._alarm is not None:
            raise _fork_detected(self._alarm)

    def _on_news(self, _block: Block, _events: Sequence[Event]) -> None:
        self._wake(self._news)

    @staticmethod
    def _wake(*signals: threading.Event) -> None:
        """Set what is not set yet: telling waiters costs more than asking, and blocks come faster than followers go.

        What is set is cleared before the follower asks the writer, and so before it misses anything.
        """
        for signal in signals:
            if not signal.is_set():
                signal.set()

    def _run(self) -> None:
        while not self._is_closing and self._alarm is None:
            try:
                self.sync()
            except ShuiqiaoError as error:
                self._troubled(error)
            except Exception as error:  # noqa: BLE001 - a peer may break in any way; it is shown, and tried again
                self._troubled(Unavailable("ledger.follow_failed", f"following the writer broke down: {error!r}"))
            else:
                self._troubled(None)
            self._await_news()
        self._store_last_checkpoint()

    def _await_news(self) -> None:
        """Wait for news or the time to ask, and let no checkpoint wait longer than its interval ([STORE-18])."""
        asking_at = time.monotonic() + self._settings.poll_interval_s
        while (left_s := asking_at - time.monotonic()) > 0:
            if self._news.wait(timeout=min(left_s, self._turn_s())):
                # Blocks are cheaper by the dozen; only somebody who waits for one is worth a round of its own.
                self._hurry.wait(timeout=self._settings.news_delay_s)
                break
            self._copy.checkpoint_file.flush_due()
        self._copy.checkpoint_file.flush_due()
        self._hurry.clear()
        self._news.clear()

    def _turn_s(self) -> float:
        """Return when to look again for a checkpoint that waits: any thread may sync, and so leave one."""
        due_s = self._copy.checkpoint_file.due_in_s()
        return (self._settings.checkpoint_interval_s or math.inf) if due_s is None else due_s

    def _resolve_awaited(self) -> None:
        height, _ = self.last_block()
        with self._awaited_lock:
            reached = [awaited for awaited in self._awaited if awaited.committed.height <= height]
            self._awaited = [awaited for awaited in self._awaited if awaited.committed.height > height]
        for awaited in reached:
            self._answer(awaited)

    def _answer(self, awaited: _Awaited) -> None:
        """Pass on an acknowledgement, once the transaction stands where the writer said it does."""
        index = awaited.committed.index
        try:
            is_there = self._copy.leaf(self._copy.block_place(index), index) == awaited.raw
        except ShuiqiaoError as error:
            awaited.future.set_exception(error)
            return
        if is_there:
            awaited.future.set_result(awaited.committed)
        else:
            awaited.future.set_exception(_acknowledgement_false(index))

    def _fail_awaited(self, error: ShuiqiaoError) -> None:
        with self._awaited_lock:
            awaited, self._awaited = self._awaited, []
        for one in awaited:
            one.future.set_exception(error)


def _fork_detected(alarm: ForkAlarm) -> IntegrityError:
    return IntegrityError(
        "ledger.fork_detected",
        f"the operator's signed log is not the one that was copied ({alarm.kind}): {alarm.detail}",
        next_step="keep the alarm file with both signed notes, tell the regulator, and do not delete this copy",
    )


def _writer_unproven(broken: HistoryBroken) -> Unavailable:
    """Return the error for what the writer may never have sent: nobody is accused by it [PEER-12]."""
    return Unavailable(
        "ledger.writer_unproven",
        f"what came from the writer's address does not lead to what its operator signed, and does not prove that the "
        f"operator sent it: {broken.detail}",
        retry_after_s=1.0,
    )


def _acknowledgement_false(index: int) -> IntegrityError:
    return IntegrityError(
        "ledger.acknowledgement_false",
        f"the writer said the transaction is leaf {index}, where the log holds another one",
        next_step="submit the same bytes again, and report the writer to the regulator",
    )
