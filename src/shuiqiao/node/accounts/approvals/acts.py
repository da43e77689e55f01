"""The acts of two people that an institution carries out by what is beneath this room: freeze, suspend, rotate, erase.

What an act puts on the ledger is fixed when it is proposed, to the byte. It is done once: whoever carries it out first
looks whether this member has the very same on the ledger since the approval, or on its way there. Approving models,
deciding on applications and changing products are registered by their own rooms, in the same form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from shuiqiao.base.clock import MS_PER_DAY, iso_from_ms
from shuiqiao.base.errors import Conflict, InvalidInput
from shuiqiao.base.ids import MemberId
from shuiqiao.base.wire import Digest, Id, MemberName, PublicKey, TimeMs
from shuiqiao.ledger.state.machine import NETWORK_GATE
from shuiqiao.members.action import Suspend
from shuiqiao.members.contract import (
    PROPOSE,
    ROTATE_KEY,
    SUSPEND,
    VOTE,
    ByVote,
    Emergency,
    MemberProposeBody,
    MemberSuspendBody,
    MemberVoteBody,
)
from shuiqiao.members.model import KeyPurpose, Role
from shuiqiao.members.roster import member_key
from shuiqiao.node.accounts.approvals.bank import bank_acts
from shuiqiao.node.accounts.approvals.model import ApprovedAct, RegisteredAct
from shuiqiao.node.accounts.approvals.models import model_acts
from shuiqiao.node.accounts.approvals.submission import own_since, submit_once
from shuiqiao.node.accounts.model import ActName
from shuiqiao.node.governance import CLOCK_MARGIN_MS, freeze_in_force, look_up, proposed_action
from shuiqiao.node.home.keys import ledger_key
from shuiqiao.node.rotation import has_next_key, rotate_key
from shuiqiao.oversight.contract import FREEZE, UNFREEZE, OversightFreezeBody, OversightUnfreezeBody
from shuiqiao.vault.contract import batch_key, erased_key
from shuiqiao.vault.model import ErasureReason

if TYPE_CHECKING:
    from shuiqiao.ledger.model import StateView
    from shuiqiao.node.institution import Institution

MAX_ERASED_LEAVES = 4096
"""Leaves of one batch that one act erases; the whole batch is named by none."""


MAX_TEXT_CHARACTERS = 4_000
"""Of a reason in words that travels with a proposal."""


class FreezeOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Stop the network until a moment. reason: the words of the digest, for the checker; they stay in this home.

    Empty where the reason is no text, or was proposed by an earlier release.
    """

    until_ms: TimeMs
    reason_digest: Digest
    reason: Annotated[str, Meta(max_length=MAX_TEXT_CHARACTERS)] = ""


class SuspensionProposal(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Put the suspension of a member to the vote of the governing members."""

    member: MemberName
    deadline_ms: TimeMs


class SuspensionVote(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Vote for the suspension of a member, which a proposal of that digest would bring."""

    member: MemberName
    proposal: Digest


class SuspensionOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Suspend a member, by a vote or by a regulator alone. evidence: the words of the digest, for the checker.

    Empty where a vote is the ground or the evidence is no text, or was proposed by an earlier release.
    """

    member: MemberName
    ground: ByVote | Emergency
    evidence: Annotated[str, Meta(max_length=MAX_TEXT_CHARACTERS)] = ""


class KeyRotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Replace one key of this institution. replaces: the raw public key that is in use when this is proposed."""

    purpose: Literal["signing", "sealing", "validator"]
    replaces: PublicKey


class RecordErasure(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Destroy records of a batch; all of it where no leaf is listed."""

    batch: Id
    indexes: Annotated[list[Annotated[int, Meta(ge=0, le=2**32)]], Meta(max_length=MAX_ERASED_LEAVES)]
    reason: ErasureReason


# What a maker proposes


def freeze_of_days(institution: Institution, *, days: int, reason_digest: Digest, reason: str = "") -> FreezeOrder:
    """Return a freeze that ends some days from now, whenever it is approved.

    Raises InvalidInput ``node.act_invalid`` for words that are not those of the digest.
    """
    _require_words(institution, reason, digest=reason_digest)
    return FreezeOrder(until_ms=_in_days(institution, days), reason_digest=reason_digest, reason=reason)


def unfreeze_of_now(institution: Institution, *, proposal: bytes | None = None) -> OversightUnfreezeBody:
    """Return what lifts the freeze in force; raises Denied ``node.not_frozen``."""
    return OversightUnfreezeBody(freeze=look_up(institution, freeze_in_force).freeze, proposal=proposal)


def suspension_proposal(institution: Institution, member: str, *, days: int) -> SuspensionProposal:
    """Return what puts a suspension to a vote of some days."""
    return SuspensionProposal(member=member, deadline_ms=_in_days(institution, days))


def suspension_vote(institution: Institution, proposal: bytes) -> SuspensionVote:
    """Return the vote for a proposed suspension; raises InvalidInput ``node.act_invalid`` for another proposal."""
    action = proposed_action(institution, proposal)
    if not isinstance(action, Suspend):
        raise InvalidInput(
            "node.act_invalid",
            f"proposal {proposal.hex()} suspends nobody: one person votes on it",
            next_step=f"shuiqiao members vote {proposal.hex()[:16]} --approve",
        )
    return SuspensionVote(member=action.member, proposal=proposal)


def emergency_suspension(
    institution: Institution, member: str, *, days: int, evidence_digest: Digest, evidence: str = ""
) -> SuspensionOrder:
    """Return a suspension by a regulator alone that ends some days from now, whenever it is approved.

    Raises InvalidInput ``node.act_invalid`` for words that are not those of the digest, or of nobody here.
    """
    _require_words(institution, evidence, digest=evidence_digest)
    if institution.engine.state().get(member_key(MemberId(member))) is None:
        raise InvalidInput("node.act_invalid", f"{member!r} is no member of this network: nobody is to be suspended")
    ground = Emergency(until_ms=_in_days(institution, days), evidence_digest=evidence_digest)
    return SuspensionOrder(member=member, ground=ground, evidence=evidence)


def _require_words(institution: Institution, words: str, *, digest: Digest) -> None:
    if words and institution.suite.digest(words.encode()) != digest:
        raise InvalidInput(
            "node.act_invalid", f"the reason has another digest than {digest.hex()}, which the ledger would name"
        )


def key_rotation(institution: Institution, purpose: KeyPurpose) -> KeyRotation:
    """Return the replacement of the key of a purpose that is in use now; raises InvalidInput ``node.not_validator``."""
    if purpose is KeyPurpose.VALIDATOR:
        institution.require_validator()
    key = ledger_key(institution.engine.state(), institution.member, purpose)
    if key is None:
        raise InvalidInput("node.not_validator", f"the ledger names no key to vote with of {institution.member}")
    return KeyRotation(purpose=purpose.value, replaces=key)


def record_erasure(batch: str, *, indexes: Sequence[int], reason: str) -> RecordErasure:
    """Return the erasure of records of a batch, which is named in hex; raises InvalidInput ``node.act_invalid``."""
    try:
        raw = bytes.fromhex(batch)
    except ValueError as error:
        raise InvalidInput("node.act_invalid", f"{batch[:40]!r} is no batch: 32 hex characters name one") from error
    return RecordErasure(batch=raw, indexes=sorted(set(indexes)), reason=ErasureReason(reason))


def _in_days(institution: Institution, days: int) -> int:
    return institution.outbox.now_ms() + days * MS_PER_DAY - CLOCK_MARGIN_MS


# What carries it out


def institution_acts(institution: Institution) -> list[RegisteredAct[Any]]:
    """Return the acts that an institution of this role can carry out.

    ::

        acts = institution_acts(bureau)
    """
    acts: list[RegisteredAct[Any]] = [
        RegisteredAct(
            name=ActName.UNFREEZE,
            body=OversightUnfreezeBody,
            execute=partial(_submit, institution, UNFREEZE),
            describe=partial(_describe_unfreeze, institution),
        ),
        RegisteredAct(
            name=ActName.PROPOSE_SUSPENSION,
            body=SuspensionProposal,
            execute=partial(_propose_suspension, institution),
            describe=lambda body: {"member": body.member, "vote_until": iso_from_ms(body.deadline_ms)},
        ),
        RegisteredAct(
            name=ActName.VOTE_SUSPENSION,
            body=SuspensionVote,
            execute=partial(_vote_suspension, institution),
            describe=lambda body: {"member": body.member, "proposal": body.proposal.hex()},
        ),
        RegisteredAct(
            name=ActName.SUSPEND,
            body=SuspensionOrder,
            execute=partial(_suspend, institution),
            describe=partial(_describe_suspension, institution),
        ),
        RegisteredAct(
            name=ActName.ROTATE_KEY,
            body=KeyRotation,
            execute=partial(_rotate, institution),
            describe=lambda body: {"purpose": body.purpose, "replaces": body.replaces.hex()},
        ),
    ]
    return [*acts, *_acts_of_role(institution)]


def _acts_of_role(institution: Institution) -> list[RegisteredAct[Any]]:
    """Return the acts that an institution of this role alone carries out."""
    acts: list[RegisteredAct[Any]] = []
    if institution.settings.role is Role.REGULATOR:
        acts.append(
            RegisteredAct(
                name=ActName.FREEZE,
                body=FreezeOrder,
                execute=partial(_freeze, institution),
                describe=lambda body: {
                    "until": iso_from_ms(body.until_ms),
                    "reason": body.reason,
                    "reason_digest": body.reason_digest.hex(),
                },
            )
        )
    if institution.settings.role is Role.TAX_BUREAU:
        acts.append(
            RegisteredAct(
                name=ActName.ERASE,
                body=RecordErasure,
                execute=partial(_erase, institution),
                describe=lambda body: {
                    "batch": body.batch.hex(),
                    "leaves": body.indexes or "all",
                    "reason": str(body.reason),
                },
            )
        )
    if institution.settings.role is Role.BANK:
        acts += bank_acts(institution)
    return acts + model_acts(institution)


def _submit(institution: Institution, kind: str, act: ApprovedAct[Any]) -> Mapping[str, Any]:
    return {"height": submit_once(institution, kind, act.body, after=act.height)}


def _freeze(institution: Institution, act: ApprovedAct[FreezeOrder]) -> Mapping[str, Any]:
    body = OversightFreezeBody(until_ms=act.body.until_ms, reason_digest=act.body.reason_digest)
    return {"height": submit_once(institution, FREEZE, body, after=act.height)}


def _suspend(institution: Institution, act: ApprovedAct[SuspensionOrder]) -> Mapping[str, Any]:
    body = MemberSuspendBody(member=act.body.member, ground=act.body.ground)
    return {"height": submit_once(institution, SUSPEND, body, after=act.height)}


def _propose_suspension(institution: Institution, act: ApprovedAct[SuspensionProposal]) -> Mapping[str, Any]:
    body = MemberProposeBody(action=Suspend(member=act.body.member), deadline_ms=act.body.deadline_ms)
    return {"height": submit_once(institution, PROPOSE, body, after=act.height)}


def _vote_suspension(institution: Institution, act: ApprovedAct[SuspensionVote]) -> Mapping[str, Any]:
    body = MemberVoteBody(proposal=act.body.proposal, approve=True)
    return {"height": submit_once(institution, VOTE, body, after=act.height)}


def _rotate(institution: Institution, act: ApprovedAct[KeyRotation]) -> Mapping[str, Any]:
    purpose = KeyPurpose(act.body.purpose)
    with institution.replacing_keys() as passphrase:
        in_use = ledger_key(institution.engine.state(), institution.member, purpose)
        done = own_since(institution, ROTATE_KEY, after=act.height, fits=lambda tx: bool(tx.body.purpose is purpose))
        if done is not None and not has_next_key(institution.home, purpose):
            return {"purpose": str(purpose), "public_key": (in_use or b"").hex(), "height": done}
        if done is None and in_use != act.body.replaces:
            raise Conflict(
                "node.key_replaced",
                f"the {purpose} key {act.body.replaces.hex()[:16]} was to be replaced; {(in_use or b'').hex()[:16]} is "
                "in use by now",
            )
        rotated = rotate_key(
            institution, purpose=purpose, passphrase=passphrase, entropy=institution.dependencies.entropy
        )
        return rotated.as_json()


def _erase(institution: Institution, act: ApprovedAct[RecordErasure]) -> Mapping[str, Any]:
    body = act.body
    institution.vault.recover(institution.outbox)
    if not _is_erased(institution.engine.state(), institution.member, body):
        institution.vault.erase(body.batch, body.indexes, reason=body.reason, anchor=institution.outbox)
    return {"batch": body.batch.hex(), "leaves": len(body.indexes) or "all"}


def _is_erased(state: StateView, member: str, body: RecordErasure) -> bool:
    """Tell whether the ledger says already that all of it was erased."""
    fact = state.get(batch_key(member, body.batch))
    if fact is None or fact["erased"] or not body.indexes:
        return bool(fact and fact["erased"])
    return all(state.get(erased_key(member, body.batch, index)) is not None for index in body.indexes)


def _describe_unfreeze(institution: Institution, body: OversightUnfreezeBody) -> Mapping[str, Any]:
    """Tell which freeze is lifted: who ordered it and until when, as long as the ledger has it in force."""
    gate, told = institution.engine.state().get(NETWORK_GATE), {"freeze": body.freeze.hex()}
    if gate is not None and gate["freeze"] == body.freeze:
        told |= {
            "ordered_by": gate["author"],
            "in_force_until": iso_from_ms(gate["until_ms"]),
            "reason_digest": gate["reason_digest"].hex(),
        }
    return {**told, "proposal": "" if body.proposal is None else body.proposal.hex()}


def _describe_suspension(institution: Institution, body: SuspensionOrder) -> Mapping[str, Any]:
    """Tell who is to be suspended, until when and why."""
    member = institution.engine.state().get(member_key(MemberId(body.member))) or {}
    told = {
        "member": body.member,
        **{name: str(member[name]) for name in ("role", "name", "name_zh") if name in member},
    }
    if isinstance(body.ground, ByVote):
        return {**told, "proposal": body.ground.proposal.hex()}
    return {
        **told,
        "until": iso_from_ms(body.ground.until_ms),
        "reason": body.evidence,
        "evidence_digest": body.ground.evidence_digest.hex(),
    }
