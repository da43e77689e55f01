"""Remembers what was read of one revision of the index: an answer asks for the same records three times over.

A revision of the index never changes, so what was read of it may be told again. Bounded by the number of entries kept;
the oldest readings go first.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

MAX_ENTRIES = 200_000
"""Entries remembered at most, some 30 MB."""

Item = TypeVar("Item")


class ReadingMemory(Generic[Item]):
    """Readings by key, shared by threads; what it hands out must not be changed."""

    def __init__(self, *, max_entries: int = MAX_ENTRIES) -> None:
        self._max_entries = max_entries
        self._readings: OrderedDict[Hashable, tuple[Item, ...]] = OrderedDict()
        self._entries = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> tuple[Item, ...] | None:
        """Return a reading, or None where it is not remembered."""
        with self._lock:
            return self._readings.get(key)

    def put(self, key: Hashable, reading: tuple[Item, ...]) -> None:
        """Remember a reading; one larger than all that may be kept is not."""
        if len(reading) > self._max_entries:
            return
        with self._lock:
            if key in self._readings:
                return
            self._readings[key] = reading
            # An empty reading costs room as well.
            self._entries += len(reading) + 1
            while self._entries > self._max_entries and len(self._readings) > 1:
                _, oldest = self._readings.popitem(last=False)
                self._entries -= len(oldest) + 1
