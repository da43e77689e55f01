"""The tables of the releases before alembic, made, or found and compared.

A database that an earlier release made has them already, or those of its time: what it has must be as written here,
what it lacks is made.
"""

from __future__ import annotations

from typing import Any

from alembic import op
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import BigInteger, Column, Date, Index, Integer, LargeBinary, MetaData, String, Table, Text, inspect

from shuiqiao.base.errors import IntegrityError

revision = "0001"
down_revision = None

_TABLES = MetaData()
_OWNED_ID_CHARS = 65

Table(
    "node_outbox",
    _TABLES,
    Column("leaf", LargeBinary(32), primary_key=True),
    Column("kind", String(64), nullable=False),
    Column("valid_until_ms", BigInteger, nullable=False),
    Column("height", BigInteger, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("refusal_code", String(64), nullable=False),
    Column("refusal", Text, nullable=False),
)
Table(
    "consent_enrolment",
    _TABLES,
    Column("taxpayer", String(32), primary_key=True),
    Column("enrolment_key", LargeBinary, nullable=False),
    Column("identity_reference", String(64), nullable=False),
    Column("identity_checked_ms", BigInteger, nullable=False),
)
Table(
    "consent_artefact",
    _TABLES,
    Column("consent", String(_OWNED_ID_CHARS), primary_key=True),
    Column("taxpayer", String(32), nullable=False, index=True),
    Column("raw", LargeBinary, nullable=False),
    Column("endorsement", LargeBinary),
    Column("received_ms", BigInteger, nullable=False),
    Column("granted_index", BigInteger),
)
_asked = Table(
    "exchange_asked",
    _TABLES,
    Column("request", String(_OWNED_ID_CHARS), primary_key=True),
    Column("consent", String(_OWNED_ID_CHARS), nullable=False, index=True),
    Column("taxpayer", String(32), index=True),
    Column("recipient", String(32), nullable=False),
    Column("purpose", String(32), nullable=False),
    Column("period_from", Date, nullable=False),
    Column("period_to", Date, nullable=False),
    Column("message", LargeBinary, nullable=False),
    Column("attempt", LargeBinary(16), nullable=False),
    Column("asked_ms", BigInteger, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("field_code", String(3), nullable=False),
    Column("answered_ms", BigInteger, nullable=False),
    Column("counts", LargeBinary, nullable=False),
    Column("leaves", LargeBinary),
    Column("answer", LargeBinary),
    Column("answer_digest", LargeBinary(32)),
    Column("manifest_digest", LargeBinary(32)),
)
_HAS_ANSWER = _asked.c.answer.is_not(None)
Index("exchange_asked_kept", _asked.c.request, sqlite_where=_HAS_ANSWER, postgresql_where=_HAS_ANSWER)
Table(
    "exchange_request",
    _TABLES,
    Column("request", LargeBinary(16), primary_key=True),
    Column("consent", String(_OWNED_ID_CHARS), nullable=False, index=True),
    Column("message", LargeBinary, nullable=False),
    Column("made_ms", BigInteger, nullable=False),
    Column("entry_index", BigInteger),
)
Table(
    "exchange_received",
    _TABLES,
    Column("request", LargeBinary(16), primary_key=True),
    Column("consent", String(_OWNED_ID_CHARS), nullable=False, index=True),
    Column("taxpayer", String(32), nullable=False, index=True),
    Column("manifest", LargeBinary, nullable=False),
    Column("disclosure", LargeBinary, nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("erase_after_ms", BigInteger, nullable=False, index=True),
)
Table(
    "exchange_erasure",
    _TABLES,
    Column("request", LargeBinary(16), primary_key=True),
    Column("consent", String(_OWNED_ID_CHARS), nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("erased_ms", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
)
Table(
    "lending_application",
    _TABLES,
    Column("application", LargeBinary(16), primary_key=True),
    Column("product", String(32), nullable=False),
    Column("taxpayer", String(32), nullable=False),
    Column("consent", String(_OWNED_ID_CHARS), nullable=False),
    Column("amount_fen", BigInteger, nullable=False),
    Column("salt", LargeBinary(32), nullable=False),
    Column("submitted_ms", BigInteger, nullable=False),
    Column("status", String(16), nullable=False),
)
Table(
    "lending_decision",
    _TABLES,
    Column("application", LargeBinary(16), primary_key=True),
    Column("outcome", String(16), nullable=False),
    Column("limit_fen", BigInteger, nullable=False),
    Column("annual_rate", String(16)),
    Column("explanation", Text, nullable=False),
    Column("reasons_salt", LargeBinary(32), nullable=False),
    Column("sealed_opening", LargeBinary, nullable=False),
)
Table(
    "lending_opening",
    _TABLES,
    Column("application", String(_OWNED_ID_CHARS), primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
)
Table(
    "oversight_release",
    _TABLES,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("published_ms", BigInteger, nullable=False),
    Column("content", Text, nullable=False),
)
Table(
    "oversight_counted",
    _TABLES,
    Column("bank", LargeBinary(32), primary_key=True),
    Column("application", LargeBinary(16), primary_key=True),
    Column("release", Integer, nullable=False),
)


def upgrade() -> None:
    """Make the tables that are not there; raises IntegrityError ``node.database_foreign`` for one that differs."""
    connection = op.get_bind()
    present = set(inspect(connection).get_table_names()) & set(_TABLES.tables)
    differing = [change for change in _differences(connection) if _table_of(change) in present]
    if differing:
        raise IntegrityError(
            "node.database_foreign",
            f"table {_table_of(differing[0])} of the database is not as any release made it: {differing[0][0]}, "
            f"{differing[0][-1]!r}",
            next_step="name another database, or restore this one from a backup",
        )
    _TABLES.create_all(connection)


def _differences(connection: Any) -> list[Any]:
    """Return what would have to change; a column that is altered comes as a list of its changes."""

    def is_ours(name: str | None, kind: str, _parents: Any) -> bool:
        return kind != "table" or name in _TABLES.tables

    context = MigrationContext.configure(connection, opts={"include_name": is_ours})
    changes: list[Any] = compare_metadata(context, _TABLES)
    return [each for change in changes for each in (change if isinstance(change, list) else [change])]


def _table_of(change: Any) -> str:
    """Return the table that a change is about."""
    subject = change[1]
    if change[0] in {"add_table", "remove_table"}:
        return str(subject.name)
    return str(subject.table.name) if hasattr(subject, "table") else str(change[2])
