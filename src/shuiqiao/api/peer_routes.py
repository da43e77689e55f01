"""The one route that other members use: a signed message in, the answer of ``PeerService`` out.

No token is asked: the message says who sends it, and its signature proves it. Acts that wait for something (a block, a
quorum, news) have threads of their own, so that those who wait keep nobody from a quick answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from anyio import CapacityLimiter, to_thread
from fastapi import Request, Response

from shuiqiao.base.errors import Unavailable
from shuiqiao.node.peers.asking import ANSWER_TYPE, PEER_PATH
from shuiqiao.node.peers.message import Act

if TYPE_CHECKING:
    from fastapi import FastAPI

    from shuiqiao.node.peers.service import PeerService

WAITING_FOR_NEWS: Final = 64
"""Members that are told of new blocks; more of them ask again by time."""

WAITING_FOR_BLOCKS: Final = 48
QUICK: Final = 8
_SLOW: Final = frozenset({Act.SUBMIT, Act.CONFIRMED, Act.ASK, Act.ARTEFACT, Act.RELAY, Act.OPENING})
_QUEUE: Final = 256
"""Messages of one sort that wait for a thread; more are refused at once."""

_RETRY_S: Final = 1.0

PEER_LIMITS: Final = {f"{PEER_PATH}/{act}": act.max_message_bytes for act in Act}
"""The longest body of each act's path."""


def add_peer_routes(app: FastAPI, service: PeerService) -> None:
    """Let an app answer the messages of other members."""
    news, slow, quick = (CapacityLimiter(most) for most in (WAITING_FOR_NEWS, WAITING_FOR_BLOCKS, QUICK))

    async def answer_peer(act: str, request: Request) -> Response:
        limiter = news if act == Act.NEWS else slow if act in _SLOW else quick
        if limiter.statistics().tasks_waiting >= _QUEUE:
            raise Unavailable("peer.busy", f"{_QUEUE} messages wait already, as many as may", retry_after_s=_RETRY_S)
        raw = await request.body()
        answer = await to_thread.run_sync(service.handle, act, raw, limiter=limiter)
        return Response(answer, media_type=ANSWER_TYPE)

    app.add_api_route(
        f"{PEER_PATH}/{{act}}", answer_peer, methods=["POST"], include_in_schema=False, response_model=None
    )
