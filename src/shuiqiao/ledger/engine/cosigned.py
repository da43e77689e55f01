"""Keeps the newest checkpoint that its witnesses confirmed, while the writer goes on signing newer ones.

One thread asks the witnesses for the newest checkpoint that was offered; what was offered meanwhile and is older is
left out, since a larger log covers it, except what is required: that comes first, in order. What it got is handed out
once it has the quorum. Short of it, it is tried again [WITNESS-7]. It neither signs nor stores: the engine does.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shuiqiao.base.errors import Unavailable
from shuiqiao.ledger.checkpoints.signed_note import Checkpoint
from shuiqiao.ledger.receipts.making import MAX_LEAVES_BEHIND, Confirmed
from shuiqiao.ledger.witness.cosigning import CosignedCheckpoint

if TYPE_CHECKING:
    from shuiqiao.ledger.store.state_view import SnapshotState

DEFAULT_RETRY_S: Final = 1.0

Collect = Callable[[Checkpoint], CosignedCheckpoint]
"""Ask the witnesses once (``CosignatureCollector.collect``)."""

Published = Callable[[CosignedCheckpoint], None]
"""Told each checkpoint that reached its quorum before it is handed out, on the desk's own thread: to store it."""


class CosigningDesk:
    """Asks for cosignatures in the background; any thread may offer, read and wait."""

    def __init__(
        self, collect: Collect, *, published: Published | None = None, retry_s: float = DEFAULT_RETRY_S
    ) -> None:
        """retry_s: seconds until witnesses that were away are asked again."""
        self._collect = collect
        self._published = published
        self._retry_s = retry_s
        self._condition = threading.Condition()
        self._offered: _Offer | None = None
        self._required: deque[_Offer] = deque()
        self._newest: Checkpoint | None = None
        self._newest_view: SnapshotState | None = None
        self._last: CosignedCheckpoint | None = None
        self._trouble: Exception | None = None
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="ledger-cosigning", daemon=True)
        self._thread.start()

    @property
    def last(self) -> CosignedCheckpoint | None:
        """What came of asking last, with those who are missing: for ``doctor`` and the pages."""
        return self._last

    @property
    def trouble(self) -> Exception | None:
        """Why the last attempt broke down, None after one that did not."""
        return self._trouble

    def offer(self, checkpoint: Checkpoint, *, view: SnapshotState) -> None:
        """Have a checkpoint of the log's own signature cosigned; one that is older than another offered is left out.

        view: the state behind it, which is handed out with it. States behind checkpoints that lie far behind this one
        are let go [STORE-27]: whoever waits for one of them is given a larger one.
        """
        with self._condition:
            self._let_go(below_size=checkpoint.size - MAX_LEAVES_BEHIND)
            offered = self._offered
            if not self._covers(checkpoint.size) and (offered is None or checkpoint.size > offered.checkpoint.size):
                self._offered = _Offer(checkpoint, view)
                self._condition.notify_all()

    def require(self, checkpoint: Checkpoint, *, view: SnapshotState | None) -> None:
        """Have a checkpoint cosigned and published before any larger one, because it closes an epoch.

        view: the state behind it, None where that is no longer known: then it is published, and not handed out.
        """
        with self._condition:
            if all(checkpoint.size != offer.checkpoint.size for offer in self._required):
                self._required.append(_Offer(checkpoint, view))
                self._condition.notify_all()

    def _let_go(self, *, below_size: int) -> None:
        if self._newest is not None and self._newest.size < below_size:
            self._newest_view = None
        for offer in self._required:
            if offer.checkpoint.size < below_size:
                offer.view = None

    def newest(self) -> Checkpoint | None:
        """Return the largest checkpoint that has its quorum, None before the first."""
        with self._condition:
            return self._newest

    def wait_for(self, size: int, *, timeout_s: float) -> Confirmed:
        """Return a checkpoint with its quorum that covers a number of leaves.

        Raises Unavailable ``ledger.quorum_not_reached`` after the time, naming who is missing.
        """
        with self._condition:
            self._condition.wait_for(lambda: self._at_hand(size) or self._is_closing, timeout=timeout_s)
            found = self._at_hand(size)
            if found is not None:
                return found
        missing = ", ".join(self._last.missing) if self._last is not None else "all"
        raise Unavailable(
            "ledger.quorum_not_reached",
            f"no checkpoint of {size} leaves has its quorum of cosignatures yet; missing: {missing}",
            next_step="wait, or look why these witnesses do not answer",
            retry_after_s=self._retry_s,
        )

    def close(self) -> None:
        """Stop asking; what is being asked now is waited for, at most for the collector's time."""
        with self._condition:
            self._is_closing = True
            self._condition.notify_all()
        self._thread.join()

    def _covers(self, size: int) -> bool:
        return self._newest is not None and self._newest.size >= size

    def _at_hand(self, size: int) -> Confirmed | None:
        """Return the newest one with the state behind it if it covers a size, None where that state was let go."""
        if self._newest is None or self._newest_view is None or self._newest.size < size:
            return None
        return Confirmed(checkpoint=self._newest, view=self._newest_view)

    def _next(self) -> _Offer | None:
        return self._required[0] if self._required else self._offered

    def _run(self) -> None:
        while self._serve_next():
            pass

    def _serve_next(self) -> bool:
        """Wait for an offer and ask the witnesses once; tell whether to go on."""
        with self._condition:
            self._condition.wait_for(lambda: self._next() is not None or self._is_closing)
            offer = self._next()
            if self._is_closing or offer is None:
                return False
        result = self._ask(offer.checkpoint)
        if result is not None and not result.still_needed:
            self._hand_out(result, offer)
        else:
            self._await_retry()
        return True

    def _ask(self, checkpoint: Checkpoint) -> CosignedCheckpoint | None:
        try:
            self._last, self._trouble = self._collect(checkpoint), None
        except Exception as error:  # noqa: BLE001 - whatever breaks one round, the next one may succeed
            self._trouble = error
            return None
        return self._last

    def _hand_out(self, result: CosignedCheckpoint, offer: _Offer) -> None:
        is_published = self._publish(result)
        with self._condition:
            is_required = bool(self._required) and self._required[0] is offer
            if is_required and is_published:
                self._required.popleft()
            if offer.view is not None:
                self._newest, self._newest_view = result.checkpoint, offer.view
            if self._offered is not None and self._offered.checkpoint.size <= offer.checkpoint.size:
                # Witnesses do not go back, and this one covers it.
                self._offered = None
            self._condition.notify_all()
        if is_required and not is_published:
            self._await_retry()

    def _publish(self, result: CosignedCheckpoint) -> bool:
        try:
            if self._published is not None:
                self._published(result)
        except Exception as error:  # noqa: BLE001 - a listener's fault is its own, the checkpoint is cosigned
            self._trouble = error
            return False
        return True

    def _await_retry(self) -> None:
        with self._condition:
            self._condition.wait_for(lambda: self._is_closing, timeout=self._retry_s)


@dataclass(slots=True, eq=False)
class _Offer:
    """A checkpoint to be cosigned, and the state behind it."""

    checkpoint: Checkpoint
    view: SnapshotState | None
