"""Who may do what on the ledger, read from the state that the genesis wrote.

Admission, rotation and suspension by vote arrive with governance; until then members are those of the genesis.
"""

from __future__ import annotations

from typing import Any

from shuiqiao.base.errors import Denied
from shuiqiao.base.ids import MemberId
from shuiqiao.ledger.model import Kind, StateView
from shuiqiao.members.model import Role

KINDS: tuple[Kind, ...] = ()


def member_key(member: MemberId) -> str:
    """Return the state key of a member."""
    return f"members/member/{member}"


def member_record(state: StateView, member: MemberId) -> dict[str, Any]:
    """Return a member's state (role, sign, seal, name, name_zh); raises Denied ``members.unknown``."""
    record = state.get(member_key(member))
    if record is None:
        raise Denied("members.unknown", f"{member} is not a member of this network")
    found: dict[str, Any] = record
    return found


def require_role(state: StateView, member: MemberId, *roles: Role) -> None:
    """Return if the member has one of the roles; raises Denied ``members.role_wrong`` or ``members.unknown``."""
    role = member_record(state, member)["role"]
    if role not in roles:
        raise Denied("members.role_wrong", f"{member} is a {role}; this act is for {' or '.join(roles)}")


class MemberKeyRing:
    """The ledger's KeyRing over the members in the state."""

    def signing_key(self, state: StateView, member: MemberId) -> bytes:
        """Return the member's raw signing key; raises Denied ``members.unknown``."""
        key: bytes = member_record(state, member)["sign"]
        return key
