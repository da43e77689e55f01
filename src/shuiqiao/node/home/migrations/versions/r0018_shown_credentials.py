"""A bank keeps what it was shown by credentials, once for each of its requests."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, LargeBinary, String

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "privacy_shown",
        Column("request", LargeBinary(16), primary_key=True),
        Column("product", String(32), nullable=False),
        Column("issuer", String(32), nullable=False),
        Column("claims", LargeBinary, nullable=False),
        Column("is_met", Boolean, nullable=False),
        Column("shown_ms", BigInteger, nullable=False, index=True),
    )
