"""A job keeps the id of the request by which it was asked for, and goes on under it at other institutions."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, String

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Add the column; of what was asked for before nothing is known."""
    op.add_column("node_job", Column("request_id", String(36)))
