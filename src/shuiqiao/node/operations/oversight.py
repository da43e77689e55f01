"""Publishes a regulator's statistics, shows them, and shows the alarms that a node raised, for a message of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shuiqiao.client.resources import oversight
from shuiqiao.members.model import Role
from shuiqiao.node.home.settings import require_role
from shuiqiao.node.jobs.alarms import ALARMS, WORDS_ZH, standing
from shuiqiao.node.jobs.service import duty_id
from shuiqiao.node.operations.ledger import ScannedBlocks
from shuiqiao.node.operations.paging import page_after
from shuiqiao.oversight.contract import ALARM

if TYPE_CHECKING:
    from collections.abc import Callable

    from shuiqiao.client.pages import PageQuery
    from shuiqiao.node.home.settings import NodeSettings
    from shuiqiao.node.home_reader import HomeReader
    from shuiqiao.node.institution import Institution
    from shuiqiao.oversight.model import Release


def list_statistics(institution: Institution, asked: oversight.StatisticsQuestion) -> oversight.StatisticsPage:
    """Return the cells of what this regulator has published; raises Denied ``node.role_wrong``."""
    return _cells_of(institution.statistics.releases, asked, settings=institution.settings)


def list_statistics_at(reader: HomeReader, asked: oversight.StatisticsQuestion) -> oversight.StatisticsPage:
    """Return the same of a home that is looked at."""
    from shuiqiao.oversight.store import ReleaseStore

    with reader.database() as database:
        return _cells_of(ReleaseStore(database).releases, asked, settings=reader.settings)


def _cells_of(
    releases: Callable[[], tuple[Release, ...]], asked: oversight.StatisticsQuestion, *, settings: NodeSettings
) -> oversight.StatisticsPage:
    require_role(settings, Role.REGULATOR)
    cells = [
        oversight.StatisticsCell(
            release=release.number,
            published_ms=release.published_ms,
            attribute=table.attribute,
            category=row.category,
            outcomes=column,
            decisions=count,
        )
        for release in releases()
        for table in release.tables
        if asked.attribute in {None, table.attribute}
        for row in table.rows
        for column, count in zip(table.columns, row.counts, strict=True)
    ]
    items, following = page_after(cells, asked, name=_name)
    return oversight.StatisticsPage(items=items, next=following)


def _name(cell: oversight.StatisticsCell) -> str:
    return f"{cell.release}/{cell.attribute}/{cell.category}/{'-'.join(cell.outcomes)}"


def publish_statistics(institution: Institution, asked: oversight.NewRelease) -> oversight.StatisticsRelease:
    """Publish what no release counted yet; raises what ``StatisticsService.publish`` raises."""
    require_role(institution.settings, Role.REGULATOR)
    opened = institution.opened_decisions()
    return release_record(institution.statistics.publish(opened.decisions, least_firms=asked.least_firms))


def release_record(found: Release) -> oversight.StatisticsRelease:
    """Return a release as a message."""
    return oversight.StatisticsRelease(
        number=found.number,
        published_ms=found.published_ms,
        decisions=found.decisions,
        least_firms=found.least_firms,
        tables=tuple(
            oversight.StatisticsTable(
                attribute=table.attribute,
                columns=table.columns,
                rows=tuple(oversight.StatisticsRow(category=row.category, counts=row.counts) for row in table.rows),
            )
            for table in found.tables
        ),
    )


def list_standing_alarms(institution: Institution, asked: PageQuery) -> oversight.StandingAlarmPage:
    """Return the alarms that stood when this institution's node last looked."""
    from shuiqiao.node.jobs.store import JobStore

    job = JobStore(institution.database, cipher=institution.cipher).job(duty_id(ALARMS))
    rows = [
        oversight.StandingAlarmRecord(
            kind=each.kind, about=each.about, says=each.says, says_zh=WORDS_ZH[each.kind], since_ms=each.since_ms
        )
        for each in standing(None if job is None else job.result)
    ]
    items, following = page_after(rows, asked, name=lambda row: f"{row.kind}:{row.about}")
    return oversight.StandingAlarmPage(items=items, next=following)


_IN_BYTES: Final = ALARM.encode()
"""An alarm's signed bytes hold its kind; others are not decoded."""


def list_alarms(institution: Institution, asked: oversight.AlarmQuestion) -> oversight.AlarmPage:
    """Return the alarms that members raised on the ledger, in its order."""
    first, found = int(asked.cursor or 0), list[oversight.AlarmRecord]()
    blocks = ScannedBlocks(institution, first=first)
    for block in blocks:
        for index, raw in enumerate(block.transactions, start=block.first_index):
            if index < first or _IN_BYTES not in raw:
                continue
            tx = institution.outbox.decode(raw)
            if tx.kind != ALARM:
                continue
            if len(found) == asked.limit:
                return oversight.AlarmPage(items=tuple(found), next=str(index))
            found.append(
                oversight.AlarmRecord(
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
    return oversight.AlarmPage(items=tuple(found), next=None if blocks.next_index is None else str(blocks.next_index))
