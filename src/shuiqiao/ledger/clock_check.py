"""Checks this machine's clock before it orders or cosigns blocks: one wrong clock must not stop a network.

Block times only rise, so a block that was once dated ahead forces every later one behind it: what is signed by a right
clock is then refused as expired until that time has come. So a clock is held against the newest block before it orders
and before it cosigns, and a refusal names the clock and both times [LEDGER-TIME-1].
Which clock is right nobody here can know. So what may be read ends by whichever is later, and what cannot be undone is
done by a time that is sure [LEDGER-TIME-3].
"""

from __future__ import annotations

from typing import Final

from shuiqiao.base.clock import MS_PER_DAY, MS_PER_HOUR, MS_PER_SECOND, iso_from_ms
from shuiqiao.base.errors import Unavailable

MAX_BEHIND_MS: Final = 10 * MS_PER_SECOND
"""How far a clock that orders may lie behind the newest block: clocks that are kept differ by less."""

MAX_AHEAD_MS: Final = 5 * 60 * MS_PER_SECOND
"""How far a block that is cosigned may lie ahead of the witness's clock."""

MAX_SILENCE_MS: Final = 30 * MS_PER_DAY
"""How long after the newest block a clock is believed without asking."""

MAX_COPY_AGE_MS: Final = MS_PER_HOUR
"""How old the newest block of a copy may be where something leaves on what the copy says alone."""


def require_not_behind(*, now_ms: int, block_ms: int) -> None:
    """Return if a clock may order after a block; raises Unavailable ``ledger.clock_behind``."""
    if block_ms - now_ms > MAX_BEHIND_MS:
        raise Unavailable(
            "ledger.clock_behind",
            f"this machine's clock shows {iso_from_ms(now_ms)}, the newest block is of {iso_from_ms(block_ms)}: one of "
            f"the two is wrong by {(block_ms - now_ms) // MS_PER_SECOND} s, and nothing is ordered",
        )


def require_not_ahead(*, now_ms: int, block_ms: int) -> None:
    """Return if a block's time may be cosigned; raises Unavailable ``ledger.block_time_ahead``."""
    if block_ms - now_ms > MAX_AHEAD_MS:
        raise Unavailable(
            "ledger.block_time_ahead",
            f"the newest block is of {iso_from_ms(block_ms)}, this machine's clock shows {iso_from_ms(now_ms)}: a time "
            f"more than {MAX_AHEAD_MS // MS_PER_SECOND} s ahead is not cosigned",
        )


def require_expected(*, now_ms: int, block_ms: int) -> None:
    """Return if a writer need not ask whether its clock is right; raises Unavailable ``ledger.clock_unconfirmed``."""
    if not _is_expected(now_ms=now_ms, block_ms=block_ms):
        raise Unavailable(
            "ledger.clock_unconfirmed",
            f"this machine's clock shows {iso_from_ms(now_ms)}, the newest block is of {iso_from_ms(block_ms)}, "
            f"{(now_ms - block_ms) // MS_PER_DAY} days earlier: a block dated ahead closes the network until its time",
        )


def latest_ms(*, now_ms: int, block_ms: int) -> int:
    """Return the moment by which a right to read has ended: a clock that is behind gives none back [LEDGER-TIME-3]."""
    return max(now_ms, block_ms)


def certain_ms(*, now_ms: int, block_ms: int, is_confirmed: bool) -> int:
    """Return the moment that has come for sure, by which is done what cannot be undone [LEDGER-TIME-3].

    is_confirmed: the operator said that the clock is right. A clock that is further ahead than a writer's may be is
    not believed: the newest block is.
    """
    if is_confirmed or _is_expected(now_ms=now_ms, block_ms=block_ms):
        return latest_ms(now_ms=now_ms, block_ms=block_ms)
    return block_ms


def require_recent(*, now_ms: int, block_ms: int) -> None:
    """Return if something may leave on what a copy of the ledger says; raises Unavailable ``ledger.copy_old``."""
    if now_ms - block_ms > MAX_COPY_AGE_MS:
        raise Unavailable(
            "ledger.copy_old",
            f"the newest block here is of {iso_from_ms(block_ms)}, this machine's clock shows {iso_from_ms(now_ms)}: "
            f"what was withdrawn in the last {(now_ms - block_ms) // MS_PER_HOUR} h may not be known here",
            retry_after_s=60.0,
        )


def _is_expected(*, now_ms: int, block_ms: int) -> bool:
    return now_ms - block_ms <= MAX_SILENCE_MS
