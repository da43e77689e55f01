"""A validator: hands transactions to the CometBFT node beside it, and answers when a block decided them.

``submit`` hands transactions to the node's mempool in batches and answers when a block decided them, or when CheckTx
refused them here. The node is reached over its RPC, the decisions come over the ABCI socket: what RPC says is used for
nothing but the hand-over. A receipt needs the note of its block, which the votes for the next block complete; it waits
for it. LIMIT: a transaction that this node's mempool lost (a crash before it was told to peers) is answered by a
timeout; the outbox resends its bytes unchanged.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from shuiqiao.base.clock import Clock
from shuiqiao.base.errors import ShuiqiaoError, Unavailable
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.checkpoints.signed_note import Checkpoint
from shuiqiao.ledger.engine.cometbft.abci.server import AbciServer, ConnectionFault
from shuiqiao.ledger.engine.cometbft.comet.home import APP_SOCKET, RPC_SOCKET
from shuiqiao.ledger.engine.cometbft.comet.rpc import RpcClient
from shuiqiao.ledger.engine.cometbft.consensus.application import ApplicationSettings, Decided, LedgerApplication
from shuiqiao.ledger.engine.cometbft.consensus.extensions import Cosigner, PolicyOf
from shuiqiao.ledger.engine.cometbft.mempool.bundle import MAX_BUNDLED, encode_bundle, pause_after, split_bundles
from shuiqiao.ledger.engine.local_ledger import LocalLedger
from shuiqiao.ledger.engine.port import BUSY_RETRY_S, ledger_busy, ledger_closed, new_answer
from shuiqiao.ledger.model import Committed, KeyRing, NetworkParameters
from shuiqiao.ledger.receipts.making import make_receipt
from shuiqiao.ledger.state.machine import StateMachine
from shuiqiao.ledger.tiles.publishing import LogSource, log_of_copy
from shuiqiao.ledger.transactions.kinds import KindTable
from shuiqiao.ledger.transactions.verifiers import open_verifier

MAX_FAULTS: Final = 100
BLOCK_TIMEOUT_S: Final = 30.0
"""How long this node may take to come to hold a block that another one holds, in seconds."""

_TICK_S: Final = 0.5
_IN_CACHE: Final = "already exists in cache"
_FULL: Final = "mempool is full"


@dataclass(frozen=True, slots=True, kw_only=True)
class CometbftSettings:
    """How a node of the consortium is reached and bounded.

    comet: the CometBFT node's folder, where both sockets lie. max_waiting: transactions handed in and not answered.
    answer_timeout_s: how long one may wait for its block. receipt_timeout_s: how long a receipt waits for its note.
    verifier_processes: how many check the signatures of blocks when a node catches up; 0: none, the application does so
    in its own threads, as it does with all others.
    """

    comet: Path
    application: ApplicationSettings
    verifier_processes: int = 0
    max_waiting: int = 16_384
    answer_timeout_s: float = 30.0
    receipt_timeout_s: float = 10.0


@dataclass(slots=True)
class _InFlight:
    """A transaction that was handed in, and all who wait for it."""

    deadline: float
    futures: list[Future[Committed]] = field(default_factory=list[Future[Committed]])


class CometbftLedger(LocalLedger):
    """A LedgerEngine whose blocks a quorum of validators decides.

    ::

        settings = CometbftSettings(comet=home, application=ApplicationSettings())
        ledger = CometbftLedger.open(folder, policy_of=policy_of, cosigner=cosigner, settings=settings, ...)
        NodeProcess(home, program=find_program()).start()
        committed = ledger.submit(raw).result()
        receipt = ledger.receipt(committed.index)
    """

    def __init__(self, application: LedgerApplication, *, settings: CometbftSettings) -> None:
        """Listen for the node and begin to hand over; use ``open``."""
        super().__init__(lambda: application.app_state.copy)
        self._application = application
        self._settings = settings
        self._rpc = RpcClient(settings.comet / RPC_SOCKET)
        self._in_flight: dict[bytes, _InFlight] = {}
        self._queue: list[bytes] = []
        self._wake = threading.Condition()
        self._is_closed = False
        self._reached = threading.Condition()
        self._faults: list[ConnectionFault] = []
        application.on_decided(self._decided)
        application.mempool.on_refused(self._refused)
        self._server = AbciServer(
            application.answers,
            path=settings.comet / APP_SOCKET,
            on_fault=self._note_fault,
        )
        self._sender = threading.Thread(target=self._send_all, name="ledger-sender", daemon=True)
        self._sender.start()

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        parameters: NetworkParameters,
        kinds: KindTable,
        key_ring: KeyRing,
        clock: Clock,
        policy_of: PolicyOf,
        cosigner: Cosigner | None,
        settings: CometbftSettings,
    ) -> CometbftLedger:
        """Open or create the ledger in a folder and wait for the CometBFT node to connect.

        policy_of: the checkpoint policy of a state. cosigner: this validator's member id and suite key, None for a node
        without a vote. Raises what ``LedgerApplication`` and ``AbciServer`` raise.
        """
        suite = get_suite(parameters.suite)
        machine = StateMachine(parameters, kinds=kinds, key_ring=key_ring, suite=suite)
        verifier = open_verifier(suite, processes=settings.verifier_processes)
        try:
            application = LedgerApplication(
                folder,
                machine=machine,
                verifier=verifier,
                clock=clock,
                policy_of=policy_of,
                cosigner=cosigner,
                settings=settings.application,
            )
        except BaseException:
            verifier.close()
            raise
        try:
            return cls(application, settings=settings)
        except BaseException:
            application.close()
            raise

    # The port: from any thread

    @property
    def application(self) -> LedgerApplication:
        """What CometBFT talks to: its position, its notes, whom it named."""
        return self._application

    @property
    def faults(self) -> tuple[ConnectionFault, ...]:
        """Connections that were ended for a reason, the newest of them."""
        return tuple(self._faults)

    def submit(self, raw: bytes) -> Future[Committed]:
        """Hand in a signed transaction; the future resolves once a block holds it durably, or fails with the refusal.

        Never raises: ``ledger.busy``, ``ledger.closed``, ``ledger.rpc_unreachable`` and ``ledger.answer_late`` are in
        the future too.
        """
        future = new_answer()
        with self._wake:
            refusal = self._refusal()
            if refusal is None:
                self._enqueue(raw, future)
        return future if refusal is None else new_answer(refusal)

    def _refusal(self) -> Unavailable | None:
        if self._is_closed:
            return ledger_closed()
        return ledger_busy(len(self._in_flight)) if len(self._in_flight) >= self._settings.max_waiting else None

    def _enqueue(self, raw: bytes, future: Future[Committed]) -> None:
        handed_in = self._in_flight.get(raw)
        if handed_in is None:
            handed_in = self._in_flight[raw] = _InFlight(deadline=time.monotonic() + self._settings.answer_timeout_s)
            self._queue.append(raw)
            if len(self._queue) in (1, MAX_BUNDLED):
                self._wake.notify()
        handed_in.futures.append(future)

    def wait_for_block(self, height: int) -> None:
        """Return once this node has committed a block of ours; raises Unavailable ``ledger.block_awaited``."""
        with self._reached:
            if not self._reached.wait_for(lambda: self.last_block()[0] >= height, timeout=BLOCK_TIMEOUT_S):
                raise self._block_awaited(height)

    def checkpoint(self, *, at_least: int = 0) -> Checkpoint:
        """Return the newest checkpoint with its quorum of cosignatures; it may lie a block behind ``last_block``.

        at_least: leaves that it covers; the votes that complete it are waited for. Raises Unavailable
        ``ledger.note_pending``.
        """
        found = self._application.extensions.wait_for(at_least, timeout_s=self._settings.receipt_timeout_s)
        if found is None:
            raise self._note_pending(at_least)
        return found

    def receipt(self, index: int, *, state_keys: Sequence[str] = ()) -> bytes:
        """Return the encoded receipt of the transaction at a leaf, under a note of its quorum.

        Waits for the votes that complete the note. Raises InvalidInput ``ledger.index_unknown``,
        ``ledger.state_keys_too_many``; Unavailable ``ledger.note_pending``, ``ledger.epoch_pending``.
        """
        copy = self._application.app_state.copy
        place = copy.block_place(index)
        size = place.first_index + place.count + 1
        confirmed = self._application.extensions.confirmed(size, timeout_s=self._settings.receipt_timeout_s)
        if confirmed is None:
            raise self._note_pending(size)
        return make_receipt(copy, index, checkpoint=confirmed.checkpoint, view=confirmed.view, state_keys=state_keys)

    def public_log(self) -> LogSource | None:
        """Return the log at its newest checkpoint with its quorum, to be published; None before the first."""
        found = self._application.checkpoint()
        return None if found is None else log_of_copy(self._application.app_state.copy, found)

    def _note_pending(self, size: int) -> Unavailable:
        timeout_s = self._settings.receipt_timeout_s
        return Unavailable(
            "ledger.note_pending",
            f"no checkpoint of {size} leaves or more has the validators' quorum after {timeout_s:g} s",
            next_step="check that more than two thirds of the validators are up, then ask again",
            retry_after_s=1.0,
        )

    def close(self) -> None:
        """Answer who waits, stop listening, and release files and processes; stop the CometBFT node before."""
        with self._wake:
            if self._is_closed:
                return
            self._is_closed = True
            self._wake.notify()
        self._sender.join()
        self._server.close()
        self._fail(list(self._in_flight), ledger_closed())
        self._rpc.close()
        self._application.close()

    # Handing over

    def _send_all(self) -> None:
        gathered = 0.0
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._queue or self._is_closed, timeout=_TICK_S)
                self._wake.wait_for(self._is_pressing, timeout=max(0.0, gathered - time.monotonic()))
                if self._is_closed:
                    return
                batch, self._queue = self._queue[:MAX_BUNDLED], self._queue[MAX_BUNDLED:]
            gathered = time.monotonic() + pause_after(len(batch))
            self._give_up_late()
            if batch:
                self._send(batch)
            self._hand_in_again()

    def _is_pressing(self) -> bool:
        return self._is_closed or len(self._queue) >= MAX_BUNDLED

    def _hand_in_again(self) -> None:
        """Hand our node what peers sent before the block that makes it right was committed here [ABCI-26]."""
        # A node that cannot be reached has lost its mempool, and what others hold in theirs they hand on again.
        with contextlib.suppress(ShuiqiaoError):
            if wholes := self._application.mempool.check_deferred():
                self._rpc.broadcast_many(wholes)

    def _send(self, batch: Sequence[bytes]) -> None:
        """Hand over what may wait for a block, bundled; the rest is answered at once, whether or not the node is there.

        Signatures checked here are remembered: CheckTx of this node does not check them again.
        """
        try:
            self._application.require_clock()
            refusals = self._application.recheck(batch)
        except ShuiqiaoError as error:
            # A wrong clock, or a provider without a verdict: this node cannot tell, and refuses no transaction for it.
            self._fail(batch, error)
            return
        for raw, refusal in zip(batch, refusals, strict=True):
            if refusal is not None:
                self._fail([raw], refusal)
        good = [raw for raw, refusal in zip(batch, refusals, strict=True) if refusal is None]
        bundles = list(split_bundles(good))
        if not bundles:
            return
        try:
            answers = self._rpc.broadcast_many([encode_bundle(bundle) for bundle in bundles])
        except ShuiqiaoError as error:
            self._fail(good, error)
            return
        for bundle, reason in zip(bundles, answers, strict=True):
            if reason is not None:
                self._not_taken(bundle, str(reason))

    def _not_taken(self, bundle: Sequence[bytes], reason: str) -> None:
        """Answer for what the mempool did not take, unless it is there already and will be decided."""
        if _FULL in reason:
            self._fail(bundle, ledger_busy(len(self._in_flight)))
        elif _IN_CACHE not in reason:
            self._fail(bundle, Unavailable("ledger.not_taken", reason, retry_after_s=BUSY_RETRY_S))

    def _give_up_late(self) -> None:
        now = time.monotonic()
        with self._wake:
            late = [raw for raw, each in self._in_flight.items() if each.deadline < now]
        if late:
            timeout_s = self._settings.answer_timeout_s
            error = Unavailable(
                "ledger.answer_late",
                f"no block decided the transaction within {timeout_s:g} s; one still may",
                next_step="submit the same bytes again: they are accepted once at most",
                retry_after_s=BUSY_RETRY_S,
            )
            self._fail(late, error)

    # Answers, on the application's threads

    def _take(self, raw: bytes) -> list[Future[Committed]]:
        with self._wake:
            handed_in = self._in_flight.pop(raw, None)
        return handed_in.futures if handed_in is not None else []

    def _fail(self, raws: Sequence[bytes], error: Exception) -> None:
        for raw in raws:
            for future in self._take(raw):
                future.set_exception(error)

    def _refused(self, raw: bytes, error: ShuiqiaoError | None) -> bool:
        """Answer who waits for what CheckTx refused; what only its bundle was refused for is handed in again."""
        if error is not None:
            futures = self._take(raw)
            for future in futures:
                future.set_exception(error)
            return bool(futures)
        with self._wake:
            is_awaited = raw in self._in_flight
            if is_awaited:
                self._queue.append(raw)
                self._wake.notify()
        return is_awaited

    def _decided(self, decided: Decided) -> None:
        block = decided.block
        index = block.first_index if block is not None else 0
        for raw, refusal in decided.refusals:
            if refusal is not None:
                self._fail([raw], refusal)
                continue
            assert block is not None
            found = Committed(index=index, height=block.height, time_ms=block.time_ms)
            index += 1
            for future in self._take(raw):
                future.set_result(found)
        if block is not None:
            with self._wake:
                # What was refused may be right after this block.
                self._wake.notify()
            with self._reached:
                self._reached.notify_all()
            self._listeners.tell(block, decided.events)

    def _note_fault(self, fault: ConnectionFault) -> None:
        self._faults = [*self._faults, fault][-MAX_FAULTS:]
