"""The table of acts by their idempotency keys: what was asked under a key, and what was answered.

A key belongs to the caller that sent it. The row is there before the act begins, so of two requests under one key one
acts and the other learns that it does.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    Column,
    Engine,
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

metadata = MetaData()

_act = Table(
    "api_act",
    metadata,
    Column("caller", String(160), primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("question", LargeBinary(32), nullable=False),
    Column("run", LargeBinary(16), nullable=False),
    Column("begun_ms", BigInteger, nullable=False, index=True),
    Column("status", Integer),
    Column("media_type", String(100)),
    Column("body", LargeBinary),
)

_IS_ACT = (_act.c.caller == bindparam("of_caller"), _act.c.key == bindparam("of_key"))
_BEGIN = insert(_act)
_FIND = select(_act).where(*_IS_ACT)
_TAKE_OVER = (
    update(_act)
    .where(*_IS_ACT, _act.c.run == bindparam("old_run"), _act.c.status.is_(None))
    .values(run=bindparam("new_run"))
)
_FINISH = (
    update(_act)
    .where(*_IS_ACT, _act.c.run == bindparam("old_run"))
    .values(status=bindparam("new_status"), media_type=bindparam("new_media_type"), body=bindparam("new_body"))
)
_FORGET = delete(_act).where(*_IS_ACT, _act.c.run == bindparam("old_run"), _act.c.status.is_(None))
_FORGET_OLD = delete(_act).where(_act.c.begun_ms < bindparam("before_ms"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ActName:
    """An act by whoever asked for it and the key that it sent."""

    caller: str
    key: str

    @property
    def bound(self) -> dict[str, str]:
        """What statements about one act ask for."""
        return {"of_caller": self.caller, "of_key": self.key}


@dataclass(frozen=True, slots=True, kw_only=True)
class ActRow:
    """An act that was begun. status: of its answer, None while there is none.

    question: digest of what was asked. run: the process that acts, 16 random bytes.
    """

    caller: str
    key: str
    question: bytes
    run: bytes
    begun_ms: int
    status: int | None
    media_type: str | None
    body: bytes | None


class ActStore:
    """The acts of one institution; threads and processes may share its table."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def begin(self, name: ActName, *, question: bytes, run: bytes, now_ms: int) -> ActRow | None:
        """Note that an act begins; returns the row that is there already, None where there was none."""
        row = {"caller": name.caller, "key": name.key, "question": question, "run": run, "begun_ms": now_ms}
        try:
            with self._engine.begin() as connection:
                connection.execute(_BEGIN, row)
        except AlreadyThere:
            with self._engine.connect() as connection:
                found = connection.execute(_FIND, name.bound).mappings().first()
            # One that was forgotten in between may be begun anew by whoever asks again.
            return None if found is None else ActRow(**found)
        return None

    def take_over(self, name: ActName, *, old_run: bytes, new_run: bytes) -> bool:
        """Go on with an act whose process ended before it answered; tells whether this one may."""
        with self._engine.begin() as connection:
            changed = connection.execute(_TAKE_OVER, {**name.bound, "old_run": old_run, "new_run": new_run})
            return changed.rowcount == 1

    def finish(self, name: ActName, *, run: bytes, status: int, media_type: str, body: bytes) -> None:
        """Keep the answer of an act."""
        answer = {"new_status": status, "new_media_type": media_type, "new_body": body}
        with self._engine.begin() as connection:
            connection.execute(_FINISH, {**name.bound, "old_run": run, **answer})

    def forget(self, name: ActName, *, run: bytes) -> None:
        """Forget an act that came to nothing, so that its key may be used again."""
        with self._engine.begin() as connection:
            connection.execute(_FORGET, {**name.bound, "old_run": run})

    def forget_before(self, before_ms: int) -> None:
        """Forget all acts that were begun before a moment."""
        with self._engine.begin() as connection:
            connection.execute(_FORGET_OLD, {"before_ms": before_ms})
