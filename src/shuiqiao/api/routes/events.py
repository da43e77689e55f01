"""``/events``: what comes onto the ledger, as it comes (server-sent events)."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Annotated, Final

from fastapi import Header, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from shuiqiao.api.access import require_access
from shuiqiao.api.door import Running
from shuiqiao.api.routes.ledger import Place
from shuiqiao.api.routing import Caller, Routes
from shuiqiao.base.errors import Denied
from shuiqiao.client.resources.ledger import EntryPage, EntrySummary
from shuiqiao.node.operations.ledger import entries_from

if TYPE_CHECKING:
    from shuiqiao.api.door import Door
    from shuiqiao.api.news import News, Reader
    from shuiqiao.node.server import RunningInstitution

events = Routes("events")

STREAM: Final = "text/event-stream"

EVENT_FIELD: Final = "x-event-data"
"""Where the OpenAPI document says which form the data of an event has."""

EXAMPLE: Final = (
    '{"index":12,"height":5,"time_ms":1767225600000,"kind":"anchor.commit","author":"tax-bureau",'
    '"id":"4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f"}'
)

ALIVE_S: Final = 15.0
"""How often a stream says that it lives while nothing happens, in seconds."""

ENTRIES_AT_ONCE: Final = 100

_PERMISSION: Final = "ledger.read"

LastEventId = Annotated[
    str | None, Header(pattern=r"^(0|[1-9][0-9]{0,15})$", description="Index of the last entry seen", examples=["12"])
]


@events.get(
    "/events",
    permission=_PERMISSION,
    codes=("api.streams_many",),
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "One event for each entry: its id is the index, its data an EntrySummary",
            "content": {
                STREAM: {
                    "schema": {"type": "string", "description": "Server-sent events, whose data is an EntrySummary"},
                    "example": f"event: entry\nid: 12\ndata: {EXAMPLE}\n\n",
                    EVENT_FIELD: {"$ref": f"#/components/schemas/{EntrySummary.__name__}"},
                }
            },
        }
    },
)
async def stream_events(
    request: Request,
    running: Running,
    caller: Caller,
    cursor: Place | None = None,
    last_event_id: LastEventId = None,
) -> StreamingResponse:
    """Send each entry of the ledger from an index on, then each new one as it comes; without one, new ones alone."""
    news: News = request.app.state.door.news
    if last_event_id is not None:
        first = int(last_event_id) + 1
    elif cursor is not None:
        first = int(cursor)
    else:
        first = await run_in_threadpool(lambda: running.institution.engine.checkpoint().size)
    # Refused here, where it can still be told, and not once the answer has begun.
    reader = news.reader((caller.kind, caller.id))
    door: Door = request.app.state.door

    def require_known() -> None:
        require_access(door.callers.caller_of(request), permission=_PERMISSION)

    entries = stream_entries(running, first, news=news, reader=reader, require_known=require_known)
    return StreamingResponse(entries, media_type=STREAM, headers={"Cache-Control": "no-store"})


async def stream_entries(
    running: RunningInstitution,
    first: int,
    *,
    news: News,
    reader: Reader,
    require_known: Callable[[], None],
    alive_s: float = ALIVE_S,
) -> AsyncGenerator[bytes]:
    """Yield each entry from an index on as an event, until there are no more news.

    require_known: raises Denied once the caller may not read any more, which ends the stream; asked every alive_s.
    """
    looked_s = time.monotonic()
    try:
        while not news.is_closed:
            if time.monotonic() - looked_s >= alive_s:
                looked_s = time.monotonic()
                await run_in_threadpool(require_known)
            page: EntryPage = await run_in_threadpool(entries_from, running.institution, first, limit=ENTRIES_AT_ONCE)
            for entry in page.items:
                yield f"event: entry\nid: {entry.index}\ndata: {entry.model_dump_json()}\n\n".encode()
                first = entry.index + 1
            if page.next is not None:
                first = int(page.next)
                continue
            await reader.wait(alive_s)
            yield b": alive\n\n"
    except Denied:
        # The answer has begun: it ends here, and who asks again is told why.
        return
    finally:
        reader.leave()
