"""Enters, closes and lists what the registers of an institution hold, for a message of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.ids import MemberId
from shuiqiao.client.resources import registers as api
from shuiqiao.members.roster import member_record
from shuiqiao.node.registers.model import Finding, Severity

if TYPE_CHECKING:
    from shuiqiao.client.pages import PageQuery
    from shuiqiao.node.institution import Institution
    from shuiqiao.node.registers.model import RegisterEntry

_MAX_CURSOR_DIGITS = 15


def list_register(institution: Institution, asked: PageQuery) -> api.RegisterPage:
    """Return entries in their order; raises InvalidInput ``api.cursor_unknown``."""
    cursor = asked.cursor or "0"
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > _MAX_CURSOR_DIGITS:
        raise InvalidInput("api.cursor_unknown", f"{cursor[:80]!r} is no cursor of this list")
    rows = institution.registers.entries(after=int(cursor), most=asked.limit + 1)
    shown = rows[: asked.limit]
    following = str(shown[-1].seq) if len(rows) > asked.limit else None
    return api.RegisterPage(items=tuple(_told(institution, row) for row in shown), next=following)


def assess(institution: Institution, made: api.NewAssessment) -> api.RegisterRecord:
    """Enter an assessment; raises Denied ``members.unknown``, and what ``Registers.assess`` raises."""
    member_record(institution.engine.state(), MemberId(made.member))
    entry = institution.registers.assess(
        made.member, finding=Finding(made.outcome), words=made.words, until_ms=made.until_ms
    )
    return _told(institution, entry)


def report_incident(institution: Institution, made: api.NewIncident) -> api.RegisterRecord:
    """Enter an incident; raises what ``Registers.report_incident`` raises."""
    severity = Severity(made.severity)
    return _told(
        institution,
        institution.registers.report_incident(severity=severity, words=made.words, found_ms=made.found_ms),
    )


def complain(institution: Institution, made: api.NewComplaint) -> api.RegisterRecord:
    """Enter a complaint; raises what ``Registers.complain`` raises."""
    return _told(institution, institution.registers.complain(words=made.words))


def close_entry(institution: Institution, closed: api.RegisterClosure) -> api.RegisterRecord:
    """Close an entry; raises what ``Registers.close`` raises."""
    return _told(institution, institution.registers.close(closed.seq, words=closed.words))


def _told(institution: Institution, entry: RegisterEntry) -> api.RegisterRecord:
    return api.RegisterRecord(
        seq=entry.seq,
        kind=str(entry.kind),
        member=entry.member,
        grade=entry.grade,
        opened_ms=entry.opened_ms,
        due_ms=entry.due_ms,
        closed_ms=entry.closed_ms,
        words=entry.words,
        outcome=entry.outcome,
        is_overdue=entry.is_overdue(institution.now_ms()),
    )
