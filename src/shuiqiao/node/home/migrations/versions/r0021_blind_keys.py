"""A bank keeps the keys of the weights that it encrypted."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, LargeBinary

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "credit_blind_key",
        Column("content_digest", LargeBinary(32), primary_key=True),
        Column("secret", LargeBinary, nullable=False),
        Column("card", LargeBinary, nullable=False),
    )
