"""An institution keeps an account of what was revealed of each taxpayer, to whom and for what."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, LargeBinary, String

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    """Make the table; what was answered before stands in no account."""
    op.create_table(
        "privacy_charge",
        Column("reference", String(65), primary_key=True),
        Column("taxpayer_tag", LargeBinary(32), nullable=False, index=True),
        Column("taxpayer", LargeBinary, nullable=False),
        Column("recipient", String(32)),
        Column("purpose", String(32)),
        Column("mode", String(16)),
        Column("charged_ms", BigInteger, nullable=False),
        Column("millibits", BigInteger, nullable=False),
        Column("fields", LargeBinary),
        Column("form", LargeBinary),
    )
