"""The journal of one institution: what people did and read here, one entry after another [MEMBER-30].

Each entry names the hash of the one before, so none can be altered, dropped or put in between without every later one
being made anew; and once a day is over, the Merkle root of its entries stands on the ledger (``journal.anchor``), where
nobody makes anything anew [MEMBER-29]. ``verify`` looks for all of that.

LIMIT: whoever holds the database and its data key can drop or rewrite entries of days that are not anchored yet.
LIMIT: an entry is dated no earlier than the one before; after a clock that was ahead was set back, entries carry the
later time until it has come, and their day is anchored only then. LIMIT: an entry is written when its act has ended: of
one whose process is killed first there is none, only what it put on the ledger.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from shuiqiao.base.clock import MS_PER_DAY, iso_from_ms
from shuiqiao.base.errors import Conflict, IntegrityError, InvalidInput, ShuiqiaoError
from shuiqiao.base.ids import new_id
from shuiqiao.ledger.log.tree import Frontier, inclusion_path
from shuiqiao.members.journal import JOURNAL_ANCHOR, JournalAnchorBody, anchored_root, day_text, last_anchored_day
from shuiqiao.node.accounts.journal.entry import (
    FIRST_PREVIOUS,
    JournalEntry,
    decode_entry,
    encode_entry,
    entry_hash,
)
from shuiqiao.node.accounts.journal.store import Head, JournalStore
from shuiqiao.node.accounts.model import OWNER

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from shuiqiao.base.clock import Clock
    from shuiqiao.base.ids import Entropy, MemberId
    from shuiqiao.crypto.column_cipher import ColumnCipher
    from shuiqiao.ledger.model import StateView
    from shuiqiao.ledger.transactions.submitter import LedgerSubmitter
    from shuiqiao.node.accounts.journal.store import StoredEntry
    from shuiqiao.node.accounts.model import Principal

DONE: Final = "done"
"""The outcome of an act that was not refused."""

_AFTER_ALL_DAYS: Final = 2**31 - 1

FAILED: Final = "failed"
"""The outcome of an act that ended by a fault of this program or machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedJournal:
    """What ``verify`` held to be whole. anchored: how many days have their root on the ledger."""

    entries: int
    days: int
    anchored: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenEntry:
    """An entry with the path that leads from it to the root of its day."""

    day: int
    entry: bytes
    place: int
    count: int
    path: tuple[bytes, ...]
    root: bytes


class _Nodes(dict[tuple[int, int], bytes]):
    """The hashes of the complete subtrees of one day, by level and index; a ``HashReader``."""

    def node(self, level: int, index: int) -> bytes:
        return self[level, index]


class Journal:
    """Writes entries, finds them, verifies them and anchors their days.

    ::

        with journal.of(principal, act="records.read", subject="record/00ff"):
            records = vault.find(query, status_of=status_of)
    """

    def __init__(self, engine: Engine, *, cipher: ColumnCipher, hash_name: str, clock: Clock, entropy: Entropy) -> None:
        """hash_name: of the network's suite."""
        self._store = JournalStore(engine, cipher=cipher)
        self._hash_name = hash_name
        self._clock = clock
        self._entropy = entropy

    @contextmanager
    def of(self, principal: Principal, *, act: str, subject: str = "", request: str = "") -> Generator[None]:
        """Write the entry of what is done inside when it ends, refused or not; what was refused is raised on.

        subject: the id of what it is done to. request: the id of the request that it is part of.
        """
        outcome = FAILED
        try:
            yield
            outcome = DONE
        except ShuiqiaoError as error:
            outcome = error.code
            raise
        finally:
            self.record(principal, act=act, subject=subject, outcome=outcome, request=request)

    def record(
        self, principal: Principal, *, act: str, subject: str = "", outcome: str = DONE, request: str = ""
    ) -> JournalEntry:
        """Write one entry, durable when this returns; raises InvalidInput ``node.journal_entry_invalid``."""
        with self._store.begin() as connection:
            return self.append(connection, principal, act=act, subject=subject, outcome=outcome, request=request)

    def append(
        self,
        connection: Connection,
        principal: Principal,
        *,
        act: str,
        subject: str = "",
        outcome: str = DONE,
        request: str = "",
    ) -> JournalEntry:
        """Write one entry in the transaction of what it tells of: both are durable or neither."""
        head = self._store.lock_head(connection)
        entry = JournalEntry(
            seq=head.seq + 1,
            ms=max(head.ms, self._clock.now_ms()),
            kind=str(principal.kind),
            who=principal.id,
            act=act,
            object=subject,
            outcome=outcome,
            request=request,
            previous=head.hash,
            salt=new_id(self._entropy),
        )
        raw = encode_entry(entry)
        self._store.add(connection, entry, raw=raw, digest=entry_hash(raw, hash_name=self._hash_name))
        return entry

    def rows(
        self,
        *,
        limit: int = 100,
        before: int | None = None,
        who: str | None = None,
        subject: str | None = None,
        act: str | None = None,
        before_ms: int | None = None,
    ) -> list[dict[str, Any]]:
        """Return entries as JSON objects, the newest first.

        before: only entries with a smaller number. before_ms: only of before a time.
        """
        found = self._store.newest(before=before, limit=limit, who=who, subject=subject, act=act, before_ms=before_ms)
        return [entry_row(entry) for entry in found]

    def verify(self, *, state: StateView | None, member: MemberId) -> VerifiedJournal:
        """Return if every entry is what was written, none is missing and none was put in.

        Others may write entries meanwhile. state: of the ledger, whose roots of days are compared; None compares none.

        Raises IntegrityError ``node.journal_broken`` or ``node.journal_anchor_differs``.
        """
        before = self._store.head()
        last = met = Head(seq=0, ms=0, hash=FIRST_PREVIOUS)
        days: dict[int, Frontier] = {}
        for stored in self._store.stored():
            self._verify_entry(stored, after=last)
            last = Head(seq=stored.seq, ms=stored.ms, hash=stored.hash)
            met = last if last.seq == before.seq else met
            days.setdefault(stored.day, Frontier(hash_name=self._hash_name)).append([stored.hash])
        after = self._store.head()
        # More may have come after what was read here; less than was read there cannot be.
        if before != met or (after.seq <= last.seq and after != last):
            head = before if before != met else after
            raise _broken(last.seq + 1, f"the journal ends at entry {last.seq}, its head says {head.seq}")
        anchored = 0 if state is None else _verify_roots(days, state=state, member=member)
        return VerifiedJournal(entries=last.seq, days=len(days), anchored=anchored)

    def _verify_entry(self, stored: StoredEntry, *, after: Head) -> None:
        expected = after.seq + 1
        if stored.seq != expected:
            raise _broken(expected, f"entry {stored.seq} follows entry {expected - 1}")
        if entry_hash(stored.entry, hash_name=self._hash_name) != stored.hash:
            raise _broken(expected, "its bytes have another hash than its row says")
        entry = decode_entry(stored.entry)
        if entry.previous != after.hash:
            raise _broken(expected, "it does not name the hash of the entry before")
        told = (entry.seq, entry.day, entry.ms, entry.act)
        tags = (self._store.tag("who", entry.who), self._store.tag("object", entry.object))
        if (stored.seq, stored.day, stored.ms, stored.act) != told or (stored.who_tag, stored.object_tag) != tags:
            raise _broken(expected, "what stands beside it is not what it says")
        if entry.ms < after.ms:
            raise _broken(expected, f"it is of {iso_from_ms(entry.ms)}, the entry before of {iso_from_ms(after.ms)}")

    def prove(self, seq: int, *, state: StateView, member: MemberId) -> ProvenEntry:
        """Return an entry with the path to the root of its day, as the ledger has that root.

        Raises InvalidInput ``node.journal_entry_unknown``, Conflict ``node.journal_day_open`` while the day is not
        anchored, IntegrityError ``node.journal_broken`` or ``node.journal_anchor_differs``.
        """
        stored = self._store.entry(seq)
        if stored is None:
            raise InvalidInput("node.journal_entry_unknown", f"the journal has no entry {seq}")
        told, hashes = anchored_root(state, member, stored.day), self._store.hashes_of(stored.day)
        if told is None:
            raise Conflict("node.journal_day_open", f"{day_text(stored.day)}, of entry {seq}, is not anchored yet")
        tree = Frontier(hash_name=self._hash_name)
        nodes = _Nodes({(level, index): digest for level, index, digest in tree.append(hashes)})
        _verify_day(stored.day, tree, told=told)
        digest = entry_hash(stored.entry, hash_name=self._hash_name)
        if digest not in hashes:
            raise _broken(seq, "it is not among the entries of its day")
        place = hashes.index(digest)
        path = inclusion_path(nodes, index=place, size=tree.size, hash_name=self._hash_name)
        return ProvenEntry(day=stored.day, entry=stored.entry, place=place, count=tree.size, path=path, root=told[1])

    def day_rows(self, *, state: StateView, member: MemberId, after: int) -> list[dict[str, Any]]:
        """Return the days after one that have entries as JSON objects, each with its root on the ledger or None."""
        return [
            {"day": day_text(day), "count": count, "root": _anchored_text(state, member, day)}
            for day, count in self._store.days(after=after, before=_AFTER_ALL_DAYS)
        ]

    def anchor(self, submitter: LedgerSubmitter) -> list[dict[str, Any]]:
        """Put the root of every day that is over and not anchored on the ledger; return those days.

        Raises what the ledger refuses; what was anchored before that stays so, and the rest is done the next time.
        """
        state, member = submitter.state(), submitter.member
        today = min(submitter.certain_ms(), self._clock.now_ms()) // MS_PER_DAY
        due = self._store.days(after=last_anchored_day(state, member), before=today)
        if not due:
            return []
        # Of today at the earliest, so that after it nobody adds an entry to a day whose root is told.
        self.record(OWNER, act=JOURNAL_ANCHOR, subject=f"day/{due[-1][0]}")
        done: list[dict[str, Any]] = []
        for day, _ in self._store.days(after=last_anchored_day(state, member), before=today):
            tree = Frontier(hash_name=self._hash_name)
            tree.append(self._store.hashes_of(day))
            body = JournalAnchorBody(day=day, count=tree.size, root=tree.root())
            committed = submitter.submit(JOURNAL_ANCHOR, body)
            done.append(
                {"day": day_text(day), "count": body.count, "root": body.root.hex(), "height": committed.height}
            )
        return done


def _anchored_text(state: StateView, member: MemberId, day: int) -> str | None:
    found = anchored_root(state, member, day)
    return None if found is None else found[1].hex()


def entry_row(entry: JournalEntry) -> dict[str, Any]:
    """Return an entry as a JSON object."""
    return {
        "seq": entry.seq,
        "time": iso_from_ms(entry.ms),
        "kind": entry.kind,
        "who": entry.who,
        "act": entry.act,
        "object": entry.object,
        "outcome": entry.outcome,
        "request": entry.request,
    }


def _verify_roots(days: Mapping[int, Frontier], *, state: StateView, member: MemberId) -> int:
    """Return how many days are anchored; raises IntegrityError ``node.journal_anchor_differs``."""
    anchored = 0
    last = last_anchored_day(state, member)
    for day in range(min(days, default=last), last + 1):
        told = anchored_root(state, member, day)
        _verify_day(day, days.get(day), told=told)
        anchored += told is not None
    return anchored


def _verify_day(day: int, tree: Frontier | None, *, told: tuple[int, bytes] | None) -> None:
    """Return if a day of the journal is what the ledger tells of it; raises as ``_verify_roots``."""
    here = None if tree is None else (tree.size, tree.root())
    if told == here:
        return
    count, root = told or (0, b"")
    found, own = here or (0, b"")
    raise IntegrityError(
        "node.journal_anchor_differs",
        f"of {day_text(day)} the ledger has {count} entries under root {root.hex()[:16]}, this journal {found} "
        f"under {own.hex()[:16]}",
    )


def _broken(seq: int, reason: str) -> IntegrityError:
    return IntegrityError("node.journal_broken", f"the journal does not hold at entry {seq}: {reason}")
