"""The table of acts by their idempotency keys: what was asked under a key, and what was answered.

A key belongs to the caller that sent it. The row is there before the act begins, so of two requests under one key one
acts and the other learns that it does. Caller, key and question are kept as keyed tags, the answer encrypted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    bindparam,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError as AlreadyThere

from shuiqiao.crypto.column_cipher import LOOKUP_TAG_BYTES, ColumnCipher, EncryptedColumns

if TYPE_CHECKING:
    from sqlalchemy import Engine

metadata = MetaData()

_RUN_BYTES = 16

_act = Table(
    "api_act",
    metadata,
    Column("act", LargeBinary(LOOKUP_TAG_BYTES), primary_key=True),
    Column("question", LargeBinary(LOOKUP_TAG_BYTES), nullable=False),
    Column("run", LargeBinary(_RUN_BYTES), nullable=False),
    Column("begun_ms", BigInteger, nullable=False, index=True),
    Column("status", Integer),
    Column("media_type", String(100)),
    Column("body", LargeBinary),
)
_SECRETS = EncryptedColumns(table="api_act", key="act", columns={"body": bytes})

_IS_ACT = _act.c.act == bindparam("of_act")
_IS_OF_RUN = _act.c.run == bindparam("of_run")
_BEGIN = insert(_act)
_FIND = select(_act).where(_IS_ACT)
_TAKE_OVER = update(_act).where(_IS_ACT, _IS_OF_RUN, _act.c.status.is_(None)).values(run=bindparam("new_run"))
_FINISH = (
    update(_act)
    .where(_IS_ACT, _IS_OF_RUN)
    .values(status=bindparam("new_status"), media_type=bindparam("new_media_type"), body=bindparam("new_body"))
)
_FORGET = delete(_act).where(_IS_ACT, _IS_OF_RUN, _act.c.status.is_(None))
_FORGET_OLD = delete(_act).where(_act.c.begun_ms < bindparam("before_ms"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ActRow:
    """An act that was begun. status: of its answer, None while there is none.

    act: tag of who asked and under which key. question: tag of what was asked. run: the process that acts, 16 random
    bytes.
    """

    act: bytes
    question: bytes
    run: bytes
    begun_ms: int
    status: int | None = None
    media_type: str | None = None
    body: bytes | None = None


class ActStore:
    """The acts of one institution; threads and processes may share its table."""

    def __init__(self, engine: Engine, *, cipher: ColumnCipher) -> None:
        self._engine = engine
        self._cipher = cipher

    def tag(self, *parts: str) -> bytes:
        """Return the tag of some texts, none of which holds a line feed."""
        return self._cipher.tag("\n".join(parts))

    def begin(self, row: ActRow) -> ActRow | None:
        """Note that an act begins; returns the row that is there already, None where there was none."""
        values = {name: getattr(row, name) for name in ("act", "question", "run", "begun_ms")}
        try:
            with self._engine.begin() as connection:
                connection.execute(_BEGIN, values)
        except AlreadyThere:
            return self.find(row.act)
        return None

    def find(self, act: bytes) -> ActRow | None:
        """Return an act, or None."""
        with self._engine.connect() as connection:
            found = connection.execute(_FIND, {"of_act": act}).mappings().first()
        return None if found is None else ActRow(**self._cipher.decrypt_row(_SECRETS, {**found}))

    def take_over(self, act: bytes, *, old_run: bytes, new_run: bytes) -> bool:
        """Go on with an act whose process ended before it answered; tells whether this one may."""
        with self._engine.begin() as connection:
            return connection.execute(_TAKE_OVER, {"of_act": act, "of_run": old_run, "new_run": new_run}).rowcount == 1

    def finish(self, act: bytes, *, run: bytes, status: int, media_type: str, body: bytes) -> None:
        """Keep the answer of an act."""
        sealed = self._cipher.encrypt_row(_SECRETS, {"act": act, "body": body})["body"]
        answer = {"new_status": status, "new_media_type": media_type, "new_body": sealed}
        with self._engine.begin() as connection:
            connection.execute(_FINISH, {"of_act": act, "of_run": run, **answer})

    def forget(self, act: bytes, *, run: bytes) -> None:
        """Forget an act that came to nothing, so that its key may be used again."""
        with self._engine.begin() as connection:
            connection.execute(_FORGET, {"of_act": act, "of_run": run})

    def forget_before(self, before_ms: int) -> None:
        """Forget all acts that were begun before a moment."""
        with self._engine.begin() as connection:
            connection.execute(_FORGET_OLD, {"before_ms": before_ms})
