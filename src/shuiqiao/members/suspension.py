"""Closing and opening a member's gate: by an approved proposal, or by a regulator alone for a short time.

Rule: docs/spec/members.md, [MEMBER-14] to [MEMBER-17]. A kind writes under one room, and a vote writes under
``members/``; so what governing members approved is carried out by a second transaction, of room ``gate``, that names
the proposal. Any member may hand it in: the decision was made. It also works on a frozen network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from shuiqiao.base.errors import Conflict, Denied, InvalidInput
from shuiqiao.base.ids import MemberId
from shuiqiao.ledger.model import BlockContext, Event, Kind, State, StateView, Transaction
from shuiqiao.ledger.state.machine import NO_END_MS
from shuiqiao.ledger.transactions.kinds import GATE_ROOM
from shuiqiao.members.act import transaction_act
from shuiqiao.members.action import Action, Reinstate, Suspend
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
    Digest,
    MemberName,
    Role,
    TimeMs,
)
from shuiqiao.members.proposal import ProposalStatus, read_proposal
from shuiqiao.members.roster import is_suspended, may_vote, member_record, require_role, roster

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
            next_step="put a suspension to the vote",
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
            next_step="propose it again",
        )


KINDS: tuple[Kind, ...] = (
    Kind(
        name=SUSPEND,
        room=GATE_ROOM,
        version=1,
        body=MemberSuspendBody,
        check=_check_suspend,
        apply=_apply_suspend,
        governance=True,
    ),
    Kind(
        name=REINSTATE,
        room=GATE_ROOM,
        version=1,
        body=MemberReinstateBody,
        check=_check_reinstate,
        apply=_apply_reinstate,
        governance=True,
    ),
)
"""member.suspend, member.reinstate."""
