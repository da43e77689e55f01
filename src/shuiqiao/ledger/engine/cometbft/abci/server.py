"""The ABCI socket server: CometBFT connects four times (consensus, mempool, query, snapshot) and asks.

One thread per connection reads what has arrived, answers in order, and sends the answers at once: a Flush is answered
with everything before it already on the way [ABCI-5]. CheckTx requests that arrive in a row are handed over as one run,
because signatures are cheaper to verify together. Connections run at the same time: the application keeps
its own order. A process that may connect decides blocks, so the socket proves its peer: it lies in the node's home, and
what does not run as this user is refused before a byte is read [ABCI-29]. Bytes that are no ABCI message end their
connection with a fault and touch nothing else [ABCI-4]; an application that cannot go on answers with an exception, on
which CometBFT stops, as ABCI demands [ABCI-6].
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from shuiqiao.base.errors import ShuiqiaoError, Unavailable
from shuiqiao.base.unix_socket import is_own_peer, listen_at
from shuiqiao.ledger.engine.cometbft.abci import messages as abci
from shuiqiao.ledger.engine.cometbft.abci.wire import MAX_FRAME_BYTES, Message, split_frames

MAX_CONNECTIONS: Final = 16
"""CometBFT opens four; a second node that starts while the first one's sockets linger needs four more."""

_BACKLOG: Final = 16

MAX_RUN: Final = 64
"""CheckTx requests handed over together: some milliseconds of work, so that the socket is emptied often enough."""

MAX_RUN_BYTES: Final = 16 * 1024
"""Bytes of CheckTx requests handed over together, for bundles are as much work as many; the last may go beyond it."""

MAX_BACKLOG_BYTES: Final = 32 * 1024 * 1024
"""Bytes of requests taken off the socket and not answered; more wait in the socket, and then in CometBFT."""

_RECEIVE_BYTES: Final = 256 * 1024


Answers = Mapping[type[Message], Callable[[Any], Any]]
"""What answers each request with its response; Echo and Flush are the server's own.

The one of CheckTx is given the requests that arrived in a row, and returns as many responses. All are called from
several threads at a time, those of the consensus connection from one. A ShuiqiaoError that one raises becomes an
exception answer, on which CometBFT stops.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionFault:
    """Why a connection was ended, for the log: the error's code, its words, and the connection's number."""

    connection: int
    code: str
    message: str


class Inbox:
    """What has arrived on a connection and is not answered yet, in order; used by the connection's one thread.

    CometBFT sends a Flush after nearly every CheckTx, and burns a core while the socket does not take its next write.
    So the socket is emptied between any two runs of work, up to a bound.
    """

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
            self._requests.append((abci.REQUESTS.decode(data, start, end), end - start))
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
            is_check = type(request) is abci.RequestCheckTx
            if run and not is_check and not (checks and type(request) is abci.RequestFlush):
                break
            self._requests.popleft()
            self._backlog = max(0, self._backlog - size)
            run.append(request)
            taken += size
            checks += is_check
            if not checks:
                break
        return run


class AbciServer:
    """A listening ABCI socket over one application.

    ::

        server = AbciServer(application.answers, path=socket, on_fault=faults.append)
        ...
        server.close()
    """

    def __init__(
        self,
        answers: Answers,
        *,
        path: Path,
        on_fault: Callable[[ConnectionFault], None],
        max_frame_bytes: int = MAX_FRAME_BYTES,
    ) -> None:
        """Listen at a Unix socket, for the owner only, and serve in threads of their own.

        on_fault is told of every connection that was ended for a reason. Raises Unavailable
        ``ledger.abci_address_taken`` where the socket cannot be made.
        """
        self._answers: Answers = {
            **answers,
            abci.RequestEcho: lambda request: abci.ResponseEcho(message=request.message),
            abci.RequestFlush: lambda _request: abci.ResponseFlush(),
        }
        self._on_fault = on_fault
        self._max_frame_bytes = max_frame_bytes
        self._connections: dict[int, socket.socket] = {}
        self._known: set[int] = set()
        self._lock = threading.Lock()
        self._is_closed = False
        self.path = path
        self._listener = _listen(path)
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept, name="abci-accept", daemon=True)
        self._acceptor.start()

    def _accept(self) -> None:
        number = 0
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                # Closing the listener is how the acceptor is told to end.
                return
            number += 1
            self._admit(connection, number)

    def _admit(self, connection: socket.socket, number: int) -> None:
        if not is_own_peer(connection):
            self._fault(number, "ledger.abci_peer_foreign", "a process of another user connected")
            connection.close()
            return
        with self._lock:
            is_admitted = not self._is_closed and (len(self._connections) < MAX_CONNECTIONS or self._drop_silent())
            if is_admitted:
                self._connections[number] = connection
        if not is_admitted:
            self._fault(number, "ledger.abci_connections_full", f"{MAX_CONNECTIONS} connections are open already")
            connection.close()
            return
        thread = threading.Thread(target=self._serve, args=(connection, number), name=f"abci-{number}", daemon=True)
        self._threads = [each for each in self._threads if each.is_alive()] + [thread]
        thread.start()

    def _drop_silent(self) -> bool:
        """End the oldest connection that never asked anything whole: a node finds room beside such [ABCI-4]."""
        silent = next((number for number in self._connections if number not in self._known), None)
        if silent is None:
            return False
        with contextlib.suppress(OSError):
            self._connections.pop(silent).shutdown(socket.SHUT_RDWR)
        return True

    def _serve(self, connection: socket.socket, number: int) -> None:
        try:
            self._converse(connection, number)
        except ShuiqiaoError as error:
            self._fault(number, error.code, error.message)
        except OSError:
            # The other side went away: CometBFT was stopped or killed.
            pass
        except Exception as error:  # noqa: BLE001 - whatever a call broke on ends its connection, never the process
            self._fault(number, "ledger.abci_call_failed", f"a call broke down with {type(error).__name__}: {error}")
        finally:
            with self._lock:
                self._connections.pop(number, None)
                self._known.discard(number)
            connection.close()

    def _fault(self, connection: int, code: str, message: str) -> None:
        self._on_fault(ConnectionFault(connection=connection, code=code, message=message))

    def _converse(self, connection: socket.socket, number: int) -> None:
        """Read, answer, send, until the other side ends; raises for bytes that are no requests."""
        inbox = Inbox(connection, max_frame_bytes=self._max_frame_bytes)
        while inbox.fill():
            if run := inbox.take_run():
                self._known.add(number)
                connection.sendall(self._answer(connection, run))

    def _answer(self, connection: socket.socket, run: Sequence[Message]) -> bytes:
        """Return the answers to a run of requests; an error is answered as an exception and raised [ABCI-6]."""
        try:
            if len(run) == 1 and not isinstance(run[0], abci.RequestCheckTx):
                return abci.RESPONSES.encode(self._answers[type(run[0])](run[0]))
            return self._answer_checks(run)
        except Exception as error:
            text = str(error) if isinstance(error, ShuiqiaoError) else f"{type(error).__name__}: {error}"
            with contextlib.suppress(OSError):
                connection.sendall(abci.RESPONSES.encode(abci.ResponseException(error=text)))
            raise

    def _answer_checks(self, run: Sequence[Message]) -> bytes:
        """Return the answers to CheckTx requests and the flushes between them, each in its place."""
        answers = iter(
            self._answers[abci.RequestCheckTx]([each for each in run if isinstance(each, abci.RequestCheckTx)])
        )
        return b"".join(
            [_encode_check(next(answers)) if isinstance(each, abci.RequestCheckTx) else _FLUSHED for each in run]
        )

    def close(self) -> None:
        """Stop listening, end all connections, and wait for their threads."""
        with self._lock:
            self._is_closed = True
            open_now = list(self._connections.values())
        # On Linux only a shutdown wakes the thread that waits in accept.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in open_now:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in (self._acceptor, *self._threads):
            if thread is not threading.current_thread():
                thread.join(timeout=10)
        self.path.unlink(missing_ok=True)


def _encode_check(verdict: abci.ResponseCheckTx) -> bytes:
    return _ADMITTED if verdict == _ADMITS else abci.RESPONSES.encode(verdict)


_ADMITS: Final = abci.ResponseCheckTx()
_ADMITTED: Final = abci.RESPONSES.encode(_ADMITS)
_FLUSHED: Final = abci.RESPONSES.encode(abci.ResponseFlush())


def _listen(path: Path) -> socket.socket:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return listen_at(path, backlog=_BACKLOG)
    except OSError as error:
        raise Unavailable(
            "ledger.abci_address_taken",
            f"{path} cannot be listened at: {error.strerror or error}",
            next_step="move away what lies there, and see that the folder can be written",
        ) from error
