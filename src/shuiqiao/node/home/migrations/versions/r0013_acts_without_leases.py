"""An approved act is taken for no time any more: one process has the ledger, and in it one thread has the act."""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Drop the column; what was approved and not finished is taken up again."""
    op.drop_column("accounts_approval", "taken_until_ms")
