"""The mempool connection: whether transactions may wait for a block, and the application's own pool of them [ABCI-15].

A bundle waits or is refused as a whole: it is refused for the first of its transactions that is. Whoever listens is
told of each of them, for those that are not refused themselves must be handed in again. What nobody here waits for came
from a peer, and is looked at again if the next blocks may bring what it lacks [ABCI-26].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from shuiqiao.base.errors import Conflict, ShuiqiaoError
from shuiqiao.ledger.engine.cometbft.abci import requests as ask
from shuiqiao.ledger.engine.cometbft.abci import responses as answer
from shuiqiao.ledger.engine.cometbft.consensus.results import RETRY_LATER, check_of, number_of
from shuiqiao.ledger.engine.cometbft.mempool.bundle import transactions_in
from shuiqiao.ledger.engine.cometbft.mempool.parked import Parked
from shuiqiao.ledger.engine.cometbft.mempool.pool import Pool

Admit = Callable[[Sequence[bytes]], list[ShuiqiaoError | None]]
"""Check transactions on the last committed state; what refuses each, None for one that may wait."""

RefusalListener = Callable[[bytes, ShuiqiaoError | None], bool]
"""Told of each transaction that CheckTx did not let in, with what refuses it, None if only its bundle was refused.

Returns whether somebody here waited for it, and was answered or handed it in again.
"""

_FINAL: Final = frozenset({"ledger.signature_invalid", "ledger.tx_replayed"})
"""Refusals that no later block takes back."""


class WaitingRoom:
    """Answers CheckTx, InsertTx and ReapTxs."""

    def __init__(self, admit: Admit, *, is_decodable: Callable[[bytes], bool], has_pool: bool) -> None:
        """has_pool: CometBFT's mempool type is ``app``."""
        self.pool = Pool()
        self.parked = Parked()
        self._admit = admit
        self._is_decodable = is_decodable
        self._has_pool = has_pool
        self._listeners: list[RefusalListener] = []

    def on_refused(self, listener: RefusalListener) -> None:
        """Call a listener for each transaction that CheckTx does not let in."""
        self._listeners.append(listener)

    def second_look(self) -> list[bytes]:
        """Check what was parked on the last committed state; return what CometBFT's mempool is to be handed again.

        With a pool of our own, that takes it at once.
        """
        wholes = self.parked.waiting()
        parts = [transactions_in(whole) for whole in wholes]
        verdicts = iter(self._admit([raw for part in parts for raw in part]))
        good: list[bytes] = []
        for whole, part in zip(wholes, parts, strict=True):
            refusal = _first([next(verdicts) for _ in part])
            if refusal is None or refusal.code in _FINAL:
                self.parked.remove(whole)
            if refusal is None and self._pooled(whole, None) is None and not self._has_pool:
                good.append(whole)
        return good

    def check(self, requests: Sequence[ask.RequestCheckTx]) -> list[answer.ResponseCheckTx]:
        """Answer CheckTx requests, new ones and those that still wait alike."""
        return [check_of(refusal) for refusal in self._let_in([request.tx for request in requests], is_told=True)]

    def insert(self, request: ask.RequestInsertTx) -> answer.ResponseInsertTx:
        """Take a transaction of CometBFT's into the application's own mempool."""
        [refusal] = self._let_in([request.tx], is_told=False)
        if refusal is None:
            return answer.ResponseInsertTx()
        is_full = refusal.code == "ledger.pool_full"
        return answer.ResponseInsertTx(code=RETRY_LATER if is_full else number_of(refusal))

    def reap(self, request: ask.RequestReapTxs) -> answer.ResponseReapTxs:
        """Return what is new in the application's own mempool."""
        return answer.ResponseReapTxs(txs=self.pool.untold(max_bytes=request.max_bytes))

    def _let_in(self, wholes: Sequence[bytes], *, is_told: bool) -> list[ShuiqiaoError | None]:
        parts = [transactions_in(whole) for whole in wholes]
        verdicts = iter(self._admit([raw for part in parts for raw in part]))
        refusals: list[ShuiqiaoError | None] = []
        for whole, part in zip(wholes, parts, strict=True):
            found = [next(verdicts) for _ in part]
            refusal = _first(found)
            is_answered = refusal is not None and is_told and self._tell(part, found)
            if refusal is not None and not is_answered and self._may_come_right(part, refusal):
                self.parked.put(whole)
            refusals.append(self._pooled(whole, refusal))
        return refusals

    def _pooled(self, whole: bytes, refusal: ShuiqiaoError | None) -> ShuiqiaoError | None:
        if self._has_pool and refusal is None and not self.pool.add(whole):
            return Conflict("ledger.pool_full", f"{len(self.pool)} transactions wait for a block already")
        return refusal

    def _may_come_right(self, part: Sequence[bytes], refusal: ShuiqiaoError) -> bool:
        return refusal.code not in _FINAL and all(map(self._is_decodable, part))

    def _tell(self, raws: Sequence[bytes], refusals: Sequence[ShuiqiaoError | None]) -> bool:
        answered = [
            listener(raw, refusal) for raw, refusal in zip(raws, refusals, strict=True) for listener in self._listeners
        ]
        return any(answered)


def _first(refusals: Sequence[ShuiqiaoError | None]) -> ShuiqiaoError | None:
    return next((each for each in refusals if each is not None), None)
