"""How a long act tells how far it is: one shape for all rooms; a door shows it, a test may count it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told by a long act how far it is."""

    def __call__(self, step: str, done: int, total: int | None, /) -> None:
        """Show that ``done`` of ``total`` (None if unknown) is reached in a step named for a person."""
        ...


def no_progress(_step: str, _done: int, _total: int | None, /) -> None:
    """Show nothing: where nobody asked how far it is."""
