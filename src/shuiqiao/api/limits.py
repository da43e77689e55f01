"""What one caller may take of a door: bytes of a body, time for it, requests in a while [API-4] [API-5].

A body is refused by its declared length before anything is read, and by its bytes as they come in. A caller that sends
slowly, or does not read its answer, is cut off: each piece has its time, and the whole of it too; time in which the
server itself did not read counts for nobody. Requests are counted
for each caller that is known, and for each address of those that are not.
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Hashable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cachetools import TTLCache
from starlette.requests import ClientDisconnect

from shuiqiao.api.problems import RefusedValue, send_refusal
from shuiqiao.base.errors import ShuiqiaoError, Unavailable

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

DEFAULT_BODY_BYTES: Final = 1024 * 1024
"""Longest body where a route names no other."""

PIECE_S: Final = 15.0
"""Longest wait for the next piece of a body, in seconds."""

WHOLE_S: Final = 30.0
"""Time that any body has, in seconds; a long one has more, by SLOWEST_BYTES_PER_S."""

SLOWEST_BYTES_PER_S: Final = 64 * 1024
MAX_CALLERS: Final = 10_000
"""Callers whose requests are counted at one time; the one that was counted longest ago is forgotten first."""


HELD_BYTES: Final = 256 * 1024 * 1024
"""Bodies of one door in memory at one time, however many callers send: what 64 of the longest messages have."""

HELD_OF_ONE: Final = HELD_BYTES // 4
"""Of these, bodies that came from one address."""

HELD_RETRY_S: Final = 1.0

SENT_AT_ONCE: Final = 256 * 1024
"""Bytes of an answer that are given out before the caller has taken those before them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyRoom:
    """How many bytes a door holds in memory for its callers. held_of_one: for one of them."""

    held_bytes: int = HELD_BYTES
    held_of_one: int = HELD_OF_ONE


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyTimes:
    """How slowly a body may come in, or an answer be read, in seconds."""

    piece_s: float = PIECE_S
    whole_s: float = WHOLE_S


class BodyLimits:
    """Lets a body through as far as it is short and quick enough, and there is room for it."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        limits: Mapping[str, int],
        times: BodyTimes = BodyTimes(),
        room: BodyRoom = BodyRoom(),
    ) -> None:
        """limits: longest body in bytes by the exact path, or by its beginning where that ends in a slash.

        A body that may be longer than all that the room holds goes to disk as it comes, and is not held.
        """
        self._app = app
        self._limits = limits
        self._times = times
        self._room = Room(room)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse its body."""
        if scope["type"] != "http":
            return
        limit = self._limit_of(scope["path"])
        declared = _declared(scope)
        if declared > limit:
            await send_refusal(_too_large(limit, came=f"{declared} bytes"), send, closes=True)
            return
        body = _Body(receive, address=address_of_scope(scope), limit=limit, times=self._times, room=self._room)
        answer = _Answer(send, body=body, times=self._times)
        try:
            await self._app(scope, body.receive, answer.send)
        except _Refused:
            if answer.is_started:
                raise
        finally:
            body.let_go()
        if body.refusal is not None and not answer.is_started:
            await send_refusal(body.refusal, send, closes=True)

    def _limit_of(self, path: str) -> int:
        if path in self._limits:
            return self._limits[path]
        beginnings = [name for name in self._limits if name.endswith("/") and path.startswith(name)]
        return self._limits[max(beginnings, key=len)] if beginnings else DEFAULT_BODY_BYTES


class _Refused(Exception):
    """Ends whatever reads a body that was refused; the refusal itself is answered outside of it."""


class Room:
    """The memory of a door for what its callers send, or for what they have not read yet; for one loop.

    Its callers are addresses, or members whose messages are proven.
    """

    def __init__(self, most: BodyRoom) -> None:
        self.most = most
        self._held: Counter[str] = Counter()

    def hold(self, size: int, *, caller: str) -> None:
        """Take memory for what a caller sends or is sent; raises Unavailable ``api.bodies_many``."""
        for held, most, whose in (
            (self._held[caller], self.most.held_of_one, "one caller"),
            (self._held.total(), self.most.held_bytes, "all callers"),
        ):
            if held + size > most:
                raise Unavailable(
                    "api.bodies_many",
                    f"{held} bytes of {whose} are held already, and {most} may be",
                    retry_after_s=HELD_RETRY_S,
                )
        self._held[caller] += size

    def let_go(self, size: int, *, caller: str) -> None:
        """Give memory back."""
        self._held[caller] -= size
        if self._held[caller] <= 0:
            del self._held[caller]


class _Body:
    """The body of one request on its way in."""

    def __init__(self, receive: Receive, *, address: str, limit: int, times: BodyTimes, room: Room) -> None:
        self.refusal: ShuiqiaoError | None = None
        self._address = address
        self._receive = receive
        self._limit = limit
        self._room = room
        self._held = 0
        self._times = times
        self._waited_s = 0.0
        self._size = 0
        self._is_whole = False

    async def receive(self) -> Message:
        """Return the next piece; raises _Refused once it is too long or too slow."""
        if self._is_whole:
            # Whoever asks on waits for the caller to go away.
            return await self._receive()
        try:
            message = await self._piece()
        except TimeoutError as error:
            raise self._refuse(
                Unavailable("api.body_slow", f"{self._size} bytes came, and the next did not")
            ) from error
        self._size += len(message.get("body", b""))
        if self._size > self._limit:
            raise self._refuse(_too_large(self._limit, came=f"{self._size} bytes or more"))
        self._hold(len(message.get("body", b"")))
        self._is_whole = not message.get("more_body", False)
        return message

    async def _piece(self) -> Message:
        """Return the next piece; time in which nobody reads, as before its turn came, is not the caller's."""
        left = self._times.whole_s + self._size / SLOWEST_BYTES_PER_S - self._waited_s
        if left <= 0:
            raise TimeoutError
        began = time.monotonic()
        async with asyncio.timeout(min(self._times.piece_s, left)):
            message = await self._receive()
        self._waited_s += time.monotonic() - began
        return message

    def _hold(self, size: int) -> None:
        if self._limit > self._room.most.held_bytes:
            return
        try:
            self._room.hold(size, caller=self._address)
        except Unavailable as error:
            raise self._refuse(error) from error
        self._held += size

    def let_go(self) -> None:
        """Free its memory for others."""
        self._room.let_go(self._held, caller=self._address)
        self._held = 0

    def _refuse(self, error: ShuiqiaoError) -> _Refused:
        self.refusal = error
        return _Refused()


class _Answer:
    """An answer on its way out; what an app makes of a body that was refused stays here.

    A long one goes out in pieces, for the server below keeps a whole one in memory until its caller has read it.
    """

    def __init__(self, send: Send, *, body: _Body, times: BodyTimes) -> None:
        self.is_started = False
        self._send = send
        self._body = body
        self._times = times
        self._sent = 0
        self._waited_s = 0.0

    async def send(self, message: Message) -> None:
        """Send on, unless the body was refused before the answer began; raises ClientDisconnect where it is not read.

        That breaks the connection off. The time that the app takes for the next piece of a stream does not count.
        """
        if self._body.refusal is not None and not self.is_started:
            return
        self.is_started = True
        body = message.get("body", b"")
        last = max(len(body) - 1, 0) // SENT_AT_ONCE * SENT_AT_ONCE
        for first in range(0, last, SENT_AT_ONCE):
            await self._give({**message, "body": body[first : first + SENT_AT_ONCE], "more_body": True})
        await self._give({**message, "body": body[last:]} if last else message)

    async def _give(self, message: Message) -> None:
        began = time.monotonic()
        left = self._times.whole_s + self._sent / SLOWEST_BYTES_PER_S - self._waited_s
        try:
            async with asyncio.timeout(min(self._times.piece_s, max(left, 0.0))):
                await self._send(message)
        except TimeoutError as error:
            raise ClientDisconnect from error
        self._waited_s += time.monotonic() - began
        self._sent += len(message.get("body", b""))


def _declared(scope: Scope) -> int:
    sent = dict(scope["headers"]).get(b"content-length", b"0")
    return int(sent) if sent.isdigit() and len(sent) < 20 else 0  # noqa: PLR2004 - more digits than any length has


def _too_large(limit: int, *, came: str) -> RefusedValue:
    return RefusedValue(
        "api.body_too_large", f"a body may have {limit} bytes here, this one has {came}", field="body", value=came
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How often one caller may ask. burst: requests at once. per_s: how many come back each second."""

    burst: int
    per_s: float


KNOWN_RATE: Final = Rate(burst=400, per_s=200.0)
UNKNOWN_RATE: Final = Rate(burst=60, per_s=20.0)


_PREFIX_OF_ONE: Final = 64


def address_of(host: str, *, forwarded: str) -> str:
    """Return the address of a caller that nobody knows. forwarded: its header ``X-Forwarded-For``, empty for none.

    All callers of a reverse proxy on this machine come from the same address, and one of them would use up what all may
    ask: such a proxy is believed in what it says last, for what stands before that is the caller's own word. LIMIT: any
    program on this machine can say so too; it may ask more often, and nothing else follows from an address. Of IPv6
    one caller has 2^64 addresses: those of one network count as one.
    """
    named = forwarded.rpartition(",")[2].strip()
    try:
        found = ipaddress.ip_address(host)
        if found.is_loopback and named:
            found = ipaddress.ip_address(named)
    except ValueError:
        return host
    if found.version == 4 or found.is_loopback:  # noqa: PLR2004 - the version of the protocol
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, _PREFIX_OF_ONE), strict=False))


def address_of_scope(scope: Scope) -> str:
    """Return the address that a request comes from, as ``address_of`` knows it."""
    named = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
    client = scope.get("client")
    return address_of(client[0] if client else "", forwarded=",".join(named))


MAX_DELAY_S: Final = 5.0
"""Longest time for which a request is held up because its caller sent too many, in seconds."""


class RequestRates:
    """Counts the requests of each caller; threads may share it."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._left: TTLCache[Any, tuple[float, float]] = TTLCache(MAX_CALLERS, ttl=600, timer=clock)
        self._clock = clock
        self._lock = threading.Lock()

    def count(self, caller: object, *, rate: Rate) -> None:
        """Count one request; raises Unavailable ``api.too_many_requests`` with the time until the next may come."""
        with self._lock:
            now = self._clock()
            left, then = self._left.get(caller, (float(rate.burst), now))
            left = min(float(rate.burst), left + (now - then) * rate.per_s)
            is_over = left < 1
            self._left[caller] = (left if is_over else left - 1, now)
        if is_over:
            raise Unavailable(
                "api.too_many_requests",
                f"one caller may send {rate.burst} requests at once and {rate.per_s:g} a second",
                retry_after_s=(1 - left) / rate.per_s,
            )

    def delay_s(self, caller: object, *, rate: Rate) -> float:
        """Count one request and return how long to hold it up, in seconds, so that the rate is kept; never refuses.

        Whoever waits for each answer before it asks again is slowed to the rate and loses nothing.
        """
        with self._lock:
            now = self._clock()
            left, then = self._left.get(caller, (float(rate.burst), now))
            left = min(float(rate.burst), left + (now - then) * rate.per_s) - 1
            left = max(left, -MAX_DELAY_S * rate.per_s)
            self._left[caller] = (left, now)
            return max(0.0, -left / rate.per_s)


class Shares:
    """Lets each caller have so many requests at work; its further ones wait, and hold no thread. For one loop.

    ::

        async with shares.of(caller):
            response = await act(request)
    """

    def __init__(self, most: int, *, waiting: float = math.inf) -> None:
        """waiting: how many requests of one caller may wait for one of these places."""
        self._most = most
        self._all = most + waiting
        self._shares: dict[Hashable, _Share] = {}

    def is_full(self, caller: Hashable) -> bool:
        """Tell whether as many requests of a caller are at work and waiting as may."""
        share = self._shares.get(caller)
        return share is not None and share.users >= self._all

    @asynccontextmanager
    async def of(self, caller: Hashable) -> AsyncGenerator[None]:
        """Give a caller the right to one more request, as soon as it has fewer than it may."""
        share = self._shares.setdefault(caller, _Share(self._most))
        share.users += 1
        try:
            async with share.places:
                yield
        finally:
            share.users -= 1
            if not share.users:
                self._shares.pop(caller, None)


class _Share:
    """The requests of one caller, at work or waiting."""

    def __init__(self, most: int) -> None:
        self.places = asyncio.Semaphore(most)
        self.users = 0
