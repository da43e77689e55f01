"""A bank finds the applications under a consent, for the enterprise that gave it, without reading all."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Make the index."""
    op.create_index("ix_lending_application_consent", "lending_application", ["consent"])
