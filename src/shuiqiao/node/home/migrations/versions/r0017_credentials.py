"""A bureau keeps which copies of credentials it issued to whom, to revoke them by."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, LargeBinary

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "privacy_credential",
        Column("status_list", LargeBinary(16), primary_key=True),
        Column("place", Integer, primary_key=True),
        Column("taxpayer_tag", LargeBinary(32), nullable=False, index=True),
        Column("request", LargeBinary(16), nullable=False),
        Column("issued_ms", BigInteger, nullable=False),
        Column("expires_ms", BigInteger, nullable=False),
    )
