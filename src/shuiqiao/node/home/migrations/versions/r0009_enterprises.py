"""A bureau keeps one-time codes, encrypted keys that enterprises left with it, and what they dispute."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, String

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "consent_code",
        Column("taxpayer_tag", LargeBinary(32), primary_key=True),
        Column("taxpayer", LargeBinary, nullable=False),
        Column("code_tag", LargeBinary(32), nullable=False),
        Column("purpose", String(16), nullable=False),
        Column("identity_reference", LargeBinary, nullable=False),
        Column("identity_checked_ms", LargeBinary, nullable=False),
        Column("expires_ms", BigInteger, nullable=False),
        Column("attempts", Integer, nullable=False),
    )
    op.create_table(
        "consent_key_backup",
        Column("taxpayer_tag", LargeBinary(32), primary_key=True),
        Column("key_file", LargeBinary, nullable=False),
        Column("kept_ms", BigInteger, nullable=False),
    )
    op.create_table(
        "exchange_dispute",
        Column("dispute", LargeBinary(16), primary_key=True),
        Column("taxpayer_tag", LargeBinary(32), nullable=False, index=True),
        Column("taxpayer", LargeBinary, nullable=False),
        Column("statement", LargeBinary, nullable=False),
        Column("batch", LargeBinary(16), nullable=False),
        Column("leaf", BigInteger, nullable=False),
        Column("reason", LargeBinary, nullable=False),
        Column("received_ms", BigInteger, nullable=False),
        Column("status", String(16), nullable=False),
        Column("words", LargeBinary),
        Column("answered_ms", BigInteger),
    )
