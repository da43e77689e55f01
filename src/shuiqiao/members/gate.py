"""Which members may not be suspended, and the state keys and values of suspensions and freezes.

Rule: docs/spec/members.md, [MEMBER-14] to [MEMBER-20]. The ledger asks for these keys and for no clock, so a freeze or
suspension that ran out still stands until somebody lifts it; anybody may. ``suspension`` and ``freeze`` are the digests
of the acts that closed the gates [MEMBER-23].

::

    gate/network                  {"freeze", "author", "until_ms", "reason_digest"}
    gate/member/<id>              {"suspension", "proposal", "since_ms", "until_ms"}     until_ms 0: by vote, no end
    gate/executed/<proposal hex>  id of the transaction that carried an approved proposal out
    gate/emergency/<id>           when the last suspension by a regulator alone began, in ms
"""

from __future__ import annotations

from typing import Any

from shuiqiao.base.errors import Conflict, Denied
from shuiqiao.base.ids import MemberId
from shuiqiao.ledger.model import StateView
from shuiqiao.ledger.state.machine import MEMBER_GATE, NETWORK_GATE, NO_END_MS
from shuiqiao.members.epoch import is_majority, read_epoch
from shuiqiao.members.model import Role
from shuiqiao.members.roster import is_suspended, may_vote, member_record, roster


def member_gate_key(member: MemberId) -> str:
    """Return the state key that is present while a member is suspended."""
    return MEMBER_GATE + member


def executed_key(proposal: bytes) -> str:
    """Return the state key that is present once an approved proposal was carried out."""
    return f"gate/executed/{proposal.hex()}"


def emergency_key(member: MemberId) -> str:
    """Return the state key of the last emergency suspension of a member."""
    return f"gate/emergency/{member}"


def read_suspension(state: StateView, member: MemberId) -> dict[str, Any]:
    """Return the suspension of a member; raises Conflict ``members.not_suspended``."""
    value = state.get(member_gate_key(member))
    if value is None:
        raise Conflict("members.not_suspended", f"{member} is not suspended")
    found: dict[str, Any] = value
    return found


def verify_suspension(state: StateView, member: MemberId, *, by_vote: bool) -> None:
    """Return if a member may be suspended: by governing members, or by a regulator alone.

    Raises Denied ``members.unknown``, ``members.suspends_operator``, ``members.suspends_last_regulator``,
    ``members.suspends_regulator``, ``members.governing_deadlock``, Conflict ``members.already_suspended``.
    """
    role = member_record(state, member)["role"]
    current = state.get(member_gate_key(member))
    if current is not None and (not by_vote or current["until_ms"] == NO_END_MS):
        raise Conflict("members.already_suspended", f"{member} is suspended already")
    if read_epoch(state).operator == member:
        raise Denied("members.suspends_operator", f"{member} is the operator; the network needs another one first")
    if not by_vote:
        # [MEMBER-16]: regulators do not silence each other.
        if role == Role.REGULATOR:
            raise Denied("members.suspends_regulator", f"{member} is a regulator and is suspended by vote only")
        return
    if role == Role.REGULATOR and not _other_regulators(state, member):
        raise Denied("members.suspends_last_regulator", f"{member} is the last regulator that may act")
    _verify_voters(state, member)


def verify_reinstatement(state: StateView, member: MemberId, *, suspension: bytes) -> None:
    """Return if this very suspension of a member is in force, so that nothing lifts a later one.

    Raises Conflict ``members.not_suspended``, ``members.suspension_superseded``.
    """
    current = read_suspension(state, member)["suspension"]
    if current != suspension:
        raise Conflict(
            "members.suspension_superseded",
            f"suspension {suspension.hex()} of {member} is to be lifted, the one in force is {current.hex()}",
        )


def verify_lifting(state: StateView, *, freeze: bytes) -> dict[str, Any]:
    """Return the freeze in force if it is this very one, so that nothing lifts a later one.

    Raises Conflict ``oversight.not_frozen``, ``oversight.freeze_superseded``.
    """
    current = state.get(NETWORK_GATE)
    if current is None:
        raise Conflict("oversight.not_frozen", "the network is not frozen")
    if current["freeze"] != freeze:
        raise Conflict(
            "oversight.freeze_superseded",
            f"freeze {freeze.hex()} is to be lifted, the one in force is {current['freeze'].hex()}",
        )
    found: dict[str, Any] = current
    return found


def _other_regulators(state: StateView, member: MemberId) -> bool:
    others = (MemberId(each) for each, role in roster(state).items() if role == Role.REGULATOR and each != member)
    return any(not is_suspended(state, other) for other in others)


def _verify_voters(state: StateView, member: MemberId) -> None:
    """[MEMBER-15]: a vote that makes every later vote fail is refused, since a suspended seat still counts."""
    governing = read_epoch(state).governing
    left = sum(may_vote(state, other) for other in governing if other != member)
    if member in governing and not is_majority(left, governing=len(governing)):
        raise Denied(
            "members.governing_deadlock",
            f"without {member} only {left} of {len(governing)} governing members could vote: nothing could be decided; "
            "take it off the governing members first",
        )
