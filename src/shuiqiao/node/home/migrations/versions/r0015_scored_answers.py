"""A provider keeps what opens the manifest of an answer that shows no records."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Add the column; the manifests of earlier answers hide nothing."""
    op.add_column("exchange_asked", sa.Column("opening", sa.LargeBinary()))
