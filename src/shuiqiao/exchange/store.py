"""The tables of the exchange: what a provider was asked and answered, what a bank received and when it must go.

They are one institution's own database and hold taxpayer numbers in clear. Durability is the injected engine's matter.
LIMIT: erasing overwrites the bytes in the database file; copies in backups are the operator's to destroy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Column,
    Date,
    Index,
    LargeBinary,
    MetaData,
    String,
    Table,
    bindparam,
    delete,
    func,
    insert,
    select,
    text,
    update,
)

from shuiqiao.base.encoding import decode_json, encode_json
from shuiqiao.base.ids import OWNED_ID_CHARS, OwnedId
from shuiqiao.exchange.ceilings import PastAnswer
from shuiqiao.exchange.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import date

    from sqlalchemy import Connection, Engine, Row

metadata = MetaData()

_MAX_COUNTS_BYTES = 16_384
_ROWS_AT_ONCE = 100

_asked = Table(
    "exchange_asked",
    metadata,
    Column("request", String(OWNED_ID_CHARS), primary_key=True),
    Column("consent", String(OWNED_ID_CHARS), nullable=False, index=True),
    Column("taxpayer", String(32), index=True),
    Column("recipient", String(32), nullable=False),
    Column("purpose", String(32), nullable=False),
    Column("period_from", Date, nullable=False),
    Column("period_to", Date, nullable=False),
    Column("message", LargeBinary, nullable=False),
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

_request = Table(
    "exchange_request",
    metadata,
    Column("request", LargeBinary(16), primary_key=True),
    Column("consent", String(OWNED_ID_CHARS), nullable=False, index=True),
    Column("message", LargeBinary, nullable=False),
    Column("made_ms", BigInteger, nullable=False),
    Column("entry_index", BigInteger),
)

_received = Table(
    "exchange_received",
    metadata,
    Column("request", LargeBinary(16), primary_key=True),
    Column("consent", String(OWNED_ID_CHARS), nullable=False, index=True),
    Column("taxpayer", String(32), nullable=False, index=True),
    Column("manifest", LargeBinary, nullable=False),
    Column("disclosure", LargeBinary, nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("erase_after_ms", BigInteger, nullable=False, index=True),
)

_erasure = Table(
    "exchange_erasure",
    metadata,
    Column("request", LargeBinary(16), primary_key=True),
    Column("consent", String(OWNED_ID_CHARS), nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("erased_ms", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
)

# Statements are built once: SQLAlchemy then finds each one's compiled text without walking it again.
_IS_ASKED = _asked.c.request == bindparam("of_request")
_ASKED = select(_asked).where(_IS_ASKED)
_ASKED_OF = (
    select(_asked).where(_asked.c.taxpayer == bindparam("of_taxpayer")).order_by(_asked.c.asked_ms, _asked.c.request)
)
_ADD_ASKED = insert(_asked)
_REMOVE_ASKED = delete(_asked).where(_IS_ASKED)
_RELEASE_ASKED = delete(_asked).where(_IS_ASKED, _asked.c.outcome == str(Outcome.ANSWERING))
_MARK_DELIVERED = update(_asked).where(_IS_ASKED).values(outcome=str(Outcome.DELIVERED))
_DROP_ANSWER = update(_asked).where(_IS_ASKED).values(answer=None)
_DELIVERED = (
    select(_asked)
    .where(_asked.c.outcome == str(Outcome.DELIVERED), _asked.c.leaves.is_not(None))
    .order_by(_asked.c.asked_ms, _asked.c.request)
)
_KEPT_ANSWERS = select(_asked.c.request).where(_HAS_ANSWER)
_PAST_ANSWERS = select(_asked.c.consent, _asked.c.answered_ms, _asked.c.period_from, _asked.c.period_to).where(
    _asked.c.taxpayer == bindparam("of_taxpayer"),
    _asked.c.recipient == bindparam("of_recipient"),
    _asked.c.purpose == bindparam("of_purpose"),
    _asked.c.request != bindparam("but_request"),
    _asked.c.outcome != str(Outcome.REFUSED),
    _asked.c.answered_ms > bindparam("since_ms"),
)
_LOCK_ASKED = text("LOCK TABLE exchange_asked IN SHARE ROW EXCLUSIVE MODE")
_IS_REQUEST = _request.c.request == bindparam("of_request")
_REQUEST = select(_request).where(_IS_REQUEST)
_ADD_REQUEST = insert(_request)
_MARK_COMMITTED = update(_request).where(_IS_REQUEST).values(entry_index=bindparam("index"))
_REMOVE_REQUEST = delete(_request).where(_IS_REQUEST)
_IS_RECEIVED = _received.c.request == bindparam("of_request")
_RECEIVED = select(_received).where(_IS_RECEIVED)
_RECEIVED_ID = select(_received.c.request).where(_IS_RECEIVED)
_ADD_RECEIVED = insert(_received)
_RECEIVED_ALL = select(_received).order_by(_received.c.received_ms, _received.c.request)
_RECEIVED_OF = _RECEIVED_ALL.where(_received.c.taxpayer == bindparam("of_taxpayer"))
_IS_DUE = _received.c.erase_after_ms <= bindparam("now_ms")
_ANY_DUE = select(_received.c.request).where(_IS_DUE).limit(1)
_REMOVE_DUE = (
    delete(_received)
    .where(_IS_DUE)
    .returning(
        _received.c.request,
        _received.c.consent,
        _received.c.received_ms,
        (func.length(_received.c.manifest) + func.length(_received.c.disclosure)).label("bytes"),
    )
)
_ERASED_ID = select(_erasure.c.request).where(_erasure.c.request == bindparam("of_request"))
_ERASURES = select(_erasure).order_by(_erasure.c.erased_ms, _erasure.c.request)
_ADD_ERASURE = insert(_erasure)


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedRow:
    """One request as its provider keeps it."""

    request: OwnedId
    consent: OwnedId
    taxpayer: str | None
    """None where no artefact was found to say whose data was asked for."""
    recipient: str
    purpose: str
    period_from: date
    period_to: date
    message: bytes
    asked_ms: int
    outcome: Outcome
    field_code: str
    answered_ms: int
    counts: Mapping[str, int]
    leaves: bytes | None = None
    """Which records the answer holds; see ``changes``."""
    answer: bytes | None = None
    answer_digest: bytes | None = None
    manifest_digest: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRow:
    """One request as the bank keeps it."""

    request: bytes
    consent: OwnedId
    message: bytes
    index: int | None
    """Leaf index of its ledger entry, None where the commit was never confirmed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedRow:
    """One answer as the bank keeps it until the end of its data life."""

    request: bytes
    consent: OwnedId
    taxpayer: str
    manifest: bytes
    disclosure: bytes
    received_ms: int
    erase_after_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureRow:
    """The local record that received data was destroyed."""

    request: bytes
    consent: OwnedId
    received_ms: int
    erased_ms: int
    bytes: int
    """How many bytes of records were destroyed."""


class ProviderStore:
    """What a provider was asked, and what it answered."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def asked(self, request: OwnedId) -> AskedRow | None:
        """Return a request, or None."""
        with self._engine.connect() as connection:
            row = connection.execute(_ASKED, {"of_request": request}).first()
        return None if row is None else _asked_row(row)

    def asked_of(self, taxpayer: str) -> list[AskedRow]:
        """Return every request on a taxpayer's data, oldest first."""
        with self._engine.connect() as connection:
            return [_asked_row(row) for row in connection.execute(_ASKED_OF, {"of_taxpayer": taxpayer})]

    def reserve(self, row: AskedRow, *, since_ms: int, verify: Callable[[Sequence[PastAnswer]], None]) -> None:
        """Take a place for an answer, if what was answered before allows one more: judged and taken as one act.

        verify: told the answers after ``since_ms`` about the same taxpayer to the same recipient for the same purpose,
        raises where there may be no more. Any number of threads and processes may do this on one database.
        """
        with self._engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(_LOCK_ASKED)
            # SQLite has one writer at a time, and this makes it this one, before anything is counted.
            _replace(connection, row)
            verify(_past_answers(connection, row, since_ms=since_ms))

    def save(self, row: AskedRow) -> None:
        """Keep a request in its present state, replacing the one before."""
        with self._engine.begin() as connection:
            _replace(connection, row)

    def mark_delivered(self, request: OwnedId) -> None:
        """Note that the ledger holds the delivery of a kept answer."""
        with self._engine.begin() as connection:
            connection.execute(_MARK_DELIVERED, {"of_request": request})

    def release(self, request: OwnedId) -> None:
        """Give back the place that a request took, because no answer was made."""
        with self._engine.begin() as connection:
            connection.execute(_RELEASE_ASKED, {"of_request": request})

    def kept_answers(self) -> list[OwnedId]:
        """Return the requests whose sealed answers are still kept for a retry."""
        with self._engine.connect() as connection:
            return [OwnedId(request) for request in connection.scalars(_KEPT_ANSWERS)]

    def delivered(self) -> Iterator[AskedRow]:
        """Yield every request whose answer was delivered, oldest first, a few at a time."""
        with self._engine.connect() as connection:
            for row in connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(_DELIVERED):
                yield _asked_row(row)

    def drop_answer(self, request: OwnedId) -> None:
        """Destroy the kept bytes of a sealed answer."""
        with self._engine.begin() as connection:
            connection.execute(_DROP_ANSWER, {"of_request": request})


class RecipientStore:
    """What a bank asked and received."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def save_request(self, request: bytes, *, consent: OwnedId, message: bytes, made_ms: int) -> None:
        """Keep a request before it is sent."""
        with self._engine.begin() as connection:
            connection.execute(
                _ADD_REQUEST, {"request": request, "consent": consent, "message": message, "made_ms": made_ms}
            )

    def mark_committed(self, request: bytes, *, index: int) -> None:
        """Note the leaf index of the request's ledger entry."""
        with self._engine.begin() as connection:
            connection.execute(_MARK_COMMITTED, {"of_request": request, "index": index})

    def remove_request(self, request: bytes) -> None:
        """Forget a request that the ledger refused."""
        with self._engine.begin() as connection:
            connection.execute(_REMOVE_REQUEST, {"of_request": request})

    def request(self, request: bytes) -> RequestRow | None:
        """Return a request, or None."""
        with self._engine.connect() as connection:
            row = connection.execute(_REQUEST, {"of_request": request}).first()
        if row is None:
            return None
        return RequestRow(request=row.request, consent=OwnedId(row.consent), message=row.message, index=row.entry_index)

    def save_received(self, row: ReceivedRow) -> None:
        """Keep an answer; one that is kept already stays as it is, its data life with it."""
        with self._engine.begin() as connection:
            if connection.scalar(_RECEIVED_ID, {"of_request": row.request}) is not None:
                return
            connection.execute(_ADD_RECEIVED, {name: getattr(row, name) for name in ReceivedRow.__slots__})

    def received(self, request: bytes) -> ReceivedRow | None:
        """Return an answer, or None when it never came or was erased."""
        with self._engine.connect() as connection:
            row = connection.execute(_RECEIVED, {"of_request": request}).first()
        return None if row is None else _received_row(row)

    def all_received(self, *, taxpayer: str | None = None) -> Iterator[ReceivedRow]:
        """Yield every kept answer, of one taxpayer or of all, oldest first, one at a time: each may be large."""
        wanted = (_RECEIVED_ALL, {}) if taxpayer is None else (_RECEIVED_OF, {"of_taxpayer": taxpayer})
        with self._engine.connect() as connection:
            for row in connection.execution_options(yield_per=1).execute(*wanted):
                yield _received_row(row)

    def erase_due(self, *, now_ms: int) -> list[ErasureRow]:
        """Destroy every answer whose data life has ended, and return what was destroyed."""
        with self._engine.connect() as connection:
            if connection.scalar(_ANY_DUE, {"now_ms": now_ms}) is None:
                return []
        with self._engine.begin() as connection:
            if connection.dialect.name == "sqlite":
                # Else deleted pages keep their bytes until they are used again.
                connection.exec_driver_sql("PRAGMA secure_delete=ON")
            # One statement takes them, so that nobody who does this at the same moment erases one twice.
            due = connection.execute(_REMOVE_DUE, {"now_ms": now_ms}).all()
            erased = [_note_erasure(connection, row, now_ms=now_ms) for row in due]
        self._flush_erased_pages()
        return erased

    def is_erased(self, request: bytes) -> bool:
        """Return whether the answer to a request was destroyed."""
        with self._engine.connect() as connection:
            return connection.scalar(_ERASED_ID, {"of_request": request}) is not None

    def erasures(self) -> list[ErasureRow]:
        """Return the local log of erasures, oldest first."""
        with self._engine.connect() as connection:
            return [_erasure_row(row) for row in connection.execute(_ERASURES)]

    def _flush_erased_pages(self) -> None:
        """Move SQLite's write-ahead log, which still holds the old pages, into the file and empty it."""
        if self._engine.dialect.name == "sqlite":
            with self._engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")


def _past_answers(connection: Connection, row: AskedRow, *, since_ms: int) -> list[PastAnswer]:
    wanted = {
        "of_taxpayer": row.taxpayer,
        "of_recipient": row.recipient,
        "of_purpose": row.purpose,
        "but_request": row.request,
        "since_ms": since_ms,
    }
    return [
        PastAnswer(
            consent=OwnedId(found.consent),
            answered_ms=found.answered_ms,
            period_from=found.period_from,
            period_to=found.period_to,
        )
        for found in connection.execute(_PAST_ANSWERS, wanted)
    ]


def _replace(connection: Connection, row: AskedRow) -> None:
    connection.execute(_REMOVE_ASKED, {"of_request": row.request})
    connection.execute(
        _ADD_ASKED,
        {
            "request": row.request,
            "consent": row.consent,
            "taxpayer": row.taxpayer,
            "recipient": row.recipient,
            "purpose": row.purpose,
            "period_from": row.period_from,
            "period_to": row.period_to,
            "message": row.message,
            "asked_ms": row.asked_ms,
            "outcome": str(row.outcome),
            "field_code": row.field_code,
            "answered_ms": row.answered_ms,
            "counts": encode_json(dict(row.counts)),
            "leaves": row.leaves,
            "answer": row.answer,
            "answer_digest": row.answer_digest,
            "manifest_digest": row.manifest_digest,
        },
    )


def _note_erasure(connection: Connection, row: Any, *, now_ms: int) -> ErasureRow:
    erasure = ErasureRow(
        request=row.request,
        consent=OwnedId(row.consent),
        received_ms=row.received_ms,
        erased_ms=now_ms,
        bytes=row.bytes,
    )
    connection.execute(_ADD_ERASURE, {name: getattr(erasure, name) for name in ErasureRow.__slots__})
    return erasure


def _asked_row(row: Row[Any]) -> AskedRow:
    return AskedRow(
        request=OwnedId(row.request),
        consent=OwnedId(row.consent),
        taxpayer=row.taxpayer,
        recipient=row.recipient,
        purpose=row.purpose,
        period_from=row.period_from,
        period_to=row.period_to,
        message=row.message,
        asked_ms=row.asked_ms,
        outcome=Outcome(row.outcome),
        field_code=row.field_code,
        answered_ms=row.answered_ms,
        counts=decode_json(row.counts, max_bytes=_MAX_COUNTS_BYTES),
        leaves=row.leaves,
        answer=row.answer,
        answer_digest=row.answer_digest,
        manifest_digest=row.manifest_digest,
    )


def _received_row(row: Row[Any]) -> ReceivedRow:
    return ReceivedRow(
        request=row.request,
        consent=OwnedId(row.consent),
        taxpayer=row.taxpayer,
        manifest=row.manifest,
        disclosure=row.disclosure,
        received_ms=row.received_ms,
        erase_after_ms=row.erase_after_ms,
    )


def _erasure_row(row: Row[Any]) -> ErasureRow:
    return ErasureRow(
        request=row.request,
        consent=OwnedId(row.consent),
        received_ms=row.received_ms,
        erased_ms=row.erased_ms,
        bytes=row.bytes,
    )
