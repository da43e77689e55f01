"""Shows what waits to reach other members, since when and why, for a message of the API."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from shuiqiao.base.errors import InvalidInput
from shuiqiao.client.resources import deliveries as api
from shuiqiao.node.operations.paging import time_place

if TYPE_CHECKING:
    from shuiqiao.client.pages import PageQuery
    from shuiqiao.node.home_reader import HomeReader
    from shuiqiao.node.institution import Institution
    from shuiqiao.node.peers.delivery import Waiting

_CURSOR: Final = re.compile(r"([0-9]{16})@([0-9a-f]{64})")


def list_deliveries(institution: Institution, asked: PageQuery) -> api.DeliveryPage:
    """Return what other members have not taken yet, oldest first; raises InvalidInput ``api.cursor_unknown``."""
    return _page(institution.deliveries.waiting, asked)


def list_deliveries_at(reader: HomeReader, asked: PageQuery) -> api.DeliveryPage:
    """Return the same of a home that is looked at."""
    from shuiqiao.node.peers.delivery import DeliveryStore

    with reader.database() as database:
        return _page(DeliveryStore(database).waiting, asked)


def _page(waiting: Callable[..., list[Waiting]], asked: PageQuery) -> api.DeliveryPage:
    rows = waiting(after=_place(asked.cursor), most=asked.limit + 1)
    shown = rows[: asked.limit]
    following = time_place(shown[-1].kept_ms, shown[-1].id.hex()) if len(rows) > asked.limit else None
    return api.DeliveryPage(items=tuple(api.DeliveryRecord(**row.as_json()) for row in shown), next=following)


def _place(cursor: str | None) -> tuple[int, bytes] | None:
    if cursor is None:
        return None
    parts = _CURSOR.fullmatch(cursor)
    if parts is None:
        raise InvalidInput("api.cursor_unknown", f"{cursor[:80]!r} is no cursor of this list")
    return int(parts[1]), bytes.fromhex(parts[2])
