"""The outbox to other members: what must reach them is kept until they have it, however long they are down [PEER-11].

1. keep the message's body in the database, durably;
2. send it, signed freshly each time;
3. forget it once the receiver says that it has it.

A receiver that cannot be reached is asked again after a pause that doubles up to five minutes, drawn at random from its
upper half so that members do not come back all at once; nothing else waits for it. What a receiver refuses is tried
again too, more and more seldom, up to once an hour: its copy may be behind, its gate may open. Nothing is dropped but
by a person, and ``waiting`` says what waits for whom, since when and why.

The bodies hold nothing that a reader of the database may not see: what names a taxpayer is sealed to its receiver.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    RowMapping,
    String,
    Table,
    Text,
    delete,
    func,
    insert,
    literal,
    select,
    tuple_,
    update,
)
from sqlalchemy.exc import IntegrityError as AlreadyThere

from shuiqiao.base.clock import MS_PER_SECOND
from shuiqiao.base.errors import ShuiqiaoError, Unavailable
from shuiqiao.base.ids import MemberId
from shuiqiao.node.peers import acts
from shuiqiao.node.peers.message import Act

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from shuiqiao.base.clock import Clock
    from shuiqiao.base.ids import Entropy
    from shuiqiao.crypto.model import CipherSuite
    from shuiqiao.node.peers.asking import PeerClient

FIRST_PAUSE_MS: Final = 1_000
MAX_PAUSE_MS: Final = 300_000
"""Longest pause before a receiver that was not reached is asked again."""

MAX_REFUSED_PAUSE_MS: Final = 3_600_000
"""Longest pause before what a receiver refused is handed in again."""

MAX_RECEIVERS_AT_ONCE: Final = 8
_ROUND: Final = 256
"""Messages to one receiver in a row."""

_MAX_DOUBLINGS: Final = 20
_MAX_REASON: Final = 2_000
_IDLE_S: Final = 60.0
_ANSWERS: Final[dict[Act, type[acts.Wired]]] = {
    Act.ARTEFACT: acts.Nothing,
    Act.OPENING: acts.Nothing,
    Act.OFFER: acts.Nothing,
    Act.RELAY: acts.Placed,
}
"""What is delivered, and what says that it arrived."""

metadata = MetaData()

_deliveries = Table(
    "node_deliveries",
    metadata,
    Column("id", LargeBinary(32), primary_key=True),
    Column("receiver", String(32), nullable=False),
    Column("act", String(32), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("kept_ms", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_ms", BigInteger, nullable=False),
    Column("code", String(100), nullable=False),
    Column("reason", Text, nullable=False),
    Index("node_deliveries_due", "receiver", "next_ms"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A message on its way, as it is told of. code, reason: why the last attempt failed, empty before the first."""

    id: bytes
    receiver: MemberId
    act: Act
    kept_ms: int
    attempts: int
    next_ms: int
    code: str
    reason: str

    def as_json(self) -> dict[str, Any]:
        """Return what is told of it."""
        return {
            "id": self.id.hex(),
            "receiver": self.receiver,
            "act": self.act.value,
            "kept_ms": self.kept_ms,
            "attempts": self.attempts,
            "next_ms": self.next_ms,
            "code": self.code,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery(Waiting):
    """The same with what it says."""

    body: bytes


_TOLD: Final = select(*(_deliveries.c[field.name] for field in fields(Waiting)))
_IN_ORDER: Final = (_deliveries.c.kept_ms, _deliveries.c.id)


class DeliveryStore:
    """The messages that were not delivered yet."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, delivery: Delivery, *, instead_of: bytes = b"") -> None:
        """Keep a message, durable when this returns; one that is there already stays as it is.

        instead_of: another message, which is forgotten in the same act.
        """
        with suppress(AlreadyThere), self._engine.begin() as connection:
            if instead_of:
                connection.execute(delete(_deliveries).where(_deliveries.c.id == instead_of))
                if connection.execute(select(_deliveries.c.id).where(_deliveries.c.id == delivery.id)).first():
                    return
            connection.execute(insert(_deliveries).values(_values(delivery)))

    def waiting(self, *, after: tuple[int, bytes] | None = None, most: int | None = None) -> list[Waiting]:
        """Return them, oldest first. after: when the one before the first of them was kept, and its id."""
        wanted = _TOLD.order_by(*_IN_ORDER).limit(most)
        if after is not None:
            wanted = wanted.where(tuple_(*_IN_ORDER) > tuple_(*map(literal, after)))
        with self._engine.connect() as connection:
            return [Waiting(**_typed(row)) for row in connection.execute(wanted).mappings()]

    def count(self) -> int:
        """Return how many there are."""
        with self._engine.connect() as connection:
            return int(connection.execute(select(func.count()).select_from(_deliveries)).scalar_one())

    def bodies(self, act: Act) -> list[bytes]:
        """Return what the messages of one act say."""
        statement = select(_deliveries.c.body).where(_deliveries.c.act == act.value)
        with self._engine.connect() as connection:
            return list(connection.scalars(statement))

    def due(self, receiver: MemberId, *, now_ms: int, most: int) -> list[Delivery]:
        """Return those to one receiver that may be sent now, oldest first."""
        statement = (
            select(_deliveries)
            .where(_deliveries.c.receiver == receiver, _deliveries.c.next_ms <= now_ms)
            .order_by(*_IN_ORDER)
            .limit(most)
        )
        with self._engine.connect() as connection:
            return [Delivery(**_typed(row)) for row in connection.execute(statement).mappings()]

    def next_by_receiver(self) -> dict[MemberId, int]:
        """Return for each receiver when the first of its messages may be sent."""
        statement = select(_deliveries.c.receiver, func.min(_deliveries.c.next_ms)).group_by(_deliveries.c.receiver)
        with self._engine.connect() as connection:
            return {MemberId(receiver): next_ms for receiver, next_ms in connection.execute(statement)}

    def postpone(self, delivery: bytes, *, attempts: int, next_ms: int, error: ShuiqiaoError) -> None:
        """Note why a message did not arrive, and when it is tried again."""
        values = {
            "attempts": attempts,
            "next_ms": next_ms,
            "code": error.code[:100],
            "reason": error.message[:_MAX_REASON],
        }
        with self._engine.begin() as connection:
            connection.execute(update(_deliveries).where(_deliveries.c.id == delivery).values(values))

    def hold_back(self, receiver: MemberId, *, next_ms: int) -> None:
        """Let everything to a receiver wait at least until a time."""
        with self._engine.begin() as connection:
            connection.execute(
                update(_deliveries)
                .where(_deliveries.c.receiver == receiver, _deliveries.c.next_ms < next_ms)
                .values(next_ms=next_ms)
            )

    def remove(self, delivery: bytes) -> bool:
        """Forget a message; tell whether it was there."""
        with self._engine.begin() as connection:
            return connection.execute(delete(_deliveries).where(_deliveries.c.id == delivery)).rowcount > 0


def _values(delivery: Delivery) -> dict[str, Any]:
    return {field.name: getattr(delivery, field.name) for field in fields(Delivery)} | {"act": delivery.act.value}


def _typed(row: RowMapping) -> dict[str, Any]:
    return {**row, "receiver": MemberId(row["receiver"]), "act": Act(row["act"])}


class Deliveries:
    """Hands messages to other members, each until it arrived; safe between threads.

    Example::

        deliveries.start()
        deliveries.send(regulator, Act.OPENING, opening_body(application, sealed, engine=engine))
        deliveries.waiting()  # what waits for whom, and why
    """

    def __init__(
        self, store: DeliveryStore, *, client: PeerClient, suite: CipherSuite, clock: Clock, entropy: Entropy
    ) -> None:
        self._store = store
        self._client = client
        self._suite = suite
        self._clock = clock
        self._entropy = entropy
        self._pool = ThreadPoolExecutor(max_workers=MAX_RECEIVERS_AT_ONCE, thread_name_prefix="peer-delivery")
        self._busy: dict[MemberId, Future[None]] = {}
        self._wake = threading.Event()
        self._is_closing = False
        self._thread: threading.Thread | None = None

    def send(self, receiver: MemberId, act: Act, body: bytes, *, pause_ms: int = 0, instead_of: bytes = b"") -> bytes:
        """Keep a message for a receiver, send it as soon as that one takes it, and return its id; once is enough.

        pause_ms: how long it waits before the first attempt. instead_of: a message that it takes the place of.
        """
        now_ms = self._clock.now_ms()
        found = self._suite.digest(b"\x00".join((receiver.encode(), act.value.encode(), body)))
        self._store.add(
            Delivery(
                id=found,
                receiver=receiver,
                act=act,
                body=body,
                kept_ms=now_ms,
                attempts=0,
                next_ms=now_ms + pause_ms,
                code="",
                reason="",
            ),
            instead_of=instead_of,
        )
        self._wake.set()
        return found

    def waiting(self, *, after: tuple[int, bytes] | None = None, most: int | None = None) -> list[Waiting]:
        """Return what did not arrive yet, oldest first; see ``DeliveryStore.waiting``."""
        return self._store.waiting(after=after, most=most)

    def count(self) -> int:
        """Return how much did not arrive yet."""
        return self._store.count()

    def bodies(self, act: Act) -> list[bytes]:
        """Return what did not arrive yet of one act."""
        return self._store.bodies(act)

    def abandon(self, delivery: bytes) -> bool:
        """Forget a message that a person gave up; tell whether it was there."""
        return self._store.remove(delivery)

    def start(self) -> None:
        """Send in the background, what an earlier run left first."""
        self._thread = threading.Thread(target=self._run, name="peer-deliveries", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop sending; what is on its way ends with the client's connections, and is sent again by the next run."""
        self._is_closing = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        self._pool.shutdown(cancel_futures=True)

    def deliver_due(self) -> None:
        """Send what is due, and wait until each of it arrived or was postponed; raises what the database raises."""
        for future in self._begin_due():
            future.result()

    def _run(self) -> None:
        while not self._is_closing:
            self._wake.clear()
            try:
                self._begin_due()
                pause_s = self._pause_s()
            except Exception:  # noqa: BLE001 - the database is away, or a fault: what is kept is sent once it can be
                pause_s = FIRST_PAUSE_MS / MS_PER_SECOND
            self._wake.wait(pause_s)

    def _pause_s(self) -> float:
        """Return how long nothing is due, of what is not being sent just now."""
        now_ms = self._clock.now_ms()
        times = [next_ms for receiver, next_ms in self._store.next_by_receiver().items() if not self._is_busy(receiver)]
        return min([_IDLE_S, *((max(0, next_ms - now_ms) / MS_PER_SECOND) + 0.01 for next_ms in times)])

    def _begin_due(self) -> Sequence[Future[None]]:
        now_ms = self._clock.now_ms()
        begun: list[Future[None]] = []
        for receiver, next_ms in self._store.next_by_receiver().items():
            if next_ms <= now_ms and not self._is_busy(receiver):
                future = self._busy[receiver] = self._pool.submit(self._deliver_to, receiver)
                future.add_done_callback(lambda _: self._wake.set())
                begun.append(future)
        return begun

    def _is_busy(self, receiver: MemberId) -> bool:
        known = self._busy.get(receiver)
        return known is not None and not known.done()

    def _deliver_to(self, receiver: MemberId) -> None:
        try:
            self._deliver_all(receiver)
        except ShuiqiaoError:
            # The database is away: the next look finds what is due.
            raise
        except Exception:
            # A fault of this program: that receiver's messages rest, or they would be begun again and again.
            self._store.hold_back(receiver, next_ms=self._clock.now_ms() + MAX_PAUSE_MS)
            raise

    def _deliver_all(self, receiver: MemberId) -> None:
        for delivery in self._store.due(receiver, now_ms=self._clock.now_ms(), most=_ROUND):
            if self._is_closing or not self._arrives(delivery):
                return

    def _arrives(self, delivery: Delivery) -> bool:
        """Send one message; tell whether the receiver answers at all."""
        try:
            self._send(delivery)
        except Unavailable as error:
            next_ms = self._after(delivery, max_pause_ms=MAX_PAUSE_MS)
            self._store.postpone(delivery.id, attempts=delivery.attempts + 1, next_ms=next_ms, error=error)
            self._store.hold_back(delivery.receiver, next_ms=next_ms)
            return False
        except ShuiqiaoError as error:
            next_ms = self._after(delivery, max_pause_ms=MAX_REFUSED_PAUSE_MS)
            self._store.postpone(delivery.id, attempts=delivery.attempts + 1, next_ms=next_ms, error=error)
            return True
        self._store.remove(delivery.id)
        return True

    def _send(self, delivery: Delivery) -> None:
        """Send one message; raises what it is refused with, and Unavailable for whatever breaks on the way."""
        try:
            self._client.ask(delivery.receiver, delivery.act, delivery.body, answer=_ANSWERS[delivery.act])
        except ShuiqiaoError:
            raise
        except Exception as error:
            raise Unavailable("client.unreachable", f"sending broke down: {error!r}") from error

    def _after(self, delivery: Delivery, *, max_pause_ms: int) -> int:
        """Return when to try again: the pause doubles with each attempt, and is drawn from its upper half."""
        pause_ms = min(FIRST_PAUSE_MS << min(delivery.attempts, _MAX_DOUBLINGS), max_pause_ms)
        drawn = int.from_bytes(self._entropy(4), "big") % (pause_ms // 2 + 1)
        return self._clock.now_ms() + pause_ms - drawn


def waiting_in_words(waiting: Iterable[Waiting]) -> str:
    """Return what waits for which member and why, for ``doctor`` and the API; empty where nothing does.

    ::

        "1 messages wait: 1 for first-bank (http://127.0.0.1:8610 cannot be reached)"
    """
    counts, reasons = Counter[MemberId](), dict[MemberId, str]()
    for each in waiting:
        counts[each.receiver] += 1
        if each.code:
            reasons[each.receiver] = each.reason
    told = [f"{count} for {member} ({reasons.get(member, 'not tried yet')})" for member, count in counts.items()]
    return f"{counts.total()} messages wait: {'; '.join(told)}" if told else ""
