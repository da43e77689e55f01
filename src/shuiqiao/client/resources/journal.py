"""The journal of an institution: who did and read what there, whether it is whole, and its days on the ledger."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, StringConstraints

from shuiqiao.client.operation import Operation
from shuiqiao.client.pages import Page, PageQuery
from shuiqiao.client.wire import MAX_EXACT, Count, Hex, Name, Nothing, TimeMs, Wire, example

Number = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,14}$")]

_ENTRY = {
    "seq": 812,
    "time": "2026-01-05T08:15:00Z",
    "kind": "user",
    "who": "2f" * 16,
    "act": "records.search",
    "object": "taxpayer/91440300MA5LEAKME7",
    "outcome": "done",
    "request": "0d4c3a52f1b94c0e8d0a4f6b1c2e3d4f",
}


class JournalRecord(Wire):
    """One act of one caller: who did what to which object, and how it ended."""

    model_config = example(**_ENTRY)

    seq: Count
    """Its number, from 1, without gaps."""
    time: Name
    kind: Name
    """user, machine, enterprise or owner."""
    who: Name
    act: Name
    object: Name
    """The id of what it was done to, or empty."""
    outcome: Name
    """``done``, or the code of the error that refused it."""
    request: Name
    """The id of the request that it was part of, or empty."""


class JournalPage(Page[JournalRecord]):
    """Entries, the newest first."""

    model_config = example(items=[_ENTRY], next="812")


class JournalQuestion(PageQuery):
    """Asks for entries before a number, which is the cursor; each filter that is given has to be true of them."""

    model_config = example(limit=100, cursor="812", before_ms=None, who=None, act="records.search", object=None)

    cursor: Number | None = None
    before_ms: TimeMs | None = None
    """Of before a time."""
    who: Name | None = None
    """The id of a caller."""
    act: Name | None = None
    object: Name | None = None
    """The id of what was done to."""


class JournalVerified(Wire):
    """That every entry is what was written, none is missing and none was put in."""

    model_config = example(holds=True, entries=812, days=12, anchored_days=11)

    holds: bool
    entries: Count
    days: Count
    anchored_days: Count
    """Days whose root on the ledger is that of the entries here."""


_DAY = {"day": "2026-01-05", "count": 96, "root": "2a" * 32}


class JournalDay(Wire):
    """A day of the journal. root: of its entries as the ledger has it, none while the day is not anchored."""

    model_config = example(**_DAY)

    day: Name
    count: Count
    root: Hex | None


class JournalDayPage(Page[JournalDay]):
    """The days that have entries, the first one first."""

    model_config = example(items=[_DAY], next="2026-01-05")


class JournalDayQuestion(PageQuery):
    """Asks for days after one, which is the cursor."""

    model_config = example(limit=100, cursor="2026-01-05")

    cursor: Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$")] | None = (
        None
    )


class AnchoredDay(Wire):
    """A day whose root was put on the ledger, by the block that has it."""

    model_config = example(day="2026-01-05", count=96, root="2a" * 32, height=48)

    day: Name
    count: Count
    root: Hex
    height: Count


class AnchoredDays(Wire):
    """The days that were anchored now."""

    model_config = example(anchored=[{"day": "2026-01-05", "count": 96, "root": "2a" * 32, "height": 48}])

    anchored: tuple[AnchoredDay, ...]


class JournalEntryChoice(Wire):
    """Names an entry by its number."""

    model_config = example(seq=812)

    seq: Annotated[int, Field(ge=1, le=MAX_EXACT)]


class JournalProof(Wire):
    """That an entry is one of a day whose root stands on the ledger, for whoever has the genesis alone.

    The leaf hash of the entry leads by the path to the root (RFC 6962, hash of the suite), and the receipt proves that
    the ledger's state has that root and count under the key of the day.
    """

    model_config = example(
        day="2026-01-05",
        entry="a1",
        place=17,
        count=96,
        path=["2a" * 32],
        root="2a" * 32,
        state_key="members/journal/tax-bureau/20458",
        receipt="a1",
    )

    day: Name
    entry: Hex
    """Its bytes: deterministic CBOR, with the salt that keeps the root from being guessed at."""
    place: Count
    """Among the entries of the day, from 0."""
    count: Count
    path: tuple[Hex, ...]
    root: Hex
    state_key: Name
    receipt: Hex


VERIFY_TIMEOUT_S: Final = 3_600.0
"""How long it may take to read all entries, in seconds."""

LIST_JOURNAL: Final = Operation(
    method="GET", path="/journal", sent=JournalQuestion, told=JournalPage, act="journal.read"
)
PROVE_JOURNAL_ENTRY: Final = Operation(
    method="GET",
    path="/journal/{seq}/proof",
    sent=JournalEntryChoice,
    told=JournalProof,
    act="journal.read",
    subject=lambda chosen: f"journal/{chosen.seq}",
)
VERIFY_JOURNAL: Final = Operation(
    path="/journal/verifications",
    sent=Nothing,
    told=JournalVerified,
    timeout_s=VERIFY_TIMEOUT_S,
)
LIST_JOURNAL_DAYS: Final = Operation(method="GET", path="/journal/days", sent=JournalDayQuestion, told=JournalDayPage)
ANCHOR_JOURNAL: Final = Operation(path="/journal/anchors", sent=Nothing, told=AnchoredDays)
