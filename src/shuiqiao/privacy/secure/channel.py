"""Frames between two workers over one TLS connection, each side known by a certificate made for this link alone.

Rule: docs/spec/secure.md [SECURE-6]. A frame is the lengths of its key and its data, the key, the data; frames of one
key come in order. Both sides end the link at the first thing that is not of this form.

    frame = 2 bytes length of key | 4 bytes length of data | key | data       lengths big-endian
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Generator
from contextlib import suppress
from typing import Final

from shuiqiao.base.errors import IntegrityError, Unavailable
from shuiqiao.base.files import memory_file

_HEAD: Final = struct.Struct(">HI")
_MAX_KEY_BYTES: Final = 256
_MAX_DATA_BYTES: Final = 64 * 2**20
"""Of one frame; the largest of a run of 8,192 rows has about 1 MB."""
_MAX_HELD_BYTES: Final = 256 * 2**20
"""Of frames that came and were not asked for yet."""
_READ_BYTES: Final = 256 * 2**10
_HANDSHAKE_S: Final = 2.0


class LinkCertificate:
    """A key and its certificate, made here, held in memory; the key leaves this process by no way."""

    def __init__(self) -> None:
        from datetime import UTC, datetime, timedelta

        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        # A name of its own, since certificates that are trusted together are looked up by name.
        serial = x509.random_serial_number()
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"secure link {serial:x}")])
        now = datetime.now(UTC)
        # A day to either side: the two clocks may differ, and what counts is that it is the very certificate.
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(serial)
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.der = made.public_bytes(serialization.Encoding.DER)
        self._pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ) + made.public_bytes(serialization.Encoding.PEM)

    def context(self, peers: Collection[bytes], *, is_server: bool) -> ssl.SSLContext:
        """Return a context that shows this certificate and takes those others whose DER is given."""
        import os

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if is_server else ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=b"".join(peers))
        with memory_file("shuiqiao-link") as (descriptor, path):
            os.write(descriptor, self._pem)
            context.load_cert_chain(path)
        return context


def listen(host: str, port: int, *, ports: int) -> socket.socket:
    """Return a socket that listens at the first free one of some ports; raises Unavailable ``secure_not_set_up``."""
    problem = OSError()
    for place in range(port, port + (ports if port else 1)):
        try:
            bare = host.strip("[]")
            family = socket.AF_INET6 if ":" in bare else socket.AF_INET
            return socket.create_server((bare, place), family=family, backlog=4)
        except OSError as error:
            problem = error
    raise Unavailable(
        "privacy.secure_not_set_up", f"nothing can listen at {host}, ports {port} to {port + ports - 1}: {problem}"
    )


def accept(
    listener: socket.socket, context: ssl.SSLContext, *, peers: Collection[bytes], timeout_s: float
) -> tuple[bytes, Frames]:
    """Return who came and the connection, of the first who shows one of some certificates; others are turned away.

    Raises Unavailable ``privacy.secure_peer_silent`` if it does not come within the time.
    LIMIT: who reaches the port in these seconds can hold up the opening, by connections that say nothing.
    """
    until = time.monotonic() + timeout_s
    while (left := until - time.monotonic()) > 0:
        listener.settimeout(left)
        try:
            connection, _ = listener.accept()
        except OSError:
            break
        with suppress(OSError, IntegrityError):
            return _shaken(connection, context, peers=peers, is_server=True, timeout_s=timeout_s)
    raise _silent(f"it did not connect within {timeout_s:g} s")


def connect(host: str, port: int, context: ssl.SSLContext, *, peer: bytes, timeout_s: float) -> Frames:
    """Return a connection to where ``peer`` listens; raises Unavailable ``privacy.secure_peer_silent``."""
    try:
        connection = socket.create_connection((host.strip("[]"), port), timeout=timeout_s)
        return _shaken(connection, context, peers=[peer], is_server=False, timeout_s=timeout_s)[1]
    except OSError as error:
        raise _silent(f"no link to {host}:{port}: {error}") from error


def _shaken(
    connection: socket.socket, context: ssl.SSLContext, *, peers: Collection[bytes], is_server: bool, timeout_s: float
) -> tuple[bytes, Frames]:
    """Return the other end's certificate and the frames, once both have shown what they were to show; else close it."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_side=is_server)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(_HANDSHAKE_S)
        while not _is_shaken(tls):
            connection.sendall(outgoing.read())
            received = connection.recv(_READ_BYTES)
            if not received:
                raise ConnectionError("it hung up in the handshake")
            incoming.write(received)
        connection.sendall(outgoing.read())
        # What one of these certificates signed would be trusted too, and one party could speak as another.
        shown = tls.getpeercert(binary_form=True)
        if shown is None or shown not in peers:
            raise IntegrityError("privacy.secure_failed", "another certificate than the one in the signed offer")  # noqa: TRY301
        connection.settimeout(None)
    except (OSError, IntegrityError):
        # What is left to send is the alert that says why.
        with suppress(OSError):
            connection.sendall(outgoing.read())
        connection.close()
        raise
    return shown, Frames(connection, tls, incoming, outgoing, timeout_s=timeout_s)


def _is_shaken(tls: ssl.SSLObject) -> bool:
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


class Frames:
    """Sends and receives frames; any thread may. One thread reads, so that the other side's end is known at once."""

    def __init__(
        self,
        connection: socket.socket,
        tls: ssl.SSLObject,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        *,
        timeout_s: float,
    ) -> None:
        """timeout_s: how long a frame is waited for."""
        self._connection, self._tls, self._incoming, self._outgoing = connection, tls, incoming, outgoing
        self._timeout_s = timeout_s
        # A thread that waits at the wire must not hold what the one that reads needs.
        self._sealing, self._wire = threading.Lock(), threading.Lock()
        self._arrived = threading.Condition()
        self._held: defaultdict[str, deque[bytes]] = defaultdict(deque)
        self._held_bytes = 0
        self._end = ""

    def begin(self, on_end: Callable[[], None]) -> None:
        """Start to read. on_end: called once, when the link has ended, whichever side ended it."""
        threading.Thread(target=self._read_all, args=(on_end,), daemon=True).start()

    def send(self, key: str, data: bytes) -> None:
        """Send one frame; raises Unavailable ``privacy.secure_peer_silent``."""
        name = key.encode()
        with self._wire:
            with self._sealing:
                self._tls.write(_HEAD.pack(len(name), len(data)) + name + data)
                sealed = self._outgoing.read()
            try:
                self._connection.sendall(sealed)
            except OSError as error:
                raise _silent(f"the link ended: {error}") from error

    def receive(self, key: str, *, wait_s: float = 0.0) -> bytes:
        """Return the next frame of a key; raises Unavailable ``privacy.secure_peer_silent``.

        wait_s: for how much longer than usual it is waited for.
        """
        longest_s = self._timeout_s + wait_s
        with self._arrived:
            self._arrived.wait_for(lambda: self._held.get(key) or self._end, timeout=longest_s)
            if not self._held.get(key):
                raise _silent(self._end or f"it sent nothing for {longest_s:g} s")
            data = self._held[key].popleft()
            if not self._held[key]:
                del self._held[key]
            self._held_bytes -= _cost_of(key, data)
            return data

    @property
    def is_ended(self) -> bool:
        """Whether the link has ended; what came before may still be received."""
        return bool(self._end)

    def close(self) -> None:
        """End the link."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def _read_all(self, on_end: Callable[[], None]) -> None:
        end = "the other side ended the link"
        try:
            for key, data in self._frames():
                self._hold(key, data)
        except (OSError, ValueError) as error:
            end = f"the link ended: {error}"
        with self._arrived:
            self._end = end
            self._arrived.notify_all()
        self.close()
        with self._wire:
            self._connection.close()
        on_end()

    def _hold(self, key: str, data: bytes) -> None:
        with self._arrived:
            self._held[key].append(data)
            self._held_bytes += _cost_of(key, data)
            if self._held_bytes > _MAX_HELD_BYTES:
                raise ValueError("more frames than are ever waiting")
            self._arrived.notify_all()

    def _frames(self) -> Generator[tuple[str, bytes]]:
        pending = bytearray()
        for part in self._parts():
            pending += part
            while len(pending) >= _HEAD.size:
                key_bytes, data_bytes = _HEAD.unpack_from(pending)
                if key_bytes > _MAX_KEY_BYTES or data_bytes > _MAX_DATA_BYTES:
                    raise ValueError(f"a frame of {data_bytes} bytes under a key of {key_bytes}")
                first, last = _HEAD.size + key_bytes, _HEAD.size + key_bytes + data_bytes
                if len(pending) < last:
                    break
                yield bytes(pending[_HEAD.size : first]).decode(), bytes(pending[first:last])
                del pending[:last]

    def _parts(self) -> Generator[bytes]:
        while True:
            # What came with the end of the handshake is there before anything is received.
            try:
                with self._sealing:
                    part = self._tls.read(_READ_BYTES)
            except ssl.SSLWantReadError:
                part = None
            if part == b"":
                return
            if part is not None:
                yield part
                continue
            received = self._connection.recv(_READ_BYTES)
            if not received:
                return
            with self._sealing:
                self._incoming.write(received)


def _cost_of(key: str, data: bytes) -> int:
    """Return what a frame is counted with, an empty one too: its place in a table is larger than its key."""
    return len(data) + _MAX_KEY_BYTES + len(key)


def _silent(problem: str) -> Unavailable:
    return Unavailable("privacy.secure_peer_silent", f"the other side of a secure link is not there: {problem}")
