"""Transactions of peers that this node refused and may take a moment later [ABCI-26].

A transaction that is right after a block may arrive before this node has committed that block: the grant that a
revocation ends, the admission of its author. CometBFT hands a transaction to each peer once. Dropped here, it would
wait at the node it came from, and with no empty blocks validators without a transaction wait for one: the network
could stand still with work to do. So it is looked at again after the next blocks. Safe between threads.
"""

from __future__ import annotations

import threading
import time
from typing import Final

MAX_PARKED: Final = 512
MAX_PARKED_BYTES: Final = 8 * 1024 * 1024
"""Together they bound what refused transactions can cost of memory, and of checks after a block: oldest go first."""

PARKED_S: Final = 10.0
"""How long one is looked at again, in seconds: blocks by which a node that takes part may lag, many times over."""


class Parked:
    """Transactions of CometBFT's as they came, bundles whole, oldest first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: dict[bytes, float] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._until)

    def put(self, whole: bytes) -> None:
        """Keep a refused transaction; again does not make its time longer."""
        with self._lock:
            if whole in self._until:
                return
            self._until[whole] = time.monotonic() + PARKED_S
            self._bytes += len(whole)
            while len(self._until) > MAX_PARKED or self._bytes > MAX_PARKED_BYTES:
                self._drop(next(iter(self._until)))

    def waiting(self) -> list[bytes]:
        """Return what is to be looked at again; what was kept for long enough is dropped."""
        now = time.monotonic()
        with self._lock:
            for whole in [whole for whole, until in self._until.items() if until < now]:
                self._drop(whole)
            return list(self._until)

    def remove(self, whole: bytes) -> None:
        """Let go of one."""
        with self._lock:
            if whole in self._until:
                self._drop(whole)

    def _drop(self, whole: bytes) -> None:
        del self._until[whole]
        self._bytes -= len(whole)
