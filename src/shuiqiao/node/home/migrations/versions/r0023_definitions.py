"""A bureau keeps the definitions by which it issues credentials for predicates."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, LargeBinary

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "privacy_definition",
        Column("status_list", LargeBinary(16), primary_key=True),
        Column("content", LargeBinary, nullable=False),
        Column("tails", LargeBinary, nullable=False),
        Column("accumulator", LargeBinary, nullable=False),
        Column("secret", LargeBinary, nullable=False),
        Column("made_ms", BigInteger, nullable=False),
    )
