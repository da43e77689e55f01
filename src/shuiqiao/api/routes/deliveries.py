"""``/deliveries``: what waits to reach other members, since when and why."""

from __future__ import annotations

from shuiqiao.api.door import Running
from shuiqiao.api.routes.members import first_rows
from shuiqiao.api.routing import DEFAULT_LIMIT, Cursor, Limit, Routes
from shuiqiao.client.resources.deliveries import DeliveryPage, DeliveryRecord

deliveries = Routes("deliveries")


@deliveries.get("/deliveries", permission="jobs.read")
def list_deliveries(running: Running, limit: Limit = DEFAULT_LIMIT, cursor: Cursor | None = None) -> DeliveryPage:
    """List what other members have not taken yet, oldest first."""
    rows = [each.as_json() for each in running.institution.deliveries.waiting()]
    names = [row["id"] for row in rows]
    rows = rows[names.index(cursor) + 1 :] if cursor in names else rows
    found, following = first_rows([DeliveryRecord(**row) for row in rows], limit=limit)
    return DeliveryPage(items=found, next=found[-1].id if following else None)
