"""The ledger's rules for credentials: a bureau opens status lists and registries, and revokes places of its own.

Rule: docs/spec/credentials.md [CREDENTIAL-6] [CREDENTIAL-12]. Valid steps, and no others::

    (absent) --status, nothing revoked----> list -----status, places----> list
    (absent) --registry, nothing revoked--> registry --registry, places--> registry

What is revoked stays so. A list says nothing of a taxpayer: its places are drawn at random, and who has one the bureau
alone knows. Pure: nothing depends on time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from shuiqiao.base.errors import Conflict, Denied, InvalidInput
from shuiqiao.base.ids import OwnedId, owned_id
from shuiqiao.base.wire import Digest, Id
from shuiqiao.ledger.model import BlockContext, Event, Kind, State, StateView, Transaction
from shuiqiao.members.model import Role
from shuiqiao.members.roster import require_role
from shuiqiao.privacy.credentials.model import LIST_SIZE, find_bits, find_registry, is_set, status_key

STATUS = "credential.status"
REGISTRY = "credential.registry"

MAX_REVOKED = 1_024
"""Places in one transaction: the copies of a hundred enterprises."""

MAX_ACCUMULATOR_BYTES = 1_024
"""Of one point of the curve, as the library writes it."""

Place = Annotated[int, Meta(ge=0, lt=LIST_SIZE)]


class CredentialStatusBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Opens a status list of the author's, or revokes places of one.

    status_list: the author's own id of it.
    """

    status_list: Id
    revoked: Annotated[list[Place], Meta(max_length=MAX_REVOKED)]


class CredentialRegistryBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Publishes a definition for predicates with the registry of its places, or revokes places of one.

    status_list: the author's own id of the registry. definition: digest of the definition, which holders have.
    accumulator: of the places that are not revoked, these ones included, as the library writes it.
    """

    status_list: Id
    definition: Digest
    accumulator: Annotated[bytes, Meta(min_length=1, max_length=MAX_ACCUMULATOR_BYTES)]
    revoked: Annotated[list[Place], Meta(max_length=MAX_REVOKED)]


def _check_status(tx: Transaction, state: StateView, _ctx: BlockContext) -> None:
    """[CREDENTIAL-6]: a bureau, its own lists, each place once."""
    body: CredentialStatusBody = tx.body
    name = owned_id(tx.author, body.status_list)
    if body.revoked and find_registry(state, name) is not None:
        raise Denied("privacy.status_unknown", f"{name} is a registry: its accumulator changes with its places")
    _check_places(tx, state, name=name, revoked=body.revoked)


def _check_registry(tx: Transaction, state: StateView, _ctx: BlockContext) -> None:
    """[CREDENTIAL-12]: as a list, and the definition of a registry stays."""
    body: CredentialRegistryBody = tx.body
    name = owned_id(tx.author, body.status_list)
    found = find_registry(state, name)
    if body.revoked and (found is None or found.definition != body.definition):
        raise Denied("privacy.status_unknown", f"the ledger has no registry {name} of that definition")
    _check_places(tx, state, name=name, revoked=body.revoked)


def _check_places(tx: Transaction, state: StateView, *, name: OwnedId, revoked: Sequence[int]) -> None:
    require_role(state, tx.author, Role.TAX_BUREAU)
    bits = find_bits(state, name)
    if not revoked:
        if bits is not None:
            raise Conflict("privacy.status_repeated", f"status list {name} is open already")
        return
    if bits is None:
        raise Denied("privacy.status_unknown", f"the ledger has no status list {name}")
    if list(revoked) != sorted(set(revoked)):
        raise InvalidInput("privacy.status_uneven", f"places of status list {name} are not in order, each once")
    if any(is_set(bits, place) for place in revoked):
        raise Conflict("privacy.status_repeated", f"a place of status list {name} is revoked already")


def _apply_status(tx: Transaction, state: State, _ctx: BlockContext) -> Sequence[Event]:
    body: CredentialStatusBody = tx.body
    name = owned_id(tx.author, body.status_list)
    state.put(status_key(name), {"bits": _bits_with(state, name, revoked=body.revoked)})
    return (Event(name="credential.status", attributes={"status_list": name, "revoked": len(body.revoked)}),)


def _apply_registry(tx: Transaction, state: State, _ctx: BlockContext) -> Sequence[Event]:
    body: CredentialRegistryBody = tx.body
    name = owned_id(tx.author, body.status_list)
    bits = _bits_with(state, name, revoked=body.revoked)
    state.put(status_key(name), {"accumulator": body.accumulator, "bits": bits, "definition": body.definition})
    return (Event(name="credential.registry", attributes={"status_list": name, "revoked": len(body.revoked)}),)


def _bits_with(state: StateView, name: OwnedId, *, revoked: Sequence[int]) -> bytes:
    bits = bytearray(find_bits(state, name) or bytes(LIST_SIZE // 8))
    for place in revoked:
        bits[place // 8] |= 1 << place % 8
    return bytes(bits)


KINDS: tuple[Kind, ...] = (
    Kind(name=STATUS, room="privacy", version=1, body=CredentialStatusBody, check=_check_status, apply=_apply_status),
    Kind(
        name=REGISTRY,
        room="privacy",
        version=1,
        body=CredentialRegistryBody,
        check=_check_registry,
        apply=_apply_registry,
    ),
)
"""credential.status, credential.registry."""
