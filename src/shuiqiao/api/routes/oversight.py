"""``/statistics``, ``/alarms``, ``/past``: what a regulator publishes, alarms of members and nodes, what held once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import Path, Query

from shuiqiao.api.door import Running
from shuiqiao.api.journaling import journaled, performed
from shuiqiao.api.routes.ledger import Place, Proof
from shuiqiao.api.routes.members import first_rows
from shuiqiao.api.routes.requests import PAST_CODES, Day, PastSize
from shuiqiao.api.routing import ACT_FIELD, DEFAULT_LIMIT, Caller, Cursor, Limit, Routes
from shuiqiao.base.ids import OwnedId, Uscc
from shuiqiao.client.pages import PageQuery
from shuiqiao.client.resources import oversight as api
from shuiqiao.client.resources.members import MemberPage, MemberRecord
from shuiqiao.client.resources.oversight import (
    PastPage,
    PastRecord,
    PastUse,
    PastUsePage,
    StatisticsReleasePage,
)
from shuiqiao.client.resources.requests import LIST_USES, PastUseQuery
from shuiqiao.members.model import Role
from shuiqiao.node.home.settings import require_role
from shuiqiao.node.operations.oversight import release_record
from shuiqiao.node.operations.paging import MAX_PROVEN
from shuiqiao.node.past import moment_of, told_members, told_row
from shuiqiao.oversight.as_of import Subject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shuiqiao.exchange.model import UsageEntry
    from shuiqiao.node.server import RunningInstitution
    from shuiqiao.oversight.as_of import Past, PastRow

oversight = Routes("oversight")

Attribute = Annotated[
    Literal["grade", "industry", "province"], Query(description="By this attribute alone", examples=["grade"])
]

PastSubject = Annotated[Subject, Path(description="What is asked about", examples=["given"])]
About = Annotated[str, Query(max_length=200, description="Only where this member is author or recipient")]


@oversight.perform(api.LIST_STATISTICS, permission="oversight.read", codes=("node.role_wrong",))
def list_statistics(
    running: Running,
    caller: Caller,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor | None = None,
    attribute: Attribute | None = None,
) -> api.StatisticsPage:
    """List decisions by grade, industry and province as this regulator published them, cell by cell."""
    asked = api.StatisticsQuestion(limit=limit, cursor=cursor, attribute=attribute)
    return performed(running, caller, api.LIST_STATISTICS, asked)


@oversight.get("/statistics/releases", permission="oversight.read", codes=("node.role_wrong",))
def list_releases(
    running: Running, limit: Limit = DEFAULT_LIMIT, cursor: Cursor | None = None
) -> StatisticsReleasePage:
    """List what this regulator has published, the first one first."""
    require_role(running.institution.settings, Role.REGULATOR)
    after = int(cursor) if cursor is not None and cursor.isdigit() else 0
    later = [release_record(each) for each in running.institution.statistics.releases() if each.number > after]
    found, following = first_rows(later, limit=limit)
    return StatisticsReleasePage(items=found, next=str(found[-1].number) if following else None)


@oversight.perform(
    api.PUBLISH_STATISTICS,
    permission="oversight.publish",
    codes=("node.role_wrong", "oversight.least_firms_invalid", "oversight.release_too_small"),
)
def publish_statistics(asked: api.NewRelease, running: Running, caller: Caller) -> api.StatisticsRelease:
    """Publish tables of the decisions that no release counted yet; every cell holds enough firms to hide one."""
    return performed(running, caller, api.PUBLISH_STATISTICS, asked)


@oversight.perform(api.LIST_STANDING_ALARMS, permission="ledger.read")
def list_standing_alarms(
    running: Running, caller: Caller, limit: Limit = DEFAULT_LIMIT, cursor: Cursor | None = None
) -> api.StandingAlarmPage:
    """List the alarms that this institution's node raised by itself and that stand now."""
    return performed(running, caller, api.LIST_STANDING_ALARMS, PageQuery(limit=limit, cursor=cursor))


@oversight.perform(api.LIST_ALARMS, permission="oversight.read")
def list_alarms(
    running: Running, caller: Caller, limit: Limit = DEFAULT_LIMIT, cursor: Place | None = None
) -> api.AlarmPage:
    """List the alarms that members raised on the ledger, in its order."""
    return performed(running, caller, api.LIST_ALARMS, api.AlarmQuestion(limit=limit, cursor=cursor))


@oversight.get("/past/members", permission="oversight.read", codes=PAST_CODES)
def list_past_members(
    running: Running,
    day: Day = None,
    size: PastSize = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor | None = None,
) -> MemberPage:
    """List who was a member as of a day or a checkpoint, by id."""
    rows = [row for row in told_members(_past(running, day=day, size=size)) if row["member"] > (cursor or "")]
    found, following = first_rows([MemberRecord(**row) for row in rows], limit=limit)
    return MemberPage(items=found, next=found[-1].member if following else None)


@oversight.post(
    "/past/usage/searches",
    permission="requests.read",
    problems=(404,),
    codes=(*PAST_CODES, "node.role_wrong", "ledger.quorum_not_reached"),
    openapi_extra={ACT_FIELD: LIST_USES.act},
)
def list_past_usage(asked: PastUseQuery, running: Running, caller: Caller) -> PastUsePage:
    """List what banks had been given of a taxpayer, and for what, as of a day or a checkpoint."""
    with journaled(running, caller, act=LIST_USES.act, subject=f"taxpayer/{asked.taxpayer}"):
        institution = running.institution
        uses = {use.request: use for use in institution.provider.usage_account(Uscc(asked.taxpayer))}
        past, first = _past(running, day=asked.day, size=asked.size), int(asked.cursor or 0)
        given = past.rows(Subject.GIVEN, about=institution.member)
        found = sorted((row for row in given if row.id in uses and row.index >= first), key=lambda row: row.index)
        rows, following = _proven_page(running, found, limit=asked.limit, proof=asked.proof)
        return PastUsePage(
            items=tuple(_past_use(uses[OwnedId(row.id)], row, receipt=receipt) for row, receipt in rows),
            next=following,
            height=past.height,
            size=past.size,
            root=past.root.hex(),
            time_ms=past.time_ms,
        )


def _past(running: RunningInstitution, *, day: str | None, size: int | None) -> Past:
    """Return what held at the moment that is asked for; today is that of the clock or the newest block, the later."""
    return running.past.at(moment_of(day=day, size=size, now_ms=running.institution.outbox.latest_ms()))


def _past_use(use: UsageEntry, row: PastRow, *, receipt: str | None) -> PastUse:
    return PastUse(
        request=use.request,
        consent=use.consent,
        recipient=use.recipient,
        purpose=use.purpose,
        mode=use.mode,
        items={name: list(groups) for name, groups in use.items.items()},
        records=dict(use.records),
        status=row.status,
        index=row.index,
        time_ms=row.time_ms,
        receipt=receipt,
    )


@oversight.get(
    "/past/{subject}", permission="oversight.read", codes=(*PAST_CODES, "members.unknown", "ledger.quorum_not_reached")
)
def list_past(
    subject: PastSubject,
    running: Running,
    day: Day = None,
    size: PastSize = None,
    about: About = "",
    proof: Proof = False,  # noqa: FBT002 - FastAPI's form of a parameter
    limit: Limit = DEFAULT_LIMIT,
    cursor: Place | None = None,
) -> PastPage:
    """List the consents and anchors that were live, or what banks had been given, as of a day or a checkpoint."""
    past = _past(running, day=day, size=size)
    if about:
        past.require_member(about)
    first = int(cursor or 0)
    found = sorted((row for row in past.rows(subject, about=about) if row.index >= first), key=lambda row: row.index)
    rows, following = _proven_page(running, found, limit=limit, proof=proof)
    return PastPage(
        items=tuple(PastRecord(**told_row(row), receipt=receipt) for row, receipt in rows),
        next=following,
        height=past.height,
        size=past.size,
        root=past.root.hex(),
        time_ms=past.time_ms,
    )


def _proven_page(
    running: RunningInstitution, rows: Sequence[PastRow], *, limit: int, proof: bool
) -> tuple[list[tuple[PastRow, str | None]], str | None]:
    """Return a page of rows, each with its receipt where proofs are asked for, and where the next page begins."""
    most = min(limit, MAX_PROVEN) if proof else limit
    engine = running.institution.engine
    page = [(row, engine.receipt(row.index, state_keys=row.keys).hex() if proof else None) for row in rows[:most]]
    return page, str(rows[most].index) if len(rows) > most else None
