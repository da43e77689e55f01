"""The application's own mempool, for CometBFT's mempool type ``app`` (usable over a socket from v0.40 on).

CometBFT then keeps no transactions: InsertTx and CheckTx put them here, ReapTxs hands new ones out for the peers, and
PrepareProposal takes from here. With the usual type ``flood`` it stays empty. Safe between threads.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Final

MAX_POOLED: Final = 50_000
MAX_POOLED_BYTES: Final = 256 * 1024 * 1024


class Pool:
    """Checked transactions that wait for a block, in order of arrival."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[bytes, None] = {}
        self._untold: dict[bytes, None] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, raw: bytes) -> bool:
        """Take a checked transaction in; False if there is no room."""
        with self._lock:
            if raw in self._waiting:
                return True
            if len(self._waiting) >= MAX_POOLED or self._bytes + len(raw) > MAX_POOLED_BYTES:
                return False
            self._waiting[raw] = self._untold[raw] = None
            self._bytes += len(raw)
            return True

    def untold(self, *, max_bytes: int) -> list[bytes]:
        """Return transactions that were not handed out before, up to a number of bytes (0: all)."""
        with self._lock:
            told = within(self._untold, max_bytes=max_bytes or MAX_POOLED_BYTES)
            for raw in told:
                del self._untold[raw]
            return told

    def waiting(self, *, max_bytes: int) -> list[bytes]:
        """Return what waits, oldest first, up to a number of bytes in a block."""
        with self._lock:
            return within(self._waiting, max_bytes=max_bytes)

    def remove(self, raws: Iterable[bytes]) -> None:
        """Let go of transactions that a block held."""
        with self._lock:
            for raw in raws:
                self._untold.pop(raw, None)
                if raw in self._waiting:
                    del self._waiting[raw]
                    self._bytes -= len(raw)


def within(raws: Iterable[bytes], *, max_bytes: int) -> list[bytes]:
    """Return the first transactions that fit into a block together, each with CometBFT's few bytes of framing."""
    taken: list[bytes] = []
    left = max_bytes
    for raw in raws:
        # A field tag and a length of up to five bytes stand before each transaction in a block.
        left -= len(raw) + _FRAMING_BYTES
        if left < 0:
            break
        taken.append(raw)
    return taken


_FRAMING_BYTES: Final = 6
