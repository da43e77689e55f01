"""``/statistics`` and ``/alarms``: what a regulator publishes of decisions, and what members raised alarms about."""

from __future__ import annotations

from typing import Final

from shuiqiao.api.door import Running
from shuiqiao.api.routes.ledger import Place, ScannedBlocks
from shuiqiao.api.routes.members import first_rows
from shuiqiao.api.routing import DEFAULT_LIMIT, Cursor, Limit, Routes
from shuiqiao.client.resources.oversight import (
    AlarmPage,
    AlarmRecord,
    StatisticsRelease,
    StatisticsReleasePage,
    StatisticsRow,
    StatisticsTable,
)
from shuiqiao.members.model import Role
from shuiqiao.node.home.settings import require_role
from shuiqiao.oversight.contract import ALARM
from shuiqiao.oversight.model import Release

oversight = Routes("oversight")

_IN_BYTES: Final = ALARM.encode()
"""An alarm's signed bytes hold its kind; others are not decoded."""


@oversight.get("/statistics/releases", permission="oversight.read", codes=("node.role_wrong",))
def list_releases(
    running: Running, limit: Limit = DEFAULT_LIMIT, cursor: Cursor | None = None
) -> StatisticsReleasePage:
    """List what this regulator has published, the first one first."""
    require_role(running.institution.settings, Role.REGULATOR)
    after = int(cursor) if cursor is not None and cursor.isdigit() else 0
    later = [_release(each) for each in running.institution.statistics.releases() if each.number > after]
    found, following = first_rows(later, limit=limit)
    return StatisticsReleasePage(items=found, next=str(found[-1].number) if following else None)


def _release(found: Release) -> StatisticsRelease:
    return StatisticsRelease(
        number=found.number,
        published_ms=found.published_ms,
        decisions=found.decisions,
        least_firms=found.least_firms,
        tables=tuple(
            StatisticsTable(
                attribute=table.attribute,
                columns=table.columns,
                rows=tuple(StatisticsRow(category=row.category, counts=row.counts) for row in table.rows),
            )
            for table in found.tables
        ),
    )


@oversight.get("/alarms", permission="oversight.read")
def list_alarms(running: Running, limit: Limit = DEFAULT_LIMIT, cursor: Place | None = None) -> AlarmPage:
    """List the alarms that members raised on the ledger, in its order."""
    first, found = int(cursor or 0), list[AlarmRecord]()
    blocks = ScannedBlocks(running, first=first)
    for block in blocks:
        for index, raw in enumerate(block.transactions, start=block.first_index):
            if index < first or _IN_BYTES not in raw:
                continue
            tx = running.institution.outbox.decode(raw)
            if tx.kind != ALARM:
                continue
            if len(found) == limit:
                return AlarmPage(items=tuple(found), next=str(index))
            found.append(
                AlarmRecord(
                    index=index,
                    height=block.height,
                    time_ms=block.time_ms,
                    author=tx.author,
                    alarm=tx.body.alarm.hex(),
                    subject=tx.body.subject,
                    accused=tx.body.accused,
                    evidence_digest=tx.body.evidence_digest.hex(),
                )
            )
    return AlarmPage(items=tuple(found), next=None if blocks.next_index is None else str(blocks.next_index))
