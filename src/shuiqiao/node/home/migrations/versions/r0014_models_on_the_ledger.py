"""An institution keeps the contents of models that stand on the ledger, and the reports of its own reviews."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, LargeBinary, String

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "models_content",
        Column("digest", LargeBinary(32), primary_key=True),
        Column("model", String(65), nullable=False, unique=True),
        Column("owner", String(32), nullable=False, index=True),
        Column("salt", LargeBinary, nullable=False),
        Column("content", LargeBinary, nullable=False),
        Column("kept_ms", BigInteger, nullable=False),
    )
    op.create_table(
        "models_report",
        Column("digest", LargeBinary(32), primary_key=True),
        Column("model", String(65), nullable=False),
        Column("reviewer", String(128), nullable=False),
        Column("report", LargeBinary, nullable=False),
        Column("kept_ms", BigInteger, nullable=False),
    )
