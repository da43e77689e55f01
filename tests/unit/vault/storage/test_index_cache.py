"""A memory of readings: exact, bounded, oldest first."""

from __future__ import annotations

from shuiqiao.vault.storage.index import ReadingMemory


def test_a_reading_is_told_again_as_it_was():
    memory: ReadingMemory[int] = ReadingMemory(max_entries=10)
    memory.put("a", (1, 2))
    memory.put("a", (3,))
    assert memory.get("a") == (1, 2)
    assert memory.get("b") is None


def test_the_oldest_readings_go_when_the_room_is_full():
    memory: ReadingMemory[int] = ReadingMemory(max_entries=6)
    memory.put("a", (1, 2))
    memory.put("b", (1, 2))
    memory.put("c", ())
    assert [memory.get(key) for key in "abc"] == [None, (1, 2), ()]


def test_a_reading_larger_than_the_room_is_not_kept():
    memory: ReadingMemory[int] = ReadingMemory(max_entries=2)
    memory.put("a", (1, 2, 3))
    assert memory.get("a") is None
