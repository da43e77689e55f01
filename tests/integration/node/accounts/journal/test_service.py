"""The journal: nothing of it is altered, dropped or put in unseen, on both databases [MEMBER-30]."""

from __future__ import annotations

import hashlib
import threading

import pytest
from sqlalchemy import event, text

from accounts_world import NOW_MS
from log_world import root_from_leaf_hashes
from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.base.errors import Denied, IntegrityError, InvalidInput
from shuiqiao.base.ids import MemberId
from shuiqiao.members.journal import journal_day_key, journal_key
from shuiqiao.node.accounts.journal.entry import decode_entry, encode_entry
from shuiqiao.node.accounts.model import OWNER

MEMBER = MemberId("bank-east")
DAY = NOW_MS // MS_PER_DAY


def write(world, count, *, act="records.read"):
    return [world.journal.record(OWNER, act=act, subject=f"record/{number}") for number in range(count)]


def verify(world, state=None):
    return world.journal.verify(state=state, member=MEMBER)


def change(world, statement, **values):
    with world.database.begin() as connection:
        assert connection.execute(text(statement), values).rowcount


def test_entries_are_numbered_and_chained(world):
    entries = write(world, 3)
    assert [entry.seq for entry in entries] == [1, 2, 3]
    assert entries[0].previous == bytes(32)
    found = verify(world)
    assert (found.entries, found.days, found.anchored) == (3, 1, 0)


def test_an_empty_journal_holds(world):
    assert verify(world).entries == 0


def test_writers_at_once_make_one_chain(world):
    threads = [threading.Thread(target=write, args=(world, 5)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verify(world).entries == 20


@pytest.mark.parametrize(
    "column", ["day = day + 1", "ms = ms + 1", "act = 'other'", "who_tag = object_tag", "object_tag = who_tag"]
)
def test_what_stands_beside_an_entry_is_what_it_says(world, column):
    write(world, 3)
    change(world, f"UPDATE journal_entry SET {column} WHERE seq = 2")
    with pytest.raises(IntegrityError, match=r"^node\.journal_broken: .*entry 2"):
        verify(world)


def test_an_altered_entry_is_found(world):
    write(world, 3)
    with world.database.begin() as connection:
        (raw,) = connection.execute(text("SELECT entry FROM journal_entry WHERE seq = 2")).one()
        altered = bytes(raw)[:-1] + bytes([bytes(raw)[-1] ^ 1])
        connection.execute(text("UPDATE journal_entry SET entry = :raw WHERE seq = 2"), {"raw": altered})
    with pytest.raises(IntegrityError, match=r"^node\.journal_broken: entry 2"):
        verify(world)


def test_a_rewritten_entry_is_found_by_the_next(world):
    write(world, 3)
    other = world.journal.record(OWNER, act="records.read", subject="record/other")
    with world.database.begin() as connection:
        row = connection.execute(
            text("SELECT entry, hash FROM journal_entry WHERE seq = :seq"), {"seq": other.seq}
        ).one()
        connection.execute(text("DELETE FROM journal_entry WHERE seq IN (2, :seq)"), {"seq": other.seq})
        connection.execute(
            text(
                "INSERT INTO journal_entry SELECT 2, day, ms, act, who_tag, object_tag, :hash, :entry "
                "FROM journal_entry WHERE seq = 1"
            ),
            {"hash": row.hash, "entry": row.entry},
        )
    with pytest.raises(IntegrityError, match=r"^node\.journal_broken: .*entry 2"):
        verify(world)


@pytest.mark.parametrize("seq", [1, 2, 3])
def test_a_dropped_entry_is_found(world, seq):
    write(world, 3)
    change(world, "DELETE FROM journal_entry WHERE seq = :seq", seq=seq)
    with pytest.raises(IntegrityError, match=r"^node\.journal_broken"):
        verify(world)


def test_an_inserted_entry_is_found(world):
    write(world, 3)
    change(
        world,
        "INSERT INTO journal_entry SELECT 4, day, ms, act, who_tag, object_tag, hash, entry FROM journal_entry "
        "WHERE seq = 3",
    )
    with pytest.raises(IntegrityError, match=r"^node\.journal_broken: .*entry 4"):
        verify(world)


def test_entries_that_come_while_the_journal_is_verified_break_nothing(world):
    write(world, 3)
    coming, is_writing = [1, 1], []

    def come(_connection, _cursor, statement, *_more):
        if "FROM journal_" in statement and coming and not is_writing:
            is_writing.append(True)
            write(world, coming.pop())
            is_writing.clear()

    event.listen(world.database, "after_cursor_execute", come)
    try:
        assert verify(world).entries >= 3
    finally:
        event.remove(world.database, "after_cursor_execute", come)
    assert coming == []
    assert verify(world).entries == 5


def test_a_head_that_was_moved_back_to_an_entry_is_found(world):
    write(world, 3)
    with world.database.connect() as connection:
        second = connection.execute(text("SELECT seq, ms, hash FROM journal_entry WHERE seq = 2")).one()
    change(world, "UPDATE journal_head SET seq = :seq, ms = :ms, hash = :hash", **second._mapping)
    with pytest.raises(IntegrityError, match=r"^node\.journal_broken: .*its head says 2"):
        verify(world)


def test_a_head_that_is_gone_or_elsewhere_is_found(world):
    write(world, 3)
    change(world, "UPDATE journal_head SET seq = 2")
    with pytest.raises(IntegrityError, match=r"^node\.journal_broken: .*its head says 2"):
        verify(world)
    change(world, "DELETE FROM journal_head")
    with pytest.raises(IntegrityError, match=r"^node\.journal_broken: the head"):
        write(world, 1)


class Anchored:
    """The state of a ledger in which this member anchored days."""

    def __init__(self, days):
        self._values = {
            journal_day_key(MEMBER, day): {"count": count, "root": root} for day, (count, root) in days.items()
        }
        self._values[journal_key(MEMBER)] = max(days)

    def get(self, key):
        return self._values.get(key)


def anchored_root(world, day):
    leaves = [encode_entry(entry) for entry in entries_of(world) if entry.day == day]
    hashes = [hashlib.sha256(b"\x00" + leaf).digest() for leaf in leaves]
    return len(leaves), root_from_leaf_hashes(hashes, hash_name="sha256")


def entries_of(world):
    return [decode_entry(stored.entry) for stored in world.journal._store.stored()]


def test_days_are_held_against_the_roots_on_the_ledger(world):
    write(world, 3)
    world.clock.advance(MS_PER_DAY)
    write(world, 2)
    state = Anchored({DAY: anchored_root(world, DAY)})
    found = verify(world, state)
    assert (found.days, found.anchored) == (2, 1)
    for told in ((3, bytes(32)), (2, anchored_root(world, DAY)[1])):
        with pytest.raises(IntegrityError, match=r"^node\.journal_anchor_differs: of 2026-04-01"):
            verify(world, Anchored({DAY: told}))
    with pytest.raises(IntegrityError, match=r"^node\.journal_anchor_differs"):
        verify(world, Anchored({DAY: anchored_root(world, DAY), DAY + 2: (1, bytes(32))}))


def test_a_journal_that_was_thrown_away_is_missed(world):
    with pytest.raises(IntegrityError, match=r"^node\.journal_anchor_differs"):
        verify(world, Anchored({DAY: (3, bytes(32))}))


def test_a_clock_that_was_set_back_makes_no_earlier_entry(world):
    write(world, 1)
    world.clock._now_ms = NOW_MS - 10_000
    (entry,) = write(world, 1)
    assert entry.ms == NOW_MS
    assert verify(world).entries == 2


def test_what_is_done_is_entered_with_how_it_ended(world):
    with world.journal.of(OWNER, act="records.read", subject="record/1", request="r-1"):
        pass
    with pytest.raises(Denied), world.journal.of(OWNER, act="records.read", subject="record/2"):
        raise Denied("node.permission_missing", "no")
    with pytest.raises(ZeroDivisionError), world.journal.of(OWNER, act="records.read", subject="record/3"):
        _ = 1 // 0
    assert [row["outcome"] for row in world.journal.rows()] == ["failed", "node.permission_missing", "done"]


def test_entries_are_found_by_who_what_and_object(world):
    write(world, 3)
    write(world, 2, act="records.find")
    assert len(world.journal.rows(who="owner")) == 5
    assert world.journal.rows(who="other") == []
    assert [row["seq"] for row in world.journal.rows(act="records.find")] == [5, 4]
    assert [row["seq"] for row in world.journal.rows(subject="record/1")] == [5, 2]
    assert [row["seq"] for row in world.journal.rows(before=3, limit=1)] == [2]
    now_ms = world.clock.now_ms()
    assert (len(world.journal.rows(before_ms=now_ms + 1)), world.journal.rows(before_ms=1)) == (5, [])


@pytest.mark.parametrize("subject", ["record/" + "x" * 200, "line\nend", "纳税人"])
def test_an_entry_holds_ids_and_no_content(bank, subject):
    with pytest.raises(InvalidInput, match=r"^node\.journal_entry_invalid"):
        bank.journal.record(OWNER, act="records.read", subject=subject)
    assert verify(bank).entries == 0


def test_whose_records_were_read_does_not_stand_in_the_database(world):
    world.journal.record(OWNER, act="records.read", subject="taxpayer/91440300MA5LEAKME7")
    with world.database.connect() as connection:
        stored = connection.execute(text("SELECT * FROM journal_entry")).all()
    assert all(
        b"91440300MA5LEAKME7" not in bytes(value) for row in stored for value in row if not isinstance(value, int | str)
    )
    assert "91440300MA5LEAKME7" not in str(stored)
