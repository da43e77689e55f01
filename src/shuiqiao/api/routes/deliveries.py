"""``/deliveries``: what waits to reach other members, since when and why; ``/pending/abandonments`` gives it up."""

from __future__ import annotations

from typing import Annotated

from shuiqiao.api.door import Running
from shuiqiao.api.journaling import performed
from shuiqiao.api.routing import DEFAULT_LIMIT, Caller, Limit, Routes, cursor_of_form
from shuiqiao.client.pages import PageQuery
from shuiqiao.client.resources.deliveries import LIST_DELIVERIES, DeliveryPage

deliveries = Routes("deliveries")

Cursor = Annotated[str, cursor_of_form(r"^([0-9]{16})@([0-9a-f]{64})$")]


@deliveries.perform(LIST_DELIVERIES, permission="jobs.read", codes=("api.cursor_unknown",))
def list_deliveries(
    running: Running, caller: Caller, limit: Limit = DEFAULT_LIMIT, cursor: Cursor | None = None
) -> DeliveryPage:
    """List what other members have not taken yet, oldest first."""
    return performed(running, caller, LIST_DELIVERIES, PageQuery(limit=limit, cursor=cursor))
