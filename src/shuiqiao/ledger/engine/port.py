"""What the engines share: the port of a writer that followers copy, listeners, the Future of a submission, settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from shuiqiao.base.durable import Disk
from shuiqiao.base.errors import Unavailable
from shuiqiao.ledger.checkpoints.signed_note import Checkpoint
from shuiqiao.ledger.model import Block, Committed, Event
from shuiqiao.ledger.store.index import DEFAULT_MAP_BYTES
from shuiqiao.ledger.store.segments import DEFAULT_SEGMENT_BYTES
from shuiqiao.ledger.witness.cosigning import WitnessPeer

DEFAULT_CHECKPOINT_INTERVAL_S = 1.0
BUSY_RETRY_S = 0.5

Listener = Callable[[Block, Sequence[Event]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerFailure:
    """That a listener could not take in a block. listener, error: their names. count: of its failures until now."""

    listener: str
    error: str
    height: int
    count: int


class Listeners:
    """The listeners that are told of each block, in the order they subscribed.

    One that raises is told of the next block all the same, and its newest failure is kept: what it missed it may have
    missed for good, so the node raises an alarm of it until it is started again.
    """

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._failures: dict[Listener, ListenerFailure] = {}

    def __len__(self) -> int:
        return len(self._listeners)

    def add(self, listener: Listener) -> None:
        """Tell a listener of each block from now on."""
        self._listeners.append(listener)

    def tell(self, block: Block, events: Sequence[Event]) -> None:
        """Tell everybody, on the thread of the engine that calls this."""
        for listener in self._listeners:
            try:
                listener(block, events)
            except Exception as error:  # noqa: BLE001 - a listener's fault is its own, the block is committed
                self._note(listener, error, height=block.height)

    def failures(self) -> list[ListenerFailure]:
        """Return the newest failure of each listener that ever failed."""
        return list(self._failures.values())

    def _note(self, listener: Listener, error: Exception, *, height: int) -> None:
        before = self._failures.get(listener)
        self._failures[listener] = ListenerFailure(
            listener=str(getattr(listener, "__qualname__", type(listener).__qualname__)),
            error=type(error).__name__,
            height=height,
            count=1 if before is None else before.count + 1,
        )


class _Answer(Future[Committed]):
    """The future of a submission, which nobody can cancel: it may be in a block already."""

    def cancel(self) -> bool:
        """Return False."""
        return False


def new_answer(refusal: Exception | None = None) -> Future[Committed]:
    """Return the future of a submission, refused already where a refusal is given."""
    future = _Answer()
    if refusal is not None:
        future.set_exception(refusal)
    return future


def ledger_busy(waiting: int) -> Unavailable:
    """Return the error of an engine that has as many transactions waiting as it takes."""
    return Unavailable(
        "ledger.busy",
        f"{waiting} transactions wait for a block, as many as may",
        next_step="submit the same bytes again later",
        retry_after_s=BUSY_RETRY_S,
    )


def ledger_closed() -> Unavailable:
    """Return the error of an engine that was closed."""
    return Unavailable("ledger.closed", "the ledger was closed", next_step="open it again")


class BlockSource(Protocol):
    """Where blocks to be copied come from."""

    def blocks(self, *, from_height: int) -> Iterator[Block]:
        """Iterate over committed blocks in order."""
        ...

    def consistency_proof(self, *, old_size: int, new_size: int) -> tuple[bytes, ...]:
        """Return the RFC 6962 consistency proof between two sizes."""
        ...


class LedgerPeer(BlockSource, Protocol):
    """The writer as its followers reach it; the engine itself in one process, a client over HTTP elsewhere.

    Nothing it says is believed: a follower verifies every signature, executes every block and compares every root.
    """

    @property
    def is_proven(self) -> bool:
        """Whether nobody but the writer can have said what it says, signed or not: so it answers for all of it."""
        ...

    def submit(self, raw: bytes) -> Future[Committed]:
        """Hand in a signed transaction for ordering."""
        ...

    def checkpoint(self) -> Checkpoint:
        """Return the newest checkpoint under the operator's signature."""
        ...

    def confirmed(self) -> Checkpoint:
        """Return a checkpoint of the last committed block or a later one, with all signatures that it needs."""
        ...

    def newest_confirmed(self) -> Checkpoint | None:
        """Return the newest checkpoint that has all signatures it needs by now, None before the first; never waits."""
        ...

    def epoch_sizes(self) -> Sequence[int]:
        """Return the sizes of the checkpoints that closed an epoch, in order."""
        ...

    def epoch_note(self, size: int) -> bytes:
        """Return the note that closed an epoch, with all signatures that it needs."""
        ...

    def add_witness(self, peer: WitnessPeer) -> None:
        """Ask a witness for its cosignatures from now on."""
        ...

    def subscribe(self, listener: Listener) -> None:
        """Call a listener after each block; a peer that cannot push may ignore this, followers also ask by time."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CopySettings:
    """How a copy of the ledger is kept.

    max_segment_bytes: a segment is closed once it is this long. map_bytes: largest size of the index.
    checkpoint_interval_s: how long a checkpoint may wait to be stored, in seconds.
    """

    max_segment_bytes: int = DEFAULT_SEGMENT_BYTES
    map_bytes: int = DEFAULT_MAP_BYTES
    checkpoint_interval_s: float = DEFAULT_CHECKPOINT_INTERVAL_S
    disk: Disk = field(default_factory=Disk)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedSettings(CopySettings):
    """Settings of an embedded writer.

    verifier_processes: 0 checks signatures in the writer's thread, else about one process per core.
    max_block_transactions, max_block_bytes: a block is closed when it reaches one of them.
    is_clock_confirmed: the operator said that the clock is right, however long ago the newest block was.
    linger_ms: how long a block waits for transactions whose signatures are being checked.
    max_waiting: transactions accepted and not yet committed; beyond it ``ledger.busy``.
    """

    verifier_processes: int = 0
    max_block_transactions: int = 2_048
    max_block_bytes: int = 8 * 1024 * 1024
    linger_ms: int = 5
    is_clock_confirmed: bool = False
    max_waiting: int = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowerSettings(CopySettings):
    """Settings of a follower.

    poll_interval_s: how often it asks the writer for news when it was not told of any.
    news_delay_s: how long it lets news gather while nobody here waits for a transaction of theirs; below the poll
    interval, so that being told of news is never slower than asking for it.
    max_batch_transactions: transactions executed between two comparisons with the writer's checkpoint.
    """

    verifier_processes: int = 0
    poll_interval_s: float = 1.0
    news_delay_s: float = 0.5
    max_batch_transactions: int = 4_096
