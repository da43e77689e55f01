"""Tells waiting callers that the ledger has gone on: one listener at the engine, and who waits on the loop is woken.

Nothing is queued for anybody [API-10]: who is woken reads the ledger from where it was, so a slow one costs no memory.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from shuiqiao.base.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from shuiqiao.ledger.model import Block, Event, LedgerEngine

MAX_STREAMS: Final = 256
"""Readers that may wait for news at one time."""

STREAMS_OF_ONE: Final = 8
"""Of these, readers of one caller."""

RETRY_S: Final = 10.0


class News:
    """Wakes the readers of one ledger."""

    def __init__(self, engine: LedgerEngine) -> None:
        self.is_closed = False
        self._lock = threading.Lock()
        # Weakly: a stream whose caller went away before its first piece leaves nothing that could be told to leave.
        self._waiting: WeakSet[Reader] = WeakSet()
        engine.subscribe(self._tell)

    def reader(self, caller: Hashable) -> Reader:
        """Return one who waits for a caller; raises Unavailable ``api.streams_many`` while as many do as may."""
        with self._lock:
            own = sum(reader.caller == caller for reader in self._waiting)
            if self.is_closed or len(self._waiting) >= MAX_STREAMS or own >= STREAMS_OF_ONE:
                raise Unavailable(
                    "api.streams_many",
                    f"{len(self._waiting)} streams wait for news, {own} of them this caller's, and "
                    f"{MAX_STREAMS} may in all, {STREAMS_OF_ONE} of one caller",
                    retry_after_s=RETRY_S,
                )
            found = Reader(self, caller)
            self._waiting.add(found)
            return found

    def leave(self, reader: Reader) -> None:
        """Tell a reader no more."""
        with self._lock:
            self._waiting.discard(reader)

    def close(self) -> None:
        """Wake everybody for the last time: their streams end."""
        self.is_closed = True
        self._wake()

    def _tell(self, _block: Block, _events: Sequence[Event]) -> None:
        self._wake()

    def _wake(self) -> None:
        with self._lock:
            for reader in list(self._waiting):
                reader.wake()


class Reader:
    """One who waits for news, on its own loop."""

    def __init__(self, news: News, caller: Hashable) -> None:
        self.caller = caller
        self._news = news
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Wake it, from any thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._woken.set)

    async def wait(self, timeout_s: float) -> None:
        """Return after news, or after so long."""
        try:
            await asyncio.wait_for(self._woken.wait(), timeout_s)
        except TimeoutError:
            return
        self._woken.clear()

    def leave(self) -> None:
        """Wait no more."""
        self._news.leave(self)
