"""The table of the leakage account: one row for each answer or issue, in the database of who gave or got it.

A charge is taken within the transaction of what it is for, so that no answer is made without it, and given back where
none was made. Taxpayers, the names of fields and the weights of models are encrypted columns; a taxpayer is found by a
keyed tag.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    LargeBinary,
    MetaData,
    String,
    Table,
    bindparam,
    delete,
    insert,
    or_,
    select,
    text,
    update,
)

from shuiqiao.base.encoding import encode_json
from shuiqiao.base.ids import OWNED_ID_CHARS, MemberId
from shuiqiao.consent.model import Mode, Purpose
from shuiqiao.crypto.column_cipher import LOOKUP_TAG_BYTES, EncryptedColumns
from shuiqiao.privacy.account import verify_within
from shuiqiao.privacy.budgets import WINDOW_MS
from shuiqiao.privacy.model import Charge, Revealed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, Engine

    from shuiqiao.crypto.column_cipher import ColumnCipher

metadata = MetaData()

_charge = Table(
    "privacy_charge",
    metadata,
    Column("reference", String(OWNED_ID_CHARS), primary_key=True),
    Column("taxpayer_tag", LargeBinary(LOOKUP_TAG_BYTES), nullable=False, index=True),
    Column("taxpayer", LargeBinary, nullable=False),
    Column("recipient", String(32)),
    Column("purpose", String(32)),
    Column("mode", String(16)),
    Column("charged_ms", BigInteger, nullable=False),
    Column("millibits", BigInteger, nullable=False),
    Column("fields", LargeBinary),
    Column("form", LargeBinary),
)
_SECRETS = EncryptedColumns(
    table="privacy_charge", key="reference", columns={"taxpayer": str, "fields": bytes, "form": bytes}
)

_FORM = EncryptedColumns(table=_SECRETS.table, key=_SECRETS.key, columns={"form": bytes})
"""The only secret that a check reads."""

# What this wrote itself, and the column's cipher lets nobody change: it is read without the care for what comes from
# outside, which took longer than all the rest of a check.
_NAMES = msgspec.json.Decoder(frozenset[str])
_ROW = msgspec.json.Decoder(dict[str, int])

_IS_OF = _charge.c.reference == bindparam("of_reference")
_OF_TAXPAYER = (
    select(_charge)
    .where(_charge.c.taxpayer_tag == bindparam("of_tag"), _charge.c.charged_ms > bindparam("since_ms"))
    .order_by(_charge.c.charged_ms, _charge.c.reference)
)
_COUNTED = _OF_TAXPAYER.with_only_columns(
    *(_charge.c[name] for name in ("reference", "recipient", "purpose", "mode", "charged_ms", "millibits", "form"))
).where(
    # What no budget bounds is many fields to read, and counts nothing.
    or_(_charge.c.mode.is_(None), _charge.c.mode != str(Mode.DISCLOSE)),
    # A credential, which has no purpose, counts against those of every one.
    or_(
        _charge.c.purpose.is_(None),
        bindparam("for_purpose", type_=String).is_(None),
        _charge.c.purpose == bindparam("for_purpose", type_=String),
    ),
)
_ADD = insert(_charge)
_REMOVE = delete(_charge).where(_IS_OF)
_NOTE_BITS = update(_charge).where(_IS_OF).values(millibits=bindparam("new_millibits"))
_LOCK = text("LOCK TABLE privacy_charge IN SHARE ROW EXCLUSIVE MODE")


class ChargeStore:
    """The charges of one institution's database."""

    def __init__(self, engine: Engine, *, cipher: ColumnCipher) -> None:
        self._engine = engine
        self._cipher = cipher

    def take(self, connection: Connection, charge: Charge) -> None:
        """Enter a charge if the budgets allow it, within a transaction that has written; the same reference once.

        Any number of threads and processes may do this on one database. Raises Denied ``privacy.budget_exceeded``.
        """
        if connection.dialect.name == "postgresql":
            connection.execute(_LOCK)
        # SQLite has one writer at a time, and this makes it this one, before anything is counted.
        connection.execute(_REMOVE, {"of_reference": charge.reference})
        if charge.is_budgeted:
            verify_within(charge, past=self._counted(connection, charge))
        connection.execute(_ADD, self._values(charge))

    def charge(self, charge: Charge) -> None:
        """Enter a charge in a transaction of its own; raises as ``take``."""
        with self._engine.begin() as connection:
            self.take(connection, charge)

    def note(self, connection: Connection, charges: Sequence[Charge]) -> None:
        """Enter what was received, which nobody asks to be allowed; the same reference once."""
        connection.execute(_REMOVE, [{"of_reference": charge.reference} for charge in charges])
        connection.execute(_ADD, [self._values(charge) for charge in charges])

    def note_bits(self, connection: Connection, reference: str, *, millibits: int) -> None:
        """Set how much was in the fields that were shown."""
        connection.execute(_NOTE_BITS, {"of_reference": reference, "new_millibits": millibits})

    def withdraw(self, connection: Connection, reference: str) -> None:
        """Give a charge back: nothing was given for it."""
        connection.execute(_REMOVE, {"of_reference": reference})

    def give_back(self, reference: str) -> None:
        """Give a charge back in a transaction of its own."""
        with self._engine.begin() as connection:
            self.withdraw(connection, reference)

    def of_taxpayer(self, taxpayer: str, *, now_ms: int) -> list[Charge]:
        """Return a taxpayer's charges of the last 365 days, oldest first."""
        with self._engine.connect() as connection:
            return self._of(connection, taxpayer, since_ms=now_ms - WINDOW_MS)

    def _of(self, connection: Connection, taxpayer: str, *, since_ms: int) -> list[Charge]:
        wanted = {"of_tag": self._cipher.tag(taxpayer), "since_ms": since_ms}
        return [self._charge(dict(row)) for row in connection.execute(_OF_TAXPAYER, wanted).mappings()]

    def _counted(self, connection: Connection, charge: Charge) -> list[Charge]:
        """Return the charges that a further one is judged with, oldest first."""
        wanted = {
            "of_tag": self._cipher.tag(charge.taxpayer),
            "since_ms": charge.charged_ms - WINDOW_MS,
            "for_purpose": charge.purpose,
        }
        rows = connection.execute(_COUNTED, wanted).mappings()
        return [self._charge({**row, "taxpayer": charge.taxpayer, "fields": None}, secrets=_FORM) for row in rows]

    def _values(self, charge: Charge) -> dict[str, Any]:
        revealed = charge.revealed
        plain = {
            "reference": charge.reference,
            "taxpayer_tag": self._cipher.tag(charge.taxpayer),
            "taxpayer": charge.taxpayer,
            "recipient": charge.recipient,
            "purpose": charge.purpose,
            "mode": charge.mode,
            "charged_ms": charge.charged_ms,
            "millibits": revealed.millibits,
            "fields": encode_json(sorted(revealed.fields)) if revealed.fields else None,
            "form": None if revealed.row is None else encode_json(dict(revealed.row)),
        }
        return self._cipher.encrypt_row(_SECRETS, plain)

    def _charge(self, row: Mapping[str, Any], *, secrets: EncryptedColumns = _SECRETS) -> Charge:
        found = self._cipher.decrypt_row(secrets, row)
        fields, form = found["fields"], found["form"]
        return Charge(
            reference=found["reference"],
            taxpayer=found["taxpayer"],
            recipient=None if found["recipient"] is None else MemberId(found["recipient"]),
            purpose=None if found["purpose"] is None else Purpose(found["purpose"]),
            mode=None if found["mode"] is None else Mode(found["mode"]),
            charged_ms=found["charged_ms"],
            revealed=Revealed(
                fields=frozenset() if fields is None else _NAMES.decode(fields),
                millibits=found["millibits"],
                row=None if form is None else _ROW.decode(form),
            ),
        )
