"""Banks and bureaus keep logs of what they computed together."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, LargeBinary, String

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    """Make the table; of what was computed before this step there is no log."""
    op.create_table(
        "credit_computation",
        Column("request", String(65), primary_key=True),
        Column("log", LargeBinary, nullable=False),
        Column("salt", LargeBinary, nullable=False),
        Column("numbers", LargeBinary, nullable=False),
        Column("share", LargeBinary, nullable=False),
        Column("kept_ms", BigInteger, nullable=False),
        Column("erase_after_ms", BigInteger, nullable=False, index=True),
        Column("recorded_ms", BigInteger, index=True),
    )
