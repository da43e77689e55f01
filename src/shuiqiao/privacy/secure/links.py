"""Links to other members over which functions are computed: one worker process for each, none before it is asked for.

Rule: docs/spec/secure.md [SECURE-5] to [SECURE-9]. Opening a link takes one signed act each way, ``secure.open``:

    bank                                        bureau
    offer(bureau)     -> offer of the bank  ->  accept(bank, offer) -> offer of the bureau
    connect(bureau, offer of the bureau)    <-
    with turn(bureau):                          one run at a time for a link: the bank takes its turn before it asks
        ask ...                             ->  run(bank, ...)      -> the bureau's share, within the answer
        run(bureau, ...) beside it          ->  the bank's own share

The bureau alone listens, and only until the bank came; the bank dials. Whichever way a link fails, its worker is
killed, and the next opening makes a new one.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from shuiqiao.base.errors import IntegrityError, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import Entropy, MemberId, new_id, system_entropy
from shuiqiao.privacy.secure.intersection import MAX_ITEMS, decode_places, require_items
from shuiqiao.privacy.secure.library import require_library
from shuiqiao.privacy.secure.model import CONFIGURATION, LinkEnds, SecureFunction, SecureOffer
from shuiqiao.privacy.secure.worker import KEEPS_LINK
from shuiqiao.privacy.secure.worker_link import ADDRESS, BUSY_RETRY_S, WorkerLink, in_ms, verify_offer

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

MAX_WORKERS: Final = 64
"""Links of one server: each has 65 to 290 MB."""

_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - each run has a folder of its own there


class SecureLinks:
    """The links of one server; any number of threads may use it. It starts no worker until it is asked.

    Raises by all methods but ``is_open`` and ``close``: Unavailable ``privacy.extra_missing``,
    ``privacy.secure_not_set_up`` (a bureau without an address to listen at), ``privacy.secure_busy`` (every worker
    computes), ``privacy.secure_peer_silent`` (no answer in time, or a broken link), ``privacy.secure_link_missing`` (no
    link to this member), InvalidInput ``privacy.secure_protocol_refused`` (an offer of another configuration),
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
        """listen: ``host:port`` of a bureau, the first of ``workers`` ports of which a free one is taken; port 0: any.

        timeout_s: of one opening and of one run. idle_s: after which a worker that is asked nothing ends.
        """
        self._listen, self._workers = listen, min(workers, MAX_WORKERS)
        self._timeout_s, self._idle_s, self._entropy = timeout_s, idle_s, entropy
        self._guard = threading.Lock()
        self._links: dict[MemberId, WorkerLink] = {}
        self._turns: dict[MemberId, threading.Lock] = {}

    def offer(self, peer: MemberId) -> SecureOffer:
        """Bank: begin a link, in place of one that was there; its worker waits for ``connect``."""
        session = new_id(self._entropy)
        return self._begin(peer, rank=0, session=session).offer

    def accept(self, peer: MemberId, offer: SecureOffer) -> SecureOffer:
        """Bureau: take a bank's offer, in place of a link that was there, and return what it connects to."""
        if not self._listen:
            raise Unavailable("privacy.secure_not_set_up", "no address is set at which secure links are taken")
        verify_offer(offer, configuration=CONFIGURATION)
        link = self._begin(peer, rank=1, session=offer.session)
        link.introduce({0: offer}, timeout_s=self._timeout_s)
        return link.offer

    def connect(self, peer: MemberId, offer: SecureOffer) -> None:
        """Bank: connect to what the bureau returned; the link is warm after it."""
        verify_offer(offer, configuration=CONFIGURATION)
        link = self._link(peer)
        if offer.session != link.session or ADDRESS.match(offer.address) is None:
            raise IntegrityError("privacy.secure_failed", f"what {peer} answers to an offer is of another session")
        with self._dropped_if_broken(peer, link):
            link.introduce({1: offer}, timeout_s=self._timeout_s)
            link.wait_until_warm(timeout_s=self._timeout_s)

    def is_open(self, peer: MemberId) -> bool:
        """Whether a run can begin; at the bureau also while the bank is about to connect."""
        with self._guard:
            link = self._links.get(peer)
        return link is not None and link.is_told and link.is_alive

    def is_ours(self, peer: MemberId) -> bool:
        """Whether a link is open by which this side asks, not the other one."""
        with self._guard:
            link = self._links.get(peer)
        return link is not None and link.rank == 0 and self.is_open(peer)

    def require_asked(self, peer: MemberId) -> None:
        """Return if a link is open by which the other side asks; raises Unavailable ``privacy.secure_link_missing``."""
        if self._link(peer).rank == 0:
            raise Unavailable("privacy.secure_link_missing", f"no secure link from {peer} is open")

    @contextmanager
    def turn(self, peer: MemberId) -> Generator[None]:
        """Bank: hold the link to one member from before a request is asked until its run ended."""
        with self._guard:
            lock = self._turns.setdefault(peer, threading.Lock())
        if not lock.acquire(timeout=2 * self._timeout_s):
            raise _busy(f"other requests hold the secure link to {peer}")
        try:
            yield
        finally:
            lock.release()

    def run(
        self,
        peer: MemberId,
        function: SecureFunction,
        values: Sequence[int] | npt.NDArray[np.int64],
        *,
        binding: bytes,
        wait_s: float = 0.0,
    ) -> bytes:
        """Compute one half of one run and return this party's share, ``function.share_bytes`` long.

        values: of the bank its weights, then its cuts; of the bureau 0 or 1, row by row. Which of them one is follows
        from who offered. binding: sha256 of the request, compared over the link before anything is computed.
        wait_s: how long the other side may take until it begins, beside the time of a run.
        Raises InvalidInput ``privacy.secure_function_differs`` also for values that are not those of the function.
        """
        link = self._link(peer)
        order = {
            "binding": binding,
            "function": {
                "indicators": function.indicators,
                "cuts": function.cuts,
                "output": function.output.value,
                "rows": function.rows,
            },
            "values": _encoded(function, values, rank=link.rank),
            "wait_ms": round(1_000 * wait_s),
        }
        with self._dropped_if_broken(peer, link):
            return link.share_of(order, wanted=function.share_bytes, timeout_s=self._timeout_s + wait_s)

    def intersect(
        self, peer: MemberId, items: Sequence[bytes], *, binding: bytes, theirs: int = MAX_ITEMS, wait_s: float = 0.0
    ) -> list[int]:
        """Return the places of the items that the other side has too, rising; nothing at the side that was asked.

        items: 1 to 131,072 different ones of 32 bytes, or none at the side that was asked. theirs: there, how many the
        other one compares; with another number it is refused. binding, wait_s: as for ``run``.
        Raises InvalidInput ``privacy.secure_items_wrong``, and what ``run`` raises.

        Example::

            places = links.intersect(bank, [item_of(each) for each in applicants], binding=binding)
        """
        link = self._link(peer)
        require_items(items, rank=link.rank)
        # The folder outlives the worker, whatever becomes of it, so that nothing stays behind.
        with (
            TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder,
            self._dropped_if_broken(peer, link),
        ):
            order = {
                "binding": binding,
                "folder": folder,
                "items": b"".join(items),
                "theirs": theirs,
                "wait_ms": round(1_000 * wait_s),
            }
            found = decode_places(link.answer_to(order, timeout_s=self._timeout_s + wait_s).found)
            if found != sorted(set(found)) or (found and (link.rank or found[-1] >= len(items))):
                raise IntegrityError("privacy.secure_failed", "a worker finds items that were not put in")
            return found

    def ends(self, peer: MemberId) -> LinkEnds:
        """Return by which session and certificates a link stands that is open."""
        return self._link(peer).ends

    def give_up(self, peer: MemberId) -> None:
        """End the link to a member; a run that waits there is told at once. Without one there is nothing to do."""
        with self._guard:
            link = self._links.pop(peer, None)
        if link is not None:
            link.end()

    @property
    def worker_pids(self) -> list[int]:
        """The process ids of the workers that live."""
        with self._guard:
            return [link.pid for link in self._links.values() if link.is_alive]

    def close(self) -> None:
        """End every worker."""
        with self._guard:
            links, self._links = list(self._links.values()), {}
        for link in links:
            link.end()

    def _link(self, peer: MemberId) -> WorkerLink:
        with self._guard:
            link = self._links.get(peer)
        if link is None or not link.is_alive:
            raise Unavailable("privacy.secure_link_missing", f"no secure link to {peer} is open")
        return link

    def _begin(self, peer: MemberId, *, rank: int, session: bytes) -> WorkerLink:
        require_library()
        host, _, port = self._listen.rpartition(":") if rank else ("", "", "0")
        with self._guard:
            ended = self._make_room(peer)
            link = self._links[peer] = WorkerLink(
                rank,
                session=session,
                configuration=CONFIGURATION,
                arguments=(host, port, str(self._workers), in_ms(self._timeout_s / 2), in_ms(self._idle_s)),
            )
        for each in ended:
            each.end()
        with self._dropped_if_broken(peer, link):
            link.wait_for_offer(timeout_s=self._timeout_s)
        return link

    def _make_room(self, peer: MemberId) -> list[WorkerLink]:
        """Take out the link to a member, those that ended, and, where all workers are taken, one that does nothing."""
        gone = [name for name, link in self._links.items() if name == peer or not link.is_alive]
        if len(self._links) - len(gone) >= self._workers:
            idle = [(link.used_s, name) for name, link in self._links.items() if name not in gone and not link.is_busy]
            if not idle:
                raise _busy(f"all {self._workers} workers of secure links are computing")
            gone.append(min(idle)[1])
        return [self._links.pop(name) for name in gone]

    @contextmanager
    def _dropped_if_broken(self, peer: MemberId, link: WorkerLink) -> Generator[None]:
        try:
            yield
        except ShuiqiaoError as error:
            if error.code != KEEPS_LINK:
                with self._guard:
                    if self._links.get(peer) is link:
                        del self._links[peer]
                link.end()
            raise


def _encoded(function: SecureFunction, values: Sequence[int] | npt.NDArray[np.int64], *, rank: int) -> bytes:
    import numpy as np

    numbers = np.asarray(values, dtype=np.int64).reshape(-1)
    if len(numbers) != function.values_of(rank) or (rank and not np.isin(numbers, (0, 1)).all()):
        raise InvalidInput(
            KEEPS_LINK, f"{len(numbers)} values, {function.values_of(rank)} are wanted; those of records are 0 or 1"
        )
    return numbers.astype("<i8" if rank == 0 else np.uint8).tobytes()


def _busy(problem: str) -> Unavailable:
    return Unavailable("privacy.secure_busy", problem, retry_after_s=BUSY_RETRY_S)
