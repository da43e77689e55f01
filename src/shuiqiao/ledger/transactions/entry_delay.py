"""How long an entry that an enterprise's act brings about is kept back, so that its time says little of that act.

Rule: docs/spec/consent-exchange.md [CONSENT-32]. The delay is drawn by a key of the home from the name of what is
entered: evenly from none to the most that the setting allows, for each name by itself, and the same after a restart, so
that nothing more need be kept. Nobody who reads the ledger can work it out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shuiqiao.base.clock import MS_PER_SECOND, iso_from_ms
from shuiqiao.base.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

ENTRY_WAITS: Final = "ledger.entry_waits"

_DRAWN_BYTES: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryDelay:
    """The delays of one home.

    most_ms: 0 keeps nothing back. draw: a keyed digest of a name, of 8 bytes or more.

    Example::

        delay = EntryDelay(most_ms=4 * MS_PER_HOUR, draw=cipher.tag)
        delay.require_due(consent, since_ms=received_ms, now_ms=now_ms)
    """

    most_ms: int
    draw: Callable[[str], bytes]

    def due_ms(self, name: str, *, since_ms: int) -> int:
        """Return when what came in at a time may enter the ledger."""
        if not self.most_ms:
            return since_ms
        drawn = int.from_bytes(self.draw(f"entry/{name}")[:_DRAWN_BYTES], "big")
        return since_ms + (drawn * (self.most_ms + 1) >> 8 * _DRAWN_BYTES)

    def require_due(self, name: str, *, since_ms: int, now_ms: int) -> None:
        """Return if what came in at a time may enter the ledger now; raises Unavailable ``ledger.entry_waits``."""
        due_ms = self.due_ms(name, since_ms=since_ms)
        if self.most_ms and now_ms < due_ms:
            raise Unavailable(
                "ledger.entry_waits",
                f"{name} is taken in and is entered on the ledger at {iso_from_ms(due_ms)}, so that the time of its "
                "entry does not tell what else came in with it",
                # Whole seconds, so that who waits for them is not a moment too early.
                retry_after_s=float(-((now_ms - due_ms) // MS_PER_SECOND)),
            )


AT_ONCE: Final = EntryDelay(most_ms=0, draw=str.encode)
"""Keeps nothing back."""
