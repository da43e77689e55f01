"""Tables of accounts, of acts that need two people, and of the journal with its empty head."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Integer, LargeBinary, String, Text

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Make them."""
    _accounts()
    _approvals()
    _journal()


def _accounts() -> None:
    op.create_table(
        "accounts_user",
        Column("id", String(32), primary_key=True),
        Column("name", String(32), nullable=False, unique=True),
        Column("password", Text, nullable=False),
        Column("must_change", Boolean, nullable=False),
        Column("roles", Text, nullable=False),
        Column("secret", LargeBinary),
        Column("is_secret_confirmed", Boolean, nullable=False),
        Column("last_step", BigInteger, nullable=False),
        Column("is_disabled", Boolean, nullable=False),
        Column("added_ms", BigInteger, nullable=False),
    )
    op.create_table(
        "accounts_client",
        Column("id", String(32), primary_key=True),
        Column("name", String(32), nullable=False, unique=True),
        Column("owner", String(32), nullable=False),
        Column("secret_hash", LargeBinary(32), nullable=False),
        Column("roles", Text, nullable=False),
        Column("is_disabled", Boolean, nullable=False),
        Column("added_ms", BigInteger, nullable=False),
    )
    op.create_table(
        "accounts_attempt",
        Column("name", String(64), primary_key=True),
        Column("failures", BigInteger, nullable=False),
        Column("locked_until_ms", BigInteger, nullable=False),
    )
    op.create_table(
        "accounts_token",
        Column("hash", LargeBinary(32), primary_key=True),
        Column("kind", String(16), nullable=False),
        Column("holder_tag", LargeBinary(32), nullable=False, index=True),
        Column("holder", LargeBinary, nullable=False),
        Column("issued_ms", BigInteger, nullable=False),
        Column("used_ms", BigInteger, nullable=False),
        Column("ends_ms", BigInteger, nullable=False),
    )


def _approvals() -> None:
    op.create_table(
        "accounts_approval",
        Column("id", String(32), primary_key=True),
        Column("act", String(64), nullable=False),
        Column("digest", LargeBinary(32), nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("maker_kind", String(16), nullable=False),
        Column("maker", String(32), nullable=False),
        Column("maker_person", String(32), nullable=False),
        Column("proposed_ms", BigInteger, nullable=False, index=True),
        Column("until_ms", BigInteger, nullable=False),
        Column("state", String(16), nullable=False, index=True),
        Column("checker", String(32), nullable=False),
        Column("decided_ms", BigInteger, nullable=False),
        Column("reason", LargeBinary, nullable=False),
        Column("height", BigInteger, nullable=False),
        Column("taken_until_ms", BigInteger, nullable=False),
        Column("outcome", LargeBinary, nullable=False),
    )


def _journal() -> None:
    op.create_table(
        "journal_entry",
        Column("seq", BigInteger, primary_key=True, autoincrement=False),
        Column("day", Integer, nullable=False, index=True),
        Column("ms", BigInteger, nullable=False),
        Column("act", String(80), nullable=False),
        Column("who_tag", LargeBinary(32), nullable=False, index=True),
        Column("object_tag", LargeBinary(32), nullable=False, index=True),
        Column("hash", LargeBinary(32), nullable=False),
        Column("entry", LargeBinary, nullable=False),
    )
    head = op.create_table(
        "journal_head",
        Column("only", Integer, primary_key=True, autoincrement=False),
        Column("seq", BigInteger, nullable=False),
        Column("ms", BigInteger, nullable=False),
        Column("hash", LargeBinary(32), nullable=False),
    )
    op.bulk_insert(head, [{"only": 1, "seq": 0, "ms": 0, "hash": bytes(32)}])
