"""What was read of a revision of the index is kept: exact, bounded, the longest unused first."""

from __future__ import annotations

import pytest

from shuiqiao.vault.storage import index
from shuiqiao.vault.storage.index import Entry, RecordIndex


def entries(count):
    return tuple(Entry(1, number, 0, 1, 1, bytes(16), bytes(9)) for number in range(count))


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """Ask for readings by name and number of entries; return what came back and which of them were read anew."""
    monkeypatch.setattr(index, "MAX_KEPT_ENTRIES", 6)
    opened = RecordIndex(tmp_path)
    read = []

    def ask(name, count):
        with opened.read() as view:
            return view.once(name, lambda: read.append(name) or entries(count))

    yield ask, read, opened
    opened.close()


def test_a_reading_is_told_again_as_it_was(asked):
    ask, read, _ = asked
    assert ask("a", 2) == entries(2)
    assert ask("a", 3) == entries(2)
    assert read == ["a"]


def test_the_longest_unused_readings_go_when_the_room_is_full(asked):
    ask, read, _ = asked
    for name, count in (("a", 2), ("b", 2), ("a", 2), ("c", 0)):
        ask(name, count)
    assert [ask(name, 2) for name in "ac"] == [entries(2), ()]
    assert ask("b", 1) == entries(1)
    assert read == ["a", "b", "c", "b"]


def test_a_reading_larger_than_the_room_is_not_kept(asked):
    ask, read, _ = asked
    assert [ask("a", 7), ask("a", 7)] == [entries(7), entries(7)]
    assert read == ["a", "a"]


def test_another_revision_is_read_anew_and_a_transaction_that_writes_keeps_nothing(asked):
    ask, read, opened = asked
    ask("a", 1)
    with opened.write() as writer:
        writer.number_type("filing")
        assert writer.once("b", lambda: entries(2)) == entries(2)
        assert writer.once("b", lambda: entries(1)) == entries(1)
    assert ask("a", 2) == entries(2)
    assert read == ["a", "a"]
