"""The tables of consent: who is enrolled at this bureau, and the artefacts this institution was handed.

They hold taxpayer numbers in clear: they are one institution's own database, never the ledger. Durability is the
injected engine's matter.
"""

from __future__ import annotations

from dataclasses import dataclass

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

from shuiqiao.base.errors import Conflict
from shuiqiao.base.ids import OWNED_ID_CHARS, OwnedId
from shuiqiao.consent.model import IdentityCheck

metadata = MetaData()

_enrolment = Table(
    "consent_enrolment",
    metadata,
    Column("taxpayer", String(32), primary_key=True),
    Column("enrolment_key", LargeBinary, nullable=False),
    Column("identity_reference", String(64), nullable=False),
    Column("identity_checked_ms", BigInteger, nullable=False),
)

_artefact = Table(
    "consent_artefact",
    metadata,
    Column("consent", String(OWNED_ID_CHARS), primary_key=True),
    Column("taxpayer", String(32), nullable=False, index=True),
    Column("raw", LargeBinary, nullable=False),
    Column("endorsement", LargeBinary),
    Column("received_ms", BigInteger, nullable=False),
    Column("granted_index", BigInteger),
)

# Statements are built once: SQLAlchemy then finds each one's compiled text without walking it again.
_ENROLMENT = select(_enrolment).where(_enrolment.c.taxpayer == bindparam("of_taxpayer"))
_ADD_ENROLMENT = insert(_enrolment)
_REMOVE_ENROLMENT = delete(_enrolment).where(_enrolment.c.taxpayer == bindparam("of_taxpayer"))
_ARTEFACT = select(_artefact).where(_artefact.c.consent == bindparam("of_consent"))
_ARTEFACTS_OF = (
    select(_artefact).where(_artefact.c.taxpayer == bindparam("of_taxpayer")).order_by(_artefact.c.received_ms)
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


class ConsentStore:
    """One institution's enrolments and artefacts."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def save_enrolment(self, enrolment: Enrolment) -> None:
        """Keep a taxpayer's enrolment, replacing the one before."""
        with self._engine.begin() as connection:
            connection.execute(_REMOVE_ENROLMENT, {"of_taxpayer": enrolment.taxpayer})
            connection.execute(
                _ADD_ENROLMENT,
                {
                    "taxpayer": enrolment.taxpayer,
                    "enrolment_key": enrolment.enrolment_key,
                    "identity_reference": enrolment.identity_check.reference,
                    "identity_checked_ms": enrolment.identity_check.checked_ms,
                },
            )

    def enrolment(self, taxpayer: str) -> Enrolment | None:
        """Return a taxpayer's enrolment, or None."""
        with self._engine.connect() as connection:
            row = connection.execute(_ENROLMENT, {"of_taxpayer": taxpayer}).first()
        if row is None:
            return None
        check = IdentityCheck(reference=row.identity_reference, checked_ms=row.identity_checked_ms)
        return Enrolment(taxpayer=row.taxpayer, enrolment_key=row.enrolment_key, identity_check=check)

    def save_artefact(self, artefact: StoredArtefact) -> None:
        """Keep an artefact; the same bytes again change nothing, from whichever thread or process they come.

        Raises Conflict ``consent.artefact_differs`` for other bytes under the same consent id.
        """
        try:
            with self._engine.begin() as connection:
                connection.execute(_ADD_ARTEFACT, {name: getattr(artefact, name) for name in StoredArtefact.__slots__})
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
        """Return the artefact of a consent, or None."""
        with self._engine.connect() as connection:
            row = connection.execute(_ARTEFACT, {"of_consent": consent}).mappings().first()
        return None if row is None else StoredArtefact(**row)

    def artefacts_of(self, taxpayer: str) -> list[StoredArtefact]:
        """Return a taxpayer's artefacts, oldest first."""
        with self._engine.connect() as connection:
            rows = connection.execute(_ARTEFACTS_OF, {"of_taxpayer": taxpayer}).mappings()
            return [StoredArtefact(**row) for row in rows]
