"""Columns that hold personal or tax data become encrypted ones, and what they held is encrypted in place.

Each table is made anew beside the old one, row by row, and the old one dropped. Under SQLite no plain text is left: the
pages are overwritten (secure_delete), and what else the file and its log hold is rewritten once this is committed,
which the file itself remembers (``user_version``), so that a crash in between is made good when it is opened next.
LIMIT: PostgreSQL deletes the old tables' files, but its own log, its replicas and every backup keep what they had; so
does the medium under either.
"""

from __future__ import annotations

from typing import Any

from alembic import context, op
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Date,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    column,
    inspect,
    literal,
    select,
    table,
)

from shuiqiao.crypto.column_cipher import ColumnCipher, EncryptedColumns
from shuiqiao.node.home.migrations import WANTS_REWRITING

revision = "0002"
down_revision = "0001"

_TABLES = MetaData()
_OWNED_ID_CHARS = 65
_TAG_BYTES = 32
_ROWS_AT_ONCE = 50

Table(
    "node_data_key",
    _TABLES,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("key_id", LargeBinary(16), nullable=False),
)
Table(
    "consent_enrolment",
    _TABLES,
    Column("taxpayer_tag", LargeBinary(_TAG_BYTES), primary_key=True),
    Column("taxpayer", LargeBinary, nullable=False),
    Column("enrolment_key", LargeBinary, nullable=False),
    Column("identity_reference", LargeBinary, nullable=False),
    Column("identity_checked_ms", LargeBinary, nullable=False),
)
Table(
    "consent_artefact",
    _TABLES,
    Column("consent", String(_OWNED_ID_CHARS), primary_key=True),
    Column("taxpayer_tag", LargeBinary(_TAG_BYTES), nullable=False, index=True),
    Column("taxpayer", LargeBinary, nullable=False),
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
    Column("taxpayer_tag", LargeBinary(_TAG_BYTES), index=True),
    Column("taxpayer", LargeBinary),
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
    "exchange_received",
    _TABLES,
    Column("request", LargeBinary(16), primary_key=True),
    Column("consent", String(_OWNED_ID_CHARS), nullable=False, index=True),
    Column("taxpayer_tag", LargeBinary(_TAG_BYTES), nullable=False, index=True),
    Column("taxpayer", LargeBinary, nullable=False),
    Column("manifest", LargeBinary, nullable=False),
    Column("disclosure", LargeBinary, nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("erase_after_ms", BigInteger, nullable=False, index=True),
)
Table(
    "lending_application",
    _TABLES,
    Column("application", LargeBinary(16), primary_key=True),
    Column("product", String(32), nullable=False),
    Column("taxpayer", LargeBinary, nullable=False),
    Column("consent", String(_OWNED_ID_CHARS), nullable=False),
    Column("amount_fen", LargeBinary, nullable=False),
    Column("salt", LargeBinary, nullable=False),
    Column("submitted_ms", BigInteger, nullable=False),
    Column("status", String(16), nullable=False),
)
Table(
    "lending_decision",
    _TABLES,
    Column("application", LargeBinary(16), primary_key=True),
    Column("outcome", String(16), nullable=False),
    Column("limit_fen", LargeBinary, nullable=False),
    Column("annual_rate", LargeBinary),
    Column("explanation", LargeBinary, nullable=False),
    Column("reasons_salt", LargeBinary, nullable=False),
    Column("sealed_opening", LargeBinary, nullable=False),
)

_SECRETS = (
    EncryptedColumns(
        table="consent_enrolment",
        key="taxpayer_tag",
        columns={"taxpayer": str, "enrolment_key": bytes, "identity_reference": str, "identity_checked_ms": int},
    ),
    EncryptedColumns(
        table="consent_artefact", key="consent", columns={"taxpayer": str, "raw": bytes, "endorsement": bytes}
    ),
    EncryptedColumns(
        table="exchange_asked", key="request", columns={"taxpayer": str, "counts": bytes, "leaves": bytes}
    ),
    EncryptedColumns(
        table="exchange_received", key="request", columns={"taxpayer": str, "manifest": bytes, "disclosure": bytes}
    ),
    EncryptedColumns(
        table="lending_application", key="application", columns={"taxpayer": str, "amount_fen": int, "salt": bytes}
    ),
    EncryptedColumns(
        table="lending_decision",
        key="application",
        columns={"limit_fen": int, "annual_rate": str, "explanation": str, "reasons_salt": bytes},
    ),
)


def upgrade() -> None:
    """Make the encrypted tables, and encrypt what the old ones held."""
    connection = op.get_bind()
    is_sqlite = connection.dialect.name == "sqlite"
    if is_sqlite:
        connection.exec_driver_sql("PRAGMA secure_delete=ON")
    old = {secrets.table: _set_aside(connection, secrets.table) for secrets in _SECRETS}
    _TABLES.create_all(connection)
    if any(_has_rows(connection, name) for name in old.values()):
        cipher: ColumnCipher = context.config.attributes["cipher_within"](connection)
        for secrets in _SECRETS:
            _encrypt(connection, secrets, old[secrets.table], cipher)
        if is_sqlite:
            connection.exec_driver_sql(f"PRAGMA user_version={WANTS_REWRITING}")
    for name in old.values():
        op.drop_table(name)


def _set_aside(connection: Connection, name: str) -> str:
    """Rename a table, whose indexes go, for their names are needed again; return the new name."""
    for index in inspect(connection).get_indexes(name):
        op.drop_index(str(index["name"]), table_name=name)
    aside = f"{name}_of_0001"
    op.rename_table(name, aside)
    return aside


def _has_rows(connection: Connection, name: str) -> bool:
    return connection.execute(select(literal(1)).select_from(table(name)).limit(1)).first() is not None


def _encrypt(connection: Connection, secrets: EncryptedColumns, aside: str, cipher: ColumnCipher) -> None:
    """Put every row of an old table into the new one, encrypted."""
    new = _TABLES.tables[secrets.table]
    columns = [each for each in new.columns if each.name != "taxpayer_tag"]
    old = table(aside, *(column(each.name, _old_type(secrets, each)) for each in columns))
    # What a bank received may be large: one at a time there, a few elsewhere.
    at_once = 1 if secrets.table == "exchange_received" else _ROWS_AT_ONCE
    rows = connection.execute(select(old), execution_options={"yield_per": at_once}).mappings()
    for some in rows.partitions():
        connection.execute(new.insert(), [_encrypted(secrets, dict(row), new, cipher) for row in some])


def _old_type(secrets: EncryptedColumns, new: Column[Any]) -> Any:
    kept = {str: String(), int: BigInteger(), bytes: LargeBinary()}
    return kept[secrets.columns[new.name]] if new.name in secrets.columns else new.type


def _encrypted(secrets: EncryptedColumns, row: dict[str, Any], new: Table, cipher: ColumnCipher) -> dict[str, Any]:
    if "taxpayer_tag" in new.columns:
        taxpayer = row["taxpayer"]
        row["taxpayer_tag"] = None if taxpayer is None else cipher.tag(taxpayer)
    return cipher.encrypt_row(secrets, row)
