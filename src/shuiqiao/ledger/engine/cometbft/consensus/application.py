"""The ledger as CometBFT's application: every call of ABCI 2.0 over one copy of the ledger.

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

from shuiqiao.base.clock import Clock
from shuiqiao.base.encoding import encode_cbor
from shuiqiao.base.errors import IntegrityError, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import MemberId
from shuiqiao.ledger.checkpoints.signed_note import Checkpoint
from shuiqiao.ledger.clock_check import MAX_AHEAD_MS, MAX_BEHIND_MS, require_not_behind
from shuiqiao.ledger.engine.cometbft.abci import requests as ask
from shuiqiao.ledger.engine.cometbft.abci import responses as answer
from shuiqiao.ledger.engine.cometbft.consensus.disagreement import Disagreement, own_statement
from shuiqiao.ledger.engine.cometbft.consensus.extensions import CosignatureDesk, Cosigner, PolicyOf, Tip, tip_of
from shuiqiao.ledger.engine.cometbft.consensus.joining import Joining
from shuiqiao.ledger.engine.cometbft.consensus.keeper import CONSENSUS_FOLDER, Keeper, Pending
from shuiqiao.ledger.engine.cometbft.consensus.proposing import is_proper, make_proposal
from shuiqiao.ledger.engine.cometbft.consensus.results import number_of, refusal_in, result_of
from shuiqiao.ledger.engine.cometbft.consensus.validators import member_by_address, updates_of, validators_of
from shuiqiao.ledger.engine.cometbft.mempool.bundle import transactions_in
from shuiqiao.ledger.engine.cometbft.mempool.checking import Entrance, TransactionChecker
from shuiqiao.ledger.engine.cometbft.mempool.pool import Pool
from shuiqiao.ledger.engine.cometbft.mempool.waiting import RefusalListener, WaitingRoom
from shuiqiao.ledger.engine.port import CopySettings
from shuiqiao.ledger.model import Block
from shuiqiao.ledger.state.machine import Candidate, Outcome, StateMachine
from shuiqiao.ledger.store.state_view import SnapshotState
from shuiqiao.ledger.transactions.verifiers import Verifier

APP_VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationSettings:
    """How a node of the consortium keeps its copy.

    snapshot_interval: CometBFT heights between two snapshots, 0 for none. retain_heights: CometBFT blocks kept for
    nodes that catch up, 0 for all; our own blocks are always kept. has_pool: CometBFT's mempool type is ``app``.
    """

    copy: CopySettings = field(default_factory=CopySettings)
    snapshot_interval: int = 1_000
    retain_heights: int = 0
    has_pool: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What listeners are told of a committed CometBFT block. block is ours, None if it accepted nothing."""

    height: int
    time_ms: int
    block: Block | None
    outcomes: Sequence[tuple[bytes, Outcome | ShuiqiaoError]]
    """Each transaction, those of bundles on their own, with what became of it."""


@dataclass(slots=True)
class _Round:
    """The finalized block that waits for Commit."""

    pending: Pending
    wholes: Sequence[bytes] = ()
    carried: Sequence[Checkpoint] = ()
    outcomes: Sequence[tuple[bytes, Outcome | ShuiqiaoError]] = field(default_factory=tuple)


class LedgerApplication:
    """Implements ``server.Application`` over a ledger folder."""

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
        """Open or create the folder; raises what ``Keeper`` raises. cosigner: None for a node without a vote.

        policy_of: whose cosignatures count by a state, for validators those of the validators.
        """
        self._machine = machine
        self._clock = clock
        self._policy_of = policy_of
        self._settings = settings
        self.keeper = Keeper(folder, machine=machine, settings=settings.copy)
        self.checker = TransactionChecker(machine, verifier=verifier)
        self._waiting = WaitingRoom(self.recheck, is_decodable=self.checker.is_decodable, has_pool=settings.has_pool)
        self.desk = CosignatureDesk(
            folder / CONSENSUS_FOLDER,
            suite=machine.suite,
            clock=clock,
            cosigner=cosigner,
            disk=settings.copy.disk,
            epochs=lambda: self.keeper.copy.epochs,
        )
        self._lock = threading.RLock()
        self._round: _Round | None = None
        self._stopped: ShuiqiaoError | None = None
        self._listeners: list[Callable[[Decided], None]] = []
        self._by_address: dict[bytes, MemberId] = {}
        self._disagreement = Disagreement(machine.suite)
        self.named = self._disagreement.named
        self._joining = Joining(self.keeper, on_joined=self._begin)
        self._begin()

    # For the engine

    def on_decided(self, listener: Callable[[Decided], None]) -> None:
        """Call a listener after each commit, on the consensus thread: it must be quick and must not raise."""
        self._listeners.append(listener)

    def on_refused(self, listener: RefusalListener) -> None:
        """Call a listener for each transaction that CheckTx does not let in."""
        self._waiting.on_refused(listener)

    def second_look(self) -> list[bytes]:
        """Return what peers sent and was refused, and is now to be handed to CometBFT's mempool again [ABCI-26]."""
        return self._waiting.second_look() if len(self._waiting.parked) else []

    @property
    def pool(self) -> Pool:
        """The application's own mempool, empty unless CometBFT's is of type ``app``."""
        return self._waiting.pool

    def view(self) -> SnapshotState:
        """Return the last committed state."""
        return self.keeper.copy.view()[1]

    def checkpoint(self) -> Checkpoint | None:
        """Return the newest checkpoint with its quorum of cosignatures, None before there is one."""
        return self.desk.note()

    def _tip(self) -> Tip:
        head, view = self.keeper.copy.view()
        policy = self.keeper.copy.epochs.trail.policy_at(head.size)
        return tip_of(size=head.size, root=head.root, policy=policy, view=view)

    def _learn_validators(self) -> None:
        view = self.view()
        self._by_address = member_by_address(view, self._policy_of(view).witnesses)

    # Query connection

    def info(self, request: ask.RequestInfo) -> answer.ResponseInfo:
        """Return the last committed height: CometBFT replays what is missing above it [ABCI-14]."""
        with self._lock:
            keeper = self.keeper
            return answer.ResponseInfo(
                data="shuiqiao",
                version=request.version,
                app_version=APP_VERSION,
                last_block_height=keeper.height,
                last_block_app_hash=keeper.app_hash if keeper.height else b"",
            )

    def query(self, request: ask.RequestQuery) -> answer.ResponseQuery:
        """Answer ``/checkpoint`` with the newest note and ``/state`` with the encoded value of the key in data."""
        height = self.keeper.height
        if request.path == "/checkpoint":
            note = self.desk.note()
            return answer.ResponseQuery(value=note.note if note is not None else b"", height=height)
        if request.path == "/state":
            value = self.view().get(request.data.decode(errors="replace"))
            return answer.ResponseQuery(key=request.data, value=encode_cbor(value), height=height)
        error = InvalidInput("ledger.query_unknown", f"there is no query {request.path[:100]!r}")
        return answer.ResponseQuery(code=number_of(error), log=error.message, codespace=error.code, height=height)

    # Mempool connection

    def check_txs(self, requests: Sequence[ask.RequestCheckTx]) -> Sequence[answer.ResponseCheckTx]:
        """Check transactions on the last committed state, new ones and those that still wait alike [ABCI-15]."""
        return self._waiting.check(requests)

    def require_clock(self) -> None:
        """Return if this node may order; raises Unavailable ``ledger.clock_behind`` [LEDGER-TIME-1]."""
        require_not_behind(now_ms=self._clock.now_ms(), block_ms=self.keeper.time_ms)

    def recheck(self, raws: Sequence[bytes]) -> list[ShuiqiaoError | None]:
        """Return what refuses transactions now, None where they may wait for a block; nobody is told."""
        # After a silence the last block's time is old: validity is then measured by this node's clock [ABCI-27].
        time_ms = max(self.keeper.time_ms, self._clock.now_ms())
        height = self.keeper.copy.head.height + 1
        entrance = Entrance(self._machine, self.view(), time_ms=time_ms, height=height)
        return self.checker.admit(raws, entrance=entrance)

    def insert_tx(self, request: ask.RequestInsertTx) -> answer.ResponseInsertTx:
        """Take a transaction into the application's own mempool."""
        return self._waiting.insert(request)

    def reap_txs(self, request: ask.RequestReapTxs) -> answer.ResponseReapTxs:
        """Return what is new in the application's own mempool."""
        return self._waiting.reap(request)

    # Consensus connection

    def init_chain(self, request: ask.RequestInitChain) -> answer.ResponseInitChain:
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
            return answer.ResponseInitChain(app_hash=self.keeper.app_hash)

    def prepare_proposal(self, request: ask.RequestPrepareProposal) -> answer.ResponsePrepareProposal:
        """Propose closing notes that are due and what waits, up to the size asked for [ABCI-16] [ABCI-28]."""
        waiting = self.pool.waiting(max_bytes=request.max_tx_bytes) if self._settings.has_pool else request.txs
        if self._clock.now_ms() < self.keeper.time_ms - MAX_BEHIND_MS:
            # [LEDGER-TIME-1]: the next proposer, whose clock may be right, finds it all in its mempool.
            waiting = ()
        made = make_proposal(waiting, checker=self.checker, closing=self.keeper.closing, max_bytes=request.max_tx_bytes)
        return answer.ResponsePrepareProposal(txs=made)

    def process_proposal(self, request: ask.RequestProcessProposal) -> answer.ResponseProcessProposal:
        """Accept whatever a correct proposer can have made, and nothing else [ABCI-16] [ABCI-28]."""
        is_good = is_proper(request.txs, checker=self.checker, closing=self.keeper.closing, state=self.view())
        return answer.ResponseProcessProposal(status=answer.Verdict.ACCEPT if is_good else answer.Verdict.REJECT)

    def extend_vote(
        self,
        request: ask.RequestExtendVote,  # noqa: ARG002 - the last committed state decides
    ) -> answer.ResponseExtendVote:
        """Return our cosignature over the last committed checkpoint [ABCI-17]."""
        with self._lock:
            self._require_going()
            if self.keeper.time_ms > self._clock.now_ms() + MAX_AHEAD_MS:
                # [LEDGER-TIME-2]: the vote counts, and its cosignature is missing.
                return answer.ResponseExtendVote()
            return answer.ResponseExtendVote(vote_extension=self.desk.own_extension())

    def verify_vote_extension(self, request: ask.RequestVerifyVoteExtension) -> answer.ResponseVerifyVoteExtension:
        """Accept a vote without an extension or with a cosignature that holds; name who sent another [ABCI-17]."""
        with self._lock:
            member = self._by_address.get(request.validator_address)
            try:
                self.desk.judge(request.vote_extension, member=member)
            except IntegrityError as error:
                words = f"{request.validator_address.hex()} at height {request.height}"
                self._require_going(self._disagreement.hear_vote(error, voter=member, words=words, tip=self._tip()))
                return answer.ResponseVerifyVoteExtension(status=answer.Verdict.REJECT)
        return answer.ResponseVerifyVoteExtension(status=answer.Verdict.ACCEPT)

    def hear(self, note: bytes, *, proof: Sequence[bytes] = ()) -> None:
        """Compare what validators signed elsewhere with this log; raises as ``hear_note``, and why we stopped."""
        with self._lock:
            hear = self._disagreement.hear_note
            self._require_going(hear(note, proof=proof, tip=self._tip(), copy=self.keeper.copy))

    def statement(self) -> bytes:
        """Return our word on the last committed checkpoint; raises as ``own_statement``, and why we stopped."""
        with self._lock:
            self._require_going()
            return own_statement(self.desk, tip=self._tip())

    def _require_going(self, why: ShuiqiaoError | None = None) -> None:
        self._stopped = self._stopped or why
        if self._stopped is not None:
            raise self._stopped

    def finalize_block(self, request: ask.RequestFinalizeBlock) -> answer.ResponseFinalizeBlock:
        """Execute a decided block on a copy of the state; nothing is stored before Commit [ABCI-13]."""
        if request.time is None:
            raise InvalidInput("ledger.abci_malformed", f"the block of height {request.height} has no time")
        with self._lock:
            self._require_going()
            carried = self.keeper.closing.found_in(request.txs)
            parts = [() if whole in carried else transactions_in(whole) for whole in request.txs]
            raws = [raw for part in parts for raw in part]
            with self.checker.meet(raws, self.view()) as met:
                pending = self.keeper.execute(met.assumed(), height=request.height, time_ms=request.time.ms)
                if not met.holds():
                    pending = self.keeper.execute(met.proven(), height=request.height, time_ms=request.time.ms)
            found = met.found
            executed = iter(pending.execution.result.outcomes)
            outcomes = [next(executed) if isinstance(each, Candidate) else each for each in found]
            self._round = _Round(
                pending=pending,
                wholes=request.txs,
                carried=list(carried.values()),
                outcomes=list(zip(raws, outcomes, strict=True)),
            )
            refusals = iter([refusal_in(outcome) for outcome in outcomes])
            return answer.ResponseFinalizeBlock(
                tx_results=[result_of([next(refusals) for _ in part]) for part in parts],
                validator_updates=updates_of(self.view(), pending.execution.writes, policy_of=self._policy_of),
                app_hash=pending.app_hash,
            )

    def commit(
        self,
        request: ask.RequestCommit,  # noqa: ARG002 - it is empty
    ) -> answer.ResponseCommit:
        """Make the finalized block durable, tell who waits, and say which CometBFT blocks may go."""
        with self._lock:
            decided = self._round
            if decided is None:
                raise IntegrityError("ledger.commit_unexpected", "Commit came without a FinalizeBlock before it")
            self.keeper.closing.take(decided.carried)
            block = self._store(decided.pending)
            self._round = None
            raws = [raw for raw, _ in decided.outcomes]
            self.checker.remembered.forget(raws)
            self.pool.remove(decided.wholes)
            self._move(block, decided.pending)
            self._tell(decided, block)
            return answer.ResponseCommit(retain_height=self._retain_height())

    def _store(self, pending: Pending) -> Block | None:
        """Commit, and refuse to go on where it is unknown what the disk holds: the node must be opened again."""
        try:
            return self.keeper.commit(pending)
        except Unavailable as error:
            if error.code != "ledger.disk_full":
                self._stopped = error
            raise

    def _move(self, block: Block | None, pending: Pending) -> None:
        # The votes for this block completed the note of the block before: kept now, or within a second under load.
        self.desk.store(is_urgent=block is None)
        if block is not None:
            self.desk.move(self._tip())
            if any(key.startswith("members/") for key in pending.execution.writes):
                self._learn_validators()
        interval = self._settings.snapshot_interval
        if interval and pending.height % interval == 0 and self.keeper.position is not None:
            self.keeper.shelf.take(self.keeper.position)

    def _tell(self, decided: _Round, block: Block | None) -> None:
        pending = decided.pending
        told = Decided(height=pending.height, time_ms=pending.time_ms, block=block, outcomes=decided.outcomes)
        for listener in self._listeners:
            listener(told)

    def _retain_height(self) -> int:
        """Return from which height on CometBFT must keep blocks: enough for the oldest snapshot on offer [ABCI-20]."""
        if not self._settings.retain_heights:
            return 0
        oldest = min((offer.height for offer in self.keeper.shelf.offers()), default=self.keeper.height)
        return max(0, min(self.keeper.height - self._settings.retain_heights, oldest))

    # Snapshot connection

    def list_snapshots(
        self,
        request: ask.RequestListSnapshots,  # noqa: ARG002 - it is empty
    ) -> answer.ResponseListSnapshots:
        """Return the snapshots on offer."""
        with self._lock:
            return answer.ResponseListSnapshots(snapshots=self.keeper.shelf.offers())

    def load_snapshot_chunk(self, request: ask.RequestLoadSnapshotChunk) -> answer.ResponseLoadSnapshotChunk:
        """Return a part of a snapshot."""
        return answer.ResponseLoadSnapshotChunk(
            chunk=self.keeper.shelf.chunk(height=request.height, chunk=request.chunk)
        )

    def offer_snapshot(self, request: ask.RequestOfferSnapshot) -> answer.ResponseOfferSnapshot:
        """Tell whether to join by a peer's snapshot."""
        with self._lock:
            return self._joining.offer(request)

    def apply_snapshot_chunk(self, request: ask.RequestApplySnapshotChunk) -> answer.ResponseApplySnapshotChunk:
        """Take a part of the snapshot."""
        with self._lock:
            return self._joining.apply(request)

    def _begin(self) -> None:
        """Begin at what is committed: after opening, and after joining by a snapshot."""
        self.desk.load(self._tip())
        self._learn_validators()
        if self._settings.snapshot_interval and self.keeper.position is not None:
            self.keeper.shelf.take(self.keeper.position)

    def close(self) -> None:
        """Keep the newest note, and release files and processes."""
        with self._lock:
            self.desk.store(is_urgent=True)
            self.keeper.close()
            self.checker.close()
