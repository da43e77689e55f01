"""Connections of the client: over TCP or a Unix socket, each read and write within one deadline of the whole exchange.

A time-out for each read lets a peer that sends a byte now and then hold its caller for ever; here the time that one
exchange has left bounds every step of it, name resolution aside. Over TLS the server's key is compared with a pin, over
a Unix socket the kernel is asked who listens, both before a byte of the request goes out. Proxies of the environment
and redirects have no part in it.
"""

from __future__ import annotations

import hashlib
import ipaddress
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import httpcore2
import httpx2

from shuiqiao.base.errors import Denied, IntegrityError, ShuiqiaoError
from shuiqiao.base.unix_socket import connect_to

PIN_BYTES: Final = 32
MAX_CONNECTIONS: Final = 32
"""Connections to one server; a thread that needs another one waits, within its deadline."""

IDLE_S: Final = 20.0
"""How long a connection waits for the next request, in seconds; less than a server keeps it."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
AddressRule = Callable[[Address], bool]
"""Tells whether an address may be connected to, after its name was resolved."""


class Connections(httpcore2.NetworkBackend):
    """Opens the connections to one server. pin: SHA-256 of its SubjectPublicKeyInfo, None where certificates decide."""

    def __init__(self, *, unix_socket: Path | None, pin: bytes | None, may_connect: AddressRule | None) -> None:
        self._unix_socket = unix_socket
        self._pin = pin
        self._may_connect = may_connect
        self._deadline = threading.local()

    @contextmanager
    def within(self, timeout_s: float) -> Generator[None]:
        """Give everything that this thread does inside so many seconds, the whole of it.

        Whatever refused a connection for a reason of its own is raised as it is: httpx2 would make a text of it.
        """
        self._deadline.ends, self._deadline.refusal = time.monotonic() + timeout_s, None
        try:
            yield
        except httpx2.HTTPError:
            if self._deadline.refusal is not None:
                raise self._deadline.refusal from None
            raise
        finally:
            self._deadline.ends = None

    def left_s(self) -> float:
        """Return the seconds that this thread has left; raises httpcore2.ReadTimeout where none are."""
        ends = getattr(self._deadline, "ends", None)
        left = 1.0 if ends is None else ends - time.monotonic()
        if left <= 0:
            raise httpcore2.ReadTimeout("the exchange took longer than it may")
        return left

    def refuse(self, error: ShuiqiaoError) -> httpcore2.ConnectError:
        """Return what httpx2 can carry of a refusal; ``within`` raises the refusal itself."""
        self._deadline.refusal = error
        return httpcore2.ConnectError(error.message)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the deadline of the whole exchange counts
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002
    ) -> httpcore2.NetworkStream:
        """Connect to the first address of a name that answers, or to the Unix socket instead."""
        try:
            link = self._connect_unix() if self._unix_socket is not None else self._connect_to_name(host, port)
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout(str(error)) from error
        except (OSError, UnicodeError) as error:
            raise httpcore2.ConnectError(str(error)) from error
        return Stream(link, connections=self)

    def _connect_unix(self) -> socket.socket:
        assert self._unix_socket is not None
        return connect_to(self._unix_socket, timeout_s=self.left_s())

    def _connect_to_name(self, host: str, port: int) -> socket.socket:
        failure: OSError = OSError(f"{host} has no address")
        for family, kind, protocol, _, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            self._require_allowed(str(place[0]), host=host)
            link = socket.socket(family, kind, protocol)
            try:
                link.settimeout(self.left_s())
                link.connect(place)
                link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as error:
                link.close()
                failure = error
            except BaseException:
                link.close()
                raise
            else:
                return link
        raise failure

    def _require_allowed(self, address: str, *, host: str) -> None:
        found = ipaddress.ip_address(address.partition("%")[0])
        found = getattr(found, "ipv4_mapped", None) or found
        if self._may_connect is not None and not self._may_connect(found):
            raise self.refuse(
                Denied("client.address_refused", f"{host} is at {found}, where this home connects to nobody")
            )

    def verify_key(self, certificate: bytes | None) -> None:
        """Return if a server's certificate holds the pinned key."""
        if self._pin is None:
            return
        found = key_pin(certificate) if certificate else b""
        if found != self._pin:
            raise self.refuse(
                IntegrityError(
                    "client.pin_differs",
                    f"the server's key has SHA-256 {found.hex() or 'nothing'}, pinned is {self._pin.hex()}",
                )
            )

    def sleep(self, seconds: float) -> None:
        """Wait between attempts."""
        time.sleep(min(seconds, self.left_s()))


class Stream(httpcore2.NetworkStream):
    """One connection."""

    def __init__(self, link: socket.socket, *, connections: Connections) -> None:
        self._link = link
        self._connections = connections

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - the deadline counts
        """Return what has arrived, empty at the end."""
        with _named_failures(httpcore2.ReadTimeout, httpcore2.ReadError):
            self._link.settimeout(self._connections.left_s())
            return self._link.recv(max_bytes)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - the deadline counts
        """Send all bytes."""
        with _named_failures(httpcore2.WriteTimeout, httpcore2.WriteError):
            view = memoryview(buffer)
            while view:
                self._link.settimeout(self._connections.left_s())
                view = view[self._link.send(view) :]

    def close(self) -> None:
        """Close the connection, also under a thread that waits for it: it would wait until its deadline."""
        with suppress(OSError):
            # Suppressed: the other side was first.
            self._link.shutdown(socket.SHUT_RDWR)
        self._link.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002 - the deadline counts
    ) -> httpcore2.NetworkStream:
        """Go over to TLS and compare the server's key with the pin; closes the connection where it differs."""
        try:
            with _named_failures(httpcore2.ConnectTimeout, httpcore2.ConnectError):
                self._link.settimeout(self._connections.left_s())
                safe = ssl_context.wrap_socket(self._link, server_hostname=server_hostname)
            self._link = safe
            self._connections.verify_key(safe.getpeercert(binary_form=True))
        except BaseException:
            self.close()
            raise
        return self

    def get_extra_info(self, info: str) -> Any:
        """Return what httpcore2 asks of a connection."""
        if info == "is_readable":
            return self._link.fileno() < 0 or _is_readable(self._link)
        if info == "ssl_object":
            return self._link if isinstance(self._link, ssl.SSLSocket) else None
        return self._link if info == "socket" else None


class Transport(httpx2.HTTPTransport):
    """httpx2's transport over these connections; where a pin is given, it stands in the place of certificates."""

    def __init__(self, connections: Connections, *, pin: bytes | None) -> None:
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if pin is not None:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        super().__init__(verify=context, trust_env=False)
        self._pool = httpcore2.ConnectionPool(
            ssl_context=context,
            max_connections=MAX_CONNECTIONS,
            max_keepalive_connections=MAX_CONNECTIONS,
            keepalive_expiry=IDLE_S,
            network_backend=connections,
        )


def key_pin(certificate: bytes) -> bytes:
    """Return the SHA-256 of the SubjectPublicKeyInfo of a certificate (DER), 32 bytes.

    So a renewed certificate over the same key keeps the pin. Raises IntegrityError ``client.certificate_malformed``.
    """
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    from cryptography.x509 import load_der_x509_certificate

    try:
        key = load_der_x509_certificate(certificate).public_key()
    except ValueError as error:
        raise IntegrityError("client.certificate_malformed", f"the certificate cannot be read: {error}") from error
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def _is_readable(link: socket.socket) -> bool:
    """Tell whether a connection has something to read or has ended; ``select`` knows no descriptor above 1,023."""
    poll = select.poll()
    poll.register(link, select.POLLIN)
    return bool(poll.poll(0))


@contextmanager
def _named_failures(timed_out: type[Exception], failed: type[Exception]) -> Generator[None]:
    try:
        yield
    except TimeoutError as error:
        raise timed_out(str(error)) from error
    except (OSError, ValueError) as error:
        raise failed(str(error)) from error
