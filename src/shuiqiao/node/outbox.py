"""How a node's acts reach the ledger: signed once, kept in the outbox until acknowledged, sent again unchanged.

1. keep the signed bytes in the outbox, durably;
2. submit, wait until the ledger says they are durable there;
3. forget them, a batch at a time.

An act has one row there, however often it is handed in before the ledger answered: the same bytes are sent again while
they are good, and new ones take their place once they expired, were refused, or were signed by a key that was replaced.

After a crash or a lost answer nothing is believed but the ledger: what was kept counts as done only if a block holds
these very bytes. What is refused when it is sent again, with nobody waiting for the answer, stays with the reason until
a person redoes or abandons it, or until the ledger has the same act by another transaction. Only a transaction that
expired is signed anew, and only where this node's key alone signed it; the new bytes take the place of the old in one
act.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Column,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    bindparam,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError as AlreadyThere

from shuiqiao.base.clock import Clock
from shuiqiao.base.encoding import encode_cbor
from shuiqiao.base.errors import Conflict, Denied, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import Entropy, MemberId
from shuiqiao.crypto.model import CipherSuite, SigningKey
from shuiqiao.ledger.clock_check import require_not_behind
from shuiqiao.ledger.log.tree import leaf_hash
from shuiqiao.ledger.model import Committed, LedgerEngine, Transaction
from shuiqiao.ledger.transactions.document import to_plain
from shuiqiao.ledger.transactions.kinds import KindTable
from shuiqiao.ledger.transactions.submitter import LedgerSubmitter
from shuiqiao.members.key_ring import MemberKeyRing
from shuiqiao.members.roster import signing_key_named

if TYPE_CHECKING:
    from collections.abc import Sequence

    import msgspec
    from sqlalchemy import Engine


metadata = MetaData()

_outbox = Table(
    "node_outbox",
    metadata,
    Column("leaf", LargeBinary(32), primary_key=True),
    Column("kind", String(64), nullable=False),
    Column("valid_until_ms", BigInteger, nullable=False),
    Column("height", BigInteger, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("refusal_code", String(64), nullable=False),
    Column("refusal", Text, nullable=False),
)

# Statements are built once: SQLAlchemy then finds each one's compiled text without walking it again.
_ADD = insert(_outbox)
_ROWS = select(_outbox).order_by(_outbox.c.valid_until_ms)
_ROWS_OF_KIND = _ROWS.where(_outbox.c.kind == bindparam("of_kind"))
_REFUSE = (
    update(_outbox)
    .where(_outbox.c.leaf == bindparam("of_leaf"))
    .values(refusal_code=bindparam("code"), refusal=bindparam("message"))
)
_REMOVE = delete(_outbox).where(_outbox.c.leaf.in_(bindparam("leaves", expanding=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRow:
    """One transaction on its way.

    leaf: its leaf hash in the log, once it is there. height: the newest block when it was kept, so that it can only
    stand in a later one. refusal_code, refusal: why the ledger refused it when it was sent again, else empty.
    """

    leaf: bytes
    kind: str
    valid_until_ms: int
    height: int
    raw: bytes
    refusal_code: str = ""
    refusal: str = ""


class OutboxStore:
    """Signed transactions until the ledger acknowledged them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, row: OutboxRow) -> bool:
        """Keep a transaction, durable when this returns; tell whether it was not there already."""
        try:
            with self._engine.begin() as connection:
                connection.execute(_ADD, _values(row))
        except AlreadyThere:
            return False
        return True

    def replace(self, leaves: Sequence[bytes], row: OutboxRow) -> None:
        """Keep a transaction in the place of others, in one act."""
        with self._engine.begin() as connection:
            connection.execute(_REMOVE, {"leaves": list(leaves)})
            connection.execute(_ADD, _values(row))

    def refuse(self, leaf: bytes, error: ShuiqiaoError) -> None:
        """Note why the ledger refused a transaction."""
        with self._engine.begin() as connection:
            connection.execute(_REFUSE, {"of_leaf": leaf, "code": error.code, "message": error.message})

    def rows(self) -> list[OutboxRow]:
        """Return what was not acknowledged, oldest deadline first."""
        with self._engine.connect() as connection:
            return [OutboxRow(**dict(row)) for row in connection.execute(_ROWS).mappings()]

    def rows_of_kind(self, kind: str) -> list[OutboxRow]:
        """Return the same of one kind of transaction."""
        with self._engine.connect() as connection:
            return [OutboxRow(**dict(row)) for row in connection.execute(_ROWS_OF_KIND, {"of_kind": kind}).mappings()]

    def remove(self, leaves: Sequence[bytes]) -> None:
        """Forget transactions that the ledger acknowledged, or that somebody abandoned."""
        with self._engine.begin() as connection:
            connection.execute(_REMOVE, {"leaves": list(leaves)})


def _values(row: OutboxRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in OutboxRow.__slots__}


REPLAYED = "ledger.tx_replayed"

_LOOKS = 64
"""How often a copy that is behind is looked at, a block later each time, before bytes count as not being there."""

RESEND_PAUSE_S = 1.0
MAX_RESEND_PAUSE_S = 60.0
"""The pause between attempts to reach a writer that is away doubles from the first to the second, in seconds."""

_ACT_LOCKS = 64
"""Acts that are kept at the same time: more would hold no further database write back."""

FORGET_BATCH = 64
"""Acknowledged transactions are removed from the outbox this many at a time."""


class Outbox(LedgerSubmitter):
    """The LedgerSubmitter of one member, with its signed bytes kept until the ledger has them.

    Example::

        committed = outbox.submit(COMMIT, body)
        outbox.resend()  # after a restart: what was never acknowledged
    """

    def __init__(
        self,
        engine: LedgerEngine,
        *,
        store: OutboxStore,
        member: MemberId,
        key: SigningKey,
        kinds: KindTable,
        suite: CipherSuite,
        clock: Clock,
        entropy: Entropy,
        is_clock_confirmed: bool = False,
    ) -> None:
        super().__init__(
            engine,
            member=member,
            key=key,
            kinds=kinds,
            suite=suite,
            clock=clock,
            entropy=entropy,
            key_ring=MemberKeyRing(),
            is_clock_confirmed=is_clock_confirmed,
        )
        self._store = store
        self._acknowledged: list[bytes] = []
        self._resending = threading.Lock()
        self._lock = threading.Lock()
        self._acts = tuple(threading.Lock() for _ in range(_ACT_LOCKS))

    def submit(self, kind: str, body: msgspec.Struct, *, extra_keys: Sequence[SigningKey] = ()) -> Committed:
        """Sign a body and commit it, as every submitter does; where it waits here already, send what waits.

        So an act that is handed in again and again while the ledger is away is one act [LEDGER-REPLAY-5]. What refuses
        it is told to the caller and is the end of it: nothing of it waits any more.
        """
        require_not_behind(now_ms=self.now_ms(), block_ms=self._engine.last_block()[1])
        row, may_be_there = self._one_row(kind, body, extra_keys=extra_keys)
        return self._commit_again(row) if may_be_there else self._commit(row, is_mine=True)

    def countersign(self, raw: bytes) -> Committed:
        """Add the member's signature, as every submitter does; where it was added before and waits here, send that.

        Two signatures of the suite ``gm`` differ, so that signing again would make another row of the same act.
        """
        tx = self.decode(raw)
        for row in self._waiting(tx.kind, tx.body, author=tx.author):
            kept = self.decode(row.raw)
            if kept.payload_bytes == tx.payload_bytes and {*tx.signatures} <= {*kept.signatures} and self._is_good(row):
                return self._commit_again(row)
        return super().countersign(raw)

    def relay(self, raw: bytes) -> Committed:
        """Keep signed bytes, commit them, and forget them once the ledger has answered for good.

        Returns where the very same bytes stand that the ledger took a while ago: their answer may have been lost.
        """
        row = self._row(raw)
        try:
            return self._commit(row, is_mine=self._store.add(row))
        except Conflict as error:
            found = self.find_lately(lambda held: held == raw) if error.code == REPLAYED else None
            if found is None:
                raise
            self._forget(row.leaf)
            return found

    def resend(self) -> int:
        """Send again what was never acknowledged, e.g. after a restart; return how many are on the ledger now.

        What is refused stays, with the reason, until somebody calls ``redo`` or ``abandon``.
        """
        with self._resending:
            rows, now_ms = self._store.rows(), self.now_ms()
            held = self._held(rows)
            for row in rows:
                if row.raw in held:
                    self._forget(row.leaf)
            waiting = [row for row in rows if row.raw not in held and not row.refusal_code]
            return len(held) + sum(self._resend_one(row, now_ms=now_ms) for row in waiting)

    def rows(self) -> list[OutboxRow]:
        """Return what was handed to the ledger and is not known to be there, oldest deadline first."""
        self.flush()
        return self._store.rows()

    def redo(self, row: OutboxRow) -> Committed:
        """Sign what the ledger refused anew and commit it; raises what refuses it again, and it stays.

        Raises Denied ``node.outbox_foreign`` where others signed it too.
        """
        tx = self.decode(row.raw)
        if len(tx.signatures) != 1 or not self._is_own(tx.signatures[0].key_id):
            raise Denied(
                "node.outbox_foreign",
                f"{tx.kind} {row.leaf.hex()[:16]} bears signatures of others, who would have to sign it again",
                next_step="abandon it, and ask its signers to hand it in again",
            )
        anew, _ = self._one_row(tx.kind, tx.body)
        try:
            return self._commit(anew, is_mine=False)
        except Unavailable:
            raise
        except ShuiqiaoError as error:
            self._store.refuse(anew.leaf, error)
            raise

    def settle(self) -> list[OutboxRow]:
        """Forget what the ledger refused and has by another transaction, and return it: nothing is left to decide.

        That is one of the same author, kind and content, in a block since the refused one was kept.
        """
        done = settled_rows(self.rows(), engine=self._engine, decode=self.decode)
        self._store.remove([row.leaf for row in done])
        return done

    def abandon(self, row: OutboxRow) -> None:
        """Forget what the ledger refused, and all that waits of the same act."""
        tx = self.decode(row.raw)
        self._store.remove([row.leaf, *(each.leaf for each in self._waiting(tx.kind, tx.body, author=tx.author))])

    def flush(self) -> None:
        """Forget everything acknowledged so far."""
        with self._lock:
            done, self._acknowledged = self._acknowledged, []
        if done:
            self._store.remove(done)

    def _one_row(
        self, kind: str, body: msgspec.Struct, *, extra_keys: Sequence[SigningKey] = ()
    ) -> tuple[OutboxRow, bool]:
        """Return the one row of an act of this member's, and whether its bytes may have reached the ledger before.

        What waits of it is good while it has not expired, was not refused, and today's key signed it; else it is signed
        anew, and the new bytes take the place of all that waits.
        """
        with self._acts[hash(encode_cbor(to_plain(body))) % _ACT_LOCKS]:
            waiting = self._waiting(kind, body, author=self._member)
            good = next((row for row in waiting if self._is_good(row)), None)
            if good is not None:
                return good, True
            anew = self._row(self._sign(kind, body, extra_keys=extra_keys))
            if not waiting:
                self._store.add(anew)
                return anew, False
            # An earlier signature may be on the ledger all the same: the act is looked for since the first was made.
            anew = replace(anew, height=min(row.height for row in waiting))
            self._store.replace([row.leaf for row in waiting], anew)
            return anew, False

    def _waiting(self, kind: str, body: msgspec.Struct, *, author: str) -> list[OutboxRow]:
        """Return what was kept of an act and not acknowledged, oldest deadline first."""
        rows, said = self._store.rows_of_kind(kind), encode_cbor(to_plain(body))
        with self._lock:
            done = set(self._acknowledged)
        found = []
        for row in rows:
            if row.leaf not in done and said in row.raw:
                tx = self.decode(row.raw)
                if (tx.author, tx.body) == (author, body):
                    found.append(row)
        return found

    def _is_good(self, row: OutboxRow) -> bool:
        if row.refusal_code or row.valid_until_ms <= self.now_ms():
            return False
        signers = {signature.key_id for signature in self.decode(row.raw).signatures}
        return self._key.key_id in signers

    def _commit_again(self, row: OutboxRow) -> Committed:
        """Commit bytes that may have reached the ledger before; what refuses them is the end of it.

        Raises Unavailable ``ledger.commit_late`` where the ledger has them in a block that is not here yet.
        """
        try:
            return self._commit(row, is_mine=False)
        except Unavailable:
            raise
        except ShuiqiaoError as error:
            if error.code != REPLAYED:
                self._forget(row.leaf)
                raise
            refused = error
        found = self.find_lately(lambda held: held == row.raw)
        if found is None and self._comes_to_hold(row):
            found = self.find_lately(lambda held: held == row.raw)
        if found is None:
            raise Unavailable(
                "ledger.commit_late",
                f"the ledger has {row.kind} {row.leaf.hex()[:16]} in a block that is not here yet",
                retry_after_s=1.0,
            ) from refused
        self._forget(row.leaf)
        return found

    def _is_own(self, key_id: bytes) -> bool:
        """Tell whether a key is or was this member's own: then today's may sign anew what that one signed."""
        return signing_key_named(self.state(), self.member, key_id) is not None

    def _row(self, raw: bytes) -> OutboxRow:
        tx = self.decode(raw)
        return OutboxRow(
            leaf=leaf_hash(raw, hash_name=self._suite.hash_name),
            kind=tx.kind,
            valid_until_ms=tx.valid_until_ms,
            height=self._engine.last_block()[0],
            raw=raw,
        )

    def _held(self, rows: Sequence[OutboxRow]) -> set[bytes]:
        """Return the signed bytes among rows that stand in a block since the first of them was kept."""
        if not rows:
            return set()
        wanted, held = {row.raw for row in rows}, set[bytes]()
        latest_ms = max(row.valid_until_ms for row in rows)
        for block in self._engine.blocks(from_height=min(row.height for row in rows) + 1):
            if block.time_ms > latest_ms or held == wanted:
                break
            held |= wanted.intersection(block.transactions)
        return held

    def _commit(self, row: OutboxRow, *, is_mine: bool) -> Committed:
        """Commit a kept row. is_mine: no earlier attempt may still reach the ledger, so a refusal is the end of it."""
        try:
            committed = super().relay(row.raw)
        except Unavailable:
            raise
        except ShuiqiaoError:
            if is_mine:
                self._forget(row.leaf)
            raise
        self._forget(row.leaf)
        return committed

    def _forget(self, leaf: bytes) -> None:
        with self._lock:
            self._acknowledged.append(leaf)
            is_full = len(self._acknowledged) >= FORGET_BATCH
        if is_full:
            self.flush()

    def _resend_one(self, row: OutboxRow, *, now_ms: int) -> bool:
        try:
            if row.valid_until_ms <= now_ms:
                self.redo(row)
            else:
                self._commit(row, is_mine=False)
        except Unavailable:
            raise
        except ShuiqiaoError as error:
            if error.code == REPLAYED and self._comes_to_hold(row):
                self._forget(row.leaf)
                return True
            self._store.refuse(row.leaf, error)
            return False
        return True

    def _comes_to_hold(self, row: OutboxRow) -> bool:
        """Tell whether what the ledger calls a replay are these very bytes; this node's own copy may be behind."""
        for _ in range(_LOOKS):
            if self._held([row]):
                return True
            try:
                self._engine.wait_for_block(self._engine.last_block()[0] + 1)
            except Unavailable:
                break
        return False


class Resending:
    """Sends what an outbox holds in the background until the ledger took all of it, and anew when asked."""

    def __init__(self, outbox: Outbox, *, when_done: Callable[[], None]) -> None:
        """when_done: called when it did, on the thread that sends; what it raises is tried again as well."""
        self._outbox = outbox
        self._when_done = when_done
        self._is_closing = False
        self._asked = threading.Event()
        self._thread = threading.Thread(target=self._run, name="outbox-resending", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Try no more; what is on its way goes on."""
        self._is_closing = True
        self._asked.set()

    def again(self) -> None:
        """Send what is held by now without waiting, e.g. because those who order it are there again."""
        self._asked.set()

    def close(self) -> None:
        """Try no more, and wait for what is on its way; a ledger that is closed answers it."""
        self.end()
        self._thread.join()

    def _run(self) -> None:
        pause_s = RESEND_PAUSE_S
        while not self._is_closing:
            self._asked.clear()
            try:
                self._outbox.resend()
                if not self._is_closing:
                    self._when_done()
            except ShuiqiaoError:
                is_asked = self._is_closing or self._asked.wait(pause_s)
                pause_s = RESEND_PAUSE_S if is_asked else min(2 * pause_s, MAX_RESEND_PAUSE_S)
            else:
                pause_s = RESEND_PAUSE_S
                if not self._is_closing:
                    self._asked.wait()


def settled_rows(
    rows: Sequence[OutboxRow], *, engine: LedgerEngine, decode: Callable[[bytes], Transaction]
) -> list[OutboxRow]:
    """Return the refused rows among some that the ledger has by another transaction; see ``Outbox.settle``."""
    refused = [(row, decode(row.raw)) for row in rows if row.refusal_code]
    if not refused:
        return []
    kinds = {row.kind.encode() for row, _ in refused}
    done: dict[bytes, OutboxRow] = {}
    for block in engine.blocks(from_height=min(row.height for row, _ in refused) + 1):
        for raw in block.transactions:
            if any(kind in raw for kind in kinds):
                tx = decode(raw)
                done |= {row.leaf: row for row, act in refused if row.height < block.height and _is_same(act, tx)}
    return [*done.values()]


def _is_same(one: Transaction, other: Transaction) -> bool:
    return (one.kind, one.author, one.body) == (other.kind, other.author, other.body)
