"""The definitions of one bureau for predicates: made when they are needed, published, signed by, revoked in.

A definition is issued by for a month and holds for another two, so nobody proves how old its credential is: all that
one definition signed ends on one day [CREDENTIAL-12]. A new one is made when that month is over or its places are
taken. Its row is kept before the ledger hears of it; the next use publishes what a crash left unpublished.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from shuiqiao.base.clock import MS_PER_DAY, MS_PER_SECOND
from shuiqiao.base.ids import new_id, owned_id
from shuiqiao.privacy.credentials.anoncreds import (
    PLACES,
    accumulator_without,
    decode_definition,
    make_definition,
    require_library,
    sign,
)
from shuiqiao.privacy.credentials.contract import REGISTRY, CredentialRegistryBody
from shuiqiao.privacy.credentials.model import Registry, find_registry
from shuiqiao.privacy.credentials.store import CopyRow, DefinitionRow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shuiqiao.base.ids import Entropy, OwnedId
    from shuiqiao.crypto.model import CipherSuite
    from shuiqiao.ledger.transactions.submitter import LedgerSubmitter
    from shuiqiao.privacy.credentials.model import BlindedRequestBody
    from shuiqiao.privacy.credentials.store import CredentialStore, DefinitionStore

ISSUED_DAYS: Final = 30
"""So long credentials are issued by one definition."""

HELD_DAYS: Final = 90
"""So long they hold, from the definition's first day on."""


class Registries:
    """The definitions of a bureau. Thread-safe; places of one are taken and revoked under its caller's lock.

    Example::

        row = registries.current()
        credential = registries.sign(row, request, claims=claims)
    """

    def __init__(
        self,
        *,
        submitter: LedgerSubmitter,
        copies: CredentialStore,
        definitions: DefinitionStore,
        suite: CipherSuite,
        entropy: Entropy,
        places: int = PLACES,
    ) -> None:
        """places: of a registry that is made."""
        self._submitter = submitter
        self._copies = copies
        self._definitions = definitions
        self._suite = suite
        self._entropy = entropy
        self._places = places
        self._making = threading.Lock()

    def current(self) -> DefinitionRow:
        """Return the definition that is issued by, which the ledger has; makes one if there is none.

        Raises Unavailable ``privacy.extra_missing``, what the ledger refuses with.
        """
        require_library()
        with self._making:
            row = self._definitions.newest()
            if row is None or not self._is_open(row):
                row = self._made()
            if find_registry(self._submitter.state(), self._name(row)) is None:
                self._submit(row, accumulator=row.accumulator, revoked=[])
            return row

    def sign(self, row: DefinitionRow, body: BlindedRequestBody, *, claims: Mapping[str, Any]) -> bytes:
        """Return a credential with a random place of its own; raises InvalidInput ``privacy.blinded_malformed``."""
        definition = decode_definition(row.content)
        taken = self._copies.taken(row.status_list)
        # The library's registry has no place 0.
        free = [place for place in range(1, definition.body.places) if place not in taken]
        place = free[int.from_bytes(self._entropy(8), "big") % len(free)]
        credential = sign(
            definition,
            body.blinded,
            secret=row.secret,
            request=body.request,
            claims=claims,
            place=place,
            registry=self._registry(self._name(row)),
        )
        copy = CopyRow(
            status_list=row.status_list,
            place=place,
            request=body.request,
            issued_ms=self._submitter.now_ms(),
            expires_ms=definition.body.expires_s * MS_PER_SECOND,
        )
        # Nothing left this house yet: a place that cannot be kept is given to nobody.
        self._copies.add(body.taxpayer, [copy])
        return credential

    def has(self, status_list: bytes) -> bool:
        """Return whether an id is of a registry."""
        return self._definitions.find(status_list) is not None

    def revoke(self, status_list: bytes, places: list[int]) -> bool:
        """Revoke places of a registry, in order; False for what is no registry."""
        row = self._definitions.find(status_list)
        if row is None:
            return False
        accumulator = accumulator_without(
            decode_definition(row.content), secret=row.secret, registry=self._registry(self._name(row)), revoked=places
        )
        self._submit(row, accumulator=accumulator, revoked=places)
        return True

    def _is_open(self, row: DefinitionRow) -> bool:
        body = decode_definition(row.content).body
        is_time = self._submitter.latest_ms() < body.closes_s * MS_PER_SECOND
        return is_time and len(self._copies.taken(row.status_list)) < body.places * 7 // 8

    def _made(self) -> DefinitionRow:
        now_ms = self._submitter.now_ms()
        # Whole days, so that the definition says no more of when it was first asked for.
        day_s = self._submitter.latest_ms() // MS_PER_DAY * MS_PER_DAY // MS_PER_SECOND
        status_list = new_id(self._entropy)
        made = make_definition(
            network=self._submitter.parameters.network,
            status_list=owned_id(self._submitter.member, status_list),
            closes_s=day_s + ISSUED_DAYS * MS_PER_DAY // MS_PER_SECOND,
            expires_s=day_s + HELD_DAYS * MS_PER_DAY // MS_PER_SECOND,
            places=self._places,
        )
        row = DefinitionRow(
            status_list=status_list,
            content=made.definition.raw,
            tails=made.tails,
            accumulator=made.accumulator,
            secret=made.secret,
            made_ms=now_ms,
        )
        self._definitions.add(row)
        return row

    def _submit(self, row: DefinitionRow, *, accumulator: bytes, revoked: list[int]) -> None:
        body = CredentialRegistryBody(
            status_list=row.status_list,
            definition=self._suite.digest(row.content),
            accumulator=accumulator,
            revoked=revoked,
        )
        self._submitter.submit(REGISTRY, body)

    def _name(self, row: DefinitionRow) -> OwnedId:
        return owned_id(self._submitter.member, row.status_list)

    def _registry(self, name: OwnedId) -> Registry:
        found = find_registry(self._submitter.state(), name)
        if found is None:
            raise LookupError(f"the ledger has no registry {name}, which was published")
        return found
