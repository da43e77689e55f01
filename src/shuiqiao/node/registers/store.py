"""The table of the registers; what entries say is encrypted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    bindparam,
    insert,
    select,
    update,
)

from shuiqiao.crypto.column_cipher import EncryptedColumns
from shuiqiao.node.registers.model import RegisterEntry, RegisterKind

if TYPE_CHECKING:
    from sqlalchemy import Engine, RowMapping

    from shuiqiao.crypto.column_cipher import ColumnCipher

metadata = MetaData()

_entry = Table(
    "node_register",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("id", String(32), nullable=False),
    Column("kind", String(16), nullable=False, index=True),
    Column("member", String(32), nullable=False),
    Column("grade", String(16), nullable=False),
    Column("opened_ms", BigInteger, nullable=False),
    Column("due_ms", BigInteger, nullable=False),
    Column("closed_ms", BigInteger, index=True),
    Column("words", LargeBinary, nullable=False),
    Column("outcome", LargeBinary),
)
_SECRETS = EncryptedColumns(table="node_register", key="id", columns={"words": str, "outcome": str})

_ADD = insert(_entry)
_BY_SEQ = select(_entry).where(_entry.c.seq == bindparam("of_seq"))
_AFTER = select(_entry).where(_entry.c.seq > bindparam("after")).order_by(_entry.c.seq).limit(bindparam("most"))
_OPEN = select(_entry).where(_entry.c.closed_ms.is_(None)).order_by(_entry.c.due_ms, _entry.c.seq)
_CLOSE = (
    update(_entry)
    .where(_entry.c.seq == bindparam("of_seq"), _entry.c.closed_ms.is_(None))
    .values(closed_ms=bindparam("at_ms"), outcome=bindparam("told"))
)
_NEW: Final = 0


class RegisterStore:
    """The registers of one institution.

    ::

        seq = store.add(entry)
        assert store.entry(seq).words == entry.words
    """

    def __init__(self, engine: Engine, *, cipher: ColumnCipher) -> None:
        self._engine = engine
        self._cipher = cipher

    def add(self, entry: RegisterEntry) -> int:
        """Keep a new entry, durable when this returns; return its number, the next one."""
        plain = {name: getattr(entry, name) for name in RegisterEntry.__slots__ if name != "seq"}
        row = self._cipher.encrypt_row(_SECRETS, plain | {"kind": str(entry.kind)})
        with self._engine.begin() as connection:
            made = connection.execute(_ADD, row).inserted_primary_key
        return int(made[0]) if made is not None else _NEW

    def entry(self, seq: int) -> RegisterEntry | None:
        """Return an entry, or None; raises IntegrityError ``crypto.column_damaged``."""
        with self._engine.connect() as connection:
            row = connection.execute(_BY_SEQ, {"of_seq": seq}).mappings().first()
        return None if row is None else self._entry(row)

    def entries(self, *, after: int, most: int) -> list[RegisterEntry]:
        """Return the entries behind a number, in their order."""
        with self._engine.connect() as connection:
            return [self._entry(row) for row in connection.execute(_AFTER, {"after": after, "most": most}).mappings()]

    def open_entries(self) -> list[RegisterEntry]:
        """Return what is not closed, the first to be due first."""
        with self._engine.connect() as connection:
            return [self._entry(row) for row in connection.execute(_OPEN).mappings()]

    def close(self, entry: RegisterEntry, *, at_ms: int, outcome: str) -> bool:
        """Close an entry that is open; return whether it was."""
        told = self._cipher.encrypt_row(_SECRETS, {"id": entry.id, "outcome": outcome})["outcome"]
        with self._engine.begin() as connection:
            done = connection.execute(_CLOSE, {"of_seq": entry.seq, "at_ms": at_ms, "told": told})
        return done.rowcount == 1

    def _entry(self, row: RowMapping) -> RegisterEntry:
        fields: dict[str, Any] = self._cipher.decrypt_row(_SECRETS, dict(row))
        fields["kind"] = RegisterKind(fields["kind"])
        return RegisterEntry(**fields)
