"""The table of acts that need two people; bodies, reasons and outcomes are encrypted.

A change of state names the state that it expects, so that of two who decide at once one is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    LargeBinary,
    MetaData,
    RowMapping,
    String,
    Table,
    and_,
    bindparam,
    func,
    insert,
    or_,
    select,
    update,
)

from shuiqiao.crypto.column_cipher import EncryptedColumns
from shuiqiao.node.accounts.approvals.model import Approval, ApprovalState
from shuiqiao.node.accounts.model import ActName

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from shuiqiao.crypto.column_cipher import ColumnCipher

metadata = MetaData()

_approval = Table(
    "accounts_approval",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("act", String(64), nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("maker_kind", String(16), nullable=False),
    Column("maker", String(32), nullable=False),
    Column("maker_person", String(32), nullable=False),
    Column("proposed_ms", BigInteger, nullable=False, index=True),
    Column("until_ms", BigInteger, nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("checker", String(32), nullable=False),
    Column("decided_ms", BigInteger, nullable=False),
    Column("reason", LargeBinary, nullable=False),
    Column("height", BigInteger, nullable=False),
    Column("outcome", LargeBinary, nullable=False),
)
_SECRETS = EncryptedColumns(table="accounts_approval", key="id", columns={"body": bytes, "reason": str, "outcome": str})

# Statements are built once: SQLAlchemy then finds each one's compiled text without walking it again.
_ADD = insert(_approval)
_BY_ID = select(_approval).where(_approval.c.id.between(bindparam("first"), bindparam("last"))).limit(2)
_IN_STATES = (
    select(_approval)
    .where(
        and_(
            _approval.c.state.in_(bindparam("states", expanding=True)),
            or_(
                _approval.c.act.in_(bindparam("acts", expanding=True)),
                _approval.c.maker_person == bindparam("of_person"),
            ),
            _approval.c.maker_person != bindparam("but_person"),
            or_(
                _approval.c.proposed_ms < bindparam("after_ms"),
                and_(_approval.c.proposed_ms == bindparam("after_ms"), _approval.c.id > bindparam("after_id")),
            ),
        )
    )
    .order_by(_approval.c.proposed_ms.desc(), _approval.c.id)
    .limit(bindparam("at_most"))
)
_COUNT = select(func.count()).select_from(_approval).where(_approval.c.state == bindparam("of_state"))
_SAME = select(_approval.c.id).where(
    and_(_approval.c.digest == bindparam("of_digest"), _approval.c.state == bindparam("of_state"))
)
_WAITING_ACTS = select(_approval).where(
    and_(_approval.c.act == bindparam("of_act"), _approval.c.state == str(ApprovalState.WAITING))
)
_EXPIRE = (
    update(_approval)
    .where(and_(_approval.c.state == str(ApprovalState.WAITING), _approval.c.until_ms <= bindparam("now_ms")))
    .values(state=str(ApprovalState.EXPIRED), decided_ms=bindparam("now_ms"))
)

ID_CHARACTERS: Final = 32
"""Of an act's id, in hex."""

_BEFORE_ALL = (2**53, "")
"""A place before the newest act."""


class ApprovalStore:
    """The acts of two people of one institution."""

    def __init__(self, engine: Engine, *, cipher: ColumnCipher) -> None:
        self._engine = engine
        self._cipher = cipher

    def begin(self) -> AbstractContextManager[Connection]:
        """Give a transaction. The data key is opened before it, for the first time that may write."""
        self._cipher.tag("")
        return self._engine.begin()

    def add(self, connection: Connection, approval: Approval) -> None:
        """Keep what was proposed."""
        row = {name: getattr(approval, name) for name in Approval.__slots__} | {"state": str(approval.state)}
        connection.execute(_ADD, self._cipher.encrypt_row(_SECRETS, row))

    def approval(self, identifier: str) -> Approval | None:
        """Return an act by its id in hex, or by a beginning that only this one has; or None."""
        first, last = (identifier.ljust(ID_CHARACTERS, digit) for digit in "0f")
        with self._engine.connect() as connection:
            rows = connection.execute(_BY_ID, {"first": first, "last": last}).mappings().all()
        return self._opened(rows[0]) if len(rows) == 1 else None

    def in_states(
        self,
        states: Sequence[ApprovalState],
        *,
        at_most: int,
        after: tuple[int, str] | None = None,
        acts: Iterable[ActName] = ActName,
        of_person: str = "",
        but_person: str = "",
    ) -> list[Approval]:
        """Return acts in some states, the newest first. after: when the one before them was proposed, and its id.

        acts: those of these names, and those that of_person made; none that but_person made.
        """
        after_ms, after_id = after or _BEFORE_ALL
        asked = {
            "states": [*map(str, states)],
            "at_most": at_most,
            "after_ms": after_ms,
            "after_id": after_id,
            "acts": [*map(str, acts)],
            "of_person": of_person,
            "but_person": but_person,
        }
        with self._engine.connect() as connection:
            rows = connection.execute(_IN_STATES, asked).mappings()
            return [self._opened(row) for row in rows]

    def count_waiting(self, connection: Connection) -> int:
        """Return how many acts wait for a checker."""
        return int(connection.execute(_COUNT, {"of_state": str(ApprovalState.WAITING)}).scalar_one())

    def waiting_with(self, connection: Connection, digest: bytes) -> str | None:
        """Return the id of an act of these very bytes that waits, None if none does."""
        return connection.execute(_SAME, {"of_digest": digest, "of_state": str(ApprovalState.WAITING)}).scalar()

    def waiting_acts(self, connection: Connection, act: ActName) -> list[Approval]:
        """Return the acts of a name that wait for a checker."""
        return [self._opened(row) for row in connection.execute(_WAITING_ACTS, {"of_act": str(act)}).mappings()]

    def change(self, connection: Connection, identifier: str, *, seen: ApprovalState, **values: Any) -> bool:
        """Keep what became of an act; tell whether it still was in the state that was seen."""
        row = self._cipher.encrypt_row(_SECRETS, {"id": identifier, **values})
        found = connection.execute(
            update(_approval).where(and_(_approval.c.id == identifier, _approval.c.state == str(seen))).values(**row)
        )
        return found.rowcount == 1

    def expire(self, *, now_ms: int) -> int:
        """End the waiting of what waited too long; return how many that were."""
        with self._engine.begin() as connection:
            return connection.execute(_EXPIRE, {"now_ms": now_ms}).rowcount

    def _opened(self, row: RowMapping) -> Approval:
        found = self._cipher.decrypt_row(_SECRETS, dict(row))
        found["state"] = ApprovalState(found["state"])
        return Approval(**found)
