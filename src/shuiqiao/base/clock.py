"""Time is injected: nothing in the product reads the system clock except through a Clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol

MS_PER_SECOND = 1000
MS_PER_HOUR = 3_600_000
MS_PER_DAY = 86_400_000


class Clock(Protocol):
    """A source of the current time."""

    def now_ms(self) -> int:
        """Return milliseconds since 1970-01-01T00:00:00Z."""
        ...


class SystemClock:
    """The clock of the machine."""

    def now_ms(self) -> int:
        """Return milliseconds since 1970-01-01T00:00:00Z."""
        return time.time_ns() // 1_000_000


class ManualClock:
    """A clock that moves only when told, for scenarios and tests."""

    def __init__(self, start_ms: int) -> None:
        self._now_ms = start_ms

    def now_ms(self) -> int:
        """Return milliseconds since 1970-01-01T00:00:00Z."""
        return self._now_ms

    def advance(self, milliseconds: int) -> None:
        """Move forward by a non-negative number of milliseconds."""
        if milliseconds < 0:
            raise ValueError(f"a clock does not run backwards ({milliseconds} ms)")
        self._now_ms += milliseconds


def iso_from_ms(milliseconds: int) -> str:
    """Return a moment as ISO 8601 in UTC with milliseconds, e.g. 2026-04-01T08:30:00.000Z; as a number beyond 9999."""
    try:
        moment = datetime.fromtimestamp(milliseconds / MS_PER_SECOND, tz=UTC)
    except (ValueError, OverflowError, OSError):
        return f"{milliseconds} ms since 1970"
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
