"""An application has a file: what is known beside records, its judgement, its timeline, its decision as submitted.

Applications of before get an empty file; those that were decided are at their end.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, String, text

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the tables, and a file for each application."""
    op.create_table(
        "lending_file",
        Column("application", LargeBinary(16), primary_key=True),
        Column("applicant", LargeBinary),
        Column("attempt", Integer, nullable=False),
        Column("judgement", LargeBinary),
        Column("review", LargeBinary),
        Column("maker", String(64)),
        Column("checker", String(64)),
        Column("closed_ms", BigInteger, index=True),
    )
    op.create_table(
        "lending_timeline",
        Column("application", LargeBinary(16), primary_key=True),
        Column("step", String(16), primary_key=True),
        Column("code", String(64), primary_key=True),
        Column("time_ms", BigInteger, nullable=False),
        Column("entry_index", BigInteger),
        Column("cause", LargeBinary, nullable=False),
        Column("times", Integer, nullable=False),
    )
    op.create_table(
        "lending_decision_body",
        Column("application", LargeBinary(16), primary_key=True),
        Column("body", LargeBinary, nullable=False),
    )
    op.execute(
        text(
            "INSERT INTO lending_file (application, attempt, closed_ms) SELECT application, 0, "
            "CASE WHEN status = 'submitted' THEN NULL ELSE submitted_ms END FROM lending_application"
        )
    )
