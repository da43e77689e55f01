"""Links to other members over which functions are computed: one worker process for each, none before it is asked for.

Rule: docs/spec/secure.md. Opening a link takes one signed act each way (``secure.open``, of the peers' room):

    bank                                        bureau
    offer(bureau)     -> offer of the bank  ->  accept(bank, offer) -> offer of the bureau
    connect(bureau, offer of the bureau)    <-
    with turn(bureau):                          one run at a time for a link: the bank takes its turn before it asks
        ask ...                             ->  run(bank, ...)      -> the bureau's share, within the answer
        run(bureau, ...) beside it          ->  the bank's own share

The bureau alone listens, and only until the bank came; the bank dials. Whichever way a link fails, its worker is killed,
and the next opening makes a new one.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

from shuiqiao.base.ids import Entropy, MemberId, system_entropy
from shuiqiao.privacy.secure.model import SecureFunction, SecureOffer


class SecureLinks:
    """The links of one server; any number of threads may use it. It starts no worker until it is asked.

    Raises by all methods but ``is_open``, ``turn`` and ``close``: Unavailable ``privacy.extra_missing``,
    ``privacy.secure_not_set_up`` (a bureau without an address to listen at), ``privacy.secure_busy`` (every worker runs),
    ``privacy.secure_peer_silent`` (no answer in time, or the link is broken), ``privacy.secure_link_missing`` (no link
    to this member), InvalidInput ``privacy.secure_protocol_refused`` (an offer of another configuration),
    ``privacy.secure_function_differs`` (function or request are others over there; the link stays),
    IntegrityError ``privacy.secure_failed``.
    """

    def __init__(
        self,
        *,
        listen: str = "",
        workers: int = 2,
        timeout_s: float = 10.0,
        idle_s: float = 600.0,
        entropy: Entropy = system_entropy,
    ) -> None:
        """listen: ``host:port`` for a bureau, of which it takes the first free one of ``workers`` ports; port 0: any."""

    def offer(self, peer: MemberId) -> SecureOffer:
        """Bank: begin a link, in place of one that was there; its worker waits for ``connect``."""
        raise NotImplementedError

    def accept(self, peer: MemberId, offer: SecureOffer) -> SecureOffer:
        """Bureau: take a bank's offer, in place of a link that was there, and return what it connects to."""
        raise NotImplementedError

    def connect(self, peer: MemberId, offer: SecureOffer) -> None:
        """Bank: connect to what the bureau returned; the link is warm after it."""
        raise NotImplementedError

    def is_open(self, peer: MemberId) -> bool:
        """Whether a run can begin; at the bureau also while the bank is about to connect."""
        raise NotImplementedError

    def turn(self, peer: MemberId) -> AbstractContextManager[None]:
        """Bank: hold the link to one member from before a request is asked until its run ended."""
        raise NotImplementedError

    def run(
        self, peer: MemberId, function: SecureFunction, values: Sequence[int], *, binding: bytes
    ) -> bytes:
        """Compute one half of one run and return this party's share, 1 + 8 bytes for each row.

        values: of the bank its weights, then its cuts; of the bureau 0 or 1, row by row. Which of them one is follows
        from who offered. binding: sha256 of the request, compared over the link before anything is computed.
        """
        raise NotImplementedError

    def close(self) -> None:
        """End every worker."""
