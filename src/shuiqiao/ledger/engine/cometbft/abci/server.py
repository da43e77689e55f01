"""The ABCI socket server: CometBFT connects four times (consensus, mempool, query, snapshot) and asks.

One thread per connection reads what has arrived, answers in order, and sends the answers at once: a Flush is answered
with everything before it already on the way [ABCI-5]. CheckTx requests that arrive in a row are handed over as one run,
because signatures are cheaper to verify together (``inbox``). Connections run at the same time: the application keeps
its own order. Whoever may connect decides blocks, so the socket proves its peer: it lies in the node's home, and what
does not run as this user is refused before a byte is read [ABCI-29]. Bytes that are no ABCI message end their
connection with a fault and touch nothing else [ABCI-4]; an application that cannot go on answers with an exception, on
which CometBFT stops, as ABCI demands [ABCI-6].
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from shuiqiao.base.errors import ShuiqiaoError, Unavailable
from shuiqiao.base.unix_socket import is_own_peer, listen_at
from shuiqiao.ledger.engine.cometbft.abci import requests as ask
from shuiqiao.ledger.engine.cometbft.abci import responses as answer
from shuiqiao.ledger.engine.cometbft.abci.codec import encode_response
from shuiqiao.ledger.engine.cometbft.abci.inbox import Inbox
from shuiqiao.ledger.engine.cometbft.abci.wire import MAX_FRAME_BYTES, Message

MAX_CONNECTIONS: Final = 16
"""CometBFT opens four; a second node that starts while the first one's sockets linger needs four more."""

_BACKLOG: Final = 16


class Application(Protocol):
    """What CometBFT asks of an application, one method per call; Echo and Flush are the server's own.

    Methods are called from several threads at a time, those of the consensus connection from one. A ShuiqiaoError that
    leaves a method becomes an exception answer, on which CometBFT stops.
    """

    def info(self, request: ask.RequestInfo) -> answer.ResponseInfo:
        """Return the last committed height and application hash."""
        ...

    def init_chain(self, request: ask.RequestInitChain) -> answer.ResponseInitChain:
        """Begin a network."""
        ...

    def query(self, request: ask.RequestQuery) -> answer.ResponseQuery:
        """Answer a question from CometBFT's RPC."""
        ...

    def check_txs(self, requests: Sequence[ask.RequestCheckTx]) -> Sequence[answer.ResponseCheckTx]:
        """Tell of transactions that arrived in a row whether each may wait in the mempool."""
        ...

    def insert_tx(self, request: ask.RequestInsertTx) -> answer.ResponseInsertTx:
        """Keep a transaction in the application's own mempool."""
        ...

    def reap_txs(self, request: ask.RequestReapTxs) -> answer.ResponseReapTxs:
        """Return new transactions for CometBFT's peers."""
        ...

    def prepare_proposal(self, request: ask.RequestPrepareProposal) -> answer.ResponsePrepareProposal:
        """Make a block of the given transactions."""
        ...

    def process_proposal(self, request: ask.RequestProcessProposal) -> answer.ResponseProcessProposal:
        """Tell whether a proposed block may be voted for."""
        ...

    def extend_vote(self, request: ask.RequestExtendVote) -> answer.ResponseExtendVote:
        """Return what this validator's precommit carries."""
        ...

    def verify_vote_extension(self, request: ask.RequestVerifyVoteExtension) -> answer.ResponseVerifyVoteExtension:
        """Tell whether another validator's precommit counts."""
        ...

    def finalize_block(self, request: ask.RequestFinalizeBlock) -> answer.ResponseFinalizeBlock:
        """Execute a decided block, without keeping it yet."""
        ...

    def commit(self, request: ask.RequestCommit) -> answer.ResponseCommit:
        """Make the finalized block durable."""
        ...

    def list_snapshots(self, request: ask.RequestListSnapshots) -> answer.ResponseListSnapshots:
        """Return the snapshots there are."""
        ...

    def offer_snapshot(self, request: ask.RequestOfferSnapshot) -> answer.ResponseOfferSnapshot:
        """Tell whether to restore from a peer's snapshot."""
        ...

    def load_snapshot_chunk(self, request: ask.RequestLoadSnapshotChunk) -> answer.ResponseLoadSnapshotChunk:
        """Return a part of a snapshot."""
        ...

    def apply_snapshot_chunk(self, request: ask.RequestApplySnapshotChunk) -> answer.ResponseApplySnapshotChunk:
        """Take a part of the offered snapshot."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionFault:
    """Why a connection was ended, for the log: the error's code, its words, and the connection's number."""

    connection: int
    code: str
    message: str


class AbciServer:
    """A listening ABCI socket over one application."""

    def __init__(
        self,
        application: Application,
        *,
        path: Path,
        on_fault: Callable[[ConnectionFault], None],
        max_frame_bytes: int = MAX_FRAME_BYTES,
    ) -> None:
        """Listen at a Unix socket, for the owner only, and serve in threads of their own.

        on_fault is told of every connection that was ended for a reason. Raises Unavailable
        ``ledger.abci_address_taken`` where the socket cannot be made.
        """
        self._calls = _calls_of(application)
        self._check_txs = application.check_txs
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
            if len(run) == 1 and not isinstance(run[0], ask.RequestCheckTx):
                return encode_response(self._calls[type(run[0])](run[0]))
            return self._answer_checks(run)
        except Exception as error:
            text = str(error) if isinstance(error, ShuiqiaoError) else f"{type(error).__name__}: {error}"
            with contextlib.suppress(OSError):
                connection.sendall(encode_response(answer.ResponseException(error=text)))
            raise

    def _answer_checks(self, run: Sequence[Message]) -> bytes:
        """Return the answers to CheckTx requests and the flushes between them, each in its place."""
        answers = iter(self._check_txs([each for each in run if isinstance(each, ask.RequestCheckTx)]))
        return b"".join(
            [_encode_check(next(answers)) if isinstance(each, ask.RequestCheckTx) else _FLUSHED for each in run]
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


def _calls_of(application: Application) -> dict[type[Message], Callable[[Any], Message]]:
    return {
        ask.RequestEcho: lambda request: answer.ResponseEcho(message=request.message),
        ask.RequestFlush: lambda _request: answer.ResponseFlush(),
        ask.RequestInfo: application.info,
        ask.RequestInitChain: application.init_chain,
        ask.RequestQuery: application.query,
        ask.RequestInsertTx: application.insert_tx,
        ask.RequestReapTxs: application.reap_txs,
        ask.RequestPrepareProposal: application.prepare_proposal,
        ask.RequestProcessProposal: application.process_proposal,
        ask.RequestExtendVote: application.extend_vote,
        ask.RequestVerifyVoteExtension: application.verify_vote_extension,
        ask.RequestFinalizeBlock: application.finalize_block,
        ask.RequestCommit: application.commit,
        ask.RequestListSnapshots: application.list_snapshots,
        ask.RequestOfferSnapshot: application.offer_snapshot,
        ask.RequestLoadSnapshotChunk: application.load_snapshot_chunk,
        ask.RequestApplySnapshotChunk: application.apply_snapshot_chunk,
    }


def _encode_check(verdict: answer.ResponseCheckTx) -> bytes:
    return _ADMITTED if verdict == answer.ResponseCheckTx() else encode_response(verdict)


_ADMITTED: Final = encode_response(answer.ResponseCheckTx())
_FLUSHED: Final = encode_response(answer.ResponseFlush())


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
