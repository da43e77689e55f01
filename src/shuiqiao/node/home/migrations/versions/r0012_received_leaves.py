"""A bank keeps which records an answer gave it, so that it tells of changed ones without reading the answers again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add the column; what was received before is read whole, as it was."""
    op.add_column("exchange_received", sa.Column("leaves", sa.LargeBinary()))
