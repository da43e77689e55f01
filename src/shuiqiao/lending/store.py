"""Applications, decisions and sealed openings of one institution, in its database.

Who applied for how much, what was granted and why, and the salts that open what the ledger commits to, are encrypted
columns; sealed openings are the regulator's to open already.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict

from sqlalchemy import (
    BigInteger,
    Column,
    Engine,
    LargeBinary,
    MetaData,
    String,
    Table,
    bindparam,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError as AlreadyThere

from shuiqiao.base.encoding import encode_json
from shuiqiao.base.errors import Conflict
from shuiqiao.base.ids import OWNED_ID_CHARS, OwnedId, owned_id
from shuiqiao.crypto.column_cipher import ColumnCipher, EncryptedColumns
from shuiqiao.lending.model import Application, Decision

metadata = MetaData()

_applications = Table(
    "lending_application",
    metadata,
    Column("application", LargeBinary(16), primary_key=True),
    Column("product", String(32), nullable=False),
    Column("taxpayer", LargeBinary, nullable=False),
    Column("consent", String(OWNED_ID_CHARS), nullable=False),
    Column("amount_fen", LargeBinary, nullable=False),
    Column("salt", LargeBinary, nullable=False),
    Column("submitted_ms", BigInteger, nullable=False),
    Column("status", String(16), nullable=False),
)
_APPLICATION_SECRETS = EncryptedColumns(
    table="lending_application", key="application", columns={"taxpayer": str, "amount_fen": int, "salt": bytes}
)

_decisions = Table(
    "lending_decision",
    metadata,
    Column("application", LargeBinary(16), primary_key=True),
    Column("outcome", String(16), nullable=False),
    Column("limit_fen", LargeBinary, nullable=False),
    Column("annual_rate", LargeBinary),
    Column("explanation", LargeBinary, nullable=False),
    Column("reasons_salt", LargeBinary, nullable=False),
    Column("sealed_opening", LargeBinary, nullable=False),
)
_DECISION_SECRETS = EncryptedColumns(
    table="lending_decision",
    key="application",
    columns={"limit_fen": int, "annual_rate": str, "explanation": str, "reasons_salt": bytes},
)

_openings = Table(
    "lending_opening",
    metadata,
    Column("application", String(OWNED_ID_CHARS), primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
)

# Statements are built once: SQLAlchemy then finds each one's compiled text without walking it again.
_ADD_APPLICATION = insert(_applications)
_REMOVE_APPLICATION = delete(_applications).where(_applications.c.application == bindparam("of_application"))
_SET_STATUS = (
    update(_applications)
    .where(_applications.c.application == bindparam("of_application"))
    .values(status=bindparam("new_status"))
)
_ADD_DECISION = insert(_decisions)
_REMOVE_DECISION = delete(_decisions).where(_decisions.c.application == bindparam("of_application"))
_ADD_OPENING = insert(_openings)


class LendingStore:
    """One bank's applications and decisions."""

    def __init__(self, engine: Engine, *, cipher: ColumnCipher) -> None:
        self._engine = engine
        self._cipher = cipher

    def add_application(self, application: Application, *, salt: bytes) -> None:
        """Keep an application and the salt that opens what it commits to; durable when this returns."""
        values = asdict(application)
        plain = {"application": values.pop("id"), **values, "salt": salt, "status": "submitted"}
        row = self._cipher.encrypt_row(_APPLICATION_SECRETS, plain)
        with self._engine.begin() as connection:
            connection.execute(_ADD_APPLICATION, row)

    def withdraw_application(self, application: bytes) -> None:
        """Forget an application that the ledger refused."""
        with self._engine.begin() as connection:
            connection.execute(_REMOVE_APPLICATION, {"of_application": application})

    def applications(self) -> list[tuple[bytes, str]]:
        """Return (application, status) of every application."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(_applications.c.application, _applications.c.status)).all()
        return [(row.application, row.status) for row in rows]

    def add_decision(self, decision: Decision, *, sealed_opening: bytes, reasons_salt: bytes) -> None:
        """Keep a decision with its explanation (the ledger has its salted digest), and close its application.

        Raises Conflict ``lending.decision_on_file`` if there is one for the application.
        """
        plain = {
            "application": decision.application,
            "outcome": str(decision.outcome),
            "limit_fen": decision.limit_fen,
            "annual_rate": None if decision.annual_rate is None else str(decision.annual_rate),
            "explanation": encode_json(decision.explanation()).decode(),
            "reasons_salt": reasons_salt,
            "sealed_opening": sealed_opening,
        }
        row = self._cipher.encrypt_row(_DECISION_SECRETS, plain)
        closed = {"of_application": decision.application, "new_status": str(decision.outcome)}
        try:
            with self._engine.begin() as connection:
                connection.execute(_ADD_DECISION, row)
                connection.execute(_SET_STATUS, closed)
        except AlreadyThere as error:
            raise Conflict(
                "lending.decision_on_file",
                f"application {decision.application.hex()} is decided already, and cannot be {decision.outcome}",
            ) from error

    def withdraw_decision(self, application: bytes) -> None:
        """Forget a decision that the ledger refused, and open its application again."""
        with self._engine.begin() as connection:
            connection.execute(_REMOVE_DECISION, {"of_application": application})
            connection.execute(_SET_STATUS, {"of_application": application, "new_status": "submitted"})

    def sealed_openings(self) -> dict[bytes, bytes]:
        """Return application id to what was sealed to the regulator for its decision, to be handed in (again)."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(_decisions.c.application, _decisions.c.sealed_opening)).all()
        return {row.application: row.sealed_opening for row in rows}

    def decisions(self) -> list[tuple[bytes, str]]:
        """Return (application, outcome) of every decision."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(_decisions.c.application, _decisions.c.outcome)).all()
        return [(row.application, row.outcome) for row in rows]


class OpeningStore:
    """The regulator's file of sealed openings, as banks handed them in."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, application: bytes, *, bank: str, sealed: bytes) -> None:
        """Keep what a bank sealed for an application, its digest checked; again changes nothing."""
        name = owned_id(bank, application)
        with suppress(AlreadyThere), self._engine.begin() as connection:
            connection.execute(_ADD_OPENING, {"application": name, "sealed": sealed})

    def all(self) -> dict[OwnedId, bytes]:
        """Return sealed openings by bank and application id."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(_openings.c.application, _openings.c.sealed)).all()
        return {OwnedId(row.application): row.sealed for row in rows}
