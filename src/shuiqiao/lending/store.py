"""Applications, their files and decisions, and sealed openings of one institution, in its database.

Who applied for how much, what is known of them, what was judged, granted and why, and the salts that open what the
ledger commits to, are encrypted columns; sealed openings are the regulator's to open already.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Column,
    Engine,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    and_,
    bindparam,
    delete,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError as AlreadyThere

from shuiqiao.base.encoding import encode_json
from shuiqiao.base.errors import Conflict, Denied, Unavailable
from shuiqiao.base.ids import OWNED_ID_CHARS, OwnedId, owned_id
from shuiqiao.crypto.column_cipher import ColumnCipher, EncryptedColumns
from shuiqiao.lending.file import (
    ApplicationFile,
    ApplicationStatus,
    Judgement,
    KeptDecision,
    PreparedDecision,
    Review,
    Step,
    TimelineEntry,
    decode_applicant,
    decode_curve,
    decode_judgement,
    encode_applicant,
    encode_curve,
    encode_judgement,
    in_order,
)
from shuiqiao.lending.model import ApplicantFile, Application, Outcome

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping

    from sqlalchemy import Connection, Select

    from shuiqiao.credit.pricing import ChurnCurve

metadata = MetaData()

_applications = Table(
    "lending_application",
    metadata,
    Column("application", LargeBinary(16), primary_key=True),
    Column("product", String(32), nullable=False),
    Column("taxpayer", LargeBinary, nullable=False),
    Column("consent", String(OWNED_ID_CHARS), nullable=False, index=True),
    Column("amount_fen", LargeBinary, nullable=False),
    Column("salt", LargeBinary, nullable=False),
    Column("submitted_ms", BigInteger, nullable=False),
    Column("status", String(16), nullable=False),
)
_APPLICATION_SECRETS = EncryptedColumns(
    table="lending_application", key="application", columns={"taxpayer": str, "amount_fen": int, "salt": bytes}
)

_files = Table(
    "lending_file",
    metadata,
    Column("application", LargeBinary(16), primary_key=True),
    Column("applicant", LargeBinary),
    Column("attempt", Integer, nullable=False),
    Column("judgement", LargeBinary),
    Column("review", LargeBinary),
    Column("maker", String(64)),
    Column("checker", String(64)),
    Column("closed_ms", BigInteger, index=True),
)
_FILE_SECRETS = EncryptedColumns(
    table="lending_file", key="application", columns={"applicant": bytes, "judgement": bytes, "review": bytes}
)

_timeline = Table(
    "lending_timeline",
    metadata,
    Column("application", LargeBinary(16), primary_key=True),
    Column("step", String(16), primary_key=True),
    Column("code", String(64), primary_key=True),
    Column("time_ms", BigInteger, nullable=False),
    Column("entry_index", BigInteger),
    Column("cause", LargeBinary, nullable=False),
    Column("times", Integer, nullable=False),
)
_TIMELINE_SECRETS = EncryptedColumns(table="lending_timeline", key="application", columns={"cause": str})

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

_bodies = Table(
    "lending_decision_body",
    metadata,
    Column("application", LargeBinary(16), primary_key=True),
    Column("body", LargeBinary, nullable=False),
)

_openings = Table(
    "lending_opening",
    metadata,
    Column("application", String(OWNED_ID_CHARS), primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
)

_uses = Table(
    "lending_model_use",
    metadata,
    Column("product", String(32), primary_key=True),
    Column("model", LargeBinary(32), nullable=False),
    Column("since_ms", BigInteger, nullable=False),
)

_product_rules = Table(
    "lending_product",
    metadata,
    Column("product", String(32), primary_key=True),
    Column("rules", Text, nullable=False),
    Column("since_ms", BigInteger, nullable=False),
)

_churn = Table(
    "lending_churn",
    metadata,
    Column("band", String(1), primary_key=True),
    Column("curve", LargeBinary, nullable=False),
)

# Statements are built once: SQLAlchemy then finds each one's compiled text without walking it again.
_ADD_APPLICATION = insert(_applications)
_ADD_FILE = insert(_files)
_OF_FILE = _files.c.application == bindparam("of_application")
_REMOVE = tuple(
    delete(table).where(table.c.application == bindparam("of_application"))
    for table in (_timeline, _files, _applications)
)
_SET_STATUS = (
    update(_applications)
    .where(_applications.c.application == bindparam("of_application"))
    .values(status=bindparam("new_status"))
)
_SET_JUDGEMENT = update(_files).where(_OF_FILE).values(judgement=bindparam("new_judgement"))
_SET_REVIEW = (
    update(_files)
    .where(_OF_FILE)
    .values(review=bindparam("new_review"), maker=bindparam("new_maker"), checker=bindparam("new_checker"))
)
_SET_ATTEMPT = update(_files).where(_OF_FILE).values(attempt=bindparam("new_attempt"))
_SET_CLOSED = update(_files).where(_OF_FILE).values(closed_ms=bindparam("new_closed_ms"))
_ADD_ENTRY = insert(_timeline)
_ENTRIES = select(_timeline).where(_timeline.c.application == bindparam("of_application"))
_PLACES = select(_timeline.c.step, _timeline.c.code, _timeline.c.times).where(
    _timeline.c.application == bindparam("of_application")
)
_REMOVE_ENTRY = delete(_timeline).where(
    _timeline.c.application == bindparam("of_application"),
    _timeline.c.step == bindparam("of_step"),
    _timeline.c.code == bindparam("of_code"),
)
_ADD_DECISION = insert(_decisions)
_ADD_BODY = insert(_bodies)
_REMOVE_DECISION = tuple(
    delete(table).where(table.c.application == bindparam("of_application")) for table in (_bodies, _decisions)
)
_DECISION = (
    select(_decisions, _bodies.c.body)
    .outerjoin(_bodies, _bodies.c.application == _decisions.c.application)
    .where(_decisions.c.application == bindparam("of_application"))
)
_APPLICATION = (
    select(_applications, *(column for column in _files.c if column.name != "application"))
    .outerjoin(_files, _files.c.application == _applications.c.application)
    .where(_applications.c.application == bindparam("of_application"))
)
_IDS = select(_applications.c.application)
_ONE_ID = _IDS.where(_applications.c.application == bindparam("of_application"))
_LIST = select(_applications).order_by(_applications.c.submitted_ms, _applications.c.application)
_OPEN = (
    select(_applications.c.application)
    .join(_files, _files.c.application == _applications.c.application)
    .where(_files.c.closed_ms.is_(None))
    .order_by(_applications.c.submitted_ms, _applications.c.application)
)
_OPEN_FOR_US = _OPEN.where(or_(_applications.c.status != str(ApplicationStatus.REFERRED), _files.c.maker.is_not(None)))
_DECIDED_STEP = _timeline.alias("decided")
_DECIDED = (
    select(
        _decisions.c.application,
        _applications.c.product,
        _applications.c.submitted_ms,
        *(_decisions.c[name] for name in ("outcome", "limit_fen", "annual_rate", "explanation")),
        _files.c.maker,
        _files.c.checker,
        _DECIDED_STEP.c.time_ms.label("decided_ms"),
        _DECIDED_STEP.c.entry_index,
    )
    .join(_applications, _applications.c.application == _decisions.c.application)
    .outerjoin(_files, _files.c.application == _decisions.c.application)
    .outerjoin(
        _DECIDED_STEP,
        and_(
            _DECIDED_STEP.c.application == _decisions.c.application,
            _DECIDED_STEP.c.step == str(Step.DECIDED),
            _DECIDED_STEP.c.code == "",
        ),
    )
    .order_by(_applications.c.submitted_ms, _applications.c.application)
)
_DECIDED_ONE = _DECIDED.where(_decisions.c.application == bindparam("of_application"))
_APPROVED = (
    select(_applications.c.application, _applications.c.taxpayer, _decisions.c.limit_fen)
    .join(_decisions, _decisions.c.application == _applications.c.application)
    .where(_decisions.c.outcome == str(Outcome.APPROVED))
)
_ADD_OPENING = insert(_openings)
_RULES = select(_product_rules).where(_product_rules.c.product == bindparam("of_product"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationRow:
    """One application in a list."""

    application: Application
    status: ApplicationStatus

    @property
    def place(self) -> tuple[int, bytes]:
        """Where it stands in the list; the next page begins after it."""
        return self.application.submitted_ms, self.application.id


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRow:
    """One decision in a list. decided_ms, entry_index: of its ledger entry, None before it is there."""

    application: bytes
    product: str
    submitted_ms: int
    outcome: Outcome
    limit_fen: int
    annual_rate: str | None
    explanation: str
    maker: str | None
    checker: str | None
    decided_ms: int | None
    entry_index: int | None

    @property
    def place(self) -> tuple[int, bytes]:
        """Where it stands in the list; the next page begins after it."""
        return self.submitted_ms, self.application


class LendingStore:
    """One bank's applications and decisions."""

    def __init__(self, engine: Engine, *, cipher: ColumnCipher) -> None:
        self._engine = engine
        self._cipher = cipher

    def add_application(
        self,
        application: Application,
        *,
        salt: bytes,
        applicant: ApplicantFile | None = None,
        entries: Iterable[TimelineEntry] = (),
    ) -> None:
        """Keep an application, what is known of the applicant, and the salt that opens what it commits to; durable.

        Raises Conflict ``lending.application_repeated`` for an id that is on file.
        """
        values = asdict(application)
        plain = {
            "application": values.pop("id"),
            **values,
            "salt": salt,
            "status": str(ApplicationStatus.SUBMITTED),
        }
        row = self._cipher.encrypt_row(_APPLICATION_SECRETS, plain)
        known = {
            "application": application.id,
            "applicant": encode_applicant(applicant or ApplicantFile()),
            "attempt": 0,
        }
        file = self._cipher.encrypt_row(_FILE_SECRETS, known)
        try:
            with self._engine.begin() as connection:
                connection.execute(_ADD_APPLICATION, row)
                connection.execute(_ADD_FILE, file)
                self._put_entries(connection, application.id, entries)
        except AlreadyThere as error:
            raise Conflict(
                "lending.application_repeated", f"application {application.id.hex()} is on file already"
            ) from error

    def withdraw_application(self, application: bytes) -> bool:
        """Forget an application that the ledger refused, and its file, and tell whether that was done.

        One on which more was noted than its receipt stays: somebody may have been told that the bank has it.
        """
        with self._engine.begin() as connection:
            places = connection.execute(_PLACES, {"of_application": application}).all()
            if any((place.step, place.code) != (Step.RECEIVED, "") for place in places):
                return False
            for statement in _REMOVE:
                connection.execute(statement, {"of_application": application})
        return True

    def file(self, application: bytes) -> ApplicationFile:
        """Return everything kept of an application; raises Denied ``lending.application_not_here``."""
        with self._engine.connect() as connection:
            row = connection.execute(_APPLICATION, {"of_application": application}).mappings().first()
            if row is None:
                raise Denied("lending.application_not_here", f"no application {application.hex()} is on file here")
            timeline = self._timeline(connection, application)
            decided = connection.execute(_DECISION, {"of_application": application}).mappings().first()
        known = self._cipher.decrypt_row(_FILE_SECRETS, self._cipher.decrypt_row(_APPLICATION_SECRETS, dict(row)))
        judgement, review = known["judgement"], known["review"]
        return ApplicationFile(
            application=_application(known),
            salt=known["salt"],
            status=ApplicationStatus(known["status"]),
            applicant=decode_applicant(known["applicant"]),
            attempt=known["attempt"] or 0,
            closed_ms=known["closed_ms"],
            judgement=None if judgement is None else decode_judgement(judgement),
            review=None if review is None else Review(raw=review, maker=known["maker"], checker=known["checker"]),
            decision=None if decided is None else self._kept_decision(decided),
            timeline=in_order(timeline),
        )

    def applications(
        self,
        *,
        status: ApplicationStatus | None = None,
        product: str | None = None,
        consent: OwnedId | None = None,
        after: tuple[int, bytes] | None = None,
        limit: int | None = None,
    ) -> list[ApplicationRow]:
        """Return applications, oldest first. after: the place of the last one of the page before."""
        wanted = _LIST if status is None else _LIST.where(_applications.c.status == str(status))
        if product is not None:
            wanted = wanted.where(_applications.c.product == product)
        if consent is not None:
            wanted = wanted.where(_applications.c.consent == consent)
        with self._engine.connect() as connection:
            rows = connection.execute(_after(wanted, after).limit(limit)).mappings().all()
        plain = [self._cipher.decrypt_row(_APPLICATION_SECRETS, dict(row)) for row in rows]
        return [ApplicationRow(application=_application(row), status=ApplicationStatus(row["status"])) for row in plain]

    def decisions(
        self, *, outcome: str | None = None, after: tuple[int, bytes] | None = None, limit: int | None = None
    ) -> list[DecisionRow]:
        """Return decisions by when their applications came in. after: the place of the last one of the page before."""
        wanted = _DECIDED if outcome is None else _DECIDED.where(_decisions.c.outcome == outcome)
        with self._engine.connect() as connection:
            rows = connection.execute(_after(wanted, after).limit(limit)).mappings().all()
        return [self._decided(row) for row in rows]

    def decision(self, application: bytes) -> DecisionRow:
        """Return the decision on an application; raises Denied ``lending.undecided``."""
        with self._engine.connect() as connection:
            row = connection.execute(_DECIDED_ONE, {"of_application": application}).mappings().first()
        if row is None:
            raise Denied("lending.undecided", f"nobody has decided on application {application.hex()} yet")
        return self._decided(row)

    def approved_fen(self) -> dict[str, int]:
        """Return what was approved, added up by taxpayer; as long as no loan is recorded, that is what was lent."""
        found: dict[str, int] = {}
        with self._engine.connect() as connection:
            for row in connection.execute(_APPROVED).mappings():
                whose = self._cipher.decrypt_row(_APPLICATION_SECRETS, dict(row))["taxpayer"]
                amount_fen = self._cipher.decrypt_row(_DECISION_SECRETS, dict(row))["limit_fen"]
                found[whose] = found.get(whose, 0) + amount_fen
        return found

    def has(self, application: bytes) -> bool:
        """Return whether an application is on file."""
        with self._engine.connect() as connection:
            return connection.scalar(_ONE_ID, {"of_application": application}) is not None

    def ids(self) -> list[bytes]:
        """Return the ids of all applications."""
        with self._engine.connect() as connection:
            return [*connection.scalars(_IDS)]

    def open_applications(self, *, but_for_people: bool = False) -> list[bytes]:
        """Return the applications whose files have not ended, oldest first.

        but_for_people: without those that wait until people have decided.
        """
        with self._engine.connect() as connection:
            return [*connection.scalars(_OPEN_FOR_US if but_for_people else _OPEN)]

    def note(self, application: bytes, *entries: TimelineEntry) -> None:
        """Add steps to a timeline; a step that stands there stays, a failure that stands there counts once more."""
        with self._changing(application) as connection:
            self._put_entries(connection, application, entries)

    def keep_judgement(
        self,
        application: bytes,
        judgement: Judgement,
        *,
        entries: Iterable[TimelineEntry],
        prepared: PreparedDecision | None = None,
    ) -> None:
        """Keep what the rules made of an application, which waits for a person where they refer it.

        prepared: the decision that they came to alone, kept in the same transaction as by ``add_decision``.
        """
        with self._changing(application) as connection:
            row = self._secret(application, judgement=encode_judgement(judgement))
            connection.execute(_SET_JUDGEMENT, {"of_application": application, "new_judgement": row["judgement"]})
            if judgement.is_referred:
                _set_status(connection, application, ApplicationStatus.REFERRED)
            if prepared is not None:
                self._put_decision(connection, prepared)
            self._put_entries(connection, application, entries)

    def keep_review(self, application: bytes, review: Review, *, entries: Iterable[TimelineEntry]) -> None:
        """Keep what two persons decided."""
        with self._changing(application) as connection:
            row = self._secret(application, review=review.raw)
            values = {"new_review": row["review"], "new_maker": review.maker, "new_checker": review.checker}
            connection.execute(_SET_REVIEW, {"of_application": application, **values})
            self._put_entries(connection, application, entries)

    def next_attempt(self, application: bytes, *, attempt: int) -> None:
        """Note that data is asked for anew."""
        with self._changing(application) as connection:
            connection.execute(_SET_ATTEMPT, {"of_application": application, "new_attempt": attempt})

    def close(self, application: bytes, *entries: TimelineEntry, status: ApplicationStatus | None = None) -> None:
        """End a file. status: where it ends without a decision."""
        with self._changing(application) as connection:
            connection.execute(_SET_CLOSED, {"of_application": application, "new_closed_ms": entries[-1].time_ms})
            if status is not None:
                _set_status(connection, application, status)
            self._put_entries(connection, application, entries)

    def add_decision(self, prepared: PreparedDecision) -> None:
        """Keep a decision with its explanation (the ledger has its salted digest), and close its application.

        The body of its transaction is kept so that a bank that crashed puts this very decision on the ledger. Raises
        Conflict ``lending.decision_on_file`` if there is one for the application.
        """
        decision = prepared.decision
        try:
            with self._engine.begin() as connection:
                self._put_decision(connection, prepared)
        except AlreadyThere as error:
            raise Conflict(
                "lending.decision_on_file",
                f"application {decision.application.hex()} is decided already, and cannot be {decision.outcome}",
            ) from error

    def _put_decision(self, connection: Connection, prepared: PreparedDecision) -> None:
        decision = prepared.decision
        plain = {
            "application": decision.application,
            "outcome": str(decision.outcome),
            "limit_fen": decision.limit_fen,
            "annual_rate": None if decision.annual_rate is None else str(decision.annual_rate),
            "explanation": encode_json(decision.explanation()).decode(),
            "reasons_salt": prepared.reasons_salt,
            "sealed_opening": prepared.sealed_opening,
        }
        connection.execute(_ADD_DECISION, self._cipher.encrypt_row(_DECISION_SECRETS, plain))
        connection.execute(_ADD_BODY, {"application": decision.application, "body": prepared.body})
        _set_status(connection, decision.application, ApplicationStatus(decision.outcome))

    def withdraw_decision(self, application: bytes) -> None:
        """Forget a decision that the ledger refused, and open its application again."""
        with self._engine.begin() as connection:
            for statement in _REMOVE_DECISION:
                connection.execute(statement, {"of_application": application})
            is_reviewed = connection.scalar(select(_files.c.maker).where(_OF_FILE), {"of_application": application})
            status = ApplicationStatus.SUBMITTED if is_reviewed is None else ApplicationStatus.REFERRED
            _set_status(connection, application, status)

    def sealed_openings(self) -> dict[bytes, bytes]:
        """Return application id to what was sealed to the regulator for its decision, to be handed in (again)."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(_decisions.c.application, _decisions.c.sealed_opening)).all()
        return {row.application: row.sealed_opening for row in rows}

    @contextmanager
    def _changing(self, application: bytes) -> Generator[Connection]:
        """Yield a transaction; raises Unavailable ``lending.application_busy`` where another wrote the same."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except AlreadyThere as error:
            raise Unavailable(
                "lending.application_busy",
                f"application {application.hex()} is being processed elsewhere",
                retry_after_s=1.0,
            ) from error

    def _put_entries(self, connection: Connection, application: bytes, entries: Iterable[TimelineEntry]) -> None:
        new = {(entry.step, entry.code): entry for entry in entries}
        if not new:
            return
        found = connection.execute(_PLACES, {"of_application": application})
        known = {(Step(row.step), row.code): row.times for row in found}
        rows: list[dict[str, Any]] = []
        for key, entry in new.items():
            if key in known:
                if not entry.code:
                    continue
                place = {"of_application": application, "of_step": str(entry.step), "of_code": entry.code}
                connection.execute(_REMOVE_ENTRY, place)
            times = known.get(key, 0) + 1
            plain = {"application": application, **asdict(entry), "step": str(entry.step), "times": times}
            rows.append(self._cipher.encrypt_row(_TIMELINE_SECRETS, plain))
        if rows:
            connection.execute(_ADD_ENTRY, rows)

    def _timeline(self, connection: Connection, application: bytes) -> dict[tuple[Step, str], TimelineEntry]:
        rows = connection.execute(_ENTRIES, {"of_application": application}).mappings().all()
        entries = [_entry(self._cipher.decrypt_row(_TIMELINE_SECRETS, dict(row))) for row in rows]
        return {(entry.step, entry.code): entry for entry in entries}

    def _secret(self, application: bytes, **columns: bytes) -> dict[str, Any]:
        return self._cipher.encrypt_row(_FILE_SECRETS, {"application": application, **columns})

    def _decided(self, row: Any) -> DecisionRow:
        known = self._cipher.decrypt_row(_DECISION_SECRETS, dict(row))
        known["outcome"] = Outcome(known["outcome"])
        return DecisionRow(**known)

    def _kept_decision(self, row: Any) -> KeptDecision:
        known = self._cipher.decrypt_row(_DECISION_SECRETS, dict(row))
        return KeptDecision(
            outcome=Outcome(known["outcome"]),
            limit_fen=known["limit_fen"],
            annual_rate=known["annual_rate"],
            explanation=known["explanation"],
            sealed_opening=known["sealed_opening"],
            body=known["body"] or b"",
        )


class ProductStore:
    """The rules of a bank's products that it changed, which model decides for each, and the bank's churn curves."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def uses(self) -> dict[str, tuple[bytes, int]]:
        """Return product to the digest of its model, and since when."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(_uses)).all()
        return {row.product: (row.model, row.since_ms) for row in rows}

    def use(self, product: str, *, model: bytes, since_ms: int) -> None:
        """Let a model decide for a product, instead of the one before."""
        with self._engine.begin() as connection:
            connection.execute(delete(_uses).where(_uses.c.product == product))
            connection.execute(insert(_uses), {"product": product, "model": model, "since_ms": since_ms})

    def retire(self, product: str) -> None:
        """Let no model decide for a product."""
        with self._engine.begin() as connection:
            connection.execute(delete(_uses).where(_uses.c.product == product))

    def rules(self, product: str) -> tuple[str, int] | None:
        """Return the text of a product's rules that the bank changed, and since when; None for the catalogue's."""
        with self._engine.connect() as connection:
            row = connection.execute(_RULES, {"of_product": product}).first()
        return None if row is None else (row.rules, row.since_ms)

    def set_rules(self, product: str, text: str, *, since_ms: int) -> None:
        """Keep the text of a product's rules in the place of the one before."""
        with self._engine.begin() as connection:
            connection.execute(delete(_product_rules).where(_product_rules.c.product == product))
            connection.execute(insert(_product_rules), {"product": product, "rules": text, "since_ms": since_ms})

    def churn(self) -> dict[str, ChurnCurve]:
        """Return the churn curves by band."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(_churn)).all()
        return {row.band: decode_curve(row.curve) for row in rows}

    def set_churn(self, curves: Mapping[str, ChurnCurve]) -> None:
        """Keep churn curves in the place of all before."""
        rows = [{"band": band, "curve": encode_curve(curve)} for band, curve in curves.items()]
        with self._engine.begin() as connection:
            connection.execute(delete(_churn))
            connection.execute(insert(_churn), rows)


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


def _after(wanted: Select[Any], after: tuple[int, bytes] | None) -> Select[Any]:
    """Return the part of a list of applications behind a place in it."""
    if after is None:
        return wanted
    time_ms, application = after
    return wanted.where(
        or_(
            _applications.c.submitted_ms > time_ms,
            and_(_applications.c.submitted_ms == time_ms, _applications.c.application > application),
        )
    )


def _set_status(connection: Connection, application: bytes, status: ApplicationStatus) -> None:
    connection.execute(_SET_STATUS, {"of_application": application, "new_status": str(status)})


def _application(row: Any) -> Application:
    return Application(
        id=row["application"],
        product=row["product"],
        taxpayer=row["taxpayer"],
        consent=OwnedId(row["consent"]),
        amount_fen=row["amount_fen"],
        submitted_ms=row["submitted_ms"],
    )


def _entry(row: Any) -> TimelineEntry:
    values: dict[str, Any] = {name: row[name] for name in TimelineEntry.__slots__}
    values["step"] = Step(row["step"])
    return TimelineEntry(**values)
