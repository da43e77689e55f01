"""Which copies a bureau issued, to revoke them by; and what a bank was shown, once for each of its requests.

A bureau does not keep what a copy says; of what a bank was shown the claims are encrypted. Durability is the injected
engine's matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Engine,
    Integer,
    LargeBinary,
    MetaData,
    Select,
    String,
    Table,
    func,
    insert,
    select,
)
from sqlalchemy.exc import IntegrityError as AlreadyThere

from shuiqiao.base.encoding import decode_json, encode_json
from shuiqiao.base.errors import Conflict
from shuiqiao.crypto.column_cipher import LOOKUP_TAG_BYTES, ColumnCipher, EncryptedColumns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

metadata = MetaData()

_copy = Table(
    "privacy_credential",
    metadata,
    Column("status_list", LargeBinary(16), primary_key=True),
    Column("place", Integer, primary_key=True),
    Column("taxpayer_tag", LargeBinary(LOOKUP_TAG_BYTES), nullable=False, index=True),
    Column("request", LargeBinary(16), nullable=False),
    Column("issued_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
)


_definition = Table(
    "privacy_definition",
    metadata,
    Column("status_list", LargeBinary(16), primary_key=True),
    Column("content", LargeBinary, nullable=False),
    Column("tails", LargeBinary, nullable=False),
    Column("accumulator", LargeBinary, nullable=False),
    Column("secret", LargeBinary, nullable=False),
    Column("made_ms", BigInteger, nullable=False),
)
_DEFINITION_SECRETS = EncryptedColumns(table="privacy_definition", key="status_list", columns={"secret": bytes})

_shown = Table(
    "privacy_shown",
    metadata,
    Column("request", LargeBinary(16), primary_key=True),
    Column("product", String(32), nullable=False),
    Column("issuer", String(32), nullable=False),
    Column("claims", LargeBinary, nullable=False),
    Column("is_met", Boolean, nullable=False),
    Column("shown_ms", BigInteger, nullable=False, index=True),
)
_SHOWN_SECRETS = EncryptedColumns(table="privacy_shown", key="request", columns={"claims": bytes})

_MAX_CLAIMS_BYTES = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyRow:
    """A copy: its place, and the request that it was issued for."""

    status_list: bytes
    place: int
    request: bytes
    issued_ms: int
    expires_ms: int


class CredentialStore:
    """The copies that one bureau issued."""

    def __init__(self, engine: Engine, *, cipher: ColumnCipher) -> None:
        self._engine = engine
        self._cipher = cipher

    def add(self, taxpayer: str, rows: Sequence[CopyRow]) -> None:
        """Take places for a taxpayer, all or none; raises Conflict ``privacy.place_taken`` where one is another's."""
        tag = self._cipher.tag(taxpayer)
        values = [{**{name: getattr(row, name) for name in row.__slots__}, "taxpayer_tag": tag} for row in rows]
        try:
            with self._engine.begin() as connection:
                connection.execute(insert(_copy), values)
        except AlreadyThere as error:
            raise Conflict("privacy.place_taken", "a place of the list was taken meanwhile") from error

    def copies_of(self, taxpayer: str) -> list[CopyRow]:
        """Return the copies of a taxpayer, the oldest first."""
        wanted = select(_copy).where(_copy.c.taxpayer_tag == self._cipher.tag(taxpayer))
        with self._engine.connect() as connection:
            rows = connection.execute(wanted.order_by(_copy.c.issued_ms, _copy.c.status_list, _copy.c.place)).mappings()
            return [CopyRow(**{name: row[name] for name in CopyRow.__slots__}) for row in rows]

    def newest_list(self) -> tuple[bytes, frozenset[int]] | None:
        """Return the status list that was filled last, with its places that are taken; None before the first.

        Registries are none of them.
        """
        newest = (
            select(_copy.c.status_list)
            .where(_copy.c.status_list.not_in(select(_definition.c.status_list)))
            .group_by(_copy.c.status_list)
            .order_by(func.max(_copy.c.issued_ms).desc(), _copy.c.status_list)
        )
        with self._engine.connect() as connection:
            found = connection.execute(newest.limit(1)).scalar()
            if found is None:
                return None
        return found, self.taken(found)

    def taken(self, status_list: bytes) -> frozenset[int]:
        """Return the places of a status list or a registry that copies have."""
        with self._engine.connect() as connection:
            return frozenset(connection.scalars(select(_copy.c.place).where(_copy.c.status_list == status_list)))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class DefinitionRow:
    """A definition for predicates. accumulator: with which it is published. secret: what signs, and revokes."""

    status_list: bytes
    content: bytes
    tails: bytes
    accumulator: bytes
    secret: bytes
    made_ms: int


class DefinitionStore:
    """The definitions that one bureau made."""

    def __init__(self, engine: Engine, *, cipher: ColumnCipher) -> None:
        self._engine = engine
        self._cipher = cipher

    def add(self, row: DefinitionRow) -> None:
        """Keep a definition, before the ledger has it."""
        plain = {name: getattr(row, name) for name in row.__slots__}
        with self._engine.begin() as connection:
            connection.execute(insert(_definition), self._cipher.encrypt_row(_DEFINITION_SECRETS, plain))

    def newest(self) -> DefinitionRow | None:
        """Return the definition that was made last; None before the first."""
        wanted = select(_definition).order_by(_definition.c.made_ms.desc(), _definition.c.status_list).limit(1)
        return self._found(wanted)

    def find(self, status_list: bytes) -> DefinitionRow | None:
        """Return a definition; None for what is no registry of this bureau."""
        return self._found(select(_definition).where(_definition.c.status_list == status_list))

    def _found(self, wanted: Select[Any]) -> DefinitionRow | None:
        with self._engine.connect() as connection:
            row = connection.execute(wanted).mappings().first()
        if row is None:
            return None
        plain = self._cipher.decrypt_row(_DEFINITION_SECRETS, dict(row))
        return DefinitionRow(**{name: plain[name] for name in DefinitionRow.__slots__})


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownRow:
    """What a bank was shown for one of its requests. is_met: whether the product's rules took it."""

    request: bytes
    product: str
    issuer: str
    claims: Mapping[str, Any]
    is_met: bool
    shown_ms: int


class ShownStore:
    """What one bank was shown."""

    def __init__(self, engine: Engine, *, cipher: ColumnCipher) -> None:
        self._engine = engine
        self._cipher = cipher

    def add(self, row: ShownRow) -> None:
        """Keep what was shown; raises Conflict ``privacy.challenge_used`` for a second time under one request."""
        plain = {name: getattr(row, name) for name in row.__slots__} | {"claims": encode_json(dict(row.claims))}
        try:
            with self._engine.begin() as connection:
                connection.execute(insert(_shown), self._cipher.encrypt_row(_SHOWN_SECRETS, plain))
        except AlreadyThere as error:
            raise Conflict(
                "privacy.challenge_used", f"something was shown already for request {row.request.hex()}"
            ) from error

    def newest(self, *, most: int) -> list[ShownRow]:
        """Return what was shown lately, the newest first; raises IntegrityError ``crypto.column_damaged``."""
        wanted = select(_shown).order_by(_shown.c.shown_ms.desc(), _shown.c.request).limit(most)
        with self._engine.connect() as connection:
            rows = [dict(row) for row in connection.execute(wanted).mappings()]
        return [self._row(self._cipher.decrypt_row(_SHOWN_SECRETS, row)) for row in rows]

    def _row(self, found: dict[str, Any]) -> ShownRow:
        claims = decode_json(found["claims"], max_bytes=_MAX_CLAIMS_BYTES)
        return ShownRow(**{name: found[name] for name in ShownRow.__slots__} | {"claims": claims})
