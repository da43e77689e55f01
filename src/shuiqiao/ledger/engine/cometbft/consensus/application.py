"""The ledger as CometBFT's application: answers every call of ABCI 2.0 from one copy of the ledger.

Follows CometBFT's application requirements (spec/abci), numbered there; the ones that shape the code: a correct
proposal is always accepted (3) and judged by its bytes and the last committed state alone (4, 5); so are extensions
(6 to 8); nothing but FinalizeBlock leads to a new state (9, 10), which follows from the block alone (11, 12). What a
contract refuses is no reason against a proposal: it becomes a result with a code, and the block stands [ABCI-12].
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from shuiqiao.base.clock import Clock
from shuiqiao.base.encoding import encode_cbor
from shuiqiao.base.errors import IntegrityError, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import MemberId
from shuiqiao.ledger.checkpoints.signed_note import Checkpoint
from shuiqiao.ledger.clock_check import MAX_AHEAD_MS, MAX_BEHIND_MS, require_not_behind
from shuiqiao.ledger.engine.cometbft.abci import messages as abci
from shuiqiao.ledger.engine.cometbft.abci.messages import first_refusal, result_of
from shuiqiao.ledger.engine.cometbft.abci.server import Answers
from shuiqiao.ledger.engine.cometbft.consensus.app_state import CONSENSUS_FOLDER, AppState, Pending
from shuiqiao.ledger.engine.cometbft.consensus.carried_notes import MAX_CARRIED, CarriedNotes, carried_in
from shuiqiao.ledger.engine.cometbft.consensus.disagreement import Disagreement, own_statement
from shuiqiao.ledger.engine.cometbft.consensus.extensions import Cosigner, PolicyOf, Tip, VoteExtensions
from shuiqiao.ledger.engine.cometbft.consensus.snapshots import Incoming
from shuiqiao.ledger.engine.cometbft.consensus.validators import member_by_address, updates_of, validators_of
from shuiqiao.ledger.engine.cometbft.mempool.bundle import transactions_in
from shuiqiao.ledger.engine.cometbft.mempool.checking import TransactionChecker
from shuiqiao.ledger.engine.cometbft.mempool.connection import MempoolConnection
from shuiqiao.ledger.engine.port import CopySettings
from shuiqiao.ledger.model import Block, Event, StateView
from shuiqiao.ledger.state.machine import Candidate, StateMachine
from shuiqiao.ledger.store.state_view import SnapshotState
from shuiqiao.ledger.transactions.kinds import MAX_BLOCK_WORK
from shuiqiao.ledger.transactions.verifiers import Verifier

APP_VERSION: Final = 1

MAX_PROPOSED: Final = 4_096
"""Transactions of the ledger that we put into a block: a second or two of work, in which CometBFT takes no new ones."""

MAX_UNPACKED_BYTES: Final = 32 * 1024 * 1024
"""Bytes of the ledger's transactions in a block, bundles unpacked: packing makes no block without bounds."""

_FRAMING_BYTES: Final = 6
"""A field tag and a length of up to five bytes stand before each of CometBFT's transactions in a block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationSettings:
    """How a node of the consortium keeps its copy.

    snapshot_interval: CometBFT heights between two snapshots, 0 for none. retain_heights: CometBFT blocks kept for
    nodes that catch up, 0 for all; our own blocks are always kept.
    """

    copy: CopySettings = field(default_factory=CopySettings)
    snapshot_interval: int = 1_000
    retain_heights: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What listeners are told of a committed CometBFT block. block is ours, None if it accepted nothing."""

    block: Block | None
    refusals: Sequence[tuple[bytes, ShuiqiaoError | None]]
    """Each transaction, those of bundles on their own, with what refused it, None if it was accepted."""
    events: Sequence[Event]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Round:
    """The finalized block that waits for Commit."""

    pending: Pending
    carried: Sequence[Checkpoint]
    refusals: Sequence[tuple[bytes, ShuiqiaoError | None]]


class LedgerApplication:
    """Answers CometBFT over a ledger folder."""

    def __init__(
        self,
        folder: Path,
        *,
        machine: StateMachine,
        verifier: Verifier,
        clock: Clock,
        policy_of: PolicyOf,
        cosigner: Cosigner | None,
        settings: ApplicationSettings,
    ) -> None:
        """Open or create the folder; raises what ``AppState`` raises. cosigner: None for a node without a vote.

        policy_of: whose cosignatures count by a state, for validators those of the validators.
        """
        self._clock = clock
        self._policy_of = policy_of
        self._settings = settings
        self.app_state = AppState(folder, machine=machine, settings=settings.copy)
        self.checker = TransactionChecker(machine, verifier=verifier)
        self.mempool = MempoolConnection(self.recheck, work_of=self.checker.work_of)
        self.extensions = VoteExtensions(
            folder / CONSENSUS_FOLDER,
            suite=machine.suite,
            clock=clock,
            cosigner=cosigner,
            disk=settings.copy.disk,
            epochs=lambda: self.app_state.copy.epochs,
        )
        self._lock = threading.RLock()
        self._round: _Round | None = None
        self._stopped: ShuiqiaoError | None = None
        self._listeners: list[Callable[[Decided], None]] = []
        self._by_address: dict[bytes, MemberId] = {}
        self._disagreement = Disagreement(machine.suite)
        self.named = self._disagreement.named
        self._incoming: Incoming | None = None
        self._begin()

    # For the engine

    def on_decided(self, listener: Callable[[Decided], None]) -> None:
        """Call a listener after each commit, on the consensus thread: it must be quick and must not raise."""
        self._listeners.append(listener)

    @property
    def answers(self) -> Answers:
        """What answers each request, for ``AbciServer``."""
        return {
            abci.RequestInfo: self.info,
            abci.RequestInitChain: self.init_chain,
            abci.RequestQuery: self.query,
            abci.RequestCheckTx: self.mempool.check,
            abci.RequestPrepareProposal: self.prepare_proposal,
            abci.RequestProcessProposal: self.process_proposal,
            abci.RequestExtendVote: self.extend_vote,
            abci.RequestVerifyVoteExtension: self.verify_vote_extension,
            abci.RequestFinalizeBlock: self.finalize_block,
            abci.RequestCommit: self.commit,
            abci.RequestListSnapshots: self.list_snapshots,
            abci.RequestOfferSnapshot: self.offer_snapshot,
            abci.RequestLoadSnapshotChunk: self.load_snapshot_chunk,
            abci.RequestApplySnapshotChunk: self.apply_snapshot_chunk,
        }

    def view(self) -> SnapshotState:
        """Return the last committed state."""
        return self.app_state.copy.view()[1]

    def checkpoint(self) -> Checkpoint | None:
        """Return the newest checkpoint with its quorum of cosignatures, None before there is one."""
        return self.extensions.note()

    def _tip(self) -> Tip:
        head, view = self.app_state.copy.view()
        policy = self.app_state.copy.epochs.trail.policy_at(head.size)
        return Tip(size=head.size, root=head.root, policy=policy, view=view)

    def _learn_validators(self) -> None:
        view = self.view()
        self._by_address = member_by_address(view, self._policy_of(view).witnesses)

    # Query connection

    def info(self, request: abci.RequestInfo) -> abci.ResponseInfo:
        """Return the last committed height: CometBFT replays what is missing above it [ABCI-14]."""
        with self._lock:
            app_state = self.app_state
            return abci.ResponseInfo(
                data="shuiqiao",
                version=request.version,
                app_version=APP_VERSION,
                last_block_height=app_state.height,
                last_block_app_hash=app_state.app_hash if app_state.height else b"",
            )

    def query(self, request: abci.RequestQuery) -> abci.ResponseQuery:
        """Answer ``/checkpoint`` with the newest note and ``/state`` with the encoded value of the key in data."""
        height = self.app_state.height
        if request.path == "/checkpoint":
            note = self.extensions.note()
            return abci.ResponseQuery(value=note.note if note is not None else b"", height=height)
        if request.path == "/state":
            value = self.view().get(request.data.decode(errors="replace"))
            return abci.ResponseQuery(key=request.data, value=encode_cbor(value), height=height)
        error = InvalidInput("ledger.query_unknown", f"there is no query {request.path[:100]!r}")
        return msgspec.structs.replace(result_of(error, answer=abci.ResponseQuery), height=height)

    # Mempool connection

    def require_clock(self) -> None:
        """Return if this node may order; raises Unavailable ``ledger.clock_behind`` [LEDGER-TIME-1]."""
        require_not_behind(now_ms=self._clock.now_ms(), block_ms=self.app_state.time_ms)

    def recheck(self, raws: Sequence[bytes]) -> list[ShuiqiaoError | None]:
        """Return what refuses transactions now, None where they may wait for a block; listeners are not notified."""
        # After a silence the last block's time is old: validity is then measured by this node's clock [ABCI-27].
        time_ms = max(self.app_state.time_ms, self._clock.now_ms())
        height = self.app_state.copy.head.height + 1
        return self.checker.admit(raws, self.view(), time_ms=time_ms, height=height)

    # Consensus connection

    def init_chain(self, request: abci.RequestInitChain) -> abci.ResponseInitChain:
        """Begin: the validators are those of our genesis, where it names any; raises ``ledger.validators_differ``."""
        with self._lock:
            view = self.view()
            own = validators_of(view, self._policy_of(view).witnesses)
            given = {each.pub_key.ed25519: each.power for each in request.validators if each.pub_key is not None}
            if own and own != given:
                raise IntegrityError(
                    "ledger.validators_differ",
                    f"the network's genesis names {len(own)} validators, CometBFT's genesis {len(given)} others",
                    next_step="write CometBFT's home again from this network's genesis",
                )
            return abci.ResponseInitChain(app_hash=self.app_state.app_hash)

    def prepare_proposal(self, request: abci.RequestPrepareProposal) -> abci.ResponsePrepareProposal:
        """Propose epoch notes that are due, then what waits, up to the size asked for [ABCI-16] [ABCI-28]."""
        waiting = request.txs
        if self._clock.now_ms() < self.app_state.time_ms - MAX_BEHIND_MS:
            # [LEDGER-TIME-1]: the next proposer, whose clock may be right, finds it all in its mempool.
            waiting = ()
        txs: list[bytes] = []
        left = request.max_tx_bytes
        for whole in (*self.app_state.carried_notes.due(), *choose_transactions(waiting, checker=self.checker)):
            left -= len(whole) + _FRAMING_BYTES
            if left < 0:
                break
            txs.append(whole)
        return abci.ResponsePrepareProposal(txs=txs)

    def process_proposal(self, request: abci.RequestProcessProposal) -> abci.ResponseProcessProposal:
        """Accept whatever a correct proposer can have made, and nothing else [ABCI-16] [ABCI-28]."""
        notes = self.app_state.carried_notes
        is_good = is_proper(request.txs, checker=self.checker, notes=notes, state=self.view())
        return abci.ResponseProcessProposal(status=abci.Verdict.ACCEPT if is_good else abci.Verdict.REJECT)

    def extend_vote(
        self,
        request: abci.RequestExtendVote,  # noqa: ARG002 - the last committed state decides
    ) -> abci.ResponseExtendVote:
        """Return our cosignature over the last committed checkpoint [ABCI-17]."""
        with self._lock:
            self._require_going()
            if self.app_state.time_ms > self._clock.now_ms() + MAX_AHEAD_MS:
                # [LEDGER-TIME-2]: the vote counts, and its cosignature is missing.
                return abci.ResponseExtendVote()
            return abci.ResponseExtendVote(vote_extension=self.extensions.own_extension())

    def verify_vote_extension(self, request: abci.RequestVerifyVoteExtension) -> abci.ResponseVerifyVoteExtension:
        """Accept a vote without an extension or with a cosignature that holds; name the sender of another [ABCI-17]."""
        with self._lock:
            member = self._by_address.get(request.validator_address)
            try:
                self.extensions.judge(request.vote_extension, member=member)
            except IntegrityError as error:
                words = f"{request.validator_address.hex()} at height {request.height}"
                self._require_going(self._disagreement.judge_vote(error, voter=member, words=words, tip=self._tip()))
                return abci.ResponseVerifyVoteExtension(status=abci.Verdict.REJECT)
        return abci.ResponseVerifyVoteExtension(status=abci.Verdict.ACCEPT)

    def judge_note(self, note: bytes, *, proof: Sequence[bytes] = ()) -> None:
        """Compare what validators signed elsewhere with this log; raises as ``judge_note``, and why we stopped."""
        with self._lock:
            judge = self._disagreement.judge_note
            self._require_going(judge(note, proof=proof, tip=self._tip(), copy=self.app_state.copy))

    def statement(self) -> bytes:
        """Return our signed note of the last committed checkpoint; raises as ``own_statement``, and why we stopped."""
        with self._lock:
            self._require_going()
            return own_statement(self.extensions, tip=self._tip())

    def _require_going(self, why: ShuiqiaoError | None = None) -> None:
        self._stopped = self._stopped or why
        if self._stopped is not None:
            raise self._stopped

    def finalize_block(self, request: abci.RequestFinalizeBlock) -> abci.ResponseFinalizeBlock:
        """Execute a decided block on a copy of the state; nothing is stored before Commit [ABCI-13]."""
        if request.time is None:
            raise InvalidInput("ledger.abci_malformed", f"the block of height {request.height} has no time")
        with self._lock:
            self._require_going()
            carried = self.app_state.carried_notes.found_in(request.txs)
            parts = [() if whole in carried else transactions_in(whole) for whole in request.txs]
            raws = [raw for part in parts for raw in part]
            with self.checker.speculate(raws, self.view()) as block:
                pending = self.app_state.execute(block.assumed(), height=request.height, time_ms=request.time.ms)
                if not block.holds():
                    pending = self.app_state.execute(block.proven(), height=request.height, time_ms=request.time.ms)
            executed = iter(pending.execution.result.outcomes)
            refusals = [next(executed).refusal if isinstance(each, Candidate) else each for each in block.found]
            self._round = _Round(
                pending=pending, carried=list(carried.values()), refusals=list(zip(raws, refusals, strict=True))
            )
            coming = iter(refusals)
            results = [first_refusal([next(coming) for _ in part]) for part in parts]
            return abci.ResponseFinalizeBlock(
                tx_results=[result_of(refusal, answer=abci.TxResult) for refusal in results],
                validator_updates=updates_of(self.view(), pending.execution.writes, policy_of=self._policy_of),
                app_hash=pending.app_hash,
            )

    def commit(
        self,
        request: abci.RequestCommit,  # noqa: ARG002 - it is empty
    ) -> abci.ResponseCommit:
        """Make the finalized block durable, tell who waits, and say which CometBFT blocks may go."""
        with self._lock:
            decided = self._round
            if decided is None:
                raise IntegrityError("ledger.commit_unexpected", "Commit came without a FinalizeBlock before it")
            self.app_state.carried_notes.take(decided.carried)
            block = self._store(decided.pending)
            self._round = None
            self.checker.cache.forget([raw for raw, _ in decided.refusals])
            self._move(block, decided.pending)
            self._tell(decided, block)
            return abci.ResponseCommit(retain_height=self._retain_height())

    def _store(self, pending: Pending) -> Block | None:
        """Commit, and refuse to go on where it is unknown what the disk holds: the node must be opened again."""
        try:
            return self.app_state.commit(pending)
        except Unavailable as error:
            if error.code != "ledger.disk_full":
                self._stopped = error
            raise

    def _move(self, block: Block | None, pending: Pending) -> None:
        # The votes for this block completed the note of the block before: kept now, or within a second under load.
        self.extensions.store(is_urgent=block is None)
        if block is not None:
            self.extensions.move(self._tip())
            if any(key.startswith("members/") for key in pending.execution.writes):
                self._learn_validators()
        interval = self._settings.snapshot_interval
        if interval and pending.height % interval == 0 and self.app_state.reached is not None:
            self.app_state.snapshots.take(self.app_state.reached)

    def _tell(self, decided: _Round, block: Block | None) -> None:
        events = [event for outcome in decided.pending.execution.result.outcomes for event in outcome.events]
        told = Decided(block=block, refusals=decided.refusals, events=events)
        for listener in self._listeners:
            listener(told)

    def _retain_height(self) -> int:
        """Return from which height on CometBFT must keep blocks: enough for the oldest snapshot on offer [ABCI-20]."""
        if not self._settings.retain_heights:
            return 0
        oldest = min((offer.height for offer in self.app_state.snapshots.offers()), default=self.app_state.height)
        return max(0, min(self.app_state.height - self._settings.retain_heights, oldest))

    # Snapshot connection

    def list_snapshots(
        self,
        request: abci.RequestListSnapshots,  # noqa: ARG002 - it is empty
    ) -> abci.ResponseListSnapshots:
        """Return the snapshots on offer."""
        with self._lock:
            return abci.ResponseListSnapshots(snapshots=self.app_state.snapshots.offers())

    def load_snapshot_chunk(self, request: abci.RequestLoadSnapshotChunk) -> abci.ResponseLoadSnapshotChunk:
        """Return a part of a snapshot."""
        return abci.ResponseLoadSnapshotChunk(
            chunk=self.app_state.snapshots.chunk(height=request.height, chunk=request.chunk)
        )

    def offer_snapshot(self, request: abci.RequestOfferSnapshot) -> abci.ResponseOfferSnapshot:
        """Begin to join by a peer's snapshot; only an empty ledger does [ABCI-21]."""
        with self._lock:
            if self.app_state.height or self.app_state.copy.head.height or request.snapshot is None:
                return abci.ResponseOfferSnapshot(result=abci.OfferResult.ABORT)
            self._incoming = None
            try:
                self._incoming = self.app_state.take_in(request.snapshot, app_hash=request.app_hash)
            except InvalidInput:
                self.app_state.drop_incoming()
                return abci.ResponseOfferSnapshot(result=abci.OfferResult.REJECT)
            return abci.ResponseOfferSnapshot(result=abci.OfferResult.ACCEPT)

    def apply_snapshot_chunk(self, request: abci.RequestApplySnapshotChunk) -> abci.ResponseApplySnapshotChunk:
        """Take a chunk; with the last one, prove that the whole is what was verified [ABCI-21]."""
        with self._lock:
            incoming = self._incoming
            if incoming is None:
                return abci.ResponseApplySnapshotChunk(result=abci.ChunkResult.ABORT)
            try:
                incoming.add(request.index, request.chunk)
                if incoming.is_whole:
                    self._incoming = None
                    self.app_state.receive(incoming)
            except IntegrityError as error:
                if error.code != "ledger.snapshot_contradicted":
                    return abci.ResponseApplySnapshotChunk(
                        result=abci.ChunkResult.RETRY,
                        refetch_chunks=(request.index,),
                        reject_senders=(request.sender,) if request.sender else (),
                    )
                # No other peer's chunks would fit this manifest and be blocks.
                self._incoming = None
                self.app_state.drop_incoming()
                return abci.ResponseApplySnapshotChunk(result=abci.ChunkResult.REJECT_SNAPSHOT)
            if incoming.is_whole:
                self._begin()
            return abci.ResponseApplySnapshotChunk(result=abci.ChunkResult.ACCEPT)

    def _begin(self) -> None:
        """Begin at what is committed: after opening, and after joining by a snapshot."""
        self.extensions.load(self._tip())
        self._learn_validators()
        if self._settings.snapshot_interval and self.app_state.reached is not None:
            self.app_state.snapshots.take(self.app_state.reached)

    def close(self) -> None:
        """Keep the newest note, and release files and processes."""
        with self._lock:
            self.extensions.store(is_urgent=True)
            self.app_state.close()
            self.checker.close()


def choose_transactions(waiting: Sequence[bytes], *, checker: TransactionChecker) -> list[bytes]:
    """Return what waits and may stand in a block, but what cannot be decoded or stands twice [ABCI-16].

    A transaction stands once, however it is bundled: of the same ones a stranger makes any number of bundles. What a
    contract may refuse stays in: only the block that refuses it takes it out of every mempool. What has no place in
    this block any more waits for the next one.
    """
    chosen: list[bytes] = []
    taken: set[bytes] = set()
    count = size = work = 0
    for whole in waiting:
        raws = transactions_in(whole)
        if not taken.isdisjoint(raws):
            continue
        units = checker.work_of(raws)
        if units is None or units > MAX_BLOCK_WORK:
            continue
        count += len(raws)
        size += sum(map(len, raws))
        work += units
        if count > MAX_PROPOSED or size > MAX_UNPACKED_BYTES or work > MAX_BLOCK_WORK:
            break
        chosen.append(whole)
        taken.update(raws)
    return chosen


def is_proper(wholes: Sequence[bytes], *, checker: TransactionChecker, notes: CarriedNotes, state: StateView) -> bool:
    """Tell whether a correct proposer can have made a block, by its bytes and the last committed state alone.

    Signatures not met in CheckTx are verified now, while votes travel, and remembered.
    """
    shown = [whole for whole in wholes if carried_in(whole) is not None]
    if len(set(wholes)) < len(wholes) or len(shown) > MAX_CARRIED:
        return False
    carried = notes.found_in(shown)
    if len({each.size for each in carried.values()}) < len(shown):
        return False
    raws: dict[bytes, None] = {}
    size = work = 0
    for whole in wholes:
        found = () if whole in carried else transactions_in(whole)
        if not raws.keys().isdisjoint(found):
            return False
        size += sum(map(len, found))
        if size > MAX_UNPACKED_BYTES or (units := checker.work_of(found)) is None:
            return False
        work += units
        if work > MAX_BLOCK_WORK:
            return False
        raws.update(dict.fromkeys(found))
    checker.candidates(list(raws), state)
    return True
