"""Lanes of a server: how many requests of a sort are at work, over all doors, and how many of them of one holder.

What may wait for another member, for signatures or for the ledger has places of its own, fewer than there are threads:
however long it waits, questions of others are answered [API-22]. A holder is an enterprise with all its consents, a
user with the programs that it answers for, the owner, or the address of a caller that nobody knows. Each has a share,
and what goes beyond waits its turn without a thread. Who calls, and what a supervisor asks, is answered by threads that
no act takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Hashable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from anyio import CapacityLimiter

from shuiqiao.api.limits import Shares
from shuiqiao.base.errors import Unavailable

WAITING: Final = 48
"""Acts at work that may wait for somebody else."""

WAITING_OF_ONE: Final = 8
QUICK_OF_ONE: Final = 16
"""Questions of one holder at work, which wait for nobody."""

THREADS: Final = WAITING + 1 + 32
"""Threads of all lanes: the last ones are left to what waits for nobody."""

ADMISSIONS: Final = 16
"""Requests whose caller is looked up at one time."""

PROBES: Final = 4
"""Threads for what a supervisor asks, and requests of one address for it."""

TURN_S: Final = 30.0
"""Longest wait for a turn, in seconds."""

PAST_TURN_S: Final = 300.0
"""Longest wait for the turn to have the log executed again, in seconds."""

RETRY_S: Final = 5.0


class Lane:
    """The places of one sort of work, with a share of them for each holder; for one loop.

    ::

        async with lane.share(holder):
            ...  # the body is read
            async with lane.place():
                ...  # a thread is at work
    """

    def __init__(self, *, of_one: int, places: int = THREADS, turn_s: float = TURN_S) -> None:
        self._shares = Shares(of_one)
        self._places = Shares(places)
        self._turn_s = turn_s

    def share(self, holder: Hashable) -> AbstractAsyncContextManager[None]:
        """Give a holder the right to one more request; raises Unavailable ``api.busy`` after a turn's longest wait."""
        return self._in_turn(self._shares.of(holder), whose="of this caller")

    def place(self) -> AbstractAsyncContextManager[None]:
        """Give a request its place among those of all; raises Unavailable ``api.busy`` after a turn's longest wait."""
        return self._in_turn(self._places.of(None), whose="of all callers")

    @asynccontextmanager
    async def _in_turn(self, turn: AbstractAsyncContextManager[None], *, whose: str) -> AsyncGenerator[None]:
        try:
            async with asyncio.timeout(self._turn_s):
                await turn.__aenter__()
        except TimeoutError as error:
            raise Unavailable(
                "api.busy",
                f"as many requests {whose} as may were at work for {self._turn_s:g} s",
                retry_after_s=RETRY_S,
            ) from error
        try:
            yield
        finally:
            await turn.__aexit__(None, None, None)


class Lanes:
    """The lanes of one server, which its doors share."""

    def __init__(self) -> None:
        self.quick = Lane(of_one=QUICK_OF_ONE)
        self.waiting = Lane(of_one=WAITING_OF_ONE, places=WAITING)
        self.past = Lane(of_one=1, places=1, turn_s=PAST_TURN_S)
        """Of answers for which the log is executed again: holders in turn."""
        self.probes = Lane(of_one=PROBES)
        self.admissions = CapacityLimiter(ADMISSIONS)
        self.probing = CapacityLimiter(PROBES)
