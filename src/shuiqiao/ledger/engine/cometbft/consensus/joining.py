"""Joining by snapshot: takes a peer's offer and its chunks for an empty ledger, and nothing that does not hold."""

from __future__ import annotations

from collections.abc import Callable

from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.ledger.engine.cometbft.abci.requests import RequestApplySnapshotChunk, RequestOfferSnapshot
from shuiqiao.ledger.engine.cometbft.abci.responses import (
    ChunkResult,
    OfferResult,
    ResponseApplySnapshotChunk,
    ResponseOfferSnapshot,
)
from shuiqiao.ledger.engine.cometbft.consensus.keeper import Keeper
from shuiqiao.ledger.engine.cometbft.consensus.snapshots import Incoming


class Joining:
    """The snapshot that is being taken in; used under the application's lock."""

    def __init__(self, keeper: Keeper, *, on_joined: Callable[[], None]) -> None:
        self._keeper = keeper
        self._on_joined = on_joined
        self._incoming: Incoming | None = None

    def offer(self, request: RequestOfferSnapshot) -> ResponseOfferSnapshot:
        """Begin with an offer; only an empty ledger does [ABCI-21]."""
        keeper = self._keeper
        if keeper.height or keeper.copy.head.height or request.snapshot is None:
            return ResponseOfferSnapshot(result=OfferResult.ABORT)
        self._incoming = None
        try:
            self._incoming = keeper.take_in(request.snapshot, app_hash=request.app_hash)
        except InvalidInput:
            keeper.drop_incoming()
            return ResponseOfferSnapshot(result=OfferResult.REJECT)
        return ResponseOfferSnapshot(result=OfferResult.ACCEPT)

    def apply(self, request: RequestApplySnapshotChunk) -> ResponseApplySnapshotChunk:
        """Take a chunk; with the last one, prove that the whole is what was verified [ABCI-21]."""
        incoming = self._incoming
        if incoming is None:
            return ResponseApplySnapshotChunk(result=ChunkResult.ABORT)
        try:
            incoming.add(request.index, request.chunk)
        except IntegrityError as error:
            if error.code == "ledger.snapshot_contradicted":
                # No other peer's chunks would fit this manifest and be blocks.
                self._incoming = None
                self._keeper.drop_incoming()
                return ResponseApplySnapshotChunk(result=ChunkResult.REJECT_SNAPSHOT)
            return ResponseApplySnapshotChunk(
                result=ChunkResult.RETRY,
                refetch_chunks=(request.index,),
                reject_senders=(request.sender,) if request.sender else (),
            )
        return self._receive(incoming) if incoming.is_whole else ResponseApplySnapshotChunk(result=ChunkResult.ACCEPT)

    def _receive(self, incoming: Incoming) -> ResponseApplySnapshotChunk:
        self._incoming = None
        try:
            self._keeper.receive(incoming)
        except IntegrityError:
            return ResponseApplySnapshotChunk(result=ChunkResult.REJECT_SNAPSHOT)
        self._on_joined()
        return ResponseApplySnapshotChunk(result=ChunkResult.ACCEPT)
