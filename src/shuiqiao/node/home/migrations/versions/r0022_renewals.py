"""Which consent an artefact renews is found without its bytes."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, String

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    """Add the column; there is no release before this step in which consents were renewed."""
    op.add_column("consent_artefact", Column("renews", String(65)))
    op.create_index("ix_consent_artefact_renews", "consent_artefact", ["renews"])
