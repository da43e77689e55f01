"""What has arrived on an ABCI connection and is not answered yet.

CometBFT sends a Flush after nearly every CheckTx, and burns a core while the socket does not take its next write. So
the inbox empties the socket between any two runs of work, up to a bound, and hands over CheckTx requests together with
the flushes between them. Used by the connection's one thread.
"""

from __future__ import annotations

import socket
from collections import deque
from typing import Final

from shuiqiao.ledger.engine.cometbft.abci.codec import decode_request
from shuiqiao.ledger.engine.cometbft.abci.requests import RequestCheckTx, RequestFlush
from shuiqiao.ledger.engine.cometbft.abci.wire import Message, split_frames

MAX_RUN: Final = 64
"""CheckTx requests handed over together: some milliseconds of work, so that the socket is emptied often enough."""

MAX_RUN_BYTES: Final = 16 * 1024
"""Bytes of CheckTx requests handed over together, for bundles are as much work as many; the last may go beyond it."""

MAX_BACKLOG_BYTES: Final = 32 * 1024 * 1024
"""Bytes of requests taken off the socket and not answered; more wait in the socket, and then in CometBFT."""

_RECEIVE_BYTES: Final = 256 * 1024


class Inbox:
    """The requests of one connection, in order."""

    def __init__(self, connection: socket.socket, *, max_frame_bytes: int) -> None:
        self._connection = connection
        self._max_frame_bytes = max_frame_bytes
        self._requests: deque[tuple[Message, int]] = deque()
        self._backlog = 0
        self._parts: list[bytes] = []
        self._held = 0
        self._wanted = 0

    def fill(self) -> bool:
        """Take what has arrived, waiting for it if nothing is at hand; False once the other side ended.

        Raises InvalidInput for bytes that are no requests, OSError where the connection broke.
        """
        if not self._requests:
            return self._take(self._connection.recv(_RECEIVE_BYTES))
        while self._backlog < MAX_BACKLOG_BYTES:
            try:
                part = self._connection.recv(_RECEIVE_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            if not part:
                # What it asked before it went away is answered to nobody.
                return False
            self._take(part)
            if len(part) < _RECEIVE_BYTES:
                break
        return True

    def _take(self, part: bytes) -> bool:
        if not part:
            return False
        self._parts.append(part)
        self._held += len(part)
        # A long message is put together once it is whole, not with every part of it.
        if self._held >= self._wanted:
            self._split(b"".join(self._parts))
        return True

    def _split(self, data: bytes) -> None:
        places, at, self._wanted = split_frames(data, max_bytes=self._max_frame_bytes)
        for start, end in places:
            self._requests.append((decode_request(data, start, end), end - start))
        rest = data[at:]
        self._backlog += at
        self._parts = [rest] if rest else []
        self._held = len(rest)

    def take_run(self) -> list[Message]:
        """Return the next request, or as many CheckTx requests as follow one another, with the flushes among them."""
        run: list[Message] = []
        checks = taken = 0
        while self._requests and checks < MAX_RUN and taken < MAX_RUN_BYTES:
            request, size = self._requests[0]
            is_check = type(request) is RequestCheckTx
            if run and not is_check and not (checks and type(request) is RequestFlush):
                break
            self._requests.popleft()
            self._backlog = max(0, self._backlog - size)
            run.append(request)
            taken += size
            checks += is_check
            if not checks:
                break
        return run
