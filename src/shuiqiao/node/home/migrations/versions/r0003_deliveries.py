"""The table of what must reach other members and has not yet."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, String, Table, Text

revision = "0003"
down_revision = "0002"

_TABLES = MetaData()

Table(
    "node_deliveries",
    _TABLES,
    Column("id", LargeBinary(32), primary_key=True),
    Column("receiver", String(32), nullable=False),
    Column("act", String(32), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("kept_ms", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_ms", BigInteger, nullable=False),
    Column("code", String(100), nullable=False),
    Column("reason", Text, nullable=False),
    Index("node_deliveries_due", "receiver", "next_ms"),
)


def upgrade() -> None:
    """Make it."""
    _TABLES.create_all(op.get_bind())
