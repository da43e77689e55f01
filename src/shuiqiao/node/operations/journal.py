"""Shows, verifies and anchors an institution's journal for a message of the API."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from shuiqiao.base.clock import MS_PER_DAY, MS_PER_SECOND
from shuiqiao.client.resources import journal
from shuiqiao.ledger.transactions.looking_up import newest_index
from shuiqiao.members.journal import day_text, journal_day_key
from shuiqiao.node.accounts.model import Permission

if TYPE_CHECKING:
    from shuiqiao.client.wire import Nothing
    from shuiqiao.node.accounts.journal.service import Journal
    from shuiqiao.node.home_reader import HomeReader
    from shuiqiao.node.member_copy import MemberCopy
    from shuiqiao.node.operations.calling import AccountCall, Call


def list_journal(call: AccountCall, asked: journal.JournalQuestion) -> journal.JournalPage:
    """Return entries, the newest first; raises Denied ``node.permission_missing``."""
    call.caller.require(Permission.JOURNAL_READ)
    rows = call.accounts.journal.rows(
        limit=asked.limit + 1,
        before=None if asked.cursor is None else int(asked.cursor),
        who=asked.who,
        subject=asked.object,
        act=asked.act,
        before_ms=asked.before_ms,
    )
    shown = rows[: asked.limit]
    following = str(shown[-1]["seq"]) if len(rows) > asked.limit else None
    return journal.JournalPage(items=tuple(journal.JournalRecord(**row) for row in shown), next=following)


def prove_entry(call: Call, chosen: journal.JournalEntryChoice) -> journal.JournalProof:
    """Prove that an entry is one of its day; raises Denied ``node.permission_missing``, what ``Journal.prove`` raises.

    The receipt is of the newest entry of the ledger under the checkpoint that it is made with: what it proves is the
    state behind that checkpoint.
    """
    call.caller.require(Permission.JOURNAL_READ)
    institution = call.institution
    engine, member = institution.engine, institution.member
    found = call.accounts.journal.prove(chosen.seq, state=engine.state(), member=member)
    key = journal_day_key(member, found.day)
    return journal.JournalProof(
        day=day_text(found.day),
        entry=found.entry.hex(),
        place=found.place,
        count=found.count,
        path=tuple(step.hex() for step in found.path),
        root=found.root.hex(),
        state_key=key,
        receipt=engine.receipt(newest_index(engine), state_keys=[key]).hex(),
    )


def verify_journal(call: Call, _asked: Nothing) -> journal.JournalVerified:
    """Look through all entries and compare days with the ledger; raises what ``Journal.verify`` raises."""
    return _verified(call.accounts.journal, call.institution)


def verify_journal_at(reader: HomeReader, _asked: Nothing) -> journal.JournalVerified:
    """Do the same at a home that is looked at; its data key is needed. Raises what ``open_accounts`` raises, too."""
    from shuiqiao.node.accounts.opening import open_accounts

    with open_accounts(reader.home) as accounts:
        return _verified(accounts.journal, reader)


def _verified(kept: Journal, copy: MemberCopy) -> journal.JournalVerified:
    found = kept.verify(state=copy.engine.state(), member=copy.member)
    return journal.JournalVerified(holds=True, entries=found.entries, days=found.days, anchored_days=found.anchored)


def list_days(call: Call, asked: journal.JournalDayQuestion) -> journal.JournalDayPage:
    """Return the days that have entries, each with its root on the ledger."""
    institution = call.institution
    rows = call.accounts.journal.day_rows(
        state=institution.engine.state(),
        member=institution.member,
        after=-1 if asked.cursor is None else _day_number(asked.cursor),
    )
    shown = rows[: asked.limit]
    following = str(shown[-1]["day"]) if len(rows) > asked.limit else None
    return journal.JournalDayPage(items=tuple(journal.JournalDay(**row) for row in shown), next=following)


def _day_number(text: str) -> int:
    """Return a day in days since 1970, of one that no month has the last day before it."""
    year, month, day = map(int, text.split("-"))
    while True:
        try:
            found = datetime.combine(date(max(year, 1970), month, day), datetime.min.time(), tzinfo=UTC)
        except ValueError:
            day -= 1
            continue
        return int(found.timestamp()) * MS_PER_SECOND // MS_PER_DAY


def anchor_journal(call: Call, _asked: Nothing) -> journal.AnchoredDays:
    """Put the root of each day that is over on the ledger; raises what ``Journal.anchor`` raises."""
    days = call.accounts.journal.anchor(call.institution.outbox)
    return journal.AnchoredDays(anchored=tuple(journal.AnchoredDay(**day) for day in days))
