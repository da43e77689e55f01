"""The tables of the exchange: what a provider was asked and answered, what a bank received and when it must go.

They are one institution's own database. Taxpayers, how many records an answer held and which, and what a bank received
are encrypted columns; a taxpayer is found by a keyed tag. A kept answer is sealed to its bank already. Durability is
the injected engine's matter.
Each try to answer a request has a random number, its *attempt* [EXCHANGE-22]. A later try takes the row of an
earlier one that has made no answer yet, whether that one died or is slow. The try that lost the row keeps and delivers
nothing.
LIMIT: erasing overwrites the bytes in the database file; copies in backups are the operator's to destroy.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
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
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    null,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError as AlreadyThere

from shuiqiao.base.encoding import decode_json, encode_json
from shuiqiao.base.errors import Unavailable
from shuiqiao.base.ids import OWNED_ID_CHARS, OwnedId
from shuiqiao.crypto.column_cipher import LOOKUP_TAG_BYTES, VALUE_OVERHEAD_BYTES, EncryptedColumns
from shuiqiao.exchange.ceilings import PastAnswer
from shuiqiao.exchange.model import AnswerStatus
from shuiqiao.privacy.store import ChargeStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import date

    from sqlalchemy import Connection, Engine, RowMapping, Update

    from shuiqiao.crypto.column_cipher import ColumnCipher
    from shuiqiao.privacy.model import Charge

metadata = MetaData()

_MAX_COUNTS_BYTES = 16_384
_MAX_CONSENTS_BYTES = 2 << 20
"""Of the names of 20,000 consents."""
_ROWS_AT_ONCE = 100

_asked = Table(
    "exchange_asked",
    metadata,
    Column("request", String(OWNED_ID_CHARS), primary_key=True),
    Column("consent", String(OWNED_ID_CHARS), nullable=False, index=True),
    Column("taxpayer_tag", LargeBinary(LOOKUP_TAG_BYTES), index=True),
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
    Column("opening", LargeBinary),
)
_ASKED_SECRETS = EncryptedColumns(
    table="exchange_asked",
    key="request",
    columns={"taxpayer": str, "counts": bytes, "leaves": bytes, "opening": bytes},
)
_ANSWER_COLUMNS = ("counts", "leaves", "answer", "answer_digest", "manifest_digest", "opening")
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
    Column("share", LargeBinary),
)
_REQUEST_SECRETS = EncryptedColumns(table="exchange_request", key="request", columns={"share": bytes})

_received = Table(
    "exchange_received",
    metadata,
    Column("request", LargeBinary(16), primary_key=True),
    Column("consent", String(OWNED_ID_CHARS), nullable=False, index=True),
    Column("taxpayer_tag", LargeBinary(LOOKUP_TAG_BYTES), nullable=False, index=True),
    Column("taxpayer", LargeBinary, nullable=False),
    Column("manifest", LargeBinary, nullable=False),
    Column("disclosure", LargeBinary, nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("erase_after_ms", BigInteger, nullable=False, index=True),
    Column("leaves", LargeBinary),
)

_RECEIVED_SECRETS = EncryptedColumns(
    table="exchange_received",
    key="request",
    columns={"taxpayer": str, "manifest": bytes, "disclosure": bytes, "leaves": bytes},
)

_erasure = Table(
    "exchange_erasure",
    metadata,
    Column("request", LargeBinary(16), primary_key=True),
    Column("consent", String(OWNED_ID_CHARS), nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("erased_ms", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("recorded_ms", BigInteger),
)

_dispute = Table(
    "exchange_dispute",
    metadata,
    Column("dispute", LargeBinary(16), primary_key=True),
    Column("taxpayer_tag", LargeBinary(LOOKUP_TAG_BYTES), nullable=False, index=True),
    Column("taxpayer", LargeBinary, nullable=False),
    Column("statement", LargeBinary, nullable=False),
    Column("batch", LargeBinary(16), nullable=False),
    Column("leaf", BigInteger, nullable=False),
    Column("reason", LargeBinary, nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("status", String(16), nullable=False),
    Column("words", LargeBinary),
    Column("answered_ms", BigInteger),
)
_DISPUTE_SECRETS = EncryptedColumns(
    table="exchange_dispute",
    key="dispute",
    columns={"taxpayer": str, "statement": bytes, "reason": str, "words": str},
)

_cohort = Table(
    "exchange_cohort",
    metadata,
    Column("training", String(OWNED_ID_CHARS), primary_key=True),
    Column("other", String(32), nullable=False, index=True),
    Column("firms", LargeBinary, nullable=False),
    Column("consents", LargeBinary, nullable=False),
    Column("made_ms", BigInteger, nullable=False),
    Column("valid_until_ms", BigInteger, nullable=False),
)
_COHORT_SECRETS = EncryptedColumns(table="exchange_cohort", key="training", columns={"firms": bytes, "consents": bytes})

# Statements are built once: SQLAlchemy then finds each one's compiled text without walking it again.
_IS_ASKED = _asked.c.request == bindparam("of_request")
_ASKED = select(_asked).where(_IS_ASKED)
_ASKED_OF = (
    select(_asked).where(_asked.c.taxpayer_tag == bindparam("of_tag")).order_by(_asked.c.asked_ms, _asked.c.request)
)
_ADD_ASKED = insert(_asked)
_IS_MINE = _asked.c.attempt == bindparam("of_attempt")
_IS_UNDELIVERED = _asked.c.outcome != str(AnswerStatus.DELIVERED)
_IS_UNANSWERED = and_(_IS_UNDELIVERED, _asked.c.answer.is_(None))
_TAKE_UNANSWERED = delete(_asked).where(_IS_ASKED, _IS_UNANSWERED)
_TAKE_TO_REFUSE = delete(_asked).where(_IS_ASKED, _IS_UNDELIVERED, or_(_IS_MINE, _asked.c.answer.is_(None)))
_RELEASE_ASKED = delete(_asked).where(
    _IS_ASKED, _IS_MINE, _IS_UNANSWERED, _asked.c.outcome == str(AnswerStatus.ANSWERING)
)
_KEEP_ANSWER = (
    update(_asked)
    .where(_IS_ASKED, _IS_MINE, _IS_UNANSWERED)
    .values({name: bindparam(f"new_{name}") for name in _ANSWER_COLUMNS})
)
_MARK_DELIVERED = (
    update(_asked)
    .where(_IS_ASKED, _IS_MINE, _asked.c.outcome != str(AnswerStatus.REFUSED))
    .values(outcome=str(AnswerStatus.DELIVERED))
)
_DROP_ANSWER = update(_asked).where(_IS_ASKED).values(answer=None)
_DELIVERED = (
    select(_asked)
    .where(_asked.c.outcome == str(AnswerStatus.DELIVERED), _asked.c.leaves.is_not(None))
    .order_by(_asked.c.asked_ms, _asked.c.request)
)
_HANDLED = (
    select(
        *(
            _asked.c[name]
            for name in (
                "request",
                "consent",
                "recipient",
                "purpose",
                "asked_ms",
                "outcome",
                "field_code",
                "answered_ms",
            )
        )
    )
    .where(_asked.c.request > bindparam("after"))
    .order_by(_asked.c.request)
    .limit(bindparam("most"))
)
_KEPT_ANSWERS = select(_asked.c.request).where(_HAS_ANSWER)
_PAST_ANSWERS = select(_asked.c.consent, _asked.c.answered_ms, _asked.c.period_from, _asked.c.period_to).where(
    _asked.c.taxpayer_tag == bindparam("of_tag"),
    _asked.c.recipient == bindparam("of_recipient"),
    _asked.c.purpose == bindparam("of_purpose"),
    _asked.c.request != bindparam("but_request"),
    _asked.c.outcome != str(AnswerStatus.REFUSED),
    _asked.c.answered_ms > bindparam("since_ms"),
)
_LOCK_ASKED = text("LOCK TABLE exchange_asked IN SHARE ROW EXCLUSIVE MODE")
_IS_REQUEST = _request.c.request == bindparam("of_request")
_REQUEST = select(_request).where(_IS_REQUEST)
_SENT = (
    select(_request.c.request, _request.c.consent, _request.c.made_ms, _request.c.entry_index)
    .where(_request.c.request > bindparam("after"))
    .order_by(_request.c.request)
    .limit(bindparam("most"))
)
_ADD_REQUEST = insert(_request)
_MARK_COMMITTED = update(_request).where(_IS_REQUEST).values(entry_index=bindparam("index"))
_KEEP_SHARE = update(_request).where(_IS_REQUEST).values(share=bindparam("new_share"))
_REMOVE_REQUEST = delete(_request).where(_IS_REQUEST)
_IS_RECEIVED = _received.c.request == bindparam("of_request")
_RECEIVED = select(_received).where(_IS_RECEIVED)
_ADD_RECEIVED = insert(_received)
_RECEIVED_ALL = (
    select(_received, _request.c.message)
    .join(_request, _request.c.request == _received.c.request)
    .where(_received.c.erase_after_ms > bindparam("after_ms"))
    .order_by(_received.c.received_ms, _received.c.request)
)
_RECEIVED_OF = _RECEIVED_ALL.where(_received.c.taxpayer_tag == bindparam("of_tag"))
_PLACES_ALL = (
    select(
        _request.c.message,
        _received.c.request,
        _received.c.taxpayer,
        _received.c.leaves,
        # An answer that was kept before leaves were is read whole.
        case((_received.c.leaves.is_(None), _received.c.disclosure), else_=null()).label("disclosure"),
    )
    .join(_request, _request.c.request == _received.c.request)
    .where(_received.c.erase_after_ms > bindparam("after_ms"))
    .order_by(_received.c.received_ms, _received.c.request)
)
_PLACES_OF = _PLACES_ALL.where(_received.c.taxpayer_tag == bindparam("of_tag"))
_IS_DUE = _received.c.erase_after_ms <= bindparam("now_ms")
_ANY_DUE = select(_received.c.request).where(_IS_DUE).limit(1)
_REMOVE_DUE = (
    delete(_received)
    .where(_IS_DUE)
    .returning(
        _received.c.request,
        _received.c.consent,
        _received.c.received_ms,
        (func.length(_received.c.manifest) + func.length(_received.c.disclosure) - 2 * VALUE_OVERHEAD_BYTES).label(
            "bytes"
        ),
    )
)
_COUNT_DUE = select(func.count()).select_from(_received).where(_IS_DUE)
_COUNT_KEPT = select(func.count()).select_from(_received)
_UNRECORDED = (
    select(_erasure)
    .where(_erasure.c.recorded_ms.is_(None))
    .order_by(_erasure.c.erased_ms, _erasure.c.request)
    .limit(bindparam("at_most"))
)
_MARK_RECORDED = (
    update(_erasure).where(_erasure.c.request == bindparam("of_request")).values(recorded_ms=bindparam("now_ms"))
)
_RECEIVED_ID = select(_received.c.request).where(_IS_RECEIVED)
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
    attempt: bytes
    """Which try to answer it this is, 16 random bytes."""
    asked_ms: int
    outcome: AnswerStatus
    field_code: str
    answered_ms: int
    counts: Mapping[str, int]
    leaves: bytes | None = None
    """Which records the answer holds; see ``changes``."""
    answer: bytes | None = None
    answer_digest: bytes | None = None
    manifest_digest: bytes | None = None
    opening: bytes | None = None
    """What opens the manifest of an answer that shows no records; see ``manifest``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRow:
    """One request as the bank keeps it."""

    request: bytes
    consent: OwnedId
    message: bytes
    index: int | None
    """Leaf index of its ledger entry, None where the commit was never confirmed."""
    share: bytes | None = None
    """What this bank has of a result that it computed together with the provider."""


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
    leaves: bytes | None = None
    """Which records it gives; see ``changes``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedPlaces:
    """Which records a kept answer gives. message: its request.

    disclosure: the answer itself, only where it was kept before its leaves were.
    """

    request: bytes
    message: bytes
    taxpayer: str
    leaves: bytes | None
    disclosure: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureRow:
    """The local record that received data was destroyed."""

    request: bytes
    consent: OwnedId
    received_ms: int
    erased_ms: int
    bytes: int
    """How many bytes of records were destroyed."""
    recorded_ms: int | None = None
    """When the ledger was known to say so, None before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DueAnswers:
    """How many kept answers have come to the end of their data life by a moment, and how many are kept in all."""

    until_ms: int
    due: int
    kept: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HandledRequest:
    """What became of a request at its provider, without whose data it was about."""

    request: OwnedId
    consent: OwnedId
    recipient: str
    purpose: str
    asked_ms: int
    outcome: AnswerStatus
    field_code: str
    answered_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SentRow:
    """A request that a bank sent, without whose data it is about. entry_index: leaf index of its ledger entry."""

    request: bytes
    consent: OwnedId
    made_ms: int
    entry_index: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeRow:
    """One dispute as its bureau keeps it. statement: what the enterprise signed. words: of the answer."""

    dispute: bytes
    taxpayer: str
    statement: bytes
    batch: bytes
    leaf: int
    reason: str
    received_ms: int
    status: str
    words: str | None = None
    answered_ms: int | None = None


def _handled(row: dict[str, Any]) -> HandledRequest:
    row["outcome"] = AnswerStatus(row["outcome"])
    return HandledRequest(**row)


class ProviderStore:
    """What a provider was asked, and what it answered."""

    def __init__(self, engine: Engine, *, cipher: ColumnCipher) -> None:
        self._engine = engine
        self._cipher = cipher
        self._charges = ChargeStore(engine, cipher=cipher)

    def asked(self, request: OwnedId) -> AskedRow | None:
        """Return a request, or None."""
        with self._engine.connect() as connection:
            row = connection.execute(_ASKED, {"of_request": request}).mappings().first()
        return None if row is None else self._row(row)

    def asked_of(self, taxpayer: str) -> list[AskedRow]:
        """Return every request on a taxpayer's data, oldest first."""
        with self._engine.connect() as connection:
            rows = connection.execute(_ASKED_OF, {"of_tag": self._cipher.tag(taxpayer)}).mappings()
            return [self._row(row) for row in rows]

    def reserve(
        self,
        row: AskedRow,
        *,
        since_ms: int,
        verify: Callable[[Sequence[PastAnswer]], None],
        charge: Charge,
    ) -> None:
        """Take a place for an answer, if what was answered before allows one more: judged and taken as one act.

        charge: what the answer will reveal, taken in the same act [LEAK-4].

        verify: told the answers after ``since_ms`` about the same taxpayer to the same recipient for the same purpose,
        raises where there may be no more. Any number of threads and processes may do this on one database. An attempt
        at the same request that has kept no answer loses its place to this one; raises Unavailable
        ``exchange.request_in_progress`` where one has.
        """
        values = self._values(row)
        with self._engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(_LOCK_ASKED)
            # SQLite has one writer at a time, and this makes it this one, before anything is counted.
            connection.execute(_TAKE_UNANSWERED, {"of_request": row.request})
            _add(connection, values)
            verify(self._past_answers(connection, row, since_ms=since_ms))
            self._charges.take(connection, charge)

    def keep_answer(self, row: AskedRow, *, shown_millibits: int | None) -> None:
        """Keep the answer of the attempt that has the place; raises ``exchange.request_in_progress`` for another.

        shown_millibits: how much is in the fields that it shows, for the leakage account; None where it shows none.
        """
        values = self._values(row)
        with self._engine.begin() as connection:
            self._change(connection, row, _KEEP_ANSWER, {f"new_{name}": values[name] for name in _ANSWER_COLUMNS})
            if shown_millibits is not None:
                self._charges.note_bits(connection, row.request, millibits=shown_millibits)

    def mark_delivered(self, row: AskedRow) -> None:
        """Note that the ledger holds the delivery of a kept answer; raises as ``keep_answer`` does."""
        with self._engine.begin() as connection:
            self._change(connection, row, _MARK_DELIVERED, {})

    def refuse(self, row: AskedRow, *, attempt: bytes) -> None:
        """Keep a refusal in the place of an attempt that may not answer, its kept answer included.

        attempt: of the row to refuse; one that made no answer gives way. Raises Unavailable
        ``exchange.request_in_progress`` where another attempt keeps an answer, or one was delivered.
        """
        values = self._values(row)
        with self._engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(_LOCK_ASKED)
            connection.execute(_TAKE_TO_REFUSE, {"of_request": row.request, "of_attempt": attempt})
            _add(connection, values)
            self._charges.withdraw(connection, row.request)

    def release(self, row: AskedRow) -> None:
        """Give back the place that an attempt took, because no answer was made."""
        with self._engine.begin() as connection:
            done = connection.execute(_RELEASE_ASKED, {"of_request": row.request, "of_attempt": row.attempt})
            if done.rowcount:
                self._charges.withdraw(connection, row.request)

    def _change(self, connection: Connection, row: AskedRow, statement: Update, values: Mapping[str, Any]) -> None:
        done = connection.execute(statement, {"of_request": row.request, "of_attempt": row.attempt, **values})
        if done.rowcount != 1:
            raise request_in_progress(row.request)

    def handled(self, *, after: str, most: int) -> list[HandledRequest]:
        """Return what became of requests, by id, from the one after another on."""
        with self._engine.connect() as connection:
            rows = connection.execute(_HANDLED, {"after": after, "most": most}).mappings()
            return [_handled(dict(row)) for row in rows]

    def kept_answers(self) -> list[OwnedId]:
        """Return the requests whose sealed answers are still kept for a retry."""
        with self._engine.connect() as connection:
            return [OwnedId(request) for request in connection.scalars(_KEPT_ANSWERS)]

    def delivered(self) -> Iterator[AskedRow]:
        """Yield every request whose answer was delivered, oldest first, a few at a time."""
        with self._engine.connect() as connection:
            for row in connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(_DELIVERED).mappings():
                yield self._row(row)

    def add_dispute(self, row: DisputeRow) -> None:
        """Keep a dispute; one that is kept already stays as it is."""
        plain = {**asdict(row), "taxpayer_tag": self._cipher.tag(row.taxpayer)}
        with suppress(AlreadyThere), self._engine.begin() as connection:
            connection.execute(insert(_dispute), self._cipher.encrypt_row(_DISPUTE_SECRETS, plain))

    def disputes(self, *, taxpayer: str | None = None) -> list[DisputeRow]:
        """Return disputes, of one taxpayer or of all, oldest first."""
        wanted = select(_dispute).order_by(_dispute.c.received_ms, _dispute.c.dispute)
        if taxpayer is not None:
            wanted = wanted.where(_dispute.c.taxpayer_tag == self._cipher.tag(taxpayer))
        with self._engine.connect() as connection:
            rows = [
                self._cipher.decrypt_row(_DISPUTE_SECRETS, dict(row)) for row in connection.execute(wanted).mappings()
            ]
        return [DisputeRow(**{name: row[name] for name in DisputeRow.__slots__}) for row in rows]

    def answer_dispute(self, row: DisputeRow, *, status: str, words: str, answered_ms: int) -> bool:
        """Keep the answer to a dispute that has none; tell whether it had none."""
        secret = self._cipher.encrypt_row(_DISPUTE_SECRETS, {"dispute": row.dispute, "words": words})
        is_open = (_dispute.c.dispute == row.dispute, _dispute.c.answered_ms.is_(None))
        values = {"status": status, "words": secret["words"], "answered_ms": answered_ms}
        with self._engine.begin() as connection:
            return connection.execute(update(_dispute).where(*is_open).values(**values)).rowcount == 1

    def drop_answer(self, request: OwnedId) -> None:
        """Destroy the kept bytes of a sealed answer."""
        with self._engine.begin() as connection:
            connection.execute(_DROP_ANSWER, {"of_request": request})

    def _past_answers(self, connection: Connection, row: AskedRow, *, since_ms: int) -> list[PastAnswer]:
        wanted = {
            "of_tag": self._tag(row),
            "of_recipient": row.recipient,
            "of_purpose": row.purpose,
            "but_request": row.request,
            "since_ms": since_ms,
        }
        return [PastAnswer(**found) for found in connection.execute(_PAST_ANSWERS, wanted).mappings()]

    def _tag(self, row: AskedRow) -> bytes | None:
        return None if row.taxpayer is None else self._cipher.tag(row.taxpayer)

    def _values(self, row: AskedRow) -> dict[str, Any]:
        values = asdict(row) | {"outcome": str(row.outcome), "counts": encode_json(dict(row.counts))}
        return self._cipher.encrypt_row(_ASKED_SECRETS, values | {"taxpayer_tag": self._tag(row)})

    def _row(self, row: RowMapping) -> AskedRow:
        found = self._cipher.decrypt_row(_ASKED_SECRETS, dict(row))
        del found["taxpayer_tag"]
        found["outcome"] = AnswerStatus(found["outcome"])
        found["counts"] = decode_json(found["counts"], max_bytes=_MAX_COUNTS_BYTES)
        return AskedRow(**found)


class RecipientStore:
    """What a bank asked and received."""

    def __init__(self, engine: Engine, *, cipher: ColumnCipher) -> None:
        self._engine = engine
        self._cipher = cipher
        self._charges = ChargeStore(engine, cipher=cipher)
        self._flushing = threading.Lock()
        self._has_flushed = False

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
            row = connection.execute(_REQUEST, {"of_request": request}).mappings().first()
        if row is None:
            return None
        found = self._cipher.decrypt_row(_REQUEST_SECRETS, dict(row))
        return RequestRow(
            request=found["request"],
            consent=OwnedId(found["consent"]),
            message=found["message"],
            index=found["entry_index"],
            share=found["share"],
        )

    def keep_share(self, request: bytes, share: bytes | None) -> None:
        """Keep what this bank has of a result that both ends computed, durable when this returns; None forgets it."""
        values = self._cipher.encrypt_row(_REQUEST_SECRETS, {"request": request, "share": share})
        with self._engine.begin() as connection:
            connection.execute(_KEEP_SHARE, {"of_request": request, "new_share": values["share"]})

    def sent(self, *, after: bytes, most: int) -> list[SentRow]:
        """Return the requests of this bank, by id, from the one after another on."""
        with self._engine.connect() as connection:
            return [SentRow(**row) for row in connection.execute(_SENT, {"after": after, "most": most}).mappings()]

    def save_received(self, row: ReceivedRow, *, charge: Charge) -> None:
        """Keep an answer and what it revealed; one that is kept already stays as it is, its data life with it."""
        plain = asdict(row) | {"taxpayer_tag": self._cipher.tag(row.taxpayer)}
        values = self._cipher.encrypt_row(_RECEIVED_SECRETS, plain)
        with suppress(AlreadyThere), self._engine.begin() as connection:
            connection.execute(_ADD_RECEIVED, values)
            self._charges.note(connection, [charge])

    def received(self, request: bytes) -> ReceivedRow | None:
        """Return an answer, or None when it never came or was erased."""
        with self._engine.connect() as connection:
            row = connection.execute(_RECEIVED, {"of_request": request}).mappings().first()
        return None if row is None else self._received(dict(row))

    def all_received(self, *, after_ms: int, taxpayer: str | None = None) -> Iterator[tuple[bytes, ReceivedRow]]:
        """Yield (request message, answer) of every kept answer whose life ends after a moment, oldest first.

        Of one taxpayer or of all. They come one at a time: each may be large.
        """
        scope = {} if taxpayer is None else {"of_tag": self._cipher.tag(taxpayer)}
        wanted = _RECEIVED_ALL if taxpayer is None else _RECEIVED_OF, {"after_ms": after_ms, **scope}
        with self._engine.connect() as connection:
            for row in connection.execution_options(yield_per=1).execute(*wanted).mappings():
                fields = dict(row)
                yield fields.pop("message"), self._received(fields)

    def places(self, *, after_ms: int, taxpayer: str | None = None) -> Iterator[ReceivedPlaces]:
        """Yield which records each kept answer gives, as ``all_received`` does, without reading the answers."""
        scope = {} if taxpayer is None else {"of_tag": self._cipher.tag(taxpayer)}
        wanted = _PLACES_ALL if taxpayer is None else _PLACES_OF, {"after_ms": after_ms, **scope}
        with self._engine.connect() as connection:
            for row in connection.execution_options(yield_per=1).execute(*wanted).mappings():
                yield ReceivedPlaces(**self._cipher.decrypt_row(_RECEIVED_SECRETS, dict(row)))

    def _received(self, row: Mapping[str, Any]) -> ReceivedRow:
        found = self._cipher.decrypt_row(_RECEIVED_SECRETS, row)
        del found["taxpayer_tag"]
        return ReceivedRow(**found)

    def erase_due(self, *, now_ms: int) -> list[ErasureRow]:
        """Destroy every answer whose data life has ended, and return what was destroyed.

        While somebody reads the database its log keeps the old pages: every further call tries to empty it, as the
        first one does for an earlier process.
        """
        with self._engine.connect() as connection:
            is_any_due = connection.scalar(_ANY_DUE, {"now_ms": now_ms}) is not None
        erased = self._erase(now_ms=now_ms) if is_any_due else []
        with self._flushing:
            if is_any_due or not self._has_flushed:
                self._has_flushed = self._flush_erased_pages()
        return erased

    def _erase(self, *, now_ms: int) -> list[ErasureRow]:
        with self._engine.begin() as connection:
            if connection.dialect.name == "sqlite":
                # Else deleted pages keep their bytes until they are used again.
                connection.exec_driver_sql("PRAGMA secure_delete=ON")
            # One statement takes them, so that nobody who does this at the same moment erases one twice.
            due = connection.execute(_REMOVE_DUE, {"now_ms": now_ms}).mappings().all()
            erased = [ErasureRow(**row, erased_ms=now_ms) for row in due]
            for erasure in erased:
                connection.execute(_ADD_ERASURE, asdict(erasure))
                connection.execute(_KEEP_SHARE, {"of_request": erasure.request, "new_share": None})
            return erased

    def count_due(self, *, now_ms: int) -> DueAnswers:
        """Count what ``erase_due`` would destroy."""
        with self._engine.connect() as connection:
            due = connection.scalar(_COUNT_DUE, {"now_ms": now_ms}) or 0
            kept = connection.scalar(_COUNT_KEPT) if due else 0
        return DueAnswers(until_ms=now_ms, due=due, kept=kept or 0)

    def unrecorded_erasures(self, *, at_most: int) -> list[ErasureRow]:
        """Return erasures that the ledger is not known to have, oldest first."""
        with self._engine.connect() as connection:
            return [ErasureRow(**row) for row in connection.execute(_UNRECORDED, {"at_most": at_most}).mappings()]

    def mark_recorded(self, request: bytes, *, now_ms: int) -> None:
        """Note that the ledger has the entry of an erasure."""
        with self._engine.begin() as connection:
            connection.execute(_MARK_RECORDED, {"of_request": request, "now_ms": now_ms})

    def is_received(self, request: bytes) -> bool:
        """Return whether the answer to a request is kept."""
        with self._engine.connect() as connection:
            return connection.scalar(_RECEIVED_ID, {"of_request": request}) is not None

    def is_erased(self, request: bytes) -> bool:
        """Return whether the answer to a request was destroyed."""
        with self._engine.connect() as connection:
            return connection.scalar(_ERASED_ID, {"of_request": request}) is not None

    def erasures(self) -> list[ErasureRow]:
        """Return the local log of erasures, oldest first."""
        with self._engine.connect() as connection:
            return [ErasureRow(**row) for row in connection.execute(_ERASURES).mappings()]

    def _flush_erased_pages(self) -> bool:
        """Empty SQLite's write-ahead log, which still holds the old pages, into the file; tell whether it could."""
        if self._engine.dialect.name != "sqlite":
            return True
        with self._engine.connect() as connection:
            patience_ms = connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one()
            # A reader may stay for long, and the next call tries again.
            connection.exec_driver_sql("PRAGMA busy_timeout=0")
            try:
                is_busy, _, _ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
            finally:
                connection.exec_driver_sql(f"PRAGMA busy_timeout={patience_ms}")
        return not is_busy


def _add(connection: Connection, values: Mapping[str, Any]) -> None:
    if connection.execute(_ASKED, {"of_request": values["request"]}).first() is not None:
        raise request_in_progress(OwnedId(values["request"]))
    connection.execute(_ADD_ASKED, values)


def request_in_progress(request: OwnedId) -> Unavailable:
    """Return what to raise where another attempt answers a request."""
    return Unavailable("exchange.request_in_progress", f"request {request} is being answered", retry_after_s=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortRow:
    """Whose records a training is agreed on. other: the member at its other end. firms: keyed tags of the taxpayers.

    valid_until_ms: after which the agreement cannot come to the ledger any more.
    """

    training: OwnedId
    other: str
    firms: frozenset[bytes]
    consents: tuple[str, ...]
    made_ms: int
    valid_until_ms: int


class CohortStore:
    """The cohorts of one institution's trainings, kept for good: a later one is judged by them [COHORT-3].

    Example::

        store.keep(training=name, other=bank, taxpayers=numbers, consents=names, made_ms=now, valid_until_ms=end,
                   verify=verify, charges=charges)
    """

    def __init__(self, engine: Engine, *, cipher: ColumnCipher) -> None:
        self._engine = engine
        self._cipher = cipher
        self._charges = ChargeStore(engine, cipher=cipher)

    def keep(
        self,
        *,
        training: OwnedId,
        other: str,
        taxpayers: Sequence[str],
        consents: Sequence[str],
        made_ms: int,
        valid_until_ms: int,
        verify: Callable[[Sequence[CohortRow], frozenset[bytes]], None],
        charges: Sequence[Charge],
    ) -> None:
        """Keep a cohort and take its charges, if it may stand beside the others: judged and kept as one act.

        verify: told the other cohorts with the same member, and the tags of this one; raises where it may not.
        """
        tags = sorted(self._cipher.tag(taxpayer) for taxpayer in taxpayers)
        plain = {
            "training": training,
            "other": other,
            "firms": b"".join(tags),
            "consents": encode_json(list(consents)),
            "made_ms": made_ms,
            "valid_until_ms": valid_until_ms,
        }
        with self._engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(_LOCK_COHORTS)
            # SQLite has one writer at a time, and this makes it this one, before anything is compared.
            connection.execute(delete(_cohort).where(_cohort.c.training == training))
            verify(self._rows(connection, other=other), frozenset(tags))
            connection.execute(insert(_cohort), self._cipher.encrypt_row(_COHORT_SECRETS, plain))
            for charge in charges:
                self._charges.take(connection, charge)

    def forget(self, training: OwnedId, *, charges: Sequence[str]) -> None:
        """Give a cohort and its charges back: nothing was agreed."""
        with self._engine.begin() as connection:
            connection.execute(delete(_cohort).where(_cohort.c.training == training))
            for reference in charges:
                self._charges.withdraw(connection, reference)

    def all(self) -> list[CohortRow]:
        """Return every cohort, the oldest first."""
        with self._engine.connect() as connection:
            return self._rows(connection)

    def count_of(self, taxpayer: str, *, other: str, since_ms: int) -> int:
        """Count the cohorts with a member since a moment in which a taxpayer is."""
        tag = self._cipher.tag(taxpayer)
        with self._engine.connect() as connection:
            return sum(tag in row.firms and row.made_ms > since_ms for row in self._rows(connection, other=other))

    def _rows(self, connection: Connection, *, other: str | None = None) -> list[CohortRow]:
        wanted = select(_cohort).order_by(_cohort.c.made_ms, _cohort.c.training)
        if other is not None:
            wanted = wanted.where(_cohort.c.other == other)
        rows = [dict(row) for row in connection.execute(wanted).mappings()]
        return [self._row(self._cipher.decrypt_row(_COHORT_SECRETS, row)) for row in rows]

    @staticmethod
    def _row(row: dict[str, Any]) -> CohortRow:
        firms, size = row["firms"], LOOKUP_TAG_BYTES
        return CohortRow(
            training=OwnedId(row["training"]),
            other=row["other"],
            firms=frozenset(firms[first : first + size] for first in range(0, len(firms), size)),
            consents=tuple(decode_json(row["consents"], max_bytes=_MAX_CONSENTS_BYTES)),
            made_ms=row["made_ms"],
            valid_until_ms=row["valid_until_ms"],
        )


_LOCK_COHORTS = text("LOCK TABLE exchange_cohort IN SHARE ROW EXCLUSIVE MODE")
