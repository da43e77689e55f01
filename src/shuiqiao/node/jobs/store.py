"""The one table of jobs, from which any number of workers in any number of processes take work.

A job is claimed in one statement, so that it is claimed once, and belongs to its owner until its lease ends; the owner
puts that off while it works. Whoever finds a lease that ended takes the job over. Every later word of a worker about a
job counts only while its claim is the newest (owner and number of the attempt), so that one that was thought dead
changes nothing any more. Parameters, results and causes may name files, taxpayers and amounts: they are encrypted
columns.

LIMIT: leases are judged by the clocks of the machines that share the database; one that is ahead by more than a lease
takes over what still runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    and_,
    bindparam,
    case,
    delete,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError as AlreadyThere

from shuiqiao.base.encoding import decode_json, encode_json
from shuiqiao.crypto.column_cipher import EncryptedColumns
from shuiqiao.node.jobs.model import ENDED, MAX_CAUSE_CHARS, MAX_PARAMETERS_BYTES, Job, JobState

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy import Engine, RowMapping, Select, Update

    from shuiqiao.crypto.column_cipher import ColumnCipher

metadata = MetaData()

_job = Table(
    "node_job",
    metadata,
    Column("id", LargeBinary(16), primary_key=True),
    Column("kind", String(64), nullable=False),
    Column("parameters", LargeBinary, nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("due_ms", BigInteger, nullable=False),
    Column("every_ms", BigInteger),
    Column("attempts", Integer, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("owner", String(160)),
    Column("lease_until_ms", BigInteger),
    Column("step", Text, nullable=False),
    Column("done", BigInteger, nullable=False),
    Column("total", BigInteger),
    Column("code", String(64), nullable=False),
    Column("message", LargeBinary),
    Column("cancel_asked", Boolean, nullable=False),
    Column("confirmed", LargeBinary),
    Column("result", LargeBinary),
    Column("finished_ms", BigInteger),
    Column("request_id", String(36)),
    Index("node_job_due", "state", "due_ms"),
)
_SECRETS = EncryptedColumns(
    table="node_job",
    key="id",
    columns={"parameters": bytes, "message": str, "confirmed": bytes, "result": bytes},
)
_JSON_COLUMNS = ("parameters", "confirmed", "result")

# Statements are built once: SQLAlchemy then finds each one's compiled text without walking it again.
_IS_JOB = _job.c.id == bindparam("of_id")
_ONE = select(_job).where(_IS_JOB)
_ADD = insert(_job)
_RUNS = _job.c.state == str(JobState.RUNNING)
_LEASE_ENDED = and_(_RUNS, _job.c.lease_until_ms <= bindparam("now_ms"))
_CLAIMABLE = and_(
    _job.c.kind.in_(bindparam("kinds", expanding=True)),
    or_(
        and_(_job.c.state == str(JobState.WAITING), _job.c.due_ms <= bindparam("now_ms")),
        and_(_LEASE_ENDED, _job.c.attempts < _job.c.max_attempts, _job.c.cancel_asked.is_(False)),
    ),
)
# PostgreSQL passes over rows that another claims at this moment; SQLite has one writer at a time anyway.
_ANY = select(_job.c.id).where(_CLAIMABLE).limit(1)
_NEXT = (
    select(_job.c.id)
    .where(_CLAIMABLE)
    .order_by(_job.c.due_ms, _job.c.created_ms, _job.c.id)
    .limit(1)
    .with_for_update(skip_locked=True)
)
_CLAIM = (
    update(_job)
    .where(_job.c.id == _NEXT.scalar_subquery(), _CLAIMABLE)
    .values(
        state=str(JobState.RUNNING),
        owner=bindparam("of_owner"),
        lease_until_ms=bindparam("until_ms"),
        attempts=_job.c.attempts + 1,
        step="",
        done=0,
        total=None,
        code="",
        message=None,
        finished_ms=None,
    )
    .returning(_job)
)
_ORPHAN = update(_job).where(_RUNS, _job.c.owner != bindparam("of_owner")).values(lease_until_ms=bindparam("now_ms"))
_HASTEN = (
    update(_job)
    .where(
        _job.c.kind.in_(bindparam("kinds", expanding=True)),
        _job.c.state == str(JobState.WAITING),
        _job.c.due_ms > bindparam("now_ms"),
    )
    .values(due_ms=bindparam("now_ms"))
)
_LOST = select(_job).where(_LEASE_ENDED, or_(_job.c.attempts >= _job.c.max_attempts, _job.c.cancel_asked.is_(True)))
_IS_MINE = and_(_IS_JOB, _RUNS, _job.c.owner == bindparam("of_owner"), _job.c.attempts == bindparam("of_attempt"))
_RENEW = update(_job).where(_IS_MINE).values(lease_until_ms=bindparam("until_ms")).returning(_job.c.cancel_asked)
_TELL = (
    update(_job)
    .where(_IS_MINE)
    .values(step=bindparam("new_step"), done=bindparam("new_done"), total=bindparam("new_total"))
    .returning(_job.c.cancel_asked)
)
# A job that was to be cancelled while its run ended otherwise does not wait for another one.
_GOES_ON = bindparam("new_state", type_=String).in_([str(JobState.WAITING), str(JobState.HELD)])
_IS_CANCELLED = and_(_job.c.cancel_asked.is_(True), _job.c.every_ms.is_(None), _GOES_ON)
_ENDS = (
    update(_job)
    .where(_IS_MINE)
    .values(
        {name: bindparam(f"new_{name}") for name in ("due_ms", "attempts", "code", "message", "result", "confirmed")}
        | {
            "state": case((_IS_CANCELLED, str(JobState.CANCELLED)), else_=bindparam("new_state", type_=String)),
            "finished_ms": case((_IS_CANCELLED, bindparam("now_ms")), else_=bindparam("new_finished_ms")),
            "owner": None,
            "lease_until_ms": None,
            "cancel_asked": False,
        }
    )
)
_ENDS_LOST = _ENDS.where(_job.c.lease_until_ms <= bindparam("now_ms"))
_CANCEL_IDLE = (
    update(_job)
    .where(_IS_JOB, _job.c.state.in_([str(JobState.WAITING), str(JobState.HELD)]))
    .values(
        state=bindparam("new_state"),
        due_ms=bindparam("new_due_ms"),
        attempts=0,
        confirmed=None,
        finished_ms=bindparam("now_ms"),
    )
)
_ASK_TO_CANCEL = update(_job).where(_IS_JOB, _RUNS).values(cancel_asked=True)
_CONFIRM = (
    update(_job)
    .where(_IS_JOB, _job.c.state == str(JobState.HELD))
    .values(state=str(JobState.WAITING), confirmed=bindparam("new_confirmed"), due_ms=bindparam("now_ms"), attempts=0)
)
# Duties are the oldest, for they never end: however many jobs came after them, they are in the list.
_LIST = (
    select(_job).order_by(_job.c.every_ms.is_(None), _job.c.created_ms.desc(), _job.c.id).limit(bindparam("at_most"))
)
_NAMED = (
    select(_job)
    .where(_job.c.id >= bindparam("first", type_=LargeBinary), _job.c.id <= bindparam("last", type_=LargeBinary))
    .order_by(_job.c.id)
    .limit(bindparam("at_most"))
)
_IS_ENDED = _job.c.state.in_([str(state) for state in ENDED])
_FORGET = delete(_job).where(_IS_ENDED, _job.c.finished_ms < bindparam("before_ms"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a run of a job ended, and what becomes of the job."""

    state: JobState
    due_ms: int
    attempts: int
    code: str = ""
    message: str | None = None
    result: Mapping[str, Any] | None = None
    confirmed: Mapping[str, Any] | None = None
    finished_ms: int | None = None


class JobStore:
    """The jobs of one home."""

    def __init__(self, engine: Engine, *, cipher: ColumnCipher) -> None:
        self._engine = engine
        self._cipher = cipher

    def add(self, job: Job) -> bool:
        """Keep a job, durable when this returns; tell whether its id was not there already."""
        row = self._encrypted({name: getattr(job, name) for name in Job.__slots__} | {"state": str(job.state)})
        try:
            with self._engine.begin() as connection:
                connection.execute(_ADD, row)
        except AlreadyThere:
            return False
        return True

    def job(self, job: bytes) -> Job | None:
        """Return a job, or None."""
        with self._engine.connect() as connection:
            row = connection.execute(_ONE, {"of_id": job}).mappings().first()
        return None if row is None else self._job(row)

    def jobs(self, *, at_most: int, kind: str | None = None, state: JobState | None = None) -> list[Job]:
        """Return jobs: the duties, then all others, the newest first. kind, state: those alone, None for any."""
        wanted = _LIST
        if kind is not None:
            wanted = wanted.where(_job.c.kind == kind)
        if state is not None:
            wanted = wanted.where(_job.c.state == str(state))
        return self._jobs(wanted, {"at_most": at_most})

    def named(self, *, first: bytes, last: bytes, at_most: int) -> list[Job]:
        """Return the jobs whose ids lie between two, both included."""
        return self._jobs(_NAMED, {"first": first, "last": last, "at_most": at_most})

    def _jobs(self, wanted: Select[Any], values: Mapping[str, Any]) -> list[Job]:
        with self._engine.connect() as connection:
            return [self._job(row) for row in connection.execute(wanted, values).mappings()]

    def claim(self, *, owner: str, kinds: Collection[str], now_ms: int, until_ms: int) -> Job | None:
        """Take the next job that is due, one of a lease that ended included; None where there is none.

        until_ms: when its lease ends unless it is renewed.
        """
        wanted = {"of_owner": owner, "kinds": list(kinds), "now_ms": now_ms, "until_ms": until_ms}
        with self._engine.connect() as connection:
            # Mostly there is none, and who only looks keeps nobody from writing.
            if connection.scalar(_ANY, {"kinds": list(kinds), "now_ms": now_ms}) is None:
                return None
        with self._engine.begin() as connection:
            row = connection.execute(_CLAIM, wanted).mappings().first()
        return None if row is None else self._job(row)

    def end_leases(self, *, but: str, now_ms: int) -> None:
        """End the leases of all other owners at once: none of them is there any more."""
        with self._engine.connect() as connection:
            if connection.scalar(select(_job.c.id).where(_RUNS).limit(1)) is None:
                return
        with self._engine.begin() as connection:
            connection.execute(_ORPHAN, {"of_owner": but, "now_ms": now_ms})

    def hasten(self, kinds: Collection[str], *, now_ms: int) -> None:
        """Have the jobs of some kinds that wait for their time be due now."""
        with self._engine.begin() as connection:
            connection.execute(_HASTEN, {"kinds": list(kinds), "now_ms": now_ms})

    def lost(self, *, now_ms: int) -> list[Job]:
        """Return jobs whose owner is gone and that are not tried again: attempts used up, or to be cancelled."""
        return self._jobs(_LOST, {"now_ms": now_ms})

    def renew(self, job: Job, *, until_ms: int) -> bool | None:
        """Put off the end of a lease; tell whether the job is to be cancelled, None where another owner has it."""
        return self._told(job, _RENEW, {"until_ms": until_ms})

    def tell(self, job: Job, *, step: str, done: int, total: int | None) -> bool | None:
        """Note how far a job is; return as ``renew`` does."""
        return self._told(job, _TELL, {"new_step": step, "new_done": done, "new_total": total})

    def end(self, job: Job, ending: Ending, *, now_ms: int, only_if_lost: bool = False) -> bool:
        """Note how a run ended; tell whether the job was its owner's still: else this changed nothing.

        only_if_lost: by somebody else, where the owner has not renewed its lease meanwhile.
        """
        told = None if ending.message is None else _told_cause(ending.message)
        fields = {name: getattr(ending, name) for name in Ending.__slots__} | {"message": told}
        row = self._encrypted({"id": job.id} | fields)
        values = {f"new_{name}": value for name, value in row.items() if name != "id"}
        with self._engine.begin() as connection:
            claim = {**_claim_of(job), "new_state": str(ending.state), "now_ms": now_ms}
            done = connection.execute(_ENDS_LOST if only_if_lost else _ENDS, values | claim)
            return done.rowcount == 1

    def cancel(self, job: Job, *, now_ms: int) -> None:
        """Cancel a job that is not running, and ask its owner to end one that is; a duty waits for its next time."""
        is_duty = job.every_ms is not None
        values = {
            "of_id": job.id,
            "now_ms": now_ms,
            "new_state": str(JobState.WAITING if is_duty else JobState.CANCELLED),
            "new_due_ms": now_ms + (job.every_ms or 0),
        }
        with self._engine.begin() as connection:
            connection.execute(_CANCEL_IDLE, values)
            connection.execute(_ASK_TO_CANCEL, {"of_id": job.id})

    def confirm(self, job: Job, *, confirmed: Mapping[str, Any], now_ms: int) -> bool:
        """Let a held job go on with what it stopped with; tell whether it was held still."""
        row = self._encrypted({"id": job.id, "confirmed": confirmed})
        values = {"of_id": job.id, "new_confirmed": row["confirmed"], "now_ms": now_ms}
        with self._engine.begin() as connection:
            return connection.execute(_CONFIRM, values).rowcount == 1

    def forget(self, *, before_ms: int) -> None:
        """Remove jobs that ended before a moment."""
        with self._engine.begin() as connection:
            connection.execute(_FORGET, {"before_ms": before_ms})

    def _told(self, job: Job, statement: Update, values: Mapping[str, Any]) -> bool | None:
        with self._engine.begin() as connection:
            row = connection.execute(statement, {**values, **_claim_of(job)}).first()
        return None if row is None else bool(row.cancel_asked)

    def _encrypted(self, row: Mapping[str, Any]) -> dict[str, Any]:
        texts = {name: encode_json(dict(row[name])) for name in _JSON_COLUMNS if row.get(name) is not None}
        return self._cipher.encrypt_row(_SECRETS, {**row, **texts})

    def _job(self, row: RowMapping) -> Job:
        found = self._cipher.decrypt_row(_SECRETS, dict(row))
        for name in _JSON_COLUMNS:
            if found[name] is not None:
                found[name] = decode_json(found[name], max_bytes=MAX_PARAMETERS_BYTES)
        found["state"], found["message"] = JobState(found["state"]), found["message"] or ""
        return Job(**found)


def _told_cause(message: str) -> str:
    """Return what is kept of the words of a cause: as many as are shown, and nothing that is no text in UTF-8."""
    return message[:MAX_CAUSE_CHARS].encode(errors="backslashreplace").decode()


def _claim_of(job: Job) -> dict[str, Any]:
    return {"of_id": job.id, "of_owner": job.owner, "of_attempt": job.attempts}
