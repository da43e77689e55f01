"""The table of jobs, and when the ledger was known to have the entry of an erasure."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Integer, LargeBinary, String, Text

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make both."""
    op.create_table(
        "node_job",
        Column("id", LargeBinary(16), primary_key=True),
        Column("kind", String(64), nullable=False),
        Column("parameters", LargeBinary, nullable=False),
        Column("state", String(16), nullable=False),
        Column("created_ms", BigInteger, nullable=False),
        Column("due_ms", BigInteger, nullable=False),
        Column("every_ms", BigInteger),
        Column("attempts", Integer, nullable=False),
        Column("max_attempts", Integer, nullable=False),
        Column("owner", String(160)),
        Column("lease_until_ms", BigInteger),
        Column("step", Text, nullable=False),
        Column("done", BigInteger, nullable=False),
        Column("total", BigInteger),
        Column("code", String(64), nullable=False),
        Column("message", LargeBinary),
        Column("cancel_asked", Boolean, nullable=False),
        Column("confirmed", LargeBinary),
        Column("result", LargeBinary),
        Column("finished_ms", BigInteger),
    )
    op.create_index("node_job_due", "node_job", ["state", "due_ms"])
    op.add_column("exchange_erasure", Column("recorded_ms", BigInteger))
