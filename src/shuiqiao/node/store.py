"""The outbox table: signed bytes that must reach the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, LargeBinary, MetaData, String, Table, bindparam, delete, insert, select

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine

metadata = MetaData()

_outbox = Table(
    "node_outbox",
    metadata,
    Column("transaction_id", LargeBinary(16), primary_key=True),
    Column("kind", String(64), nullable=False),
    Column("valid_until_ms", BigInteger, nullable=False),
    Column("raw", LargeBinary, nullable=False),
)

# Statements are built once: SQLAlchemy then finds each one's compiled text without walking it again.
_ADD = insert(_outbox)
_WAITING = select(_outbox).order_by(_outbox.c.valid_until_ms)
_REMOVE = delete(_outbox).where(_outbox.c.transaction_id.in_(bindparam("transaction_ids", expanding=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRow:
    """One transaction on its way."""

    transaction_id: bytes
    kind: str
    valid_until_ms: int
    raw: bytes


class OutboxStore:
    """Signed transactions until the ledger acknowledged them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, row: OutboxRow) -> None:
        """Keep a transaction; durable when this returns."""
        with self._engine.begin() as connection:
            connection.execute(
                _ADD,
                {
                    "transaction_id": row.transaction_id,
                    "kind": row.kind,
                    "valid_until_ms": row.valid_until_ms,
                    "raw": row.raw,
                },
            )

    def waiting(self) -> list[OutboxRow]:
        """Return what was not acknowledged, oldest deadline first."""
        with self._engine.connect() as connection:
            rows = connection.execute(_WAITING).all()
        return [
            OutboxRow(transaction_id=row.transaction_id, kind=row.kind, valid_until_ms=row.valid_until_ms, raw=row.raw)
            for row in rows
        ]

    def remove(self, transaction_ids: Sequence[bytes]) -> None:
        """Forget transactions that the ledger acknowledged or refused for good."""
        with self._engine.begin() as connection:
            connection.execute(_REMOVE, {"transaction_ids": list(transaction_ids)})
