"""One validator alters its own copy; the others outvote it and name it, each by itself.

1. all members hold the same log and the same state;
2. one bank's node is stopped and its copy altered (``altering``); it signs a checkpoint of what it has now;
3. every other member finds another root in its own log at that size, and holds the bank's two words against each other:
   evidence that names it;
4. the bank's node is started again: CometBFT refuses the ledger beside it;
5. the bank's program lies about its application hash, so that the node gets in (``lying``): its vote carries a
   cosignature over the altered log, which no other validator accepts. Meanwhile every other member raises an alarm on
   the ledger that accuses the bank, and these blocks are decided without it;
6. what the others decided is replayed through the embedded engine's means.

Every answer comes from what the nodes and the code of the product really did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.base.ids import MemberId, new_id
from shuiqiao.ledger.checkpoints.signed_note import decode_signed_note
from shuiqiao.ledger.engine.cometbft.comet.localnet import LocalNetwork
from shuiqiao.ledger.engine.cometbft.ledger import CometbftLedger
from shuiqiao.ledger.log.entry import decode_entry
from shuiqiao.ledger.transactions.submitter import log_size
from shuiqiao.node.institution import Institution
from shuiqiao.oversight.contract import ALARM, AlarmSubject, OversightAlarmBody
from shuiqiao.sandbox.scenario.altering import AlteredCopy, alter_copy, forge_decision
from shuiqiao.sandbox.scenario.cast import BANKS, Consortium, settle
from shuiqiao.sandbox.scenario.lying import lie_about_hash, meet_others
from shuiqiao.sandbox.scenario.rebuilding import first_difference, machine_of, open_unflushed
from shuiqiao.sandbox.scenario.replaying import replay_through_embedded
from shuiqiao.sandbox.scenario.result import Alteration, NetworkChecks
from shuiqiao.sandbox.scenario.tamper_scene import NOT_CAUGHT
from shuiqiao.sandbox.scenario.watching import (
    Verdict,
    is_convicted,
    known_checkpoints,
    policy_of,
    sign_word,
    watch,
    word_in,
)

if TYPE_CHECKING:
    from shuiqiao.ledger.checkpoints.signed_note import Checkpoint

CHEAT = BANKS[1]
"""The member that alters its copy."""

REFUSAL_TIMEOUT_S = 30.0
"""How long a node may take to refuse the ledger beside it, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Words:
    """What the cheat signed: before, over the log that all have; later, over its own. proof: between the two."""

    former: Checkpoint
    later: Checkpoint
    proof: tuple[bytes, ...]


def play_outvoting(consortium: Consortium, *, network: LocalNetwork, scratch: Path) -> NetworkChecks:
    """Let one member alter its copy and return what all did; that member's institution is closed afterwards.

    scratch: an empty folder. Raises what engines and nodes raise where the others do not go on.
    """
    cheat = consortium.banks[CHEAT]
    others = tuple(member for member in consortium.members if member is not cheat)
    consortium.settle()
    is_agreed = _is_agreed(consortium.members)
    former = word_in(known_checkpoints(consortium), member=cheat)
    altered = _alter(cheat, network=network, scratch=scratch / "altered")
    words, found = _show(cheat, altered, former=former, judge=consortium.regulator)
    verdicts = {member.member: _judge(member, cheat, words, folder=scratch / member.member) for member in others}
    refused_code = _start_honestly(cheat, network=network)
    before, _ = consortium.bureau.engine.last_block()
    in_votes = _vote_with_a_lie(cheat, altered, others=others, verdicts=verdicts, network=network)
    settle(others)
    after, _ = consortium.bureau.engine.last_block()
    accused_by = _accusations(consortium.bureau, from_height=before + 1)
    return NetworkChecks(
        engine=str(consortium.stage.engine),
        engine_version=network.nodes[consortium.bureau.member].status().version,
        validators=len(consortium.stage.validators),
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
) -> tuple[_Words, Alteration]:
    """Let the cheat sign its altered log, and another member compare it with its own, record by record."""
    shown = open_unflushed(cheat.home.ledger, machine=machine_of(cheat.parameters, kinds=cheat.kinds))
    try:
        words = _Words(
            former=former,
            later=sign_word(cheat, policy=policy_of(judge), size=altered.size, root=altered.root),
            proof=shown.consistency_proof(old_size=former.size, new_size=altered.size),
        )
        found = first_difference(shown, judge.engine)
    finally:
        shown.close()
    return words, Alteration(
        member=str(cheat.member), record_index=found.index, kind=found.kind, state_key=found.state_key
    )


def _judge(member: Institution, cheat: Institution, words: _Words, *, folder: Path) -> Verdict:
    """Let a member compare the shown checkpoint with its own log, and hold the cheat's two words together."""
    verdict = watch(
        member, first=words.former, second=words.later, proof=words.proof, accused=cheat.member, folder=folder
    )
    is_own_root = words.later.root == member.engine.checkpoint().root
    return Verdict(code=NOT_CAUGHT, evidence=None) if is_own_root else verdict


def _start_honestly(cheat: Institution, *, network: LocalNetwork) -> str:
    """Open the altered ledger as if nothing were, start the node over it, and return the code that refused it."""
    node = network.nodes[cheat.member]
    with Institution.open(cheat.home, surroundings=cheat.surroundings):
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
    """Raise an alarm on the ledger, once the evidence proves to this member that the other one signed two histories."""
    if verdict.evidence is None or not is_convicted(verdict.evidence, judge=member, accused=cheat.member):
        return
    body = OversightAlarmBody(
        alarm=new_id(member.surroundings.entropy),
        subject=AlarmSubject.FORK,
        accused=cheat.member,
        evidence_digest=member.suite.digest(verdict.evidence),
    )
    member.outbox.submit(ALARM, body)


def _accusations(member: Institution, *, from_height: int) -> dict[str, str]:
    """Return who accused whom on the ledger from a block on."""
    found = (
        member.outbox.decode(raw)
        for block in member.engine.blocks(from_height=from_height)
        for raw in block.transactions
    )
    return {str(tx.author): str(tx.body.accused) for tx in found if tx.kind == ALARM}


def _cosigners(member: Institution) -> set[str]:
    """Return who cosigned a member's newest checkpoint."""
    note = member.engine.checkpoint().note
    return {line.name.removeprefix(f"{member.parameters.origin}/") for line in decode_signed_note(note).lines}
