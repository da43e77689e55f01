"""What a server knows of one worker: what it tells it, what it believes of what the worker says, and for how long.

Rule: docs/spec/secure.md [SECURE-8]. What other members send is read by the worker and can have made it say anything:
each reply is bounded and read strictly. A worker that breaks, or is late, is killed by its process id.
"""

from __future__ import annotations

import os
import re
import select
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor, typed
from shuiqiao.base.errors import IntegrityError, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.worker_process import WorkerProcess
from shuiqiao.privacy.secure.intersection import MAX_ITEMS, PLACE_BYTES
from shuiqiao.privacy.secure.model import MAX_ROWS, TAG_BYTES, LinkEnds, SecureOffer
from shuiqiao.privacy.secure.worker import HEAD, KEEPS_LINK, run_worker

ADDRESS: Final = re.compile(r"[A-Za-z0-9.:_\[\]-]{1,255}:[0-9]{1,5}\Z")
BUSY_RETRY_S: Final = 1.0

_MAX_ADDRESS_CHARS: Final = 261
_MAX_CERTIFICATE_BYTES: Final = 2_048
_MAX_OPENED_BYTES: Final = 2**20
_MAX_REPLY_BYTES: Final = 1_024 + max(9 * MAX_ROWS, PLACE_BYTES * MAX_ITEMS, _MAX_OPENED_BYTES)
_SESSION_BYTES: Final = 16
_KINDS: Final[dict[str, type[ShuiqiaoError]]] = {
    "privacy.extra_missing": Unavailable,
    "privacy.secure_not_set_up": Unavailable,
    "privacy.secure_peer_silent": Unavailable,
    "privacy.secure_failed": IntegrityError,
    "privacy.secure_items_wrong": InvalidInput,
    KEEPS_LINK: InvalidInput,
}


class WorkerReply(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a worker says: one thing at a time."""

    certificate: Annotated[bytes, Meta(max_length=_MAX_CERTIFICATE_BYTES)] = b""
    address: Annotated[str, Meta(max_length=_MAX_ADDRESS_CHARS)] = ""
    warm: bool = False
    share: Annotated[bytes, Meta(max_length=1 + TAG_BYTES + 8 * MAX_ROWS)] = b""
    opened: Annotated[bytes, Meta(max_length=_MAX_OPENED_BYTES)] = b""
    step: Annotated[bytes, Meta(max_length=32)] = b""
    found: Annotated[bytes, Meta(max_length=PLACE_BYTES * MAX_ITEMS)] = b""
    code: Annotated[str, Meta(max_length=64)] = ""
    message: Annotated[str, Meta(max_length=1_024)] = ""


class WorkerLink:
    """One worker, and what is known of the link that it holds."""

    def __init__(
        self, rank: int, *, session: bytes, configuration: bytes, arguments: Sequence[str], parties: int = 2
    ) -> None:
        self.rank, self.session, self._configuration = rank, session, configuration
        self.used_s = time.monotonic()
        self.is_told = False
        self._is_warm = False
        # Held while something is asked of the worker, and while its descriptors are closed.
        self._asking = threading.Lock()
        self._worker: WorkerProcess | None = WorkerProcess(
            run_worker, str(rank), str(parties), session.hex(), *arguments
        )
        self._offer: SecureOffer | None = None
        self._theirs: dict[int, bytes] = {}

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._running().pid

    @property
    def is_alive(self) -> bool:
        """Whether the worker still runs."""
        worker = self._worker
        return worker is not None and worker.exit_code(timeout_s=0) is None

    @property
    def is_busy(self) -> bool:
        """Whether something is asked of the worker at this moment."""
        return self._asking.locked()

    @property
    def offer(self) -> SecureOffer:
        """What the other side is to know of this one."""
        if self._offer is None:
            raise _gone("its worker has said nothing yet")
        return self._offer

    def wait_for_offer(self, *, timeout_s: float) -> None:
        """Take from the worker what the other side is to know."""
        with self._asking:
            found = self._received(time.monotonic() + timeout_s)
            self._offer = SecureOffer(
                session=self.session,
                certificate=found.certificate,
                address=found.address,
                configuration=self._configuration,
            )

    @property
    def ends(self) -> LinkEnds:
        """By what a link of two stands, once the worker was told of the other side."""
        shown = {self.rank: self.offer.certificate, **self._theirs}
        bank, bureau = (sha256(shown[rank]).digest() for rank in (0, 1))
        return LinkEnds(session=self.session, bank=bank, bureau=bureau)

    def introduce(self, offers: Mapping[int, SecureOffer], *, timeout_s: float) -> None:
        """Tell the worker whom to expect, by rank, and where those listen that it dials."""
        others = [[rank, offer.certificate, offer.address] for rank, offer in sorted(offers.items())]
        with self._asking:
            self._theirs = {rank: offer.certificate for rank, offer in offers.items()}
            self._send({"others": others}, time.monotonic() + timeout_s)
            self.is_told = True

    def wait_until_warm(self, *, timeout_s: float) -> None:
        """Return when the link stands and something was computed over it."""
        with self._asking:
            self._wait_until_warm(time.monotonic() + timeout_s)

    def share_of(self, order: dict[str, Any], *, wanted: int, timeout_s: float) -> bytes:
        """Order one run; raises as ``answer_to``, and IntegrityError for a share of another length than was wanted."""
        share = self.answer_to(order, timeout_s=timeout_s).share
        if len(share) != wanted:
            raise IntegrityError("privacy.secure_failed", f"a worker gives a share of {len(share)} bytes, not {wanted}")
        return share

    def answer_to(self, order: dict[str, Any], *, timeout_s: float) -> WorkerReply:
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

    def _received(self, until: float) -> WorkerReply:
        """Return the worker's next message; what the other member sent can have made it say anything."""
        (length,) = HEAD.unpack(self._read(HEAD.size, until))
        if length > _MAX_REPLY_BYTES:
            raise IntegrityError("privacy.secure_failed", f"a worker says {length} bytes")
        try:
            value = decode_cbor_strict(self._read(length, until), max_bytes=_MAX_REPLY_BYTES)
            found = typed(value, WorkerReply, builtin_types=(bytes,))
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


def verify_offer(offer: SecureOffer, *, configuration: bytes) -> None:
    """Refuse what another member offers if it is not of our form or of another configuration [SECURE-4]."""
    if offer.configuration != configuration:
        raise InvalidInput(
            "privacy.secure_protocol_refused",
            f"the offer names another protocol or library: {offer.configuration[:200]!r}, ours is {configuration!r}",
        )
    if len(offer.session) != _SESSION_BYTES or not 0 < len(offer.certificate) <= _MAX_CERTIFICATE_BYTES:
        raise IntegrityError("privacy.secure_failed", "an offer without a session or a certificate")


def in_ms(seconds: float) -> str:
    """Return whole milliseconds, as an argument of a worker."""
    return str(int(1_000 * seconds))


def _gone(problem: str) -> Unavailable:
    return Unavailable("privacy.secure_peer_silent", f"a secure link broke: {problem}", retry_after_s=BUSY_RETRY_S)
