"""The table of acts that were asked for over HTTP, by their idempotency keys."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, String

revision = "0005"
down_revision = "0004"

_TAG_BYTES = 32
_RUN_BYTES = 16


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "api_act",
        Column("act", LargeBinary(_TAG_BYTES), primary_key=True),
        Column("question", LargeBinary(_TAG_BYTES), nullable=False),
        Column("run", LargeBinary(_RUN_BYTES), nullable=False),
        Column("begun_ms", BigInteger, nullable=False),
        Column("status", Integer),
        Column("media_type", String(100)),
        Column("body", LargeBinary),
    )
    op.create_index("ix_api_act_begun_ms", "api_act", ["begun_ms"])
