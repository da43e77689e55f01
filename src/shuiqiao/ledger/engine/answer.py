"""The answer to a submission: a Future whose lock is made only for those who have to wait for it.

Making the lock and taking it costs as much as a tenth of executing a transaction, and most answers are given before
anybody asks. So the lock comes into being when a waiter or a callback first needs it. What Future does with it stays as
it is: it is one, for ``result``, ``add_done_callback``, ``wait`` and ``as_completed`` alike.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from functools import cached_property
from threading import Condition
from typing import Any, Final

from shuiqiao.ledger.model import Committed

_PENDING: Final = "PENDING"
_FINISHED: Final = "FINISHED"
"""States by the names that ``concurrent.futures`` gives them."""


class Answer(Future[Committed]):
    """The engine's alone to give, so nobody has to claim it before it is given, and it is given once."""

    def __init__(self) -> None:
        self._state = _PENDING
        self._result: Committed | None = None
        self._exception: BaseException | None = None
        self._waiters: list[Any] = []
        self._done_callbacks: list[Callable[[Future[Committed]], object]] = []

    @cached_property
    def _condition(self) -> Condition:  # type: ignore[override]  # pyright: ignore[reportIncompatibleVariableOverride]
        # Two threads may come at once: ``setdefault`` gives both the same one.
        condition: Condition = self.__dict__.setdefault("_condition", Condition())
        return condition

    def cancel(self) -> bool:
        """Return False: what was submitted may be in a block already."""
        return False

    def result(self, timeout: float | None = None) -> Committed:
        """Return where the transaction stands, waiting for it; raises what refused it, TimeoutError."""
        if self._state == _FINISHED and self._exception is None:
            assert self._result is not None
            return self._result
        return super().result(timeout)

    def set_result(self, result: Committed) -> None:
        """Give the answer."""
        self._result = result
        self._give()

    def set_exception(self, exception: BaseException | None) -> None:
        """Give what refused it."""
        self._exception = exception
        self._give()

    def _give(self) -> None:
        # Whoever makes the lock looks at the state behind it: it finds the answer, or is found here and told.
        self._state = _FINISHED
        if "_condition" in self.__dict__:
            with self._condition:
                for waiter in self._waiters:
                    (waiter.add_result if self._exception is None else waiter.add_exception)(self)
                self._condition.notify_all()
        # What Future calls its callbacks with is not in its published types.
        self._invoke_callbacks()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
