"""How long nobody may try to log in under a name after wrong passwords: from the fifth on, each doubles the time.

The length is bounded, so that a stranger who tries names keeps nobody out for longer than an hour at a time. Failures
fade with time alone: a success takes none of them back but its own attempt, or a name that somebody uses would be told
from one that nobody has.
"""

from __future__ import annotations

from typing import Final

FREE_FAILURES: Final = 4
"""Failures in a row without a lock; the fifth is the first that locks."""

FIRST_LOCK_MS: Final = 30_000
LONGEST_LOCK_MS: Final = 3_600_000
FADE_MS: Final = 3_600_000
"""In which one failure is forgotten once no lock stands any more; the longest lock takes as long."""

_DOUBLINGS: Final = 16


def lock_ms(failures: int) -> int:
    """Return for how long a name is locked after so many failures in a row, in milliseconds.

    ::

        assert [lock_ms(count) for count in (4, 5, 6)] == [0, 30_000, 60_000]
    """
    if failures <= FREE_FAILURES:
        return 0
    return min(FIRST_LOCK_MS << min(failures - FREE_FAILURES - 1, _DOUBLINGS), LONGEST_LOCK_MS)


def faded(failures: int, *, rested_ms: int) -> int:
    """Return how many failures still count after some time in which there was neither an attempt nor a lock.

    ::

        assert faded(4, rested_ms=2 * FADE_MS) == 2
    """
    return max(0, failures - max(0, rested_ms) // FADE_MS)
