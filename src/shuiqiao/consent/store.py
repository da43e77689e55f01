"""The tables of consent: who is enrolled at this bureau, and the artefacts this institution was handed.

They are one institution's own database, never the ledger. Taxpayers, their keys and checks, and artefacts are encrypted
columns; a taxpayer is found by a keyed tag. Durability is the injected engine's matter.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Integer,
    LargeBinary,
    MetaData,
    RowMapping,
    String,
    Table,
    bindparam,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError as AlreadyThere

from shuiqiao.base.errors import Conflict
from shuiqiao.base.ids import OWNED_ID_CHARS, OwnedId
from shuiqiao.consent.model import IdentityCheck
from shuiqiao.crypto.column_cipher import LOOKUP_TAG_BYTES, ColumnCipher, EncryptedColumns

metadata = MetaData()

_enrolment = Table(
    "consent_enrolment",
    metadata,
    Column("taxpayer_tag", LargeBinary(LOOKUP_TAG_BYTES), primary_key=True),
    Column("taxpayer", LargeBinary, nullable=False),
    Column("enrolment_key", LargeBinary, nullable=False),
    Column("identity_reference", LargeBinary, nullable=False),
    Column("identity_checked_ms", LargeBinary, nullable=False),
    Column("representative_since_ms", LargeBinary),
)
_ENROLMENT_SECRETS = EncryptedColumns(
    table="consent_enrolment",
    key="taxpayer_tag",
    columns={
        "taxpayer": str,
        "enrolment_key": bytes,
        "identity_reference": str,
        "identity_checked_ms": int,
        "representative_since_ms": int,
    },
)

_artefact = Table(
    "consent_artefact",
    metadata,
    Column("consent", String(OWNED_ID_CHARS), primary_key=True),
    Column("taxpayer_tag", LargeBinary(LOOKUP_TAG_BYTES), nullable=False, index=True),
    Column("taxpayer", LargeBinary, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("endorsement", LargeBinary),
    Column("received_ms", BigInteger, nullable=False),
    Column("granted_index", BigInteger),
    Column("renews", String(OWNED_ID_CHARS), index=True),
)
_ARTEFACT_SECRETS = EncryptedColumns(
    table="consent_artefact", key="consent", columns={"taxpayer": str, "raw": bytes, "endorsement": bytes}
)

_code = Table(
    "consent_code",
    metadata,
    Column("taxpayer_tag", LargeBinary(LOOKUP_TAG_BYTES), primary_key=True),
    Column("taxpayer", LargeBinary, nullable=False),
    Column("code_tag", LargeBinary(LOOKUP_TAG_BYTES), nullable=False),
    Column("purpose", String(16), nullable=False),
    Column("identity_reference", LargeBinary, nullable=False),
    Column("identity_checked_ms", LargeBinary, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
)
_CODE_SECRETS = EncryptedColumns(
    table="consent_code",
    key="taxpayer_tag",
    columns={"taxpayer": str, "identity_reference": str, "identity_checked_ms": int},
)

_backup = Table(
    "consent_key_backup",
    metadata,
    Column("taxpayer_tag", LargeBinary(LOOKUP_TAG_BYTES), primary_key=True),
    Column("key_file", LargeBinary, nullable=False),
    Column("kept_ms", BigInteger, nullable=False),
)
_BACKUP_SECRETS = EncryptedColumns(table="consent_key_backup", key="taxpayer_tag", columns={"key_file": bytes})

# Statements are built once: SQLAlchemy then finds each one's compiled text without walking it again.
_ENROLMENT = select(_enrolment).where(_enrolment.c.taxpayer_tag == bindparam("of_tag"))
_ADD_ENROLMENT = insert(_enrolment)
_REMOVE_ENROLMENT = delete(_enrolment).where(_enrolment.c.taxpayer_tag == bindparam("of_tag"))
_ARTEFACT = select(_artefact).where(_artefact.c.consent == bindparam("of_consent"))
_CONSENTS = select(_artefact.c.consent).order_by(_artefact.c.received_ms, _artefact.c.consent)
_ARTEFACTS_OF = (
    select(_artefact).where(_artefact.c.taxpayer_tag == bindparam("of_tag")).order_by(_artefact.c.received_ms)
)
_RENEWALS = _ARTEFACTS_OF.where(_artefact.c.renews == bindparam("of_consent"))
_FILED = (
    select(_artefact.c.consent, _artefact.c.received_ms, _artefact.c.granted_index)
    .where(_artefact.c.consent > bindparam("after"))
    .order_by(_artefact.c.consent)
    .limit(bindparam("most"))
)
_ADD_ARTEFACT = insert(_artefact)
_MARK_GRANTED = (
    update(_artefact).where(_artefact.c.consent == bindparam("of_consent")).values(granted_index=bindparam("index"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """A taxpayer as its bureau knows it: one key, and the last check of its legal representative."""

    taxpayer: str
    enrolment_key: bytes
    identity_check: IdentityCheck
    representative_since_ms: int | None = None
    """When a new legal representative was first identified; None where the bureau knows of no change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedCode:
    """A one-time code as its bureau keeps it. attempts: how often something was shown for it."""

    taxpayer: str
    code_tag: bytes
    purpose: str
    identity_check: IdentityCheck
    expires_ms: int
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredArtefact:
    """An artefact in this institution's file."""

    consent: OwnedId
    taxpayer: str
    raw: bytes
    endorsement: bytes | None
    """At the bureau only."""
    received_ms: int
    granted_index: int | None
    """Leaf index of the grant, None until the ledger took it."""
    renews: OwnedId | None
    """The consent whose place it takes: found without its bytes, since each request asks for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FiledConsent:
    """That an artefact is on file, without what it says."""

    consent: OwnedId
    received_ms: int
    granted_index: int | None


class ConsentStore:
    """One institution's enrolments and artefacts."""

    def __init__(self, engine: Engine, *, cipher: ColumnCipher) -> None:
        self._engine = engine
        self._cipher = cipher

    def save_enrolment(self, enrolment: Enrolment) -> None:
        """Keep a taxpayer's enrolment, replacing the one before."""
        with self._engine.begin() as connection:
            self._put_enrolment(connection, enrolment)

    def _put_enrolment(self, connection: Connection, enrolment: Enrolment) -> None:
        plain = {
            "taxpayer_tag": self._cipher.tag(enrolment.taxpayer),
            "taxpayer": enrolment.taxpayer,
            "enrolment_key": enrolment.enrolment_key,
            "identity_reference": enrolment.identity_check.reference,
            "identity_checked_ms": enrolment.identity_check.checked_ms,
            "representative_since_ms": enrolment.representative_since_ms,
        }
        row = self._cipher.encrypt_row(_ENROLMENT_SECRETS, plain)
        connection.execute(_REMOVE_ENROLMENT, {"of_tag": row["taxpayer_tag"]})
        connection.execute(_ADD_ENROLMENT, row)

    def enrolment(self, taxpayer: str) -> Enrolment | None:
        """Return a taxpayer's enrolment, or None; raises IntegrityError ``crypto.column_damaged``."""
        with self._engine.connect() as connection:
            row = connection.execute(_ENROLMENT, {"of_tag": self._cipher.tag(taxpayer)}).mappings().first()
        if row is None:
            return None
        found = self._cipher.decrypt_row(_ENROLMENT_SECRETS, dict(row))
        check = IdentityCheck(reference=found["identity_reference"], checked_ms=found["identity_checked_ms"])
        kept = {name: found[name] for name in ("taxpayer", "enrolment_key", "representative_since_ms")}
        return Enrolment(**kept, identity_check=check)

    def code_tag(self, taxpayer: str, code: str) -> bytes:
        """Return the keyed digest by which a taxpayer's code is kept."""
        return self._cipher.tag(f"consent/code/{taxpayer}/{code}")

    def save_code(self, issued: IssuedCode) -> None:
        """Keep a code in the place of the one before."""
        plain = {
            "taxpayer_tag": self._cipher.tag(issued.taxpayer),
            "taxpayer": issued.taxpayer,
            "code_tag": issued.code_tag,
            "purpose": issued.purpose,
            "identity_reference": issued.identity_check.reference,
            "identity_checked_ms": issued.identity_check.checked_ms,
            "expires_ms": issued.expires_ms,
            "attempts": issued.attempts,
        }
        row = self._cipher.encrypt_row(_CODE_SECRETS, plain)
        with self._engine.begin() as connection:
            connection.execute(delete(_code).where(_code.c.taxpayer_tag == row["taxpayer_tag"]))
            connection.execute(insert(_code), row)

    def begin_attempt(self, taxpayer: str, *, now_ms: int, most: int) -> IssuedCode | None:
        """Count an attempt at a taxpayer's code, before it is judged, and return the code; None where none may be."""
        is_his = _code.c.taxpayer_tag == self._cipher.tag(taxpayer)
        allowed = update(_code).where(is_his, _code.c.attempts < most, _code.c.expires_ms > now_ms)
        with self._engine.begin() as connection:
            if connection.execute(allowed.values(attempts=_code.c.attempts + 1)).rowcount != 1:
                return None
            row = connection.execute(select(_code).where(is_his)).mappings().one()
        found = self._cipher.decrypt_row(_CODE_SECRETS, dict(row))
        check = IdentityCheck(reference=found["identity_reference"], checked_ms=found["identity_checked_ms"])
        kept = {name: found[name] for name in ("taxpayer", "code_tag", "purpose", "expires_ms", "attempts")}
        return IssuedCode(**kept, identity_check=check)

    def use_code(self, issued: IssuedCode, *, enrolment: Enrolment | None = None) -> bool:
        """Use a code up and keep the enrolment it was for, in one act; tell whether this was the first time."""
        is_this = (_code.c.taxpayer_tag == self._cipher.tag(issued.taxpayer), _code.c.code_tag == issued.code_tag)
        with self._engine.begin() as connection:
            if connection.execute(delete(_code).where(*is_this)).rowcount != 1:
                return False
            if enrolment is not None:
                self._put_enrolment(connection, enrolment)
        return True

    def save_backup(self, taxpayer: str, key_file: bytes, *, kept_ms: int) -> None:
        """Keep an encrypted key file in the place of the one before."""
        plain = {"taxpayer_tag": self._cipher.tag(taxpayer), "key_file": key_file, "kept_ms": kept_ms}
        row = self._cipher.encrypt_row(_BACKUP_SECRETS, plain)
        with self._engine.begin() as connection:
            connection.execute(delete(_backup).where(_backup.c.taxpayer_tag == row["taxpayer_tag"]))
            connection.execute(insert(_backup), row)

    def backup(self, taxpayer: str) -> bytes | None:
        """Return the encrypted key file that a taxpayer left here, or None."""
        wanted = select(_backup).where(_backup.c.taxpayer_tag == self._cipher.tag(taxpayer))
        with self._engine.connect() as connection:
            row = connection.execute(wanted).mappings().first()
        if row is None:
            return None
        key_file: bytes = self._cipher.decrypt_row(_BACKUP_SECRETS, dict(row))["key_file"]
        return key_file

    def save_artefact(self, artefact: StoredArtefact) -> None:
        """Keep an artefact; the same bytes again change nothing, from whichever thread or process they come.

        Raises Conflict ``consent.artefact_differs`` for other bytes under the same consent id.
        """
        plain = {name: getattr(artefact, name) for name in StoredArtefact.__slots__}
        plain["taxpayer_tag"] = self._cipher.tag(artefact.taxpayer)
        row = self._cipher.encrypt_row(_ARTEFACT_SECRETS, plain)
        try:
            with self._engine.begin() as connection:
                connection.execute(_ADD_ARTEFACT, row)
        except AlreadyThere as error:
            found = self.artefact(artefact.consent)
            if found is None or found.raw != artefact.raw:
                raise Conflict(
                    "consent.artefact_differs",
                    f"consent {artefact.consent} is on file with other bytes than those handed in",
                ) from error

    def mark_granted(self, consent: OwnedId, *, index: int) -> None:
        """Note the leaf index at which the ledger took the grant."""
        with self._engine.begin() as connection:
            connection.execute(_MARK_GRANTED, {"of_consent": consent, "index": index})

    def artefact(self, consent: OwnedId) -> StoredArtefact | None:
        """Return the artefact of a consent, or None; raises IntegrityError ``crypto.column_damaged``."""
        with self._engine.connect() as connection:
            row = connection.execute(_ARTEFACT, {"of_consent": consent}).mappings().first()
        return None if row is None else self._stored(row)

    def taxpayer(self, consent: OwnedId) -> str:
        """Return whose a consent is; raises KeyError where no artefact is on file."""
        found = self.artefact(consent)
        if found is None:
            raise KeyError(consent)
        return found.taxpayer

    def consents(self) -> list[OwnedId]:
        """Return the consents whose artefacts are on file, the oldest first."""
        with self._engine.connect() as connection:
            return [OwnedId(consent) for consent in connection.scalars(_CONSENTS)]

    def filed(self, *, after: str, most: int) -> list[FiledConsent]:
        """Return which consents are on file, by id, from the one after another on."""
        with self._engine.connect() as connection:
            rows = connection.execute(_FILED, {"after": after, "most": most}).mappings()
            return [FiledConsent(**row) for row in rows]

    def artefacts_of(self, taxpayer: str) -> list[StoredArtefact]:
        """Return a taxpayer's artefacts, oldest first."""
        with self._engine.connect() as connection:
            rows = connection.execute(_ARTEFACTS_OF, {"of_tag": self._cipher.tag(taxpayer)}).mappings()
            return [self._stored(row) for row in rows]

    def renewals_of(self, consent: OwnedId, *, taxpayer: str) -> list[StoredArtefact]:
        """Return a taxpayer's artefacts that name a consent as the one whose place they take, oldest first."""
        wanted = {"of_tag": self._cipher.tag(taxpayer), "of_consent": consent}
        with self._engine.connect() as connection:
            return [self._stored(row) for row in connection.execute(_RENEWALS, wanted).mappings()]

    def _stored(self, row: RowMapping) -> StoredArtefact:
        found = self._cipher.decrypt_row(_ARTEFACT_SECRETS, dict(row))
        return StoredArtefact(**{name: found[name] for name in StoredArtefact.__slots__})
