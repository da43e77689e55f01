"""The ledger of a home whose node runs, as commands use it: a LedgerEngine over the node's socket in the home.

It keeps nothing itself. The node has executed and verified what it says, and is this institution's own; the caller
still verifies what comes from other institutions. Transactions are sent as they come and answered in any order.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, TypeVar

from shuiqiao.base.encoding import decode_cbor
from shuiqiao.base.errors import InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.unix_socket import connect_to
from shuiqiao.ledger.checkpoints.signed_note import Checkpoint
from shuiqiao.ledger.engine.port import Listener, Listeners
from shuiqiao.ledger.model import MAX_TRANSACTION_BYTES, Block, Committed, Event, StateView
from shuiqiao.node.peers import link_frames as link

if TYPE_CHECKING:
    from shuiqiao.ledger.model import NetworkParameters
    from shuiqiao.node.home.settings import Home, NodeSettings

ANSWER_TIMEOUT_S: Final = 60.0
"""How long an answer may take, in seconds: a receipt waits for votes."""

WAIT_TIMEOUT_S: Final = 30.0
"""How long a block or checkpoint of others is waited for, in seconds."""

_POLL_S: Final = 0.05

_Found = TypeVar("_Found", bound=link.Answer)


class RemoteLedger:
    """A LedgerEngine whose blocks the running node of this home keeps."""

    def __init__(self, found: socket.socket, *, parameters: NetworkParameters) -> None:
        """Speak over a connected socket; use ``connect_ledger``."""
        self._parameters = parameters
        self._socket = found
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._waiting: dict[int, Future[link.Answer]] = {}
        self._is_over = False
        self._dropped: deque[int] = deque()
        self._views: weakref.WeakValueDictionary[int, _RemoteState] = weakref.WeakValueDictionary()
        self._listeners = Listeners()
        self._news: SimpleQueue[link.News | None] | None = None
        self._reader = threading.Thread(target=self._read, name="remote-ledger", daemon=True)
        self._reader.start()

    # The port: from any thread

    @property
    def parameters(self) -> NetworkParameters:
        """The network this engine serves."""
        return self._parameters

    def submit(self, raw: bytes) -> Future[Committed]:
        """Hand in a signed transaction; the future fails with what refused it, or ``node.link_lost``."""
        future: Future[Committed] = Future()
        if len(raw) > MAX_TRANSACTION_BYTES:
            refusal = f"a transaction of {len(raw)} bytes; at most {MAX_TRANSACTION_BYTES} are allowed"
            future.set_exception(InvalidInput("ledger.tx_too_large", refusal))
            return future
        self._send(lambda number: link.Submit(number, raw)).add_done_callback(lambda done: _settle(future, done))
        return future

    def state(self) -> StateView:
        """Return a view of the state after the last committed block, unaffected by later ones."""
        number = self._ask(link.TakeView, link.View).view
        with self._lock:
            found = self._views.get(number)
            if found is not None:
                # The node counts how often it gave the same state.
                self._dropped.append(number)
                return found
            found = self._views[number] = _RemoteState(self, number)
        # The garbage collector must not wait for a lock: what is dropped is told with the next question.
        weakref.finalize(found, self._dropped.append, number).atexit = False
        return found

    def read_view(self, view: int, key: str) -> Any:
        """Return the value of a key in a state that the node keeps; raises Unavailable ``node.view_expired``."""
        data = self._ask(lambda number: link.ReadView(number, view, key), link.Value).data
        return None if data is None else decode_cbor(data)

    def last_block(self) -> tuple[int, int]:
        """Return height and time (ms) of the last committed block; (0, genesis time) before the first."""
        found = self._ask(link.AskHead, link.Head)
        return found.height, found.time_ms

    def wait_for_block(self, height: int) -> None:
        """Return once the node has committed a block; raises Unavailable ``node.block_awaited``."""
        end = time.monotonic() + WAIT_TIMEOUT_S
        while (reached := self.last_block()[0]) < height:
            if time.monotonic() > end:
                raise Unavailable(
                    "node.block_awaited",
                    f"the node holds {reached} blocks and did not come to hold block {height}",
                    next_step="shuiqiao network status",
                    retry_after_s=1.0,
                )
            time.sleep(_POLL_S)

    def checkpoint(self, *, at_least: int = 0) -> Checkpoint:
        """Return the newest signed checkpoint; at_least: leaves it must cover.

        Raises Unavailable ``node.checkpoint_awaited``, and what the node's engine raises.
        """
        end = time.monotonic() + WAIT_TIMEOUT_S
        while (found := self._ask(link.AskCheckpoint, link.SignedHead)).size < at_least:
            if time.monotonic() > end:
                raise Unavailable(
                    "node.checkpoint_awaited",
                    f"the newest signed checkpoint covers {found.size} leaves, {at_least} are asked for",
                    next_step="check that more than two thirds of the validators are up",
                    retry_after_s=1.0,
                )
            time.sleep(_POLL_S)
        return Checkpoint(origin=found.origin, size=found.size, root=found.root, note=found.note)

    def blocks(self, *, from_height: int) -> Iterator[Block]:
        """Iterate over the blocks committed when iteration starts, in order from a height (1 is the first)."""
        last, height = self.last_block()[0], max(1, from_height)
        while height <= last:
            page = self._page(height, last)
            yield from (each.block() for each in page)
            height = page[-1].height + 1

    def _page(self, first: int, last: int) -> list[link.LinkedBlock]:
        page = self._ask(lambda number: link.AskBlocks(number, first, last), link.BlockPage).blocks
        if not page:
            raise Unavailable("node.link_lost", f"the node gave no block from height {first}, where it has {last}")
        return page

    def consistency_proof(self, *, old_size: int, new_size: int) -> tuple[bytes, ...]:
        """Return the RFC 6962 consistency proof between two sizes; InvalidInput ``ledger.size_unknown`` beyond."""
        return self._ask(lambda number: link.AskProof(number, old_size, new_size), link.Proof).path

    def receipt(self, index: int, *, state_keys: Sequence[str] = ()) -> bytes:
        """Return the encoded receipt of the transaction at a leaf; raises what the node's engine raises."""
        keys = tuple(state_keys[: link.MAX_STATE_KEYS])
        return self._ask(lambda number: link.AskReceipt(number, index, keys), link.Receipt).data

    def subscribe(self, listener: Listener) -> None:
        """Call a listener after each block from now on, on a thread for that alone; one that raises is dropped."""
        self._listeners.add(listener)
        with self._lock:
            is_first = self._news is None
            if is_first:
                self._news = SimpleQueue()
        if is_first:
            threading.Thread(target=self._tell, args=(self._news,), name="remote-ledger-news", daemon=True).start()
            self._ask(link.Subscribe, link.Done)

    def close(self) -> None:
        """End the connection; the node goes on. What was not answered fails with ``node.link_lost``."""
        with contextlib.suppress(OSError):
            # Suppressed: the node ended first.
            self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join()
        self._socket.close()

    # Beyond the port

    def reload_keys(self) -> None:
        """Have the node read the home's key files again; raises what it raises."""
        self._ask(link.ReloadKeys, link.Done)

    def require_network(self) -> None:
        """Return if the node is of this network; raises InvalidInput ``node.link_foreign``."""
        found = self._ask(link.Hello, link.Welcome)
        if found.network != self._parameters.network:
            raise InvalidInput(
                "node.link_foreign",
                f"the node that answers is {found.member} of network {found.network.hex()}, the home's genesis is "
                f"{self._parameters.network.hex()}",
            )

    # Questions and answers

    def _ask(self, make: Callable[[int], link.Question], answer: type[_Found]) -> _Found:
        future = self._send(make)
        try:
            found = future.result(timeout=ANSWER_TIMEOUT_S)
        except TimeoutError as error:
            raise Unavailable(
                "node.link_late", f"the node did not answer within {ANSWER_TIMEOUT_S:g} s", retry_after_s=1.0
            ) from error
        if not isinstance(found, answer):
            raise _foreign(found)
        return found

    def _send(self, make: Callable[[int], link.Question]) -> Future[link.Answer]:
        future: Future[link.Answer] = Future()
        number = next(self._numbers)
        frame = link.encode_frame(make(number))
        with self._lock:
            if self._is_over:
                future.set_exception(_lost())
                return future
            self._waiting[number] = future
            try:
                self._socket.sendall(self._drops() + frame)
            except OSError:
                self._waiting.pop(number, None)
                future.set_exception(_lost())
        return future

    def _drops(self) -> bytes:
        frames: list[bytes] = []
        while self._dropped:
            frames.append(link.encode_frame(link.DropView(0, self._dropped.popleft())))
        return b"".join(frames)

    def _read(self) -> None:
        error: ShuiqiaoError = _lost()
        try:
            while (answer := link.read_answer(self._socket)) is not None:
                self._take(answer)
        except OSError:
            pass
        except ShuiqiaoError as malformed:
            error = malformed
        with self._lock:
            self._is_over = True
            left, self._waiting = list(self._waiting.values()), {}
        for future in left:
            future.set_exception(error)
        if self._news is not None:
            self._news.put(None)

    def _take(self, answer: link.Answer) -> None:
        if isinstance(answer, link.News):
            if self._news is not None:
                self._news.put(answer)
            return
        with self._lock:
            future = self._waiting.pop(answer.number, None)
        if future is None:
            return
        if isinstance(answer, link.Refused):
            future.set_exception(answer.as_error())
        else:
            future.set_result(answer)

    def _tell(self, news: SimpleQueue[link.News | None]) -> None:
        while (each := news.get()) is not None:
            told: Sequence[Event] = [Event(name=name, attributes=more) for name, more in decode_cbor(each.events)]
            self._listeners.tell(each.block.block(), told)


class _RemoteState:
    """The state after one block, kept by the node while this object lives; what was read of it is remembered."""

    def __init__(self, ledger: RemoteLedger, number: int) -> None:
        self._ledger = ledger
        self._number = number
        self._values: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        """Return the value of a key, None if absent. The value is shared: never change it in place."""
        if key not in self._values:
            self._values[key] = self._ledger.read_view(self._number, key)
        return self._values[key]


def connect_ledger(path: Path, *, parameters: NetworkParameters) -> RemoteLedger | None:
    """Return the ledger of the node that listens at a path, None where none does.

    Raises InvalidInput ``node.link_foreign``, and ``base.socket_path_long``.
    """
    try:
        found = connect_to(path)
    except OSError:
        # No file, or one that a node left behind when it ended.
        return None
    ledger = RemoteLedger(found, parameters=parameters)
    try:
        ledger.require_network()
    except BaseException:
        ledger.close()
        raise
    return ledger


def require_running(home: Home, *, settings: NodeSettings) -> None:
    """Return if transactions of this home can be ordered; raises Unavailable ``node.not_running`` else.

    A validator hands in at its own node. Where one operator orders, that is for the engine to judge.
    """
    if settings.engine == "embedded" or not settings.is_validator or is_answering(home.link):
        return
    raise Unavailable(
        "node.not_running",
        f"the node of {settings.member} does not run: nothing answers at {home.link}",
        next_step="shuiqiao network start",
    )


def is_answering(path: Path) -> bool:
    """Tell whether a node listens at a path."""
    try:
        connect_to(path).close()
    except OSError:
        return False
    return True


def _settle(future: Future[Committed], done: Future[link.Answer]) -> None:
    error = done.exception()
    if error is not None:
        future.set_exception(error)
        return
    found = done.result()
    if isinstance(found, link.Placed):
        future.set_result(Committed(index=found.index, height=found.height, time_ms=found.time_ms))
    else:
        future.set_exception(_foreign(found))


def _foreign(answer: link.Answer) -> InvalidInput:
    return InvalidInput("node.link_malformed", f"the node answered something else: {type(answer).__name__}")


def _lost() -> Unavailable:
    return Unavailable(
        "node.link_lost",
        "the connection to this home's running node ended; what was handed in may still be committed",
        next_step="shuiqiao network status, then try again",
        retry_after_s=1.0,
    )
