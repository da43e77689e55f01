"""A door of a running institution: which institution is behind it, who knows its callers, how often they may ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from shuiqiao.api.access import Callers
from shuiqiao.api.acts import Acts
from shuiqiao.api.lanes import Lanes
from shuiqiao.api.limits import RequestRates
from shuiqiao.api.news import News
from shuiqiao.api.observing import Metrics
from shuiqiao.api.uploads import Uploads
from shuiqiao.node.server import RunningInstitution


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """What the routes of one app share. name: public or home. origins: as ``own_origins`` returns them."""

    name: str
    origins: Sequence[str]
    running: RunningInstitution
    callers: Callers
    metrics: Metrics
    acts: Acts
    uploads: Uploads
    news: News
    lanes: Lanes
    rates: RequestRates = field(default_factory=RequestRates)


async def _running_of(request: Request) -> RunningInstitution:
    door: Door = request.app.state.door
    return door.running


Running = Annotated[RunningInstitution, Depends(_running_of)]
"""The institution that answers."""


async def _origins_of(request: Request) -> Sequence[str]:
    door: Door = request.app.state.door
    return door.origins


OwnOrigins = Annotated[Sequence[str], Depends(_origins_of)]
"""The addresses by which the server that answers is reached."""
