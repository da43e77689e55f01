"""A bank keeps its models, which of them decides for which product, and its churn curves."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, Date, LargeBinary, String

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "credit_scorecard",
        Column("digest", LargeBinary(32), primary_key=True),
        Column("scorecard", LargeBinary, nullable=False),
    )
    op.create_table(
        "credit_model",
        Column("digest", LargeBinary(32), primary_key=True),
        Column("name", String(80), nullable=False),
        Column("as_of", Date, nullable=False),
        Column("developed_ms", BigInteger, nullable=False),
        Column("model_card", LargeBinary, nullable=False),
        Column("unseeing", LargeBinary, nullable=False),
    )
    op.create_table(
        "lending_model_use",
        Column("product", String(32), primary_key=True),
        Column("model", LargeBinary(32), nullable=False),
        Column("since_ms", BigInteger, nullable=False),
    )
    op.create_table(
        "lending_churn",
        Column("band", String(1), primary_key=True),
        Column("curve", LargeBinary, nullable=False),
    )
