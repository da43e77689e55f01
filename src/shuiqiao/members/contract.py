"""The ledger's rules for members: who may propose, vote, replace a key, say where it is reached, suspend, reinstate.

Rule: docs/spec/members.md. What may be proposed is ``action``, how votes are counted ``proposal``, who signs for the
network ``epoch``, who may be suspended ``gate``, and who is a member ``roster``. Pure: block time is the only time.

A kind writes under one room, and a vote writes under ``members/``; so what governing members approved about a gate is
carried out by a second transaction, of room ``gate``, that names the proposal [MEMBER-14]. Any member may hand it in:
the decision was made. It also works on a frozen network. A regulator alone suspends for a short time.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from shuiqiao.base.errors import Conflict, Denied, InvalidInput
from shuiqiao.base.ids import MemberId
from shuiqiao.base.wire import Digest, MemberName, PublicKey, TimeMs
from shuiqiao.ledger.model import BlockContext, Event, Kind, State, StateView, Transaction
from shuiqiao.ledger.state.machine import NO_END_MS
from shuiqiao.ledger.transactions.kinds import GATE_ROOM
from shuiqiao.members import journal
from shuiqiao.members.action import Action, Reinstate, Suspend, transaction_act, verify_action
from shuiqiao.members.endpoint import MAX_ENDPOINT_CHARACTERS, PIN_BYTES, decode_endpoint
from shuiqiao.members.epoch import put_epoch, read_epoch, with_signing_key
from shuiqiao.members.gate import (
    emergency_key,
    executed_key,
    member_gate_key,
    read_suspension,
    verify_reinstatement,
    verify_suspension,
)
from shuiqiao.members.model import (
    EMERGENCY_PAUSE_MS,
    EMERGENCY_SHARE,
    GOVERNANCE_WORK,
    MAX_EMERGENCY_MS,
    MAX_EXECUTION_MS,
    MAX_PROPOSAL_MS,
    MAX_ROTATIONS,
    ROTATION_PERIOD_MS,
    KeyProof,
    KeyPurpose,
    Role,
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
    endpoint_key,
    is_suspended,
    may_vote,
    member_record,
    put_key,
    registration_of,
    require_role,
    roster,
    signing_key,
    validator_of,
    verify_new_key,
)

PROPOSE = "member.propose"
VOTE = "member.vote"
ROTATE_KEY = "member.rotate_key"
REGISTER_WITNESS = "witness.register"
ENDPOINT = "member.endpoint"
SUSPEND = "member.suspend"
REINSTATE = "member.reinstate"


class ByVote(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="ground", tag="vote"):
    """Governing members approved it in this proposal."""

    proposal: Digest


class Emergency(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="ground", tag="emergency"
):
    """A regulator acts alone, until a moment, and commits to what it saw."""

    until_ms: TimeMs
    evidence_digest: Digest


class EmergencyOver(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="ground", tag="emergency_over"
):
    """The time of a regulator's suspension has passed, or a regulator ends it early."""


class MemberSuspendBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Close a member's gate."""

    WORK: ClassVar[int] = GOVERNANCE_WORK
    member: MemberName
    ground: ByVote | Emergency


class MemberReinstateBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Open a member's gate after one suspension, named by the digest of its act."""

    member: MemberName
    suspension: Digest
    ground: ByVote | EmergencyOver


def _check_suspend(tx: Transaction, state: StateView, ctx: BlockContext) -> None:
    body: MemberSuspendBody = tx.body
    member_record(state, tx.author)
    match body.ground:
        case ByVote(proposal=proposal):
            require_approved(state, proposal, Suspend(member=body.member), ctx)
            verify_suspension(state, MemberId(body.member), by_vote=True)
        case Emergency(until_ms=until_ms):
            require_role(state, tx.author, Role.REGULATOR)
            verify_suspension(state, MemberId(body.member), by_vote=False)
            _verify_emergency_share(state)
            _verify_emergency_time(state, MemberId(body.member), until_ms=until_ms, ctx=ctx)


def _apply_suspend(tx: Transaction, state: State, ctx: BlockContext) -> Sequence[Event]:
    body: MemberSuspendBody = tx.body
    member, is_vote = MemberId(body.member), isinstance(body.ground, ByVote)
    value = {
        "suspension": transaction_act(tx, state),
        "proposal": body.ground.proposal if isinstance(body.ground, ByVote) else b"",
        "since_ms": ctx.time_ms,
        "until_ms": NO_END_MS if isinstance(body.ground, ByVote) else body.ground.until_ms,
    }
    state.put(member_gate_key(member), value)
    if isinstance(body.ground, ByVote):
        state.put(executed_key(body.ground.proposal), transaction_act(tx, state))
    else:
        state.put(emergency_key(member), ctx.time_ms)
    return (Event(name="member.suspended", attributes={"member": body.member, "by_vote": is_vote}),)


def _verify_emergency_time(state: StateView, member: MemberId, *, until_ms: int, ctx: BlockContext) -> None:
    """[MEMBER-16]: a short time, and not again and again: what should last is put to the vote."""
    length_ms = until_ms - ctx.time_ms
    if not 0 < length_ms <= MAX_EMERGENCY_MS:
        raise InvalidInput(
            "members.emergency_too_long",
            f"an emergency suspension of {length_ms} ms where 1 to {MAX_EMERGENCY_MS} ms are allowed",
        )
    last_ms = state.get(emergency_key(member))
    if last_ms is not None and ctx.time_ms < last_ms + EMERGENCY_PAUSE_MS:
        raise Denied(
            "members.emergency_repeated",
            f"{member} was suspended in an emergency at {last_ms} ms; again after {last_ms + EMERGENCY_PAUSE_MS} ms",
        )


def _verify_emergency_share(state: StateView) -> None:
    """[MEMBER-16]: never so many that the business of the network stands still, which is a freeze by another name."""
    others = [MemberId(member) for member, role in roster(state).items() if role != Role.REGULATOR]
    allowed = max(1, len(others) // EMERGENCY_SHARE)
    closed = sum(is_suspended(state, member) and may_vote(state, member) for member in others)
    if closed >= allowed:
        raise Denied(
            "members.emergency_too_many",
            f"{closed} members are suspended in an emergency already, where {allowed} of {len(others)} may be",
            next_step="lift one of these suspensions first, or put a suspension to the vote",
        )


def _check_reinstate(tx: Transaction, state: StateView, ctx: BlockContext) -> None:
    body: MemberReinstateBody = tx.body
    member, author = MemberId(body.member), member_record(state, tx.author)
    verify_reinstatement(state, member, suspension=body.suspension)
    match body.ground:
        case ByVote(proposal=proposal):
            require_approved(state, proposal, Reinstate(member=body.member, suspension=body.suspension), ctx)
        case EmergencyOver():
            until_ms = read_suspension(state, member)["until_ms"]
            _verify_emergency_over(member, until_ms=until_ms, role=author["role"], ctx=ctx)


def _verify_emergency_over(member: MemberId, *, until_ms: int, role: str, ctx: BlockContext) -> None:
    """[MEMBER-17]: after its time anybody lifts it, before that a regulator does."""
    if until_ms == NO_END_MS:
        raise Denied("members.suspended_by_vote", f"{member} was suspended by vote and is reinstated by vote")
    if ctx.time_ms <= until_ms and role != Role.REGULATOR:
        raise Denied(
            "members.emergency_lasts", f"{member} is suspended until {until_ms} ms, block time is {ctx.time_ms} ms"
        )


def _apply_reinstate(tx: Transaction, state: State, _ctx: BlockContext) -> Sequence[Event]:
    body: MemberReinstateBody = tx.body
    state.delete(member_gate_key(MemberId(body.member)))
    if isinstance(body.ground, ByVote):
        state.put(executed_key(body.ground.proposal), transaction_act(tx, state))
    return (Event(name="member.reinstated", attributes={"member": body.member}),)


def require_approved(state: StateView, proposal: bytes, action: Action, ctx: BlockContext) -> None:
    """Return if this very act was approved, not long ago, and not carried out yet [MEMBER-14].

    Raises InvalidInput ``members.proposal_unknown``, Denied ``members.not_approved``, ``members.act_differs``,
    ``members.approval_stale``, Conflict ``members.already_executed``.
    """
    found = read_proposal(state, proposal)
    if found.status is not ProposalStatus.APPROVED:
        status = found.status_at(ctx.time_ms)
        raise Denied(
            "members.not_approved", f"proposal {proposal.hex()} is {status}; only an approved one is carried out"
        )
    if found.action != action:
        raise Denied("members.act_differs", f"proposal {proposal.hex()} approved another act than this one")
    if state.get(executed_key(proposal)) is not None:
        raise Conflict("members.already_executed", f"proposal {proposal.hex()} was carried out already")
    if ctx.time_ms > found.closed_ms + MAX_EXECUTION_MS:
        raise Denied(
            "members.approval_stale",
            f"proposal {proposal.hex()} was approved at {found.closed_ms} ms, more than {MAX_EXECUTION_MS} ms ago",
        )


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


class MemberEndpointBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Say where the author's server is reached; an empty url takes that back. pin: of its TLS key, or empty."""

    url: Annotated[str, Meta(max_length=MAX_ENDPOINT_CHARACTERS)]
    pin: Annotated[bytes, Meta(max_length=PIN_BYTES)]


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
    voted = msgspec.structs.replace(proposal, votes={**proposal.votes, tx.author: body.approve})
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
    old = signing_key(state, tx.author)
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


def _check_endpoint(tx: Transaction, state: StateView, _ctx: BlockContext) -> None:
    """[MEMBER-28]: each member for itself, without a vote: moving a server changes nobody's rights."""
    body: MemberEndpointBody = tx.body
    member_record(state, tx.author)
    if body.url:
        decode_endpoint(body.url, pin=body.pin)
    elif state.get(endpoint_key(tx.author)) is None:
        raise Conflict("members.endpoint_absent", f"{tx.author} has no endpoint that could be taken back")
    elif body.pin:
        raise InvalidInput("members.endpoint_invalid", f"a pin of {len(body.pin)} bytes without an address")


def _apply_endpoint(tx: Transaction, state: State, ctx: BlockContext) -> Sequence[Event]:
    body: MemberEndpointBody = tx.body
    if body.url:
        state.put(endpoint_key(tx.author), {"url": body.url, "pin": body.pin, "height": ctx.height})
    else:
        state.delete(endpoint_key(tx.author))
    return (Event(name="member.endpoint_changed", attributes={"member": tx.author, "url": body.url}),)


_kind = partial(Kind, room="members", version=1, governance=True)
_gate_kind = partial(Kind, room=GATE_ROOM, version=1, governance=True)

KINDS: tuple[Kind, ...] = (
    _kind(name=PROPOSE, body=MemberProposeBody, check=_check_propose, apply=_apply_propose, is_vote=True),
    _kind(name=VOTE, body=MemberVoteBody, check=_check_vote, apply=_apply_vote, is_vote=True),
    _kind(
        name=ROTATE_KEY, body=MemberRotateKeyBody, check=_check_rotate, apply=_apply_rotate, signers=_rotation_signers
    ),
    _kind(name=REGISTER_WITNESS, body=WitnessRegisterBody, check=_check_register, apply=_apply_register),
    journal.KIND,
    _kind(name=ENDPOINT, body=MemberEndpointBody, check=_check_endpoint, apply=_apply_endpoint),
    _gate_kind(name=SUSPEND, body=MemberSuspendBody, check=_check_suspend, apply=_apply_suspend),
    _gate_kind(name=REINSTATE, body=MemberReinstateBody, check=_check_reinstate, apply=_apply_reinstate),
)
"""member.propose, .vote, .rotate_key, .endpoint, .suspend, .reinstate, witness.register, journal.anchor."""
