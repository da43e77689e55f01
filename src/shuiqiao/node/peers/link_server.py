"""Lets the running node of a home answer the commands of that home, because only one process can open its ledger.

One thread a connection reads questions; transactions go to the engine at once and are answered when it has decided;
what may take a while (receipts, blocks) is answered by a few workers; one more thread writes. A connection that does
not read its answers is ended, and never holds up the engine. Answers mean what the engine's own mean.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final, Self

from shuiqiao.base.encoding import encode_cbor
from shuiqiao.base.errors import InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.unix_socket import is_own_peer, listen_at
from shuiqiao.node.peers import link_frames as link

if TYPE_CHECKING:
    from shuiqiao.ledger.model import Block, Committed, Event, LedgerEngine, StateView

MAX_CONNECTIONS: Final = 32
"""Commands that are connected at one time."""

MAX_VIEWS: Final = 64
"""States that are kept for one connection; the oldest goes first, since a kept state holds disk space."""

MAX_QUESTIONS: Final = 64
"""Questions of one connection that are answered at one time, transactions apart."""

MAX_UNREAD_BYTES: Final = 2 * link.MAX_ANSWER_BYTES
"""Answers that wait for a connection to read them, in bytes."""

PAGE_BYTES: Final = 1 << 20
PAGE_BLOCKS: Final = 256
"""A page of blocks ends at whichever comes first."""

_WORKERS: Final = 4


class LedgerLink:
    """Listens for the commands of one home."""

    def __init__(
        self,
        path: Path,
        *,
        engine: LedgerEngine,
        member: str,
        reload_keys: Callable[[], None],
    ) -> None:
        """Listen at a path, for its owner only; what a node that ended left there is replaced.

        reload_keys: read the home's key files again.
        """
        self._path = path
        self._member = member
        self._engine = engine
        self._reload_keys = reload_keys
        self._lock = threading.Lock()
        self._connections: set[_Connection] = set()
        self._workers = ThreadPoolExecutor(max_workers=_WORKERS, thread_name_prefix="ledger-link")
        self._server = listen_at(path, backlog=MAX_CONNECTIONS)
        engine.subscribe(self._tell)
        self._thread = threading.Thread(target=self._accept, name="ledger-link", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()
        for connection in list(self._connections):
            connection.end()
        self._workers.shutdown(cancel_futures=True)

    def _accept(self) -> None:
        while True:
            try:
                found, _ = self._server.accept()
            except OSError:
                return
            with self._lock:
                is_full = len(self._connections) >= MAX_CONNECTIONS
            if is_full or not is_own_peer(found):
                found.close()
                continue
            connection = _Connection(found, link=self)
            with self._lock:
                self._connections.add(connection)
            connection.start()

    def forget(self, connection: _Connection) -> None:
        """A connection ended."""
        with self._lock:
            self._connections.discard(connection)

    def _tell(self, block: Block, events: Sequence[Event]) -> None:
        with self._lock:
            told = [connection for connection in self._connections if connection.is_subscribed]
        if told:
            data = encode_cbor(link.events_data(list(events)))
            news = link.encode_frame(link.News(0, link.LinkedBlock.of(block), data))
            for connection in told:
                connection.send(news)

    def work(self, connection: _Connection, question: link.Question) -> Future[None]:
        """Answer a question on a worker's thread."""
        return self._workers.submit(connection.answer, question)

    def submit(self, raw: bytes) -> Future[Committed]:
        """Hand in a transaction."""
        return self._engine.submit(raw)

    def state(self) -> StateView:
        """Return the state as it is now."""
        return self._engine.state()

    def find(self, question: link.Question) -> link.Answer:
        """Return what the engine says to a question that does not depend on the connection."""
        number = question.number
        answer: link.Answer
        match question:
            case link.Hello():
                answer = link.Welcome(number, self._engine.parameters.network, self._member)
            case link.AskHead():
                answer = link.Head(number, *self._engine.last_block())
            case link.AskCheckpoint():
                found = self._engine.checkpoint()
                answer = link.SignedHead(number, found.origin, found.size, found.root, found.note)
            case link.AskBlocks(from_height=first, to_height=last):
                answer = link.BlockPage(number, self._page(first, last))
            case link.AskProof(old_size=old_size, new_size=new_size):
                answer = link.Proof(number, self._engine.consistency_proof(old_size=old_size, new_size=new_size))
            case link.AskReceipt(index=index, state_keys=keys):
                answer = link.Receipt(number, self._engine.receipt(index, state_keys=keys))
            case link.ReloadKeys():
                self._reload_keys()
                answer = link.Done(number)
            case _:
                raise InvalidInput("node.link_malformed", f"{type(question).__name__} is not asked of an engine")
        return answer

    def _page(self, first: int, last: int) -> list[link.LinkedBlock]:
        page: list[link.LinkedBlock] = []
        size = 0
        for block in self._engine.blocks(from_height=first):
            if block.height > last:
                break
            page.append(link.LinkedBlock.of(block))
            size += sum(map(len, block.transactions))
            if size >= PAGE_BYTES or len(page) >= PAGE_BLOCKS:
                break
        return page


@dataclass(slots=True)
class _KeptView:
    """A state that was given to a connection, and how often."""

    state: StateView
    readers: int = 0


class _Connection:
    """One command that is connected."""

    def __init__(self, found: socket.socket, *, link: LedgerLink) -> None:
        self._socket = found
        self._link = link
        self._views: OrderedDict[int, _KeptView] = OrderedDict()
        self._views_taken = 0
        self._lock = threading.Lock()
        self._unread = 0
        self._answering = 0
        self._queue: SimpleQueue[bytes | None] = SimpleQueue()
        self._is_ended = False
        self.is_subscribed = False

    def start(self) -> None:
        """Read and write until an end comes."""
        for run in (self._read, self._write):
            threading.Thread(target=run, name="ledger-link-connection", daemon=True).start()

    def send(self, frame: bytes) -> None:
        """Queue an answer; a client that does not read is cut off."""
        with self._lock:
            self._unread += len(frame)
            is_stuck = self._unread > MAX_UNREAD_BYTES
        if is_stuck:
            self.end()
        else:
            self._queue.put(frame)

    def end(self) -> None:
        """End the connection."""
        with self._lock:
            if self._is_ended:
                return
            self._is_ended = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._queue.put(None)
        self._link.forget(self)

    def _write(self) -> None:
        while (frame := self._queue.get()) is not None:
            try:
                self._socket.sendall(frame)
            except OSError:
                break
            with self._lock:
                self._unread -= len(frame)
        self.end()
        self._socket.close()

    def _read(self) -> None:
        try:
            while (question := link.read_question(self._socket)) is not None:
                self._take(question)
        except (ShuiqiaoError, OSError, RuntimeError):
            # A frame that is none, a socket that broke, or workers that are shut down: the connection ends.
            pass
        self.end()

    def _take(self, question: link.Question) -> None:
        match question:
            case link.Submit(number=number, raw=raw):
                self._link.submit(raw).add_done_callback(lambda done: self._answer_submission(number, done))
            case link.DropView(view=view):
                self._drop_view(view)
            case _:
                with self._lock:
                    self._answering += 1
                    is_much = self._answering > MAX_QUESTIONS
                if is_much:
                    raise InvalidInput("node.link_malformed", f"more than {MAX_QUESTIONS} questions at one time")
                self._link.work(self, question)

    def _answer_submission(self, number: int, done: Future[Committed]) -> None:
        error = done.exception()
        if error is None:
            found = done.result()
            self._say(link.Placed(number, found.index, found.height, found.time_ms))
        else:
            self._say(_refusal(number, error))

    def answer(self, question: link.Question) -> None:
        """Answer a question, with an error where there is one."""
        try:
            self._say(self._find(question))
        except Exception as error:  # noqa: BLE001 - whatever a question broke on is told, and the node goes on
            self._say(_refusal(question.number, error))
        finally:
            with self._lock:
                self._answering -= 1

    def _find(self, question: link.Question) -> link.Answer:
        match question:
            case link.TakeView(number=number):
                return link.View(number, self._keep_view())
            case link.ReadView(number=number, view=view, key=key):
                value = self._view(view).get(key)
                return link.Value(number, None if value is None else encode_cbor(value))
            case link.Subscribe(number=number):
                self.is_subscribed = True
                return link.Done(number)
            case _:
                return self._link.find(question)

    def _keep_view(self) -> int:
        view = self._link.state()
        with self._lock:
            number = next(reversed(self._views), 0)
            if not number or self._views[number].state is not view:
                number = self._views_taken = self._views_taken + 1
                self._views[number] = _KeptView(view)
                if len(self._views) > MAX_VIEWS:
                    self._views.popitem(last=False)
            self._views[number].readers += 1
            return number

    def _drop_view(self, number: int) -> None:
        with self._lock:
            kept = self._views.get(number)
            if kept is not None:
                kept.readers -= 1
                if kept.readers <= 0:
                    del self._views[number]

    def _view(self, number: int) -> StateView:
        with self._lock:
            kept = self._views.get(number)
        if kept is None:
            raise Unavailable(
                "node.view_expired",
                f"the node no longer keeps the state that was read: newer ones took its place, {MAX_VIEWS} at most",
                next_step="read the state anew",
            )
        return kept.state

    def _say(self, answer: link.Answer) -> None:
        self.send(link.encode_frame(answer))


def _refusal(number: int, error: BaseException) -> link.Refused:
    if isinstance(error, ShuiqiaoError):
        return link.Refused.of(number, error)
    failed = Unavailable(
        "node.link_failed", f"the node broke down over a question with {type(error).__name__}: {error}"
    )
    return link.Refused.of(number, failed)
