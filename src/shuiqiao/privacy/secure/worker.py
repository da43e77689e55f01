"""The worker of a link of two or three: orders in from its server, shares out; all is computed here.

Rule: docs/spec/secure.md [SECURE-5] to [SECURE-8], docs/spec/training.md [TRAIN-3]. It is a process of its own because
the library can end its process, and because what other members send goes into the library: a fault in it reaches no key
of the server. It ends when its input does, when another side ends the link while nothing runs, after a time without
orders, and after any failure.

    message = 4 bytes length, big-endian | canonical CBOR
    worker: {certificate, address}   server: {others: [[rank, certificate, address]]}   worker: {warm}
    then again and again             server: {function, values, binding, wait_ms}   worker: {share} or {code, message}
                                 or  server: {items, theirs, folder, binding, wait_ms}   worker: {found} or as above
                        of three     server: {step, values, binding, wait_ms}   worker: {step, opened} or as above
"""

from __future__ import annotations

import os
import queue
import resource
import socket
import ssl
import struct
import threading
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from shuiqiao.base.encoding import decode_cbor, encode_cbor
from shuiqiao.base.errors import IntegrityError, InvalidInput, ShuiqiaoError
from shuiqiao.base.ids import system_entropy
from shuiqiao.base.worker_process import begin_worker
from shuiqiao.privacy.secure.channel import Frames, LinkCertificate, accept, connect, listen
from shuiqiao.privacy.secure.intersection import (
    INTERSECTION,
    ITEM_BYTES,
    MAX_ITEMS,
    PLACE_BYTES,
    encode_places,
    keyed_items,
)
from shuiqiao.privacy.secure.joint_library import JointParty
from shuiqiao.privacy.secure.library import Party, context_over, load_library
from shuiqiao.privacy.secure.model import CONFIGURATION, JOINT_CONFIGURATION, TAG_BYTES, SecureFunction, SecureOutput
from shuiqiao.privacy.secure.psi_library import common_items

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

HEAD: Final = struct.Struct(">I")
KEEPS_LINK: Final = "privacy.secure_function_differs"
"""The one refusal after which the link goes on: both sides compared, and neither began."""

_MAX_WORDS: Final = 300
_OFFER_KEPT_S: Final = 600.0
_TWO: Final = 2
_WARM: Final = SecureFunction(indicators=2, cuts=1, output=SecureOutput.YES_NO)


def run_worker(
    rank: str, parties: str, session: str, host: str, port: str, ports: str, timeout_ms: str, idle_ms: str
) -> None:
    """Serve one link until it ends. rank: all but 0 listen at ``host:port`` for those below, and dial those above."""
    # What a process leaves when it crashes would hold weights or records.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    source, sink = begin_worker()
    with open(sink, "wb", buffering=0) as replies:  # noqa: PTH123 - a descriptor
        worker = _Worker(int(rank), int(parties), replies, timeout_s=int(timeout_ms) / 1000)
        threading.Thread(target=_read_orders, args=(source, worker.orders), daemon=True).start()
        try:
            worker.open(bytes.fromhex(session), host=host, port=int(port), ports=int(ports))
            worker.serve(idle_s=int(idle_ms) / 1000)
        except queue.Empty:
            pass
        except ShuiqiaoError as error:
            worker.tell({"code": error.code, "message": error.message[:_MAX_WORDS]})
        except Exception as error:  # noqa: BLE001 - whatever the library throws ends this process, and is told
            worker.tell({"code": "privacy.secure_failed", "message": _words(error)})
        finally:
            # The library's threads are not waited for: they may wait for the other side.
            os._exit(0)


class _Worker:
    def __init__(self, rank: int, parties: int, replies: BinaryIO, *, timeout_s: float) -> None:
        self._rank, self._parties, self._replies, self._timeout_s = rank, parties, replies, timeout_s
        self.orders: queue.Queue[bytes] = queue.Queue()
        self._busy = threading.Event()
        self._frames: dict[int, Frames] = {}

    def tell(self, message: dict[str, Any]) -> None:
        data = encode_cbor(message)
        try:
            self._replies.write(HEAD.pack(len(data)) + data)
        except OSError:
            os._exit(0)

    def open(self, session: bytes, *, host: str, port: int, ports: int) -> None:
        """Link up with the other side, compare who is there, and compute once [SECURE-6]."""
        self._busy.set()
        certificate = LinkCertificate()
        listener = listen(host, port, ports=ports) if self._rank else None
        at = f"{host}:{listener.getsockname()[1]}" if listener else ""
        self.tell({"certificate": certificate.der, "address": at})
        library = load_library()
        # A bank that offers may never hear of the bureau: what asks and answers between them has its own times.
        self._link_up(decode_cbor(self.orders.get(timeout=_OFFER_KEPT_S))["others"], certificate, listener)
        configuration = CONFIGURATION if self._parties == _TWO else JOINT_CONFIGURATION
        ours = sha256(session + configuration).digest()
        if not self._is_agreed(ours):
            raise IntegrityError("privacy.secure_failed", "another side opens another session")
        self._context = context_over(library, self._frames, rank=self._rank)
        if self._parties == _TWO:
            self._party = Party(library, self._context, rank=self._rank)
            self._codes: dict[bytes, bytes] = {}
            self._computed(_WARM, bytes(_WARM.values_of(self._rank) * (1 if self._rank else 8)), binding=session)
        else:
            self._joint = JointParty(library, self._context, self._frames, rank=self._rank)
        self.tell({"warm": True})

    def _link_up(
        self, others: list[tuple[int, bytes, str]], certificate: LinkCertificate, listener: socket.socket | None
    ) -> None:
        """Let those of lower rank come, then dial those of higher; a line is of the rank whose certificate it shows."""
        certificates = {shown: rank for rank, shown, _ in others}
        if len(certificates) != self._parties - 1:
            raise IntegrityError("privacy.secure_failed", "two parties offer one certificate")
        try:
            takes = certificate.context(certificates, is_server=True)
            dials = certificate.context(certificates, is_server=False)
        except (ssl.SSLError, ValueError) as error:
            raise IntegrityError("privacy.secure_failed", f"what was offered is no certificate: {error}") from error
        if listener:
            awaited = {shown for shown, rank in certificates.items() if rank < self._rank}
            while awaited:
                shown, frames = accept(listener, takes, peers=awaited, timeout_s=self._timeout_s)
                awaited.remove(shown)
                self._frames[certificates[shown]] = frames
            listener.close()
        for rank, shown, address in others:
            if rank > self._rank:
                name, _, number = address.rpartition(":")
                self._frames[rank] = connect(name, int(number), dials, peer=shown, timeout_s=self._timeout_s)
        for frames in self._frames.values():
            frames.begin(self._on_end)

    def serve(self, *, idle_s: float) -> None:
        """Compute what is ordered; raises queue.Empty when nothing was for some time."""
        while True:
            self._busy.clear()
            # An end in the midst of a run has waited for it; any later one ends this process at once.
            if any(frames.is_ended for frames in self._frames.values()):
                return
            order = decode_cbor(self.orders.get(timeout=idle_s))
            self._busy.set()
            try:
                done = self._done(order)
            except ShuiqiaoError as error:
                if error.code != KEEPS_LINK:
                    raise
                self.tell({"code": error.code, "message": error.message[:_MAX_WORDS]})
            else:
                self.tell(done)

    def _done(self, order: dict[str, Any]) -> dict[str, Any]:
        waits: dict[str, Any] = {"binding": order["binding"], "wait_s": order["wait_ms"] / 1_000}
        if "step" in order:
            return self._stepped(order, **waits)
        if "items" in order:
            raw: bytes = order["items"]
            items = [raw[first : first + ITEM_BYTES] for first in range(0, len(raw), ITEM_BYTES)]
            return {"found": self._common(items, theirs=order["theirs"], folder=Path(order["folder"]), **waits)}
        return {"share": self._computed(_function(order["function"]), order["values"], **waits)}

    def _common(self, items: list[bytes], *, theirs: int, folder: Path, binding: bytes, wait_s: float) -> bytes:
        """Compare request, protocol and sizes with the other side, then find the common items [PSI-2], [PSI-3].

        theirs: how many items the other side may put in, exactly that many where it is the one that asks.
        """
        ours = sha256(binding + sha256(INTERSECTION).digest()).digest()
        if not self._is_agreed(ours, wait_s=wait_s):
            raise InvalidInput(KEEPS_LINK, "the other side has another request or protocol for this run")
        size = int.from_bytes(self._exchanged(len(items).to_bytes(PLACE_BYTES, "big")), "big")
        if size > MAX_ITEMS or (self._rank and size != theirs):
            raise InvalidInput("privacy.secure_items_wrong", f"the other side compares {size} items, not {theirs}")
        own = system_entropy(ITEM_BYTES)
        parts = (own, self._exchanged(own))
        key = sha256(b"".join(parts if self._rank == 0 else reversed(parts))).digest()
        keyed = dict(keyed_items(items, key=key, rank=self._rank, entropy=system_entropy))
        try:
            found = common_items(self._context, list(keyed), rank=self._rank, folder=folder)
        except ShuiqiaoError:
            raise
        except Exception as error:
            raise IntegrityError("privacy.secure_failed", _words(error)) from error
        return encode_places(sorted(keyed[each] for each in found))

    def _computed(self, function: SecureFunction, values: bytes, *, binding: bytes, wait_s: float = 0.0) -> bytes:
        """Compare request, function and configuration with the other side, then compute [SECURE-7]."""
        code = self._codes.get(function.digest)
        if code is None:
            code = self._codes[function.digest] = self._party.compiled(function.text, inputs=3 if function.cuts else 2)
        ours = sha256(binding + function.digest + self._party.fingerprint(code)).digest()
        if not self._is_agreed(ours, wait_s=wait_s):
            raise InvalidInput(KEEPS_LINK, "the other side has another request, function or library for this run")
        try:
            kind, words = self._party.run(function, code, _numbers(values, rank=self._rank))
        except ShuiqiaoError:
            raise
        except Exception as error:
            raise IntegrityError("privacy.secure_failed", _words(error)) from error
        return function.share_of(kind, words, tag=ours[:TAG_BYTES])

    def _stepped(self, order: dict[str, Any], *, binding: bytes, wait_s: float) -> dict[str, Any]:
        """Compare one step of a computation of three with both others, then take it [TRAIN-3]."""
        step = order["step"]
        code = self._joint.compiled(step["text"], inputs=len(step["inputs"])) if step["do"] == "run" else b""
        ours = sha256(binding + encode_cbor(step) + self._joint.fingerprint(code)).digest()
        if not self._is_agreed(ours, wait_s=wait_s):
            raise InvalidInput(KEEPS_LINK, f"another side takes another step, or computes it otherwise: {step['do']}")
        try:
            opened = self._joint.take(step, code, order["values"], kind=order["kind"])
        except ShuiqiaoError:
            raise
        except Exception as error:
            raise IntegrityError("privacy.secure_failed", _words(error)) from error
        return {"step": ours, "opened": opened}

    def _is_agreed(self, ours: bytes, *, wait_s: float = 0.0) -> bool:
        return all(theirs == ours for theirs in self._all_exchanged(ours, wait_s=wait_s))

    def _exchanged(self, ours: bytes) -> bytes:
        (theirs,) = self._all_exchanged(ours)
        return theirs

    def _all_exchanged(self, ours: bytes, *, wait_s: float = 0.0) -> list[bytes]:
        for frames in self._frames.values():
            frames.send("shuiqiao", ours)
        return [frames.receive("shuiqiao", wait_s=wait_s) for frames in self._frames.values()]

    def _on_end(self) -> None:
        if not self._busy.is_set():
            os._exit(0)


def _words(error: Exception) -> str:
    """Return the first line of what the library throws; the lines below it are a trace of its own code."""
    return f"a worker failed by {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"[:_MAX_WORDS]


def _function(shape: dict[str, Any]) -> SecureFunction:
    return SecureFunction(
        indicators=shape["indicators"], cuts=shape["cuts"], output=SecureOutput(shape["output"]), rows=shape["rows"]
    )


def _numbers(values: bytes, *, rank: int) -> npt.NDArray[np.int64]:
    """Return the numbers of a party: the bank's have 8 bytes each, the bureau's one."""
    import numpy as np

    return np.frombuffer(values, dtype="<i8" if rank == 0 else np.uint8).astype(np.int64)


def _read_orders(source: int, orders: queue.Queue[bytes]) -> None:
    with open(source, "rb") as pipe:
        while len(head := pipe.read(HEAD.size)) == HEAD.size:
            orders.put(pipe.read(HEAD.unpack(head)[0]))
    os._exit(0)
