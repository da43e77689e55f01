"""A bank keeps what other banks told of its applicants, and the runs in which it was told."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, LargeBinary, String

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "lending_exposure",
        Column("place", String(98), primary_key=True),
        Column("request", String(65), nullable=False),
        Column("bank", String(32), nullable=False),
        Column("consent", String(65), nullable=False, index=True),
        Column("taxpayer_tag", LargeBinary(32), nullable=False, index=True),
        Column("taxpayer", LargeBinary, nullable=False),
        Column("band", LargeBinary, nullable=False),
        Column("asked_ms", BigInteger, nullable=False),
        Column("erase_after_ms", BigInteger, nullable=False),
    )
    op.create_table(
        "lending_exposure_run",
        Column("run", LargeBinary(32), primary_key=True),
        Column("other", String(32), nullable=False),
        Column("question", LargeBinary, nullable=False),
        Column("statement", LargeBinary, nullable=False),
        Column("inputs", LargeBinary, nullable=False),
        Column("made_ms", BigInteger, nullable=False),
        Column("erase_after_ms", BigInteger, nullable=False),
    )
    op.create_table(
        "lending_exposure_use",
        Column("run", LargeBinary(32), primary_key=True),
        Column("request", String(65), primary_key=True, index=True),
    )
