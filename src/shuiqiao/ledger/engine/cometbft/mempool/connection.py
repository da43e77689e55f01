"""Answers CometBFT whether transactions may wait for a block [ABCI-15], and checks some of the refused again.

A bundle waits or is refused as a whole: it is refused for the first of its transactions that is. Listeners are told of
each of them, for those that are not refused themselves must be handed in again.

A transaction that is right after a block may arrive before this node has committed that block: the grant that a
revocation ends, the admission of its author. CometBFT hands a transaction to each peer once. Dropped here, it would
wait at the node it came from, and with no empty blocks validators without a transaction wait for one: the network
could stand still with work to do. So what a peer sent and nobody here waits for is deferred, and checked again after
the next blocks [ABCI-26].
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from cachetools import TTLCache

from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.ledger.engine.cometbft.abci.messages import RequestCheckTx, ResponseCheckTx, first_refusal, result_of
from shuiqiao.ledger.engine.cometbft.mempool.bundle import transactions_in

MAX_DEFERRED: Final = 512
MAX_DEFERRED_BYTES: Final = 8 * 1024 * 1024
"""Together they bound what refused transactions can cost of memory, and of checks after a block: oldest go first."""

DEFERRED_S: Final = 10.0
"""How long one is looked at again, in seconds: blocks by which a node that takes part may lag, many times over."""

Admit = Callable[[Sequence[bytes]], list[ShuiqiaoError | None]]
"""Check transactions on the last committed state; what refuses each, None for one that may wait."""

RefusalListener = Callable[[bytes, ShuiqiaoError | None], bool]
"""Told of each transaction that CheckTx did not let in, with what refuses it, None if only its bundle was refused.

Returns whether somebody here waited for it, and was answered or handed it in again.
"""

_FINAL: Final = frozenset({"ledger.signature_invalid", "ledger.tx_replayed"})
"""Refusals that no later block takes back."""


class MempoolConnection:
    """Answers CheckTx, new ones and those that still wait alike."""

    def __init__(self, admit: Admit, *, work_of: Callable[[Sequence[bytes]], int | None]) -> None:
        # Each is charged so much at least that the bound on bytes is the one on their number too.
        self._deferred: TTLCache[bytes, bytes] = TTLCache(
            MAX_DEFERRED_BYTES,
            DEFERRED_S,
            timer=time.monotonic,
            getsizeof=lambda whole: max(len(whole), MAX_DEFERRED_BYTES // MAX_DEFERRED),
        )
        self._lock = threading.Lock()
        self._admit = admit
        self._work_of = work_of
        self._listeners: list[RefusalListener] = []

    def on_refused(self, listener: RefusalListener) -> None:
        """Call a listener for each transaction that CheckTx does not let in."""
        self._listeners.append(listener)

    def check(self, requests: Sequence[RequestCheckTx]) -> list[ResponseCheckTx]:
        """Answer CheckTx requests that arrived in a row."""
        wholes = [request.tx for request in requests]
        answers: list[ResponseCheckTx] = []
        for whole, (part, refusals) in zip(wholes, self._refusals_of(wholes), strict=True):
            refusal = first_refusal(refusals)
            if refusal is not None and not self._tell(part, refusals) and self._may_come_right(part, refusal):
                self._defer(whole)
            answers.append(result_of(refusal, answer=ResponseCheckTx))
        return answers

    def _defer(self, whole: bytes) -> None:
        """Keep a refused transaction to be looked at again; once more does not make its time longer."""
        with self._lock, contextlib.suppress(ValueError):
            # ValueError: it alone is longer than all that may be kept.
            self._deferred.setdefault(whole, whole)

    @property
    def deferred(self) -> list[bytes]:
        """What is to be looked at again, bundles whole, oldest first."""
        with self._lock:
            return list(self._deferred)

    def check_deferred(self) -> list[bytes]:
        """Check what was deferred on the last committed state; return what CometBFT's mempool is to be handed again."""
        wholes = self.deferred
        good: list[bytes] = []
        for whole, (_, refusals) in zip(wholes, self._refusals_of(wholes), strict=True):
            refusal = first_refusal(refusals)
            if refusal is None or refusal.code in _FINAL:
                with self._lock:
                    self._deferred.pop(whole, None)
            if refusal is None:
                good.append(whole)
        return good

    def _refusals_of(self, wholes: Sequence[bytes]) -> list[tuple[tuple[bytes, ...], list[ShuiqiaoError | None]]]:
        """Return the transactions in each of CometBFT's, with what refuses them; all are checked together."""
        parts = [transactions_in(whole) for whole in wholes]
        found = iter(self._admit([raw for part in parts for raw in part]) if parts else ())
        return [(part, [next(found) for _ in part]) for part in parts]

    def _may_come_right(self, part: Sequence[bytes], refusal: ShuiqiaoError) -> bool:
        return refusal.code not in _FINAL and self._work_of(part) is not None

    def _tell(self, raws: Sequence[bytes], refusals: Sequence[ShuiqiaoError | None]) -> bool:
        answered = [
            listener(raw, refusal) for raw, refusal in zip(raws, refusals, strict=True) for listener in self._listeners
        ]
        return any(answered)
