"""The ledger's rule for the journals of members: the root of a day's entries, told once the day is over.

A journal is a member's own, private record of what its people did and read (``node/accounts/journal``). The ledger has
of each day how many entries there were and their Merkle root, no more, so that the member cannot make its journal anew
later [MEMBER-29].

::

    members/journal/<id>         the last day that the member anchored
    members/journal/<id>/<day>   {"count", "root"}
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from shuiqiao.base.clock import MS_PER_DAY, iso_from_ms
from shuiqiao.base.errors import Conflict, Denied
from shuiqiao.base.wire import MAX_CALENDAR_MS, Digest
from shuiqiao.ledger.model import BlockContext, Event, Kind, State, StateView, Transaction
from shuiqiao.members.roster import member_record

JOURNAL_ANCHOR: Final = "journal.anchor"

NO_DAY: Final = -1
"""The last anchored day of a member that anchored none."""


class JournalAnchorBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Tell the root of one day's entries of the author's journal. day: in days since 1970-01-01 UTC."""

    day: Annotated[int, Meta(ge=0, le=MAX_CALENDAR_MS // MS_PER_DAY)]
    count: Annotated[int, Meta(ge=1, le=2**53 - 1)]
    root: Digest


def journal_key(member: str) -> str:
    """Return the state key of the last day that a member anchored."""
    return f"members/journal/{member}"


def journal_day_key(member: str, day: int) -> str:
    """Return the state key of one day of a member's journal."""
    return f"members/journal/{member}/{day}"


def last_anchored_day(state: StateView, member: str) -> int:
    """Return the last day that a member anchored, NO_DAY if it anchored none."""
    last = state.get(journal_key(member))
    return NO_DAY if last is None else int(last)


def anchored_root(state: StateView, member: str, day: int) -> tuple[int, bytes] | None:
    """Return how many entries a day of a member's journal has by the ledger, and their root; None if it has none."""
    found = state.get(journal_day_key(member, day))
    return None if found is None else (int(found["count"]), bytes(found["root"]))


def _check_anchor(tx: Transaction, state: StateView, ctx: BlockContext) -> None:
    """[MEMBER-29]: a member, of a day that is over and later than the last one it anchored."""
    body: JournalAnchorBody = tx.body
    member_record(state, tx.author)
    today = ctx.time_ms // MS_PER_DAY
    if body.day >= today:
        raise Denied(
            "members.journal_day_open", f"day {body.day} is anchored once it is over; block time is in day {today}"
        )
    last = last_anchored_day(state, tx.author)
    if body.day <= last:
        raise Conflict(
            "members.journal_day_anchored",
            f"day {body.day} where {tx.author} has anchored its journal up to day {last}",
        )


def _apply_anchor(tx: Transaction, state: State, _ctx: BlockContext) -> Sequence[Event]:
    body: JournalAnchorBody = tx.body
    state.put(journal_key(tx.author), body.day)
    state.put(journal_day_key(tx.author, body.day), {"count": body.count, "root": body.root})
    return (Event(name="journal.anchored", attributes={"member": tx.author, "day": body.day}),)


KIND: Final = Kind(
    name=JOURNAL_ANCHOR,
    room="members",
    version=1,
    body=JournalAnchorBody,
    check=_check_anchor,
    apply=_apply_anchor,
    governance=True,
)
"""Open while the network is frozen, too: what people do then is told like everything else."""


def day_text(day: int) -> str:
    """Return a day as ISO 8601 has it."""
    return iso_from_ms(day * MS_PER_DAY)[:10]
