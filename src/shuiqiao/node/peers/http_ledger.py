"""The writer as a follower on another machine reaches it: a ``LedgerPeer`` over signed messages [PEER-8].

What is submitted at the same time goes together, up to 64 transactions in a message and several messages on their way;
what is submitted alone brings its block back with it. Blocks come by pages, the next one while the last one is
executed; the newest checkpoint brings the first blocks that lead to it. News come by a question that the writer leaves
open until there is a block. Nothing that is answered is believed here or there: sizes are bounded before they are read,
heights follow each other, and the follower proves the rest.

Whatever happens between the two is Unavailable: whether a transaction was ordered is then not known, and its bytes may
be handed in again. Only what the writer says of a single transaction is its refusal.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, Protocol

from shuiqiao.base.errors import IntegrityError, ShuiqiaoError, Unavailable
from shuiqiao.client import request_id
from shuiqiao.ledger.checkpoints.signed_note import Checkpoint, read_checkpoint
from shuiqiao.ledger.engine.port import Listener, Listeners, ledger_busy, ledger_closed, new_answer
from shuiqiao.ledger.model import Block
from shuiqiao.members.endpoint import HTTPS
from shuiqiao.node.peers import acts
from shuiqiao.node.peers.message import MAX_SUBMITTED, Act

if TYPE_CHECKING:
    from shuiqiao.base.ids import MemberId
    from shuiqiao.ledger.model import Committed
    from shuiqiao.ledger.witness.cosigning import WitnessPeer
    from shuiqiao.node.peers.asking import PeerClient

MAX_WAITING: Final = 16_384
"""Transactions that wait to be sent; beyond it ``ledger.busy``."""

SENDERS: Final = 4
"""Messages with transactions that are on their way at a time."""

_SUBMIT_TIMEOUT_S: Final = 45.0
_CONFIRM_TIMEOUT_S: Final = 25.0
_PAGE_TIMEOUT_S: Final = 60.0
_NEWS_MARGIN_S: Final = 10.0
_GLANCE_S: Final = 3.0
_MAX_EPOCH_PAGES: Final = 64
_REST_S: Final = (0.5, 1.0, 2.0, 5.0)
"""How long the question for news rests after the first, second, ... failure in a row, in seconds."""

GATHER_S: Final = 0.25
"""How long it rests after news, in seconds: blocks are cheaper by the dozen, and who waits for one asks by itself."""


class HttpLedger:
    """One member's way to the writer.

    Example::

        writer = HttpLedger(client, writer=operator)
        follower = FollowerLedger.open(folder, writer=writer, ...)
    """

    def __init__(self, client: PeerClient, *, writer: MemberId) -> None:
        self._client = client
        self._writer = writer
        self._outgoing = Outgoing(self._send)
        self._pages = BlockPages(self._fetch)
        self._brought: tuple[int, acts.Followed] | None = None
        self._listeners = Listeners()
        self._height = 0
        self._news: threading.Thread | None = None
        self._closing = threading.Event()

    @property
    def is_proven(self) -> bool:
        """Whether the writer's server alone can have answered: over TLS, whose key or authority was asked [PEER-12]."""
        return self._client.directory.find(self._writer).endpoint.scheme == HTTPS

    def submit(self, raw: bytes) -> Future[Committed]:
        """Hand in a signed transaction for ordering; what is unknown of it is Unavailable."""
        return self._outgoing.put(raw)

    def is_there(self) -> bool:
        """Tell whether the writer answers just now; never waits long."""
        try:
            self._ask(Act.CHECKPOINT, acts.Nothing(), acts.SignedNote, timeout_s=_GLANCE_S)
        except ShuiqiaoError:
            return False
        return True

    def blocks(self, *, from_height: int) -> Iterator[Block]:
        """Iterate over committed blocks in order; raises Unavailable ``peer.answer_malformed``, what asking raises."""
        return self._pages.iterate(from_height)

    def checkpoint(self) -> Checkpoint:
        """Return what the writer says is its newest checkpoint; the next blocks come with it, for who reads on.

        Once after a transaction was submitted alone it is the one that the answer brought: for the newest, ask again.
        """
        height = self._pages.next_height
        if not height:
            return self._note(Act.CHECKPOINT)
        brought, self._brought = self._brought, None
        if brought is not None and brought[0] == height:
            found = brought[1]
        else:
            asked = acts.FromHeight(from_height=height)
            found = self._ask(Act.FOLLOW, asked, acts.Followed, timeout_s=_PAGE_TIMEOUT_S)
        self._pages.offer(self._following(found.blocks, from_height=height))
        return _checkpoint(found.note)

    def confirmed(self) -> Checkpoint:
        """Return what the writer says is a checkpoint with all its signatures; it waits for them a while."""
        return self._note(Act.CONFIRMED, timeout_s=_CONFIRM_TIMEOUT_S)

    def newest_confirmed(self) -> Checkpoint | None:
        """Return what the writer says is its newest checkpoint with all its signatures, None before the first."""
        found = self._ask(Act.NEWEST_CONFIRMED, acts.Nothing(), acts.SignedNote, timeout_s=_GLANCE_S)
        return _checkpoint(found.note) if found.note else None

    def epoch_sizes(self) -> Sequence[int]:
        """Return the sizes of the checkpoints that closed an epoch, rising."""
        sizes: list[int] = []
        for _ in range(_MAX_EPOCH_PAGES):
            page = self._ask(Act.EPOCHS, acts.OfSize(size=sizes[-1] if sizes else 0), acts.Sizes).sizes
            if sorted(set(page)) != page or (sizes and page and page[0] <= sizes[-1]):
                raise _malformed(self._writer, "sizes of epochs that do not rise")
            sizes += page
            if len(page) < acts.EPOCH_PAGE:
                break
        return sizes

    def epoch_note(self, size: int) -> bytes:
        """Return the note that closed an epoch."""
        return self._ask(Act.EPOCH_NOTE, acts.OfSize(size=size), acts.SignedNote).note

    def add_witness(self, peer: WitnessPeer) -> None:
        """Do nothing: the writer asks each member's witness where that member is reached."""

    def consistency_proof(self, *, old_size: int, new_size: int) -> tuple[bytes, ...]:
        """Return what the writer says is the RFC 6962 consistency proof between two sizes."""
        asked = acts.TwoSizes(old_size=old_size, new_size=new_size)
        return tuple(self._ask(Act.CONSISTENCY, asked, acts.Path).path)

    def subscribe(self, listener: Listener) -> None:
        """Call a listener when there may be a new block; it is given none, since none was seen yet."""
        self._listeners.add(listener)
        if self._news is None:
            self._news = threading.Thread(target=self._ask_for_news, name="peer-news", daemon=True)
            self._news.start()

    def close(self) -> None:
        """Send nothing more; what waits fails with ``ledger.closed``. The client's connections are its owner's."""
        self._closing.set()
        self._outgoing.close()
        self._pages.close()

    # Asking

    def _ask(self, act: Act, body: acts.Wired, answer: type[acts.Wire], *, timeout_s: float | None = None) -> acts.Wire:
        more = {} if timeout_s is None else {"timeout_s": timeout_s}
        return self._client.ask(self._writer, act, body, answer=answer, **more)

    def _note(self, act: Act, *, timeout_s: float | None = None) -> Checkpoint:
        return _checkpoint(self._ask(act, acts.Nothing(), acts.SignedNote, timeout_s=timeout_s).note)

    def _send(self, raws: Sequence[bytes], *, is_alone: bool) -> list[acts.Placed | acts.Refused]:
        height = self._pages.next_height if is_alone else 0
        body = acts.Submitted(transactions=list(raws), from_height=height)
        found = self._ask(Act.SUBMIT, body, acts.Results, timeout_s=_SUBMIT_TIMEOUT_S)
        if len(found.results) != len(raws):
            raise _malformed(self._writer, f"{len(found.results)} results for {len(raws)} transactions")
        if height and found.note:
            self._brought = (height, acts.Followed(blocks=found.blocks, note=found.note))
        return found.results

    def _fetch(self, from_height: int) -> list[Block]:
        asked = acts.FromHeight(from_height=from_height)
        page = self._ask(Act.BLOCKS, asked, acts.BlockPage, timeout_s=_PAGE_TIMEOUT_S).blocks
        return self._following(page, from_height=from_height)

    def _following(self, page: Sequence[acts.WireBlock], *, from_height: int) -> list[Block]:
        if [block.height for block in page] != list(range(from_height, from_height + len(page))):
            raise _malformed(self._writer, f"blocks that do not follow each other from height {from_height} on")
        return [block.block() for block in page]

    def _ask_for_news(self) -> None:
        """Ask again and again; the height in the answer wakes the follower, which believes nothing of it."""
        failures = 0
        while not self._closing.is_set():
            started = time.monotonic()
            try:
                height = self._news_above(self._height)
            except Exception:  # noqa: BLE001 - whatever breaks on the way, the writer is asked again
                failures += 1
            else:
                failures = 0
                is_news = height != self._height
                self._height = height
                if is_news:
                    # Of what came with an answer nobody needs to be told.
                    if height >= self._pages.next_height:
                        self._listeners.tell(_NO_BLOCK, ())
                    self._closing.wait(GATHER_S)
                elif time.monotonic() - started < _REST_S[0]:
                    # A writer that does not wait is not asked without a pause.
                    failures = 1
            if failures:
                self._closing.wait(_REST_S[min(failures, len(_REST_S)) - 1])

    def _news_above(self, height: int) -> int:
        asked = acts.AfterHeight(height=height, wait_ms=acts.MAX_NEWS_WAIT_MS)
        timeout_s = acts.MAX_NEWS_WAIT_MS / 1000 + _NEWS_MARGIN_S
        return self._ask(Act.NEWS, asked, acts.Height, timeout_s=timeout_s).height


_NO_BLOCK: Final = Block(height=0, time_ms=0, first_index=0, transactions=(), entry=b"")
"""Stands for the block that listeners are told of: which one it is they ask for themselves."""


class _Send(Protocol):
    """Sends transactions. is_alone: nothing else is on its way, so that what is sent is waited for."""

    def __call__(self, raws: Sequence[bytes], *, is_alone: bool) -> list[acts.Placed | acts.Refused]: ...


class Outgoing:
    """Transactions on their way to the writer, gathered into messages by a few threads."""

    def __init__(self, send: _Send) -> None:
        self._send = send
        self._condition = threading.Condition()
        self._waiting: deque[tuple[bytes, Future[Committed], str]] = deque()
        self._threads = 0
        self._idle = 0
        self._is_closed = False

    def put(self, raw: bytes) -> Future[Committed]:
        """Return the future of a transaction that is sent soon."""
        with self._condition:
            if self._is_closed:
                return new_answer(ledger_closed())
            if len(self._waiting) >= MAX_WAITING:
                return new_answer(ledger_busy(len(self._waiting)))
            future = new_answer()
            self._waiting.append((raw, future, request_id.current.get()))
            if self._idle:
                self._condition.notify()
            elif self._threads < SENDERS:
                self._threads += 1
                threading.Thread(target=self._run, name=f"peer-submit-{self._threads}", daemon=True).start()
        return future

    def close(self) -> None:
        """Fail what waits; what is on its way is answered, or fails with its connection."""
        with self._condition:
            self._is_closed = True
            left, self._waiting = list(self._waiting), deque()
            self._condition.notify_all()
        for _, future, _ in left:
            future.set_exception(ledger_closed())

    def _run(self) -> None:
        while taken := self._take():
            with self._condition:
                is_alone = len(taken) == 1 and not self._waiting and self._threads - self._idle == 1
            self._deliver(taken, is_alone=is_alone)

    def _take(self) -> list[tuple[bytes, Future[Committed]]]:
        """Return up to a message of transactions once there are some, none at the end.

        The message goes on with the request id of the first of them that has one.
        """
        with self._condition:
            self._idle += 1
            self._condition.wait_for(lambda: self._waiting or self._is_closed)
            self._idle -= 1
            taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_SUBMITTED))]
        request_id.current.set(next((request for _, _, request in taken if request), ""))
        return [(raw, future) for raw, future, _ in taken]

    def _deliver(self, taken: Sequence[tuple[bytes, Future[Committed]]], *, is_alone: bool) -> None:
        try:
            results = self._send([raw for raw, _ in taken], is_alone=is_alone)
        except ShuiqiaoError as error:
            unknown = _unknown(error)
            for _, future in taken:
                future.set_exception(unknown)
            return
        except Exception as error:  # noqa: BLE001 - whatever breaks here, those who wait are told
            for _, future in taken:
                future.set_exception(Unavailable("client.unreachable", f"sending broke down: {error!r}"))
            return
        for (_, future), result in zip(taken, results, strict=True):
            if isinstance(result, acts.Placed):
                future.set_result(result.committed())
            else:
                future.set_exception(result.as_error(place="the writer"))


class BlockPages:
    """Pages of blocks, of which the next is fetched while the last is used; for one reader at a time.

    What is left of a page serves a reader that goes on behind what it was given; one that begins again at the same
    height is given fresh blocks, since those of before may have been wrong.
    """

    def __init__(self, fetch: Callable[[int], list[Block]]) -> None:
        self._fetch = fetch
        self._ahead = ThreadPoolExecutor(max_workers=1, thread_name_prefix="peer-blocks")
        self._kept: deque[Block] = deque()
        self._coming: tuple[int, Future[list[Block]]] | None = None
        self._last_start = 0
        self._is_fresh = False
        self.next_height = 0
        """Of the block behind the last one that was read, 0 before anything was asked for."""

    def offer(self, blocks: Sequence[Block]) -> None:
        """Take in the blocks from ``next_height`` on, in the place of what is left: the next reader is given these."""
        self._kept, self._coming, self._is_fresh = deque(blocks), None, True

    def iterate(self, from_height: int) -> Iterator[Block]:
        """Yield blocks from a height on, until a page is empty."""
        if from_height <= self._last_start and not self._is_fresh:
            self._kept.clear()
            self._coming = None
        self._is_fresh = False
        self._last_start = self.next_height = height = from_height
        while self._fill(height):
            block = self._kept.popleft()
            self.next_height = height = block.height + 1
            yield block

    def _fill(self, height: int) -> bool:
        """Have the block of a height at hand; tell whether there is one."""
        while self._kept and self._kept[0].height < height:
            self._kept.popleft()
        if self._kept and self._kept[0].height > height:
            self._kept.clear()
        if not self._kept:
            self._kept.extend(self._page(height))
            self._begin_next()
        return bool(self._kept)

    def close(self) -> None:
        """Fetch nothing more."""
        self._ahead.shutdown(wait=False, cancel_futures=True)

    def _page(self, height: int) -> list[Block]:
        coming, self._coming = self._coming, None
        if coming is not None and coming[0] == height:
            return coming[1].result()
        return self._fetch(height)

    def _begin_next(self) -> None:
        """Fetch the page behind this one ahead of time, where this one is so full that there is likely to be one."""
        size = sum(len(raw) for block in self._kept for raw in block.transactions)
        if size >= acts.PAGE_BYTES or len(self._kept) == acts.PAGE_BLOCKS:
            height = self._kept[-1].height + 1
            self._coming = (height, self._ahead.submit(self._fetch, height))


def _checkpoint(note: bytes) -> Checkpoint:
    """Return what a note says, for the follower to verify; raises Unavailable ``peer.answer_malformed``."""
    try:
        return read_checkpoint(note)
    except IntegrityError as error:
        raise Unavailable("peer.answer_malformed", f"the writer gave no note: {error.message}") from error


def _malformed(writer: MemberId, what: str) -> Unavailable:
    return Unavailable("peer.answer_malformed", f"{writer} answered with {what}", retry_after_s=1.0)


def _unknown(error: ShuiqiaoError) -> Unavailable:
    """Return an error of the message as what it is for its transactions: nobody knows whether they were ordered."""
    if isinstance(error, Unavailable):
        return error
    return Unavailable(error.code, error.message, next_step=error.next_step)
