"""Whether a home's settings and keys are those of its member: by the genesis, and by the ledger as it is now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuiqiao.base.errors import Denied, InvalidInput
from shuiqiao.base.ids import MemberId
from shuiqiao.members.genesis import decode_genesis
from shuiqiao.members.model import KeyPurpose
from shuiqiao.members.roster import member_key
from shuiqiao.node.home.key_files import KeyFiles, other_signing_keys

if TYPE_CHECKING:
    from shuiqiao.ledger.model import StateView
    from shuiqiao.members.model import Role
    from shuiqiao.node.home.keys import MemberKeys
    from shuiqiao.node.home.settings import Home, NodeSettings

_PURPOSES = (KeyPurpose.SIGNING, KeyPurpose.SEALING)


def require_member(settings: NodeSettings, genesis: bytes) -> None:
    """Return if the genesis names this suite and engine, and this member in this role unless it was admitted later.

    Raises InvalidInput ``node.member_foreign`` or ``node.engine_foreign``.
    """
    agreed = decode_genesis(genesis)
    members = {member.id: member for member in agreed.members}
    member = members.get(MemberId(settings.member))
    is_named = settings.admitted if member is None else member.role is settings.role
    if not is_named or agreed.suite is not settings.suite:
        raise InvalidInput(
            "node.member_foreign",
            f"node.toml names {settings.member} ({settings.role}, {settings.suite}), which the genesis "
            f"({agreed.suite}) does not: {', '.join(members)}",
        )
    if settings.engine != agreed.engine:
        raise InvalidInput(
            "node.engine_foreign", f"node.toml names engine {settings.engine}, the genesis {agreed.engine}"
        )


def require_role(settings: NodeSettings, role: Role) -> None:
    """Return if a home is of an institution of this role; raises Denied ``node.role_wrong``."""
    if settings.role is not role:
        raise Denied("node.role_wrong", f"{settings.member} is a {settings.role}; this is for a {role}")


def require_first_keys(home: Home, settings: NodeSettings, genesis: bytes, keys: MemberKeys) -> None:
    """Return if a home whose keys were never replaced has those of the genesis; asked before a ledger opens.

    Raises InvalidInput ``node.keys_foreign``.
    """
    member = next((member for member in decode_genesis(genesis).members if member.id == settings.member), None)
    if member is not None and not any(KeyFiles(home, purpose=purpose).retired for purpose in _PURPOSES):
        _require_same(settings, keys, signing={member.signing_key}, sealing={member.sealing_key})


def require_keys(home: Home, settings: NodeSettings, state: StateView, *, keys: MemberKeys, passphrase: bytes) -> None:
    """Return if the keys are those that the ledger has for this member now, or had when this copy of it ended.

    A member that was admitted after the genesis is not known to a ledger that has not caught up: nothing is asked then.
    Raises InvalidInput ``node.keys_foreign``.
    """
    record = state.get(member_key(MemberId(settings.member)))
    if record is None or (keys.signing.public_key, keys.sealing.public_key) == (record["sign"], record["seal"]):
        return
    former = {key.public_key for key in other_signing_keys(home, passphrase=passphrase)}
    signing = {record["sign"]} | ({keys.signing.public_key} if record["sign"] in former else set[bytes]())
    was_replaced = bool(KeyFiles(home, purpose=KeyPurpose.SEALING).retired)
    sealing = {record["seal"]} | ({keys.sealing.public_key} if was_replaced else set[bytes]())
    _require_same(settings, keys, signing=signing, sealing=sealing)


def _require_same(settings: NodeSettings, keys: MemberKeys, *, signing: set[bytes], sealing: set[bytes]) -> None:
    if keys.signing.public_key not in signing or keys.sealing.public_key not in sealing:
        raise InvalidInput(
            "node.keys_foreign",
            f"the key files hold keys of another member or network: signing key {keys.signing.public_key.hex()} where "
            f"{min(signing).hex()} is known for {settings.member}",
        )
