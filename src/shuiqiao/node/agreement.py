"""Whether a home's settings and keys are those of the member that its genesis names; asked before a ledger opens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.ids import MemberId
from shuiqiao.members.genesis import decode_genesis

if TYPE_CHECKING:
    from shuiqiao.node.keys import MemberKeys
    from shuiqiao.node.settings import NodeSettings


def require_member(settings: NodeSettings, genesis: bytes) -> None:
    """Return if the genesis names this member, role, suite and engine.

    Raises InvalidInput ``node.member_foreign`` or ``node.engine_foreign``.
    """
    agreed = decode_genesis(genesis)
    members = {member.id: member for member in agreed.members}
    member = members.get(MemberId(settings.member))
    if member is None or member.role is not settings.role or agreed.suite is not settings.suite:
        raise InvalidInput(
            "node.member_foreign",
            f"node.toml names {settings.member} ({settings.role}, {settings.suite}), which the genesis "
            f"({agreed.suite}) does not: {', '.join(members)}",
        )
    if settings.engine != agreed.engine:
        raise InvalidInput(
            "node.engine_foreign", f"node.toml names engine {settings.engine}, the genesis {agreed.engine}"
        )


def require_keys(settings: NodeSettings, genesis: bytes, keys: MemberKeys) -> None:
    """Return if the keys are those that the genesis has for this member; raises InvalidInput ``node.keys_foreign``."""
    member = next(member for member in decode_genesis(genesis).members if member.id == settings.member)
    held = (keys.signing.public_key, keys.sealing.public_key)
    if held != (member.signing_key, member.sealing_key):
        raise InvalidInput(
            "node.keys_foreign",
            f"the key files hold keys of another member or network: signing key {held[0].hex()} where the genesis "
            f"says {member.signing_key.hex()} for {settings.member}",
        )
