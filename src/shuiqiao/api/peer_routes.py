"""The one route that other members use: a signed message in, the answer of ``PeerService`` out.

No token is asked: the message says who sends it, and its signature proves it. Acts that wait for something (a block, a
quorum, news) have threads of their own, so that those who wait keep nobody from a quick answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import Response

from shuiqiao.api.problems import response_of
from shuiqiao.base.errors import InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.client import tracing
from shuiqiao.client.problem import not_found
from shuiqiao.node.peers.asking import ANSWER_TYPE, PEER_PATH
from shuiqiao.node.peers.message import Act

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from shuiqiao.node.peers.service import PeerService

WAITING_FOR_NEWS: Final = 64
"""Members that are told of new blocks; more of them ask again by time."""

WAITING_FOR_BLOCKS: Final = 48
QUICK: Final = 8
_SLOW: Final = frozenset({Act.SUBMIT, Act.CONFIRMED, Act.ASK, Act.ARTEFACT, Act.RELAY, Act.OPENING})
_ACTS: Final = frozenset(map(str, Act))
_QUEUE: Final = 256
"""Messages of one sort that wait for a thread; more are refused at once."""

_RETRY_S: Final = 1.0

_ROOT: Final = f"{PEER_PATH}/"


class _Route:
    """What the log calls the route."""

    path = f"{PEER_PATH}/{{act}}"


_ROUTE: Final = _Route()

PEER_LIMITS: Final = {f"{PEER_PATH}/{act}": act.max_message_bytes for act in Act}
"""The longest body of each act's path."""


class PeerDoor:
    """An app of the one route, without a framework around it: members ask many small things in a second."""

    def __init__(self, service: PeerService) -> None:
        self._service = service
        self._news = CapacityLimiter(WAITING_FOR_NEWS)
        self._slow = CapacityLimiter(WAITING_FOR_BLOCKS)
        self._quick = CapacityLimiter(QUICK)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a message, or tell why not as problem+json."""
        try:
            response = await self._answer(scope, receive)
        except ShuiqiaoError as error:
            response = response_of(error)
        await response(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        path, method = scope["path"], scope["method"]
        act = path.removeprefix(_ROOT)
        if act == path or not act or "/" in act:
            raise not_found()
        scope["route"] = _ROUTE
        if method != "POST":
            refused = response_of(InvalidInput("api.method_wrong", f"{method[:20]} is not a method of this address"))
            refused.headers["Allow"] = "POST"
            return refused
        limiter = self._news if act == Act.NEWS else self._slow if act in _SLOW else self._quick
        if limiter.statistics().tasks_waiting >= _QUEUE:
            raise Unavailable("peer.busy", f"{_QUEUE} messages wait already, as many as may", retry_after_s=_RETRY_S)
        if act in _ACTS:
            tracing.tell(act=act)
        raw = await Request(scope, receive).body()
        answer = await to_thread.run_sync(self._service.handle, act, raw, limiter=limiter)
        return Response(answer, media_type=ANSWER_TYPE)
