"""Who is told of each block: the same for every engine, whoever ordered the block."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shuiqiao.ledger.model import Block, Event

Listener = Callable[[Block, Sequence[Event]], None]


class Listeners:
    """Listeners in the order they came; one that raises is dropped, and its error kept."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._faults: list[Exception] = []

    @property
    def faults(self) -> tuple[Exception, ...]:
        """Errors of listeners, each of which was dropped after its first."""
        return tuple(self._faults)

    def __len__(self) -> int:
        return len(self._listeners)

    def add(self, listener: Listener) -> None:
        """Tell a listener of each block from now on."""
        self._listeners.append(listener)

    def tell(self, block: Block, events: Sequence[Event]) -> None:
        """Tell everybody, on the thread of the engine that calls this."""
        for listener in list(self._listeners):
            try:
                listener(block, events)
            except Exception as error:  # noqa: BLE001 - a listener's fault is its own, the block is committed
                self._listeners.remove(listener)
                self._faults.append(error)
