"""A bank keeps its half of a result that it computed together with a bureau."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, LargeBinary

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    """Add the column; before this step nothing was computed together."""
    op.add_column("exchange_request", Column("share", LargeBinary))
