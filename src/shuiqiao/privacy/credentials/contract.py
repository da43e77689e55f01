"""The ledger's rules for credentials: a bureau opens status lists, and revokes places of its own.

Rule: docs/spec/credentials.md [CREDENTIAL-6]. Valid steps, and no others::

    (absent) --status, nothing revoked--> open --status, places--> open

What is revoked stays so. A list says nothing of a taxpayer: its places are drawn at random, and who has one the bureau
alone knows. Pure: nothing depends on time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from shuiqiao.base.errors import Conflict, Denied, InvalidInput
from shuiqiao.base.ids import owned_id
from shuiqiao.base.wire import Id
from shuiqiao.ledger.model import BlockContext, Event, Kind, State, StateView, Transaction
from shuiqiao.members.model import Role
from shuiqiao.members.roster import require_role
from shuiqiao.privacy.credentials.model import LIST_SIZE, find_bits, is_set, status_key

STATUS = "credential.status"

MAX_REVOKED = 1_024
"""Places in one transaction: the copies of a hundred enterprises."""

Place = Annotated[int, Meta(ge=0, lt=LIST_SIZE)]


class CredentialStatusBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Opens a status list of the author's, or revokes places of one.

    status_list: the author's own id of it.
    """

    status_list: Id
    revoked: Annotated[list[Place], Meta(max_length=MAX_REVOKED)]


def _check_status(tx: Transaction, state: StateView, _ctx: BlockContext) -> None:
    """[CREDENTIAL-6]: a bureau, its own lists, each place once."""
    body: CredentialStatusBody = tx.body
    require_role(state, tx.author, Role.TAX_BUREAU)
    name = owned_id(tx.author, body.status_list)
    bits = find_bits(state, name)
    if not body.revoked:
        if bits is not None:
            raise Conflict("privacy.status_repeated", f"status list {name} is open already")
        return
    if bits is None:
        raise Denied("privacy.status_unknown", f"the ledger has no status list {name}")
    if body.revoked != sorted(set(body.revoked)):
        raise InvalidInput("privacy.status_uneven", f"places of status list {name} are not in order, each once")
    if any(is_set(bits, place) for place in body.revoked):
        raise Conflict("privacy.status_repeated", f"a place of status list {name} is revoked already")


def _apply_status(tx: Transaction, state: State, _ctx: BlockContext) -> Sequence[Event]:
    body: CredentialStatusBody = tx.body
    name = owned_id(tx.author, body.status_list)
    bits = bytearray(find_bits(state, name) or bytes(LIST_SIZE // 8))
    for place in body.revoked:
        bits[place // 8] |= 1 << place % 8
    state.put(status_key(name), {"bits": bytes(bits)})
    return (Event(name="credential.status", attributes={"status_list": name, "revoked": len(body.revoked)}),)


KINDS: tuple[Kind, ...] = (
    Kind(name=STATUS, room="privacy", version=1, body=CredentialStatusBody, check=_check_status, apply=_apply_status),
)
"""credential.status."""
