"""The leakage account of one institution: what it gave, or at a bank received, and charges for what is no answer.

What an answer reveals is charged with the answer (``exchange.store``); this is for everything else, and for reading.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuiqiao.privacy.account import account_of
from shuiqiao.privacy.model import MILLI, Account, Charge, Revealed

if TYPE_CHECKING:
    from collections.abc import Callable

    from shuiqiao.base.ids import MemberId, OwnedId
    from shuiqiao.privacy.store import ChargeStore


class LeakageAccounts:
    """The accounts of the taxpayers at one institution.

    Example::

        bureau.leakage.charge("91440300MA5EXAMPL1", recipient=None, bits=17, reference=of_the_request)
        bureau.leakage.of("91440300MA5EXAMPL1").budgets
    """

    def __init__(self, store: ChargeStore, *, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._now_ms = now_ms

    def of(self, taxpayer: str) -> Account:
        """Return what is known of a taxpayer by what this institution gave, or received, in the last 365 days."""
        return account_of(self._store.of_taxpayer(taxpayer, now_ms=self._now_ms()))

    def charge(self, taxpayer: str, *, recipient: MemberId | None, bits: int, reference: OwnedId) -> None:
        """Note bits about a taxpayer that a credential says, the same reference once.

        recipient: None for every one that there is. reference: of what was asked. Raises Denied
        ``privacy.budget_exceeded`` [LEAK-5].
        """
        charge = Charge(
            reference=reference,
            taxpayer=taxpayer,
            recipient=recipient,
            purpose=None,
            mode=None,
            charged_ms=self._now_ms(),
            revealed=Revealed(millibits=bits * MILLI),
        )
        self._store.charge(charge)

    def withdraw(self, reference: OwnedId) -> None:
        """Give a charge back: nothing was given for it."""
        self._store.give_back(reference)
