"""The tables of the journal: its entries, encrypted, and its head, which one writer at a time moves on.

Beside the encrypted entry stand its number, day, time, act and hash in clear, and keyed tags of who and of the object,
so that entries are found. Nothing here alters or removes an entry.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    RowMapping,
    String,
    Table,
    and_,
    bindparam,
    func,
    insert,
    select,
    update,
)

from shuiqiao.base.errors import IntegrityError
from shuiqiao.crypto.column_cipher import LOOKUP_TAG_BYTES, EncryptedColumns
from shuiqiao.node.accounts.journal.entry import decode_entry

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from shuiqiao.crypto.column_cipher import ColumnCipher
    from shuiqiao.node.accounts.journal.entry import JournalEntry

metadata = MetaData()

_entry = Table(
    "journal_entry",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("day", Integer, nullable=False, index=True),
    Column("ms", BigInteger, nullable=False),
    Column("act", String(80), nullable=False),
    Column("who_tag", LargeBinary(LOOKUP_TAG_BYTES), nullable=False, index=True),
    Column("object_tag", LargeBinary(LOOKUP_TAG_BYTES), nullable=False, index=True),
    Column("hash", LargeBinary(32), nullable=False),
    Column("entry", LargeBinary, nullable=False),
)
_SECRETS = EncryptedColumns(table="journal_entry", key="hash", columns={"entry": bytes})

_head = Table(
    "journal_head",
    metadata,
    Column("only", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("ms", BigInteger, nullable=False),
    Column("hash", LargeBinary(32), nullable=False),
)

PAGE_ENTRIES: Final = 500
"""Entries that are read at a time."""

# Statements are built once: SQLAlchemy then finds each one's compiled text without walking it again.
_LOCK_HEAD = update(_head).values(only=1)
_HEAD = select(_head)
_MOVE_HEAD = update(_head).values(seq=bindparam("new_seq"), ms=bindparam("new_ms"), hash=bindparam("new_hash"))
_ADD = insert(_entry)
_PAGE = select(_entry).where(_entry.c.seq > bindparam("after")).order_by(_entry.c.seq).limit(PAGE_ENTRIES)
_ONE = select(_entry).where(_entry.c.seq == bindparam("of_seq"))
_DAYS = (
    select(_entry.c.day, func.count())
    .where(and_(_entry.c.day > bindparam("after"), _entry.c.day < bindparam("before")))
    .group_by(_entry.c.day)
    .order_by(_entry.c.day)
)
_HASHES_OF_DAY = select(_entry.c.hash).where(_entry.c.day == bindparam("of_day")).order_by(_entry.c.seq)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The newest entry: its number, time in ms, and hash; 0, 0 and zeros before the first, as the tables are made."""

    seq: int
    ms: int
    hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEntry:
    """An entry as it lies in the table: its bytes, and what stands beside them."""

    seq: int
    day: int
    ms: int
    act: str
    who_tag: bytes
    object_tag: bytes
    hash: bytes
    entry: bytes


class JournalStore:
    """The entries of one institution's journal."""

    def __init__(self, engine: Engine, *, cipher: ColumnCipher) -> None:
        self._engine = engine
        self._cipher = cipher

    def begin(self) -> AbstractContextManager[Connection]:
        """Give a transaction. The data key is opened before it, for the first time that may write."""
        self._cipher.tag("")
        return self._engine.begin()

    def lock_head(self, connection: Connection) -> Head:
        """Return the newest entry; nobody else adds one until this transaction ends. Raises as ``head``."""
        connection.execute(_LOCK_HEAD)
        return _to_head(connection.execute(_HEAD).first())

    def add(self, connection: Connection, entry: JournalEntry, *, raw: bytes, digest: bytes) -> None:
        """Add the entry after the head, in the transaction that locked it."""
        row = {
            "seq": entry.seq,
            "day": entry.day,
            "ms": entry.ms,
            "act": entry.act,
            "who_tag": self.tag("who", entry.who),
            "object_tag": self.tag("object", entry.object),
            "hash": digest,
            "entry": raw,
        }
        connection.execute(_ADD, self._cipher.encrypt_row(_SECRETS, row))
        connection.execute(_MOVE_HEAD, {"new_seq": entry.seq, "new_ms": entry.ms, "new_hash": digest})

    def tag(self, field: str, value: str) -> bytes:
        """Return by what entries with a value in a field are found."""
        return self._cipher.tag(f"journal/{field}/{value}")

    def head(self) -> Head:
        """Return the newest entry as the head has it; raises IntegrityError ``node.journal_broken`` for none."""
        with self._engine.connect() as connection:
            return _to_head(connection.execute(_HEAD).first())

    def stored(self) -> Iterator[StoredEntry]:
        """Iterate over all entries in order, read by pages; raises IntegrityError ``node.journal_broken``."""
        after = 0
        while True:
            with self._engine.connect() as connection:
                page = connection.execute(_PAGE, {"after": after}).mappings().all()
            for row in page:
                yield StoredEntry(**self._opened(row))
            if len(page) < PAGE_ENTRIES:
                return
            after = page[-1]["seq"]

    def newest(
        self,
        *,
        before: int | None,
        limit: int,
        who: str | None,
        subject: str | None,
        act: str | None,
        before_ms: int | None,
    ) -> list[JournalEntry]:
        """Return entries, the newest first, at most ``limit``, of which each filter that is given is true."""
        wanted = select(_entry).order_by(_entry.c.seq.desc()).limit(min(limit, PAGE_ENTRIES))
        if before is not None:
            wanted = wanted.where(_entry.c.seq < before)
        if who is not None:
            wanted = wanted.where(_entry.c.who_tag == self.tag("who", who))
        if subject is not None:
            wanted = wanted.where(_entry.c.object_tag == self.tag("object", subject))
        if act is not None:
            wanted = wanted.where(_entry.c.act == act)
        if before_ms is not None:
            wanted = wanted.where(_entry.c.ms < before_ms)
        with self._engine.connect() as connection:
            return [decode_entry(self._opened(row)["entry"]) for row in connection.execute(wanted).mappings()]

    def days(self, *, after: int, before: int) -> list[tuple[int, int]]:
        """Return the days that have entries, each with how many, of those between two days."""
        with self._engine.connect() as connection:
            return [(day, count) for day, count in connection.execute(_DAYS, {"after": after, "before": before})]

    def entry(self, seq: int) -> StoredEntry | None:
        """Return an entry by its number, None where there is none; raises IntegrityError ``node.journal_broken``."""
        with self._engine.connect() as connection:
            row = connection.execute(_ONE, {"of_seq": seq}).mappings().first()
        return None if row is None else StoredEntry(**self._opened(row))

    def hashes_of(self, day: int) -> list[bytes]:
        """Return the hashes of a day's entries in order."""
        with self._engine.connect() as connection:
            return [*connection.execute(_HASHES_OF_DAY, {"of_day": day}).scalars()]

    def _opened(self, row: RowMapping) -> dict[str, Any]:
        try:
            return self._cipher.decrypt_row(_SECRETS, dict(row))
        except IntegrityError as error:
            raise IntegrityError(
                "node.journal_broken", f"entry {row['seq']} of the journal was altered: {error.message}"
            ) from error


def _to_head(row: Any) -> Head:
    if row is None:
        raise IntegrityError("node.journal_broken", "the head of the journal is gone")
    return Head(seq=row.seq, ms=row.ms, hash=row.hash)
