"""Institutions keep registers of assessments, incidents and complaints."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, String

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "node_register",
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
