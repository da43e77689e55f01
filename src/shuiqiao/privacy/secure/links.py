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

import os
import re
import select
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from msgspec import Meta

from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor, typed
from shuiqiao.base.errors import IntegrityError, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import Entropy, MemberId, new_id, system_entropy
from shuiqiao.base.worker_process import WorkerProcess
from shuiqiao.privacy.secure.intersection import MAX_ITEMS, PLACE_BYTES, decode_places, require_items
from shuiqiao.privacy.secure.library import require_library
from shuiqiao.privacy.secure.model import CONFIGURATION, MAX_ROWS, TAG_BYTES, LinkEnds, SecureFunction, SecureOffer
from shuiqiao.privacy.secure.worker import HEAD, KEEPS_LINK, run_worker

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

MAX_WORKERS: Final = 64
"""Links of one server: each has 65 to 290 MB."""

_MAX_ADDRESS_CHARS: Final = 261
_ADDRESS: Final = re.compile(r"[A-Za-z0-9.:_\[\]-]{1,255}:[0-9]{1,5}\Z")
_MAX_CERTIFICATE_BYTES: Final = 2_048
_MAX_REPLY_BYTES: Final = 1_024 + max(9 * MAX_ROWS, PLACE_BYTES * MAX_ITEMS)
_SESSION_BYTES: Final = 16
_BUSY_RETRY_S: Final = 1.0
_KINDS: Final[dict[str, type[ShuiqiaoError]]] = {
    "privacy.extra_missing": Unavailable,
    "privacy.secure_not_set_up": Unavailable,
    "privacy.secure_peer_silent": Unavailable,
    "privacy.secure_failed": IntegrityError,
    "privacy.secure_items_wrong": InvalidInput,
    KEEPS_LINK: InvalidInput,
}
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - each run has a folder of its own there


class _Reply(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a worker says: one thing at a time."""

    certificate: Annotated[bytes, Meta(max_length=_MAX_CERTIFICATE_BYTES)] = b""
    address: Annotated[str, Meta(max_length=_MAX_ADDRESS_CHARS)] = ""
    warm: bool = False
    share: Annotated[bytes, Meta(max_length=1 + TAG_BYTES + 8 * MAX_ROWS)] = b""
    found: Annotated[bytes, Meta(max_length=PLACE_BYTES * MAX_ITEMS)] = b""
    code: Annotated[str, Meta(max_length=64)] = ""
    message: Annotated[str, Meta(max_length=1_024)] = ""


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
        self._links: dict[MemberId, _Link] = {}
        self._turns: dict[MemberId, threading.Lock] = {}

    def offer(self, peer: MemberId) -> SecureOffer:
        """Bank: begin a link, in place of one that was there; its worker waits for ``connect``."""
        session = new_id(self._entropy)
        return self._begin(peer, rank=0, session=session).offer

    def accept(self, peer: MemberId, offer: SecureOffer) -> SecureOffer:
        """Bureau: take a bank's offer, in place of a link that was there, and return what it connects to."""
        if not self._listen:
            raise Unavailable("privacy.secure_not_set_up", "no address is set at which secure links are taken")
        _verify(offer)
        link = self._begin(peer, rank=1, session=offer.session)
        link.send(offer, address="", timeout_s=self._timeout_s)
        return link.offer

    def connect(self, peer: MemberId, offer: SecureOffer) -> None:
        """Bank: connect to what the bureau returned; the link is warm after it."""
        _verify(offer)
        link = self._link(peer)
        if offer.session != link.session or _ADDRESS.match(offer.address) is None:
            raise IntegrityError("privacy.secure_failed", f"what {peer} answers to an offer is of another session")
        with self._dropped_if_broken(peer, link):
            link.send(offer, address=offer.address, timeout_s=self._timeout_s)
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

    def _link(self, peer: MemberId) -> _Link:
        with self._guard:
            link = self._links.get(peer)
        if link is None or not link.is_alive:
            raise Unavailable("privacy.secure_link_missing", f"no secure link to {peer} is open")
        return link

    def _begin(self, peer: MemberId, *, rank: int, session: bytes) -> _Link:
        require_library()
        host, _, port = self._listen.rpartition(":") if rank else ("", "", "0")
        with self._guard:
            ended = self._make_room(peer)
            link = self._links[peer] = _Link(
                rank,
                session=session,
                arguments=(host, port, str(self._workers), _ms(self._timeout_s / 2), _ms(self._idle_s)),
            )
        for each in ended:
            each.end()
        with self._dropped_if_broken(peer, link):
            link.wait_for_offer(timeout_s=self._timeout_s)
        return link

    def _make_room(self, peer: MemberId) -> list[_Link]:
        """Take out the link to a member, those that ended, and, where all workers are taken, one that does nothing."""
        gone = [name for name, link in self._links.items() if name == peer or not link.is_alive]
        if len(self._links) - len(gone) >= self._workers:
            idle = [(link.used_s, name) for name, link in self._links.items() if name not in gone and not link.is_busy]
            if not idle:
                raise _busy(f"all {self._workers} workers of secure links are computing")
            gone.append(min(idle)[1])
        return [self._links.pop(name) for name in gone]

    @contextmanager
    def _dropped_if_broken(self, peer: MemberId, link: _Link) -> Generator[None]:
        try:
            yield
        except ShuiqiaoError as error:
            if error.code != KEEPS_LINK:
                with self._guard:
                    if self._links.get(peer) is link:
                        del self._links[peer]
                link.end()
            raise


class _Link:
    """One worker, and what is known of the link that it holds."""

    def __init__(self, rank: int, *, session: bytes, arguments: Sequence[str]) -> None:
        self.rank, self.session = rank, session
        self.used_s = time.monotonic()
        self.is_told = False
        self._is_warm = False
        # Held while something is asked of the worker, and while its descriptors are closed.
        self._asking = threading.Lock()
        self._worker: WorkerProcess | None = WorkerProcess(run_worker, str(rank), session.hex(), *arguments)
        self._offer: SecureOffer | None = None
        self._theirs = b""

    @property
    def pid(self) -> int:
        return self._running().pid

    @property
    def is_alive(self) -> bool:
        worker = self._worker
        return worker is not None and worker.exit_code(timeout_s=0) is None

    @property
    def is_busy(self) -> bool:
        return self._asking.locked()

    @property
    def offer(self) -> SecureOffer:
        """What the other side is to know of this one."""
        if self._offer is None:
            raise _gone("its worker has said nothing yet")
        return self._offer

    def wait_for_offer(self, *, timeout_s: float) -> None:
        with self._asking:
            found = self._received(time.monotonic() + timeout_s)
            self._offer = SecureOffer(
                session=self.session,
                certificate=found.certificate,
                address=found.address,
                configuration=CONFIGURATION,
            )

    @property
    def ends(self) -> LinkEnds:
        """By what this link stands, once it was told of the other side."""
        ours, theirs = (sha256(each).digest() for each in (self.offer.certificate, self._theirs))
        return LinkEnds(session=self.session, bank=theirs if self.rank else ours, bureau=ours if self.rank else theirs)

    def send(self, offer: SecureOffer, *, address: str, timeout_s: float) -> None:
        """Tell the worker of the other side, which it connects to or waits for."""
        with self._asking:
            self._theirs = offer.certificate
            self._send({"certificate": offer.certificate, "address": address}, time.monotonic() + timeout_s)
            self.is_told = True

    def wait_until_warm(self, *, timeout_s: float) -> None:
        with self._asking:
            self._wait_until_warm(time.monotonic() + timeout_s)

    def share_of(self, order: dict[str, Any], *, wanted: int, timeout_s: float) -> bytes:
        """Order one run; raises as ``answer_to``, and IntegrityError for a share of another length than was wanted."""
        share = self.answer_to(order, timeout_s=timeout_s).share
        if len(share) != wanted:
            raise IntegrityError("privacy.secure_failed", f"a worker gives a share of {len(share)} bytes, not {wanted}")
        return share

    def answer_to(self, order: dict[str, Any], *, timeout_s: float) -> _Reply:
        """Order one run; raises what the worker tells, and Unavailable where it tells nothing in time."""
        until = time.monotonic() + timeout_s
        with self._asking:
            self._wait_until_warm(until)
            self._send(order, until)
            found = self._received(until)
            self.used_s = time.monotonic()
        return found

    def end(self) -> None:
        """Kill the worker, whatever it does; a thread that waits for it is told that it is gone."""
        worker, self._worker = self._worker, None
        if worker is None:
            return
        worker.end()
        with self._asking:
            os.close(worker.sink)
            os.close(worker.source)

    def _wait_until_warm(self, until: float) -> None:
        if not self.is_told:
            raise Unavailable("privacy.secure_link_missing", "this secure link is not connected yet")
        if not self._is_warm:
            self._received(until)
            self._is_warm = True

    def _send(self, message: dict[str, Any], until: float) -> None:
        data = encode_cbor(message)
        left = memoryview(HEAD.pack(len(data)) + data)
        worker = self._running()
        os.set_blocking(worker.sink, False)
        while left:
            _, ready, _ = select.select([], [worker.sink], [], max(0.0, until - time.monotonic()))
            if not ready:
                raise _gone("its worker takes no order")
            with suppress(BlockingIOError):
                try:
                    left = left[os.write(worker.sink, left) :]
                except BrokenPipeError as error:
                    raise _gone("its worker ended") from error

    def _received(self, until: float) -> _Reply:
        """Return the worker's next message; what the other member sent can have made it say anything."""
        (length,) = HEAD.unpack(self._read(HEAD.size, until))
        if length > _MAX_REPLY_BYTES:
            raise IntegrityError("privacy.secure_failed", f"a worker says {length} bytes")
        try:
            value = decode_cbor_strict(self._read(length, until), max_bytes=_MAX_REPLY_BYTES)
            found = typed(value, _Reply, builtin_types=(bytes,))
            kind = _KINDS[found.code] if found.code else None
        except (InvalidInput, msgspec.ValidationError, KeyError) as error:
            raise IntegrityError("privacy.secure_failed", "a worker says what none says") from error
        if kind is not None:
            raise kind(found.code, found.message)
        return found

    def _read(self, count: int, until: float) -> bytes:
        worker, found = self._running(), b""
        while len(found) < count:
            ready, _, _ = select.select([worker.source], [], [], max(0.0, until - time.monotonic()))
            part = os.read(worker.source, count - len(found)) if ready else b""
            if not part:
                raise _gone("its worker ended" if ready else "its worker did not answer in time")
            found += part
        return found

    def _running(self) -> WorkerProcess:
        if self._worker is None:
            raise _gone("its worker was ended")
        return self._worker


def _verify(offer: SecureOffer) -> None:
    """Refuse what another member offers if it is not of our form or of another configuration [SECURE-4]."""
    if offer.configuration != CONFIGURATION:
        raise InvalidInput(
            "privacy.secure_protocol_refused",
            f"the offer names another protocol or library: {offer.configuration[:200]!r}, ours is {CONFIGURATION!r}",
        )
    if len(offer.session) != _SESSION_BYTES or not 0 < len(offer.certificate) <= _MAX_CERTIFICATE_BYTES:
        raise IntegrityError("privacy.secure_failed", "an offer without a session or a certificate")


def _encoded(function: SecureFunction, values: Sequence[int] | npt.NDArray[np.int64], *, rank: int) -> bytes:
    import numpy as np

    numbers = np.asarray(values, dtype=np.int64).reshape(-1)
    if len(numbers) != function.values_of(rank) or (rank and not np.isin(numbers, (0, 1)).all()):
        raise InvalidInput(
            KEEPS_LINK, f"{len(numbers)} values, {function.values_of(rank)} are wanted; those of records are 0 or 1"
        )
    return numbers.astype("<i8" if rank == 0 else np.uint8).tobytes()


def _ms(seconds: float) -> str:
    return str(int(1_000 * seconds))


def _gone(problem: str) -> Unavailable:
    return Unavailable("privacy.secure_peer_silent", f"a secure link broke: {problem}", retry_after_s=_BUSY_RETRY_S)


def _busy(problem: str) -> Unavailable:
    return Unavailable("privacy.secure_busy", problem, retry_after_s=_BUSY_RETRY_S)
