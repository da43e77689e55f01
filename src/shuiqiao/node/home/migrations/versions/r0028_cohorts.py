"""Banks and bureaus keep whose records a training was agreed on."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, LargeBinary, String

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "exchange_cohort",
        Column("training", String(65), primary_key=True),
        Column("other", String(32), nullable=False, index=True),
        Column("firms", LargeBinary, nullable=False),
        Column("consents", LargeBinary, nullable=False),
        Column("made_ms", BigInteger, nullable=False),
        Column("valid_until_ms", BigInteger, nullable=False),
    )
