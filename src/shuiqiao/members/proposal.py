"""A proposal and its votes: when it passes, when it is lost, when it is over.

Rule: docs/spec/members.md, [MEMBER-3] to [MEMBER-6]. Valid steps, and no others::

    (absent) --propose--> open --votes of more than 2/3--> approved
                          open --can no longer pass------> rejected
                          open --passed, not allowed now-> void
                          open --time--------------------> expired        (derived: block time > deadline_ms)

Pure. What an approved action does is ``action``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from shuiqiao.base.encoding import typed
from shuiqiao.base.errors import Conflict, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import MemberId
from shuiqiao.ledger.model import BlockContext, State, StateView
from shuiqiao.members.action import Action, perform_action, verify_action
from shuiqiao.members.epoch import is_majority, read_epoch
from shuiqiao.members.roster import may_vote


class ProposalStatus(StrEnum):
    """What has become of a proposal."""

    OPEN = "open"
    APPROVED = "approved"
    REJECTED = "rejected"
    VOID = "void"
    """It passed when its action was no longer allowed; the reason says by which rule."""
    EXPIRED = "expired"


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """One action put to the vote."""

    id: bytes
    """The digest of the act that proposed it [MEMBER-23]."""
    action: Action
    proposer: MemberId
    deadline_ms: int
    votes: Mapping[MemberId, bool]
    status: ProposalStatus
    reason: str
    """The code of the rule that made it void, else empty."""
    closed_ms: int
    """When it was decided, 0 while it is open."""

    def status_at(self, now_ms: int) -> ProposalStatus:
        """Return the status, expired included: block time passed the deadline of an open one."""
        return _status_at(self.status, deadline_ms=self.deadline_ms, now_ms=now_ms)


def _status_at(status: ProposalStatus, *, deadline_ms: int, now_ms: int) -> ProposalStatus:
    is_over = status is ProposalStatus.OPEN and now_ms > deadline_ms
    return ProposalStatus.EXPIRED if is_over else status


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How the governing members of the moment stand to a proposal."""

    governing: int
    approvals: int
    rejections: int

    @property
    def is_passed(self) -> bool:
        """Whether more than two thirds approve."""
        return is_majority(self.approvals, governing=self.governing)

    @property
    def is_lost(self) -> bool:
        """Whether it could not pass even if all others approved."""
        return not is_majority(self.governing - self.rejections, governing=self.governing)


PROPOSALS_KEY = "members/proposals"
"""Where the ids of the newest proposals stand, oldest first [MEMBER-22]."""

MAX_LISTED = 64
"""Proposals in that list: enough for every open one of a network that decides, and a value that stays small."""


def proposal_key(proposal: bytes) -> str:
    """Return the state key of a proposal."""
    return f"members/proposal/{proposal.hex()}"


def read_proposal(state: StateView, proposal: bytes) -> Proposal:
    """Return a proposal; raises InvalidInput ``members.proposal_unknown``."""
    value = state.get(proposal_key(proposal))
    if value is None:
        raise InvalidInput("members.proposal_unknown", f"proposal {proposal.hex()} is not on the ledger")
    found: Proposal = typed({**value, "id": proposal}, Proposal, builtin_types=(bytes,))
    return found


def listed_proposals(state: StateView) -> tuple[Proposal, ...]:
    """Return the newest proposals, oldest first [MEMBER-22]."""
    return tuple(read_proposal(state, proposal) for proposal in state.get(PROPOSALS_KEY) or ())


def put_listed(state: State, proposal: bytes, ctx: BlockContext) -> None:
    """List a new proposal; where the list is full the oldest that is over leaves it, else the oldest [MEMBER-22]."""
    listed: list[bytes] = list(state.get(PROPOSALS_KEY) or ())
    if len(listed) >= MAX_LISTED:
        over = (each for each in listed if _is_over(state, each, ctx))
        listed.remove(next(over, listed[0]))
    state.put(PROPOSALS_KEY, [*listed, proposal])


def _is_over(state: StateView, proposal: bytes, ctx: BlockContext) -> bool:
    # Its action stays undecoded: a full list asks this of all 64.
    value = state.get(proposal_key(proposal))
    return _status_at(ProposalStatus(value["status"]), deadline_ms=value["deadline_ms"], now_ms=ctx.time_ms) is not (
        ProposalStatus.OPEN
    )


def require_open(proposal: Proposal, *, now_ms: int) -> None:
    """Return if a proposal may still be voted on; raises Conflict ``members.proposal_closed`` [MEMBER-5]."""
    status = proposal.status_at(now_ms)
    if status is not ProposalStatus.OPEN:
        raise Conflict("members.proposal_closed", f"proposal {proposal.id.hex()} is {status}; it is not voted on")


def tally(proposal: Proposal, state: StateView) -> Tally:
    """Count the votes of those who govern now and are not suspended by vote; every seat counts [MEMBER-4]."""
    governing = read_epoch(state).governing
    votes = [proposal.votes[member] for member in governing if member in proposal.votes and may_vote(state, member)]
    approvals = sum(votes)
    return Tally(governing=len(governing), approvals=approvals, rejections=len(votes) - approvals)


def decide(proposal: Proposal, state: State, ctx: BlockContext) -> Proposal:
    """Count, carry out the action if it passed and is allowed, write the proposal and return it [MEMBER-3]."""
    counted = tally(proposal, state)
    decided = proposal
    if counted.is_passed:
        decided = _carry_out(proposal, state, ctx)
    elif counted.is_lost:
        decided = msgspec.structs.replace(proposal, status=ProposalStatus.REJECTED, closed_ms=ctx.time_ms)
    value = msgspec.to_builtins(decided, builtin_types=(bytes,))
    del value["id"]  # its key says it
    state.put(proposal_key(proposal.id), value)
    return decided


def _carry_out(proposal: Proposal, state: State, ctx: BlockContext) -> Proposal:
    """[MEMBER-6]: the vote counts either way; what is no longer allowed is void, and says why."""
    try:
        verify_action(proposal.action, state, ctx)
    except Unavailable:
        # No verdict of the rules, but something that this node lacks: the machine stops on it [LEDGER-SIGN-4].
        raise
    except ShuiqiaoError as error:
        return msgspec.structs.replace(proposal, status=ProposalStatus.VOID, reason=error.code, closed_ms=ctx.time_ms)
    perform_action(proposal.action, state, ctx)
    return msgspec.structs.replace(proposal, status=ProposalStatus.APPROVED, closed_ms=ctx.time_ms)
