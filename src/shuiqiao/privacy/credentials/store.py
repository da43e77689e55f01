"""Which copies a bureau issued, to revoke them by: places of status lists, and whose they are.

What a copy says is not kept. Durability is the injected engine's matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, Engine, Integer, LargeBinary, MetaData, Table, func, insert, select
from sqlalchemy.exc import IntegrityError as AlreadyThere

from shuiqiao.base.errors import Conflict
from shuiqiao.crypto.column_cipher import LOOKUP_TAG_BYTES, ColumnCipher

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        """Return the status list that was filled last, with its places that are taken; None before the first."""
        newest = (
            select(_copy.c.status_list)
            .group_by(_copy.c.status_list)
            .order_by(func.max(_copy.c.issued_ms).desc(), _copy.c.status_list)
        )
        with self._engine.connect() as connection:
            found = connection.execute(newest.limit(1)).scalar()
            if found is None:
                return None
            return found, frozenset(connection.scalars(select(_copy.c.place).where(_copy.c.status_list == found)))
