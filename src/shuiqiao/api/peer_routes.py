"""The one route that other members use: a signed message in, the answer of ``PeerService`` out.

No token is asked: the message says who sends it, and its signature proves it. Until then it is a stranger's, and counts
for the address that it comes from; from then on it counts for its sender, who has a share of its own [PEER-5]. So
neither strangers nor one member keep another member waiting for long. What goes beyond a share waits and holds no
thread. Acts that wait for something (a block, a quorum, news) have threads of their own. An answer counts until its
sender has read it.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import Response

from shuiqiao.api.limits import KNOWN_RATE, UNKNOWN_RATE, BodyRoom, RequestRates, Room, Shares, address_of_scope
from shuiqiao.api.problems import response_of
from shuiqiao.base.errors import InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.client import request_id, tracing
from shuiqiao.client.problem import not_found
from shuiqiao.node.peers.asking import ANSWER_TYPE, PEER_PATH
from shuiqiao.node.peers.message import Act

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from shuiqiao.node.peers.message import PeerMessage
    from shuiqiao.node.peers.service import PeerService

CHECKS: Final = 4
"""Messages whose signature is verified at one time."""

CHECKS_OF_ONE: Final = 2
"""Of these, messages that came from one address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """How many acts of a sort are at work: threads for all senders; of one sender so many, and so many that wait."""

    threads: int
    of_one: int
    waiting_of_one: int


QUICK: Final = Work(threads=8, of_one=2, waiting_of_one=32)
SLOW: Final = Work(threads=48, of_one=16, waiting_of_one=32)
"""Of acts that wait for a block or a quorum, or read much."""

NEWS: Final = Work(threads=64, of_one=2, waiting_of_one=0)
"""Of waits for news: a sender's own, and one that a broken connection left behind."""

_SLOW: Final = frozenset({Act.SUBMIT, Act.CONFIRMED, Act.ASK, Act.ARTEFACT, Act.RELAY, Act.OPENING, Act.OFFER})
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


class _Lane:
    """The places of one sort of work, with a share of them for each sender."""

    def __init__(self, work: Work) -> None:
        self.threads = CapacityLimiter(work.threads)
        self.shares = Shares(work.of_one, waiting=work.waiting_of_one)


class PeerDoor:
    """An app of the one route, without a framework around it: members ask many small things in a second."""

    def __init__(self, service: PeerService) -> None:
        self._service = service
        self._checks = CapacityLimiter(CHECKS)
        self._strangers = Shares(CHECKS_OF_ONE)
        self._rates = RequestRates()
        self._lanes = {work: _Lane(work) for work in (QUICK, SLOW, NEWS)}
        self._answers = Room(BodyRoom())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a message, or tell why not as problem+json."""
        async with AsyncExitStack() as held:
            response = await self._answer(scope, receive, held=held)
            await response(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, *, held: AsyncExitStack) -> Response:
        address = address_of_scope(scope)
        try:
            message = await self._received(scope, receive, address=address)
        except ShuiqiaoError as error:
            # Nobody is known to have sent it: whoever does so again and again is answered slowly.
            await asyncio.sleep(self._rates.delay_s(address, rate=UNKNOWN_RATE))
            return _refusal(error, closes=True)
        try:
            return Response(await self._performed(message, held=held), media_type=ANSWER_TYPE)
        except ShuiqiaoError as error:
            return _refusal(error)

    async def _received(self, scope: Scope, receive: Receive, *, address: str) -> PeerMessage:
        """Return the message of a request, every check of [PEER-2] having held."""
        path, method = scope["path"], scope["method"]
        act = path.removeprefix(_ROOT)
        if act == path or not act or "/" in act:
            raise not_found()
        scope["route"] = _ROUTE
        if method != "POST":
            raise InvalidInput("api.method_wrong", f"{method[:20]} is not a method of this address")
        if act in _ACTS:
            tracing.tell(act=act)
            request_id.note(act=act)
        raw = await Request(scope, receive).body()
        async with self._strangers.of(address):
            _require_room(self._checks)
            return await to_thread.run_sync(self._service.receive, act, raw, limiter=self._checks)

    async def _performed(self, message: PeerMessage, *, held: AsyncExitStack) -> bytes:
        """Return the answer to a member, within its share. held: what is given back once it has the answer."""
        act, sender = Act(message.act), message.sender
        work = NEWS if act is Act.NEWS else SLOW if act in _SLOW else QUICK
        lane = self._lanes[work]
        await asyncio.sleep(self._rates.delay_s(("member", sender), rate=KNOWN_RATE))
        if lane.shares.is_full(sender):
            raise _busy(f"{work.of_one} acts of {sender} are at work and {work.waiting_of_one} wait, as many as may")
        await held.enter_async_context(lane.shares.of(sender))
        _require_room(lane.threads)
        answer = await to_thread.run_sync(self._service.perform, message, limiter=lane.threads)
        self._answers.hold(len(answer), caller=sender)
        held.callback(self._answers.let_go, len(answer), caller=sender)
        return answer


def _require_room(threads: CapacityLimiter) -> None:
    if threads.statistics().tasks_waiting >= _QUEUE:
        raise _busy(f"{_QUEUE} messages wait already, as many as may")


def _busy(why: str) -> Unavailable:
    return Unavailable("peer.busy", why, retry_after_s=_RETRY_S)


def _refusal(error: ShuiqiaoError, *, closes: bool = False) -> Response:
    """Return the answer that tells an error. closes: the connection ends, for it may be one of very many."""
    found = response_of(error)
    if error.code == "api.method_wrong":
        found.headers["Allow"] = "POST"
    if closes:
        found.headers["Connection"] = "close"
    return found
