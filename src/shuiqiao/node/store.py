"""The outbox table: signed bytes that must reach the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Column,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    bindparam,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError as AlreadyThere

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine

    from shuiqiao.base.errors import ShuiqiaoError

metadata = MetaData()

_outbox = Table(
    "node_outbox",
    metadata,
    Column("leaf", LargeBinary(32), primary_key=True),
    Column("kind", String(64), nullable=False),
    Column("valid_until_ms", BigInteger, nullable=False),
    Column("height", BigInteger, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("refusal_code", String(64), nullable=False),
    Column("refusal", Text, nullable=False),
)

# Statements are built once: SQLAlchemy then finds each one's compiled text without walking it again.
_ADD = insert(_outbox)
_ROWS = select(_outbox).order_by(_outbox.c.valid_until_ms)
_REFUSE = (
    update(_outbox)
    .where(_outbox.c.leaf == bindparam("of_leaf"))
    .values(refusal_code=bindparam("code"), refusal=bindparam("message"))
)
_REMOVE = delete(_outbox).where(_outbox.c.leaf.in_(bindparam("leaves", expanding=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRow:
    """One transaction on its way.

    leaf: its leaf hash in the log, once it is there. height: the newest block when it was kept, so that it can only
    stand in a later one. refusal_code, refusal: why the ledger refused it when it was sent again, else empty.
    """

    leaf: bytes
    kind: str
    valid_until_ms: int
    height: int
    raw: bytes
    refusal_code: str = ""
    refusal: str = ""


class OutboxStore:
    """Signed transactions until the ledger acknowledged them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, row: OutboxRow) -> bool:
        """Keep a transaction, durable when this returns; tell whether it was not there already."""
        try:
            with self._engine.begin() as connection:
                connection.execute(_ADD, _values(row))
        except AlreadyThere:
            return False
        return True

    def replace(self, leaf: bytes, row: OutboxRow) -> None:
        """Keep a transaction in the place of another one, in one act."""
        with self._engine.begin() as connection:
            connection.execute(_REMOVE, {"leaves": [leaf]})
            connection.execute(_ADD, _values(row))

    def refuse(self, leaf: bytes, error: ShuiqiaoError) -> None:
        """Note why the ledger refused a transaction."""
        with self._engine.begin() as connection:
            connection.execute(_REFUSE, {"of_leaf": leaf, "code": error.code, "message": error.message})

    def rows(self) -> list[OutboxRow]:
        """Return what was not acknowledged, oldest deadline first."""
        with self._engine.connect() as connection:
            return [OutboxRow(**dict(row)) for row in connection.execute(_ROWS).mappings()]

    def remove(self, leaves: Sequence[bytes]) -> None:
        """Forget transactions that the ledger acknowledged, or that somebody abandoned."""
        with self._engine.begin() as connection:
            connection.execute(_REMOVE, {"leaves": list(leaves)})


def _values(row: OutboxRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in OutboxRow.__slots__}
