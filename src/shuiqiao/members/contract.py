"""The ledger's rules for members: propose, vote, rotate one's keys, offer to witness.

Rule: docs/spec/members.md. What may be proposed is ``action``, how votes are counted ``proposal``, who signs for the
network ``epoch``, suspension ``suspension``, and who is a member ``roster``. Pure: block time is the only time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from shuiqiao.base.errors import Conflict, Denied, InvalidInput
from shuiqiao.ledger.model import BlockContext, Event, Kind, State, StateView, Transaction
from shuiqiao.members import suspension
from shuiqiao.members.act import transaction_act
from shuiqiao.members.action import Action, verify_action
from shuiqiao.members.epoch import put_epoch, read_epoch, with_signing_key
from shuiqiao.members.key_ring import MemberKeyRing
from shuiqiao.members.model import (
    GOVERNANCE_WORK,
    MAX_PROPOSAL_MS,
    MAX_ROTATIONS,
    ROTATION_PERIOD_MS,
    Digest,
    KeyProof,
    KeyPurpose,
    PublicKey,
    TimeMs,
)
from shuiqiao.members.proposal import (
    Proposal,
    ProposalStatus,
    decide,
    proposal_key,
    put_listed,
    read_proposal,
    require_open,
)
from shuiqiao.members.roster import (
    member_key,
    member_record,
    put_key,
    registration_of,
    require_role,
    validator_of,
    verify_new_key,
)

__all__ = [
    "KINDS",
    "PROPOSE",
    "REGISTER_WITNESS",
    "ROTATE_KEY",
    "VOTE",
    "MemberProposeBody",
    "MemberRotateKeyBody",
    "MemberVoteBody",
    "WitnessRegisterBody",
    "member_key",
    "member_record",
    "require_role",
    "witness_key",
]
"""What other rooms ask of members stands here with the kinds, whichever file of this room it is made in."""

PROPOSE = "member.propose"
VOTE = "member.vote"
ROTATE_KEY = "member.rotate_key"
REGISTER_WITNESS = "witness.register"

_KEY_RING = MemberKeyRing()


class MemberProposeBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Put one action to the vote; the proposer approves it by this."""

    WORK: ClassVar[int] = GOVERNANCE_WORK
    action: Action
    deadline_ms: TimeMs


class MemberVoteBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Approve or reject a proposal, named by the digest of its act, once."""

    WORK: ClassVar[int] = GOVERNANCE_WORK
    proposal: Digest
    approve: bool


class MemberRotateKeyBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Replace the author's own key of one purpose.

    proof: of a validator key, which signs no transaction [MEMBER-24]; empty for the others, which this one proves.
    """

    WORK: ClassVar[int] = GOVERNANCE_WORK
    purpose: KeyPurpose
    new_key: PublicKey
    proof: KeyProof


class WitnessRegisterBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Offer to witness at an endpoint; an empty one takes the offer back."""

    endpoint: Annotated[str, Meta(pattern=r"^(https?://[!-~]{1,190})?\Z", max_length=198)]


def witness_key(member: str) -> str:
    """Return the state key of a member's offer to witness."""
    return f"members/witness/{member}"


def rotations_key(member: str) -> str:
    """Return the state key of the times, in ms, at which a member replaced its signing key, the newest ones."""
    return f"members/rotations/{member}"


def _check_propose(tx: Transaction, state: StateView, ctx: BlockContext) -> None:
    """[MEMBER-3]: a governing member proposes what is allowed now, with a deadline not far off."""
    body: MemberProposeBody = tx.body
    _require_governing(tx, state)
    proposal = transaction_act(tx, state)
    if state.get(proposal_key(proposal)) is not None:
        raise Conflict("members.proposal_repeated", f"proposal {proposal.hex()} is on the ledger already")
    remaining_ms = body.deadline_ms - ctx.time_ms
    if not 0 < remaining_ms <= MAX_PROPOSAL_MS:
        raise InvalidInput(
            "members.deadline_invalid",
            f"a deadline {remaining_ms} ms after block time where 1 to {MAX_PROPOSAL_MS} ms are allowed",
        )
    verify_action(body.action, state, ctx)


def _apply_propose(tx: Transaction, state: State, ctx: BlockContext) -> Sequence[Event]:
    body: MemberProposeBody = tx.body
    proposal = Proposal(
        id=transaction_act(tx, state),
        action=body.action,
        proposer=tx.author,
        deadline_ms=body.deadline_ms,
        votes={tx.author: True},
        status=ProposalStatus.OPEN,
        reason="",
        closed_ms=0,
    )
    put_listed(state, proposal.id, ctx)
    return _outcome("member.proposed", decide(proposal, state, ctx), author=tx.author)


def _check_vote(tx: Transaction, state: StateView, ctx: BlockContext) -> None:
    """[MEMBER-4] [MEMBER-5]: a governing member, once, while the proposal is open."""
    body: MemberVoteBody = tx.body
    proposal = read_proposal(state, body.proposal)
    require_open(proposal, now_ms=ctx.time_ms)
    _require_governing(tx, state)
    if tx.author in proposal.votes:
        raise Conflict("members.vote_repeated", f"{tx.author} voted on proposal {body.proposal.hex()} already")


def _apply_vote(tx: Transaction, state: State, ctx: BlockContext) -> Sequence[Event]:
    body: MemberVoteBody = tx.body
    proposal = read_proposal(state, body.proposal)
    voted = replace(proposal, votes={**proposal.votes, tx.author: body.approve})
    return _outcome("member.voted", decide(voted, state, ctx), author=tx.author)


def _outcome(name: str, proposal: Proposal, *, author: str) -> Sequence[Event]:
    attributes: dict[str, Any] = {"proposal": proposal.id.hex()}
    events = (Event(name=name, attributes={**attributes, "author": author}),)
    if proposal.status is ProposalStatus.OPEN:
        return events
    closed = Event(
        name="member.proposal_closed",
        attributes={**attributes, "status": str(proposal.status), "reason": proposal.reason},
    )
    return (*events, closed)


def _require_governing(tx: Transaction, state: StateView) -> None:
    if tx.author not in read_epoch(state).governing:
        raise Denied("members.not_governing", f"{tx.author} is not one of the governing members")


def _rotation_signers(tx: Transaction, state: StateView) -> Sequence[bytes]:
    """[MEMBER-9]: the old signing key, and the new one where it can sign."""
    body: MemberRotateKeyBody = tx.body
    old = _KEY_RING.signing_key(state, tx.author)
    return (old, body.new_key) if body.purpose is KeyPurpose.SIGNING else (old,)


def _check_rotate(tx: Transaction, state: StateView, ctx: BlockContext) -> None:
    body: MemberRotateKeyBody = tx.body
    if body.purpose is KeyPurpose.VALIDATOR and validator_of(state, tx.author) is None:
        raise Denied("members.not_validator", f"{tx.author} is no validator; it becomes one by vote")
    verify_new_key(state, body.new_key, purpose=body.purpose)
    _verify_other_key(tx, state)
    is_validator = body.purpose is KeyPurpose.VALIDATOR
    registration_of(state, tx.author).verify_validator(body.proof, body.new_key if is_validator else None)
    if body.purpose is KeyPurpose.SIGNING:
        _verify_not_often(tx.author, state, ctx)


def _verify_not_often(member: str, state: StateView, ctx: BlockContext) -> None:
    """[MEMBER-25]: one key alone does not make the walk over the epochs as long as it likes."""
    times = state.get(rotations_key(member)) or []
    if len(times) == MAX_ROTATIONS and ctx.time_ms < times[0] + ROTATION_PERIOD_MS:
        raise Denied(
            "members.rotated_often",
            f"{member} replaced its signing key {MAX_ROTATIONS} times since {times[0]} ms; again after "
            f"{times[0] + ROTATION_PERIOD_MS} ms",
        )


def _verify_other_key(tx: Transaction, state: StateView) -> None:
    """[MEMBER-8]: not the key that is replaced, nor one of another purpose."""
    body: MemberRotateKeyBody = tx.body
    record = member_record(state, tx.author)
    if body.new_key in {record["sign"], record["seal"], validator_of(state, tx.author)}:
        raise Conflict("members.key_used", f"key {body.new_key.hex()[:32]} is in use by {tx.author} already")


def _apply_rotate(tx: Transaction, state: State, ctx: BlockContext) -> Sequence[Event]:
    """[EPOCH-2]: a signing key that stands in the epoch makes the next one."""
    body: MemberRotateKeyBody = tx.body
    put_key(state, tx.author, body.new_key, purpose=body.purpose)
    if body.purpose is KeyPurpose.SIGNING:
        times = state.get(rotations_key(tx.author)) or []
        state.put(rotations_key(tx.author), [*times, ctx.time_ms][-MAX_ROTATIONS:])
        put_epoch(state, with_signing_key(read_epoch(state), tx.author, body.new_key))
    attributes = {"member": tx.author, "purpose": str(body.purpose)}
    return (Event(name="member.key_rotated", attributes=attributes),)


def _check_register(tx: Transaction, state: StateView, _ctx: BlockContext) -> None:
    """[MEMBER-18]: any member may offer, and take back only what it offered."""
    body: WitnessRegisterBody = tx.body
    member_record(state, tx.author)
    if not body.endpoint and state.get(witness_key(tx.author)) is None:
        raise Conflict("members.witness_not_registered", f"{tx.author} never offered to witness")


def _apply_register(tx: Transaction, state: State, ctx: BlockContext) -> Sequence[Event]:
    body: WitnessRegisterBody = tx.body
    if body.endpoint:
        state.put(witness_key(tx.author), {"endpoint": body.endpoint, "height": ctx.height})
    else:
        state.delete(witness_key(tx.author))
    return (Event(name="witness.registered", attributes={"member": tx.author, "endpoint": body.endpoint}),)


KINDS: tuple[Kind, ...] = (
    Kind(
        name=PROPOSE,
        room="members",
        version=1,
        body=MemberProposeBody,
        check=_check_propose,
        apply=_apply_propose,
        governance=True,
        is_vote=True,
    ),
    Kind(
        name=VOTE,
        room="members",
        version=1,
        body=MemberVoteBody,
        check=_check_vote,
        apply=_apply_vote,
        governance=True,
        is_vote=True,
    ),
    Kind(
        name=ROTATE_KEY,
        room="members",
        version=1,
        body=MemberRotateKeyBody,
        check=_check_rotate,
        apply=_apply_rotate,
        signers=_rotation_signers,
        governance=True,
    ),
    Kind(
        name=REGISTER_WITNESS,
        room="members",
        version=1,
        body=WitnessRegisterBody,
        check=_check_register,
        apply=_apply_register,
        governance=True,
    ),
    *suspension.KINDS,
)
"""member.propose, member.vote, member.rotate_key, witness.register, member.suspend, member.reinstate."""
