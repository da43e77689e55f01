"""The outbox table: signed bytes that must reach the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, LargeBinary, MetaData, String, Table, delete, insert, select

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
                insert(_outbox).values(
                    transaction_id=row.transaction_id, kind=row.kind, valid_until_ms=row.valid_until_ms, raw=row.raw
                )
            )

    def waiting(self) -> list[OutboxRow]:
        """Return what was not acknowledged, oldest deadline first."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(_outbox).order_by(_outbox.c.valid_until_ms)).all()
        return [
            OutboxRow(transaction_id=row.transaction_id, kind=row.kind, valid_until_ms=row.valid_until_ms, raw=row.raw)
            for row in rows
        ]

    def remove(self, transaction_ids: Sequence[bytes]) -> None:
        """Forget transactions that the ledger acknowledged or refused for good."""
        with self._engine.begin() as connection:
            connection.execute(delete(_outbox).where(_outbox.c.transaction_id.in_(transaction_ids)))
