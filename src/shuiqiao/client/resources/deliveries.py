"""What waits to reach other members, and why."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from shuiqiao.client.operation import Operation
from shuiqiao.client.pages import Page, PageQuery
from shuiqiao.client.wire import Count, Hex, Name, TimeMs, Wire, example

_DELIVERY = {
    "id": "4d" * 32,
    "receiver": "regulator",
    "act": "lending.opening",
    "kept_ms": 1_767_225_600_000,
    "attempts": 3,
    "next_ms": 1_767_225_607_500,
    "code": "client.unreachable",
    "reason": "https://regulator.example:8601 cannot be reached",
}


class DeliveryRecord(Wire):
    """One message that another member has not taken yet; what it says is not told."""

    model_config = example(**_DELIVERY)

    id: Hex
    receiver: Name
    act: Name
    """What is asked of the receiver, e.g. ``consent.artefact``."""
    kept_ms: TimeMs
    attempts: Count
    next_ms: TimeMs
    """When it is sent again."""
    code: Name
    """Why the last attempt failed, empty before the first."""
    reason: Annotated[str, Field(max_length=2_000)]


class DeliveryPage(Page[DeliveryRecord]):
    """What waits, oldest first."""

    model_config = example(items=[_DELIVERY], next=None)


LIST_DELIVERIES: Final = Operation(method="GET", path="/deliveries", sent=PageQuery, told=DeliveryPage)
