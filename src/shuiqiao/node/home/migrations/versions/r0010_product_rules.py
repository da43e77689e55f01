"""A bank keeps the rules of its products that it changed."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, String, Text

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "lending_product",
        Column("product", String(32), primary_key=True),
        Column("rules", Text, nullable=False),
        Column("since_ms", BigInteger, nullable=False),
    )
