"""One validator alters its own copy of the ledger; the others outvote it and name it, each by itself.

1. all members hold the same log and the same state;
2. one bank's node is stopped and its copy altered, with all on its disk that follows from the altered record: it holds
   its own signing key, so opened by itself the copy is without a fault. It signs a checkpoint of what it has now;
3. every other member finds another root in its own log at that size, and holds the bank's two cosignatures against each
   other: evidence that names it;
4. the bank's node is started again: CometBFT refuses the ledger beside it;
5. the bank's program lies about its application hash. The node compares that hash only when it starts, so it gets in;
   its vote carries a cosignature over the altered log, which no other validator accepts. Meanwhile every other member
   raises an alarm on the ledger that accuses the bank, and these blocks are decided without it;
6. what the others decided is replayed through the embedded engine's means.

Every answer comes from what the nodes and the code of the product really did.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from shuiqiao.base.durable import ScratchDisk
from shuiqiao.base.errors import IntegrityError, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import MemberId
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.checkpoints.note import cosigners_of
from shuiqiao.ledger.checkpoints.policy import CheckpointPolicy
from shuiqiao.ledger.checkpoints.signed_note import encode_text
from shuiqiao.ledger.engine.cometbft.abci import messages as abci
from shuiqiao.ledger.engine.cometbft.abci.server import AbciServer
from shuiqiao.ledger.engine.cometbft.comet.home import APP_SOCKET
from shuiqiao.ledger.engine.cometbft.comet.localnet import LocalNetwork
from shuiqiao.ledger.engine.cometbft.comet.process import NodeProcess
from shuiqiao.ledger.engine.cometbft.consensus.app_state import CONSENSUS_FOLDER
from shuiqiao.ledger.engine.cometbft.consensus.application import ApplicationSettings, LedgerApplication
from shuiqiao.ledger.engine.cometbft.consensus.extensions import Cosigner
from shuiqiao.ledger.engine.cometbft.consensus.heights import HeightFile
from shuiqiao.ledger.engine.cometbft.ledger import CometbftLedger
from shuiqiao.ledger.log.entry import decode_entry
from shuiqiao.ledger.model import Block, Transaction
from shuiqiao.ledger.store.index import INDEX_FOLDER
from shuiqiao.ledger.store.segments import SEGMENTS_FOLDER
from shuiqiao.ledger.transactions.submitter import log_size
from shuiqiao.ledger.transactions.transaction import TransactionDraft, sign_transaction
from shuiqiao.ledger.transactions.verifiers import open_verifier
from shuiqiao.lending.contract import DECISION
from shuiqiao.node.home.kinds import network_machine
from shuiqiao.node.institution import Institution
from shuiqiao.oversight.contract import ALARM
from shuiqiao.sandbox.scenario.consortium import BANKS, Consortium, settle
from shuiqiao.sandbox.scenario.rebuilding import (
    TimedBlock,
    copy_of,
    first_difference,
    replay_through_embedded,
    scratch_ledger,
)
from shuiqiao.sandbox.scenario.result import Alteration, NetworkChecks
from shuiqiao.sandbox.scenario.scene import NOT_CAUGHT
from shuiqiao.sandbox.scenario.watching import (
    Verdict,
    former_cosigned,
    policy_of,
    sign_checkpoint,
    watch,
)

if TYPE_CHECKING:
    from shuiqiao.ledger.checkpoints.signed_note import Checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgery:
    """One record of a member, and what it would rather have said. original, altered: signed transaction bytes."""

    original: bytes
    altered: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class AlteredCopy:
    """What became of a copy. honest_app_hash: the one that all agreed on, which the altered blocks no longer give."""

    size: int
    root: bytes
    honest_app_hash: bytes
    app_hash: bytes


def forge_decision(member: Institution) -> Forgery:
    """Put another commitment into the first decision that a bank recorded, under the bank's own signature.

    Raises InvalidInput ``sandbox.decision_missing`` for a bank that has decided nothing.
    """
    for block in member.engine.blocks(from_height=1):
        for raw in block.transactions:
            tx = member.outbox.decode(raw)
            if (tx.kind, tx.author) == (DECISION, member.member):
                return Forgery(original=raw, altered=_turned(tx, member=member))
    raise InvalidInput("sandbox.decision_missing", f"{member.member} has recorded no decision that it could alter")


def _turned(tx: Transaction, *, member: Institution) -> bytes:
    draft = TransactionDraft(
        kind=tx.kind,
        version=tx.version,
        body=msgspec.structs.replace(tx.body, commitment=bytes(32)),
        author=tx.author,
        valid_until_ms=tx.valid_until_ms,
        id=tx.id,
    )
    return sign_transaction(draft, network=tx.network, suite=member.suite, keys=[member.keys.signing])


def alter_copy(member: Institution, forgery: Forgery, *, blocks: Iterable[Block], scratch: Path) -> AlteredCopy:
    """Put the altered record in the place of the original in a closed member's ledger folder, and all that follows.

    blocks: its own, read before it was closed. scratch: an empty folder.
    """
    with scratch_ledger(member, scratch, blocks=_altered(blocks, forgery)) as copy:
        head = copy.head
    for name in (SEGMENTS_FOLDER, INDEX_FOLDER):
        shutil.rmtree(member.home.ledger / name)
        shutil.move(scratch / name, member.home.ledger / name)
    text = encode_text(origin=member.parameters.origin, size=head.size, root=head.root)
    app_hash = member.suite.digest(text)
    honest = _write_position(member, block=head.height, app_hash=app_hash)
    return AlteredCopy(size=head.size, root=head.root, honest_app_hash=honest, app_hash=app_hash)


def _altered(blocks: Iterable[Block], forgery: Forgery) -> Iterator[TimedBlock]:
    for block in blocks:
        kept = [forgery.altered if raw == forgery.original else raw for raw in block.transactions]
        yield TimedBlock(time_ms=block.time_ms, transactions=kept)


def _write_position(member: Institution, *, block: int, app_hash: bytes) -> bytes:
    """Name the altered application hash where the node keeps it, and return the one that stood there."""
    with closing(HeightFile(member.home.ledger / CONSENSUS_FOLDER / "position", disk=ScratchDisk())) as file:
        position = file.load(block=block)
        assert position is not None
        file.save(msgspec.structs.replace(position, app_hash=app_hash), is_durable=True)
    return position.app_hash


MEETING_TIMEOUT_S = 40.0
"""How long a node may take to meet the others again and to see that it misses nothing, in seconds."""

_POLL_S = 0.1


class _LyingApplication(LedgerApplication):
    """The ledger's application but for one answer."""

    shown_hash = b""

    def info(self, request: abci.RequestInfo) -> abci.ResponseInfo:
        """Return the height that is true with a hash that is not."""
        return msgspec.structs.replace(super().info(request), last_block_app_hash=self.shown_hash)


@contextmanager
def lie_about_hash(member: Institution, altered: AlteredCopy, *, policy: CheckpointPolicy) -> Generator[None]:
    """Serve a closed member's altered ledger to its node, under the hash that all agreed on."""
    suite = get_suite(member.parameters.suite)
    application = _LyingApplication(
        member.home.ledger,
        machine=network_machine(member.parameters, kinds=member.kinds),
        verifier=open_verifier(suite, processes=0),
        clock=member.dependencies.clock,
        policy_of=lambda _state: policy,
        cosigner=Cosigner(member=member.member, key=member.keys.signing),
        settings=ApplicationSettings(),
    )
    application.shown_hash = altered.honest_app_hash
    with (
        closing(application),
        closing(AbciServer(application.answers, path=member.home.cometbft / APP_SOCKET, on_fault=lambda _fault: None)),
    ):
        yield


def meet_others(node: NodeProcess, *, peers: int) -> None:
    """Return once a node has its peers and takes part again; raises Unavailable ``sandbox.node_apart``."""
    end = time.monotonic() + MEETING_TIMEOUT_S
    while time.monotonic() < end:
        node.require_running()
        try:
            if node.rpc.peer_count() >= peers and not node.rpc.status().is_catching_up:
                return
        except ShuiqiaoError:
            # It does not answer yet.
            pass
        time.sleep(_POLL_S)
    raise Unavailable(
        "sandbox.node_apart", f"the node over {node.home} did not meet {peers} others within {MEETING_TIMEOUT_S:g} s"
    )


CHEAT = BANKS[1]
"""The member that alters its copy."""

REFUSAL_TIMEOUT_S = 30.0
"""How long a node may take to refuse the ledger beside it, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checkpoints:
    """What the cheat signed: before, over the log that all have; later, over its own. proof: between the two."""

    former: Checkpoint
    later: Checkpoint
    proof: tuple[bytes, ...]


def outvote_cheat(consortium: Consortium, *, network: LocalNetwork, scratch: Path) -> NetworkChecks:
    """Let one member alter its copy and return what all did; that member's institution is closed afterwards.

    scratch: an empty folder. Raises what engines and nodes raise where the others do not go on.
    """
    cheat = consortium.banks[CHEAT]
    others = tuple(member for member in consortium.members if member is not cheat)
    consortium.settle()
    is_agreed = _is_agreed(consortium.members)
    former = former_cosigned(consortium, member=cheat)
    altered = _alter(cheat, network=network, scratch=scratch / "altered")
    signed, found = _show(cheat, altered, former=former, judge=consortium.regulator)
    verdicts = {member.member: _judge(member, cheat, signed, folder=scratch / member.member) for member in others}
    refused_code = _start_honestly(cheat, network=network)
    before, _ = consortium.bureau.engine.last_block()
    in_votes = _vote_with_a_lie(cheat, altered, others=others, verdicts=verdicts, network=network)
    settle(others)
    after, _ = consortium.bureau.engine.last_block()
    accused_by = _accusations(consortium.bureau, from_height=before + 1)
    return NetworkChecks(
        engine=str(consortium.prepared.engine),
        engine_version=network.nodes[consortium.bureau.member].rpc.status().version,
        validators=len(consortium.prepared.validators),
        nodes=len(consortium.members),
        agreed_roots=is_agreed,
        replayed_through_embedded=replay_through_embedded(consortium.bureau, scratch / "replay"),
        altered=found,
        refused_code=refused_code,
        outvoted=after > before and CHEAT not in _cosigners(consortium.bureau),
        named=tuple(sorted({*in_votes.values(), *accused_by.values()})),
        named_by=tuple(sorted(accused_by)),
        named_in_votes_by=tuple(sorted(in_votes)),
        evidence_codes=tuple(sorted({verdict.code for verdict in verdicts.values()})),
        blocks_after_alteration=after - before,
        honest_roots_equal=_is_agreed(others),
    )


def _is_agreed(members: Sequence[Institution]) -> bool:
    """Tell whether settled members have one size, one log root and one state root."""
    return len({_standing(member) for member in members}) == 1


def _standing(member: Institution) -> tuple[int, bytes, bytes]:
    height, _ = member.engine.last_block()
    [last] = member.engine.blocks(from_height=height)
    checkpoint = member.engine.checkpoint(at_least=log_size(member.engine))
    return checkpoint.size, checkpoint.root, decode_entry(last.entry).state_root


def _alter(cheat: Institution, *, network: LocalNetwork, scratch: Path) -> AlteredCopy:
    """Stop a member's node, close its ledger, and alter it on the disk."""
    forgery = forge_decision(cheat)
    blocks = list(cheat.engine.blocks(from_height=1))
    network.nodes[cheat.member].stop()
    cheat.close()
    return alter_copy(cheat, forgery, blocks=blocks, scratch=scratch)


def _show(
    cheat: Institution, altered: AlteredCopy, *, former: Checkpoint, judge: Institution
) -> tuple[_Checkpoints, Alteration]:
    """Let the cheat sign its altered log, and another member compare it with its own, record by record."""
    with scratch_ledger(cheat, cheat.home.ledger) as shown:
        signed = _Checkpoints(
            former=former,
            later=sign_checkpoint(cheat, policy=policy_of(judge), size=altered.size, root=altered.root),
            proof=shown.consistency_proof(old_size=former.size, new_size=altered.size),
        )
        found = first_difference(shown, copy_of(judge), member=cheat.member)
    return signed, found


def _judge(member: Institution, cheat: Institution, signed: _Checkpoints, *, folder: Path) -> Verdict:
    """Let a member compare the shown checkpoint with its own log, and hold the cheat's two checkpoints together."""
    verdict = watch(
        member, first=signed.former, second=signed.later, proof=signed.proof, accused=cheat.member, folder=folder
    )
    is_own_root = signed.later.root == member.engine.checkpoint().root
    return Verdict(code=NOT_CAUGHT, evidence=None) if is_own_root else verdict


def _start_honestly(cheat: Institution, *, network: LocalNetwork) -> str:
    """Open the altered ledger as if nothing were, start the node over it, and return the code that refused it."""
    node = network.nodes[cheat.member]
    with Institution.open(cheat.home, dependencies=cheat.dependencies):
        try:
            node.start()
            node.wait_for_end(timeout_s=REFUSAL_TIMEOUT_S)
        except ShuiqiaoError as error:
            return error.code
        finally:
            node.stop()
    return NOT_CAUGHT


def _vote_with_a_lie(
    cheat: Institution,
    altered: AlteredCopy,
    *,
    others: Sequence[Institution],
    verdicts: Mapping[MemberId, Verdict],
    network: LocalNetwork,
) -> dict[str, str]:
    """Let the cheat's node in by a lie while the others accuse it; return who named whom for a vote."""
    node = network.nodes[cheat.member]
    with lie_about_hash(cheat, altered, policy=policy_of(others[0])):
        try:
            node.start()
            meet_others(node, peers=len(others))
            for member in others:
                _accuse(member, cheat, verdicts[member.member])
        finally:
            node.stop()
    return {
        str(member.member): name
        for member in others
        if isinstance(member.engine, CometbftLedger)
        for name in member.engine.application.named
    }


def _accuse(member: Institution, cheat: Institution, verdict: Verdict) -> None:
    """Let a member accuse the cheat on the ledger, unless the evidence does not prove to it what it says."""
    if verdict.evidence is not None:
        with suppress(IntegrityError):
            member.alarms.accuse_of_fork(cheat.member, evidence=verdict.evidence)


def _accusations(member: Institution, *, from_height: int) -> dict[str, str]:
    """Return who accused whom on the ledger from a block on."""
    found = (
        member.outbox.decode(raw)
        for block in member.engine.blocks(from_height=from_height)
        for raw in block.transactions
    )
    return {str(tx.author): str(tx.body.accused) for tx in found if tx.kind == ALARM}


def _cosigners(member: Institution) -> set[MemberId]:
    """Return who cosigned a member's newest checkpoint."""
    return set(cosigners_of(member.engine.checkpoint().note, policy=policy_of(member)))
