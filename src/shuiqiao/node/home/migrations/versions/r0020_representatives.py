"""A bureau knows since when a taxpayer has the legal representative of today."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, LargeBinary

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    """Add the column; of what was enrolled before nothing is known."""
    op.add_column("consent_enrolment", Column("representative_since_ms", LargeBinary))
