"""``/journal``: who did and read what at this institution, whether nothing of it was changed, its anchored days."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

from shuiqiao.api.door import Running
from shuiqiao.api.journaling import performed
from shuiqiao.api.routing import DEFAULT_LIMIT, Caller, Limit, Routes
from shuiqiao.client.resources import journal as api
from shuiqiao.client.wire import MAX_EXACT, Nothing

journal = Routes("journal")

Number = Annotated[int, Path(ge=1, le=MAX_EXACT, description="The number of an entry", examples=[812])]
Before = Annotated[str, Query(pattern=r"^[1-9][0-9]{0,14}$", description="Only entries with a smaller number")]
BeforeMs = Annotated[int, Query(ge=0, le=MAX_EXACT, description="Only of before a time, UTC, milliseconds since 1970")]
After = Annotated[
    str,
    Query(
        pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$",
        description="Only days after this one",
        examples=["2026-01-05"],
    ),
]
Who = Annotated[str, Query(max_length=200, description="Only of this caller, by id")]
Act = Annotated[str, Query(max_length=200, description="Only of this act", examples=["records.search"])]
Subject = Annotated[str | None, Query(alias="object", max_length=200, description="Only about this object, by id")]


@journal.perform(api.LIST_JOURNAL, permission="journal.read")
def list_journal(
    running: Running,
    caller: Caller,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Before | None = None,
    before_ms: BeforeMs | None = None,
    who: Who | None = None,
    act: Act | None = None,
    subject: Subject = None,
) -> api.JournalPage:
    """List entries, the newest first; to read them is an entry itself."""
    asked = api.JournalQuestion(limit=limit, cursor=cursor, before_ms=before_ms, who=who, act=act, object=subject)
    return performed(running, caller, api.LIST_JOURNAL, asked)


@journal.perform(
    api.PROVE_JOURNAL_ENTRY,
    permission="journal.read",
    problems=(409, 422),
    codes=(
        "ledger.quorum_not_reached",
        "node.journal_anchor_differs",
        "node.journal_broken",
        "node.journal_day_open",
        "node.journal_entry_unknown",
    ),
)
def prove_journal_entry(seq: Number, running: Running, caller: Caller) -> api.JournalProof:
    """Prove an entry of a day that is anchored, to whoever has the genesis alone; to read it is an entry itself."""
    return performed(running, caller, api.PROVE_JOURNAL_ENTRY, api.JournalEntryChoice(seq=seq))


@journal.perform(
    api.VERIFY_JOURNAL,
    permission="journal.read",
    problems=(422,),
    codes=("node.journal_broken", "node.journal_anchor_differs"),
)
def verify_journal(asked: Nothing, running: Running, caller: Caller) -> api.JournalVerified:
    """Look whether an entry was altered, dropped or put in, and compare days with the ledger."""
    return performed(running, caller, api.VERIFY_JOURNAL, asked)


@journal.perform(api.LIST_JOURNAL_DAYS, permission="journal.read")
def list_journal_days(
    running: Running, caller: Caller, limit: Limit = DEFAULT_LIMIT, cursor: After | None = None
) -> api.JournalDayPage:
    """List the days that have entries, each with its root on the ledger."""
    return performed(running, caller, api.LIST_JOURNAL_DAYS, api.JournalDayQuestion(limit=limit, cursor=cursor))


@journal.perform(api.ANCHOR_JOURNAL, permission="jobs.manage", codes=("members.journal_day_anchored",))
def anchor_journal(asked: Nothing, running: Running, caller: Caller) -> api.AnchoredDays:
    """Put the root of each day that is over on the ledger, once."""
    return performed(running, caller, api.ANCHOR_JOURNAL, asked)
