"""Where the server of a member is reached: the one form of such an address, and which addresses are private.

::

    endpoint = scheme "://" host [":" port]              scheme: https, or http where the host is private
    host     = DNS name | IPv4 | "[" IPv6 "]"            lower case, in its one spelling

There is no user, no path, no question and no fragment in it, so nothing that a member writes is ever a part of what
another one asks for [MEMBER-28]. The pin is the SHA-256 of the SubjectPublicKeyInfo of the server's TLS certificate;
without one the certificate has to lead to an authority that the asking machine trusts.

Pure: a ledger rule rests on it, so what is private stands here as a list and is not asked of a library, whose answer
may change. Whether a private address is asked at all is for ``node/peers/directory``.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from shuiqiao.base.errors import InvalidInput

MAX_ENDPOINT_CHARACTERS: Final = 300
"""A DNS name has at most 253."""

PIN_BYTES: Final = 32
HTTPS: Final = "https"
DEFAULT_PORTS: Final = {"http": 80, HTTPS: 443}
MAX_PORT: Final = 65_535

_MAX_NAME: Final = 253
_FORM: Final = re.compile(r"(https?)://([a-z0-9.-]+|\[[0-9a-f:]+\])(?::([1-9][0-9]{0,4}))?")
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_PRIVATE_IPV4: Final = ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16")
_PRIVATE_IPV6: Final = ("::1/128", "fc00::/7", "fe80::/10")
_PRIVATE: Final = tuple(map(ipaddress.ip_network, (*_PRIVATE_IPV4, *_PRIVATE_IPV6)))
_PIN: Final = re.compile(rf"[0-9a-f]{{{2 * PIN_BYTES}}}")
_LOCAL_NAME: Final = "localhost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One server's address. host: without brackets. pin: 32 bytes, or none."""

    scheme: str
    host: str
    port: int
    pin: bytes

    @property
    def url(self) -> str:
        """The address as text, its port always there."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def decode_endpoint(url: str, *, pin: bytes = b"") -> Endpoint:
    """Return the endpoint that a text and a pin name; raises InvalidInput ``members.endpoint_invalid``.

    Example: ``decode_endpoint("https://node.example.com:8700").port`` is 8700.
    """
    found = _FORM.fullmatch(url) if len(url) <= MAX_ENDPOINT_CHARACTERS else None
    if found is None:
        raise _invalid(url, "it is not https://host:port, in lower case, without user, path, question or fragment")
    scheme, host, port = found[1], found[2], int(found[3] or DEFAULT_PORTS[found[1]])
    if port > MAX_PORT:
        raise _invalid(url, f"port {port} where {MAX_PORT} is the last")
    if not _is_host(host):
        raise _invalid(url, f"{host[:100]!r} is no DNS name and no address in its one spelling")
    if scheme != HTTPS and not is_private_host(host.strip("[]")):
        raise _invalid(url, "http is for loopback and private addresses: what others can reach is asked by https")
    if len(pin) not in {0, PIN_BYTES} or (pin and scheme != HTTPS):
        raise _invalid(url, f"a pin of {len(pin)} bytes where https has {PIN_BYTES} or none, and http none")
    return Endpoint(scheme=scheme, host=host.strip("[]"), port=port, pin=pin)


def endpoint_of_text(text: str) -> Endpoint:
    """Return the endpoint that a person wrote: the url, and behind a ``#`` the pin in hex where there is one.

    Raises InvalidInput ``members.endpoint_invalid``.
    """
    url, _, pin = text.partition("#")
    return decode_endpoint(url, pin=decode_pin(pin, url=url))


def decode_pin(text: str, *, url: str) -> bytes:
    """Return the pin in a text of lower-case hex, which may be empty; raises InvalidInput ``members.endpoint_invalid``.

    url: whose pin it is, for the message.
    """
    if text and not _PIN.fullmatch(text):
        raise _invalid(url, f"the pin {text[: 2 * PIN_BYTES]!r} is not {2 * PIN_BYTES} lower-case hex characters")
    return bytes.fromhex(text)


def is_private_host(host: str) -> bool:
    """Tell whether a host is the machine's own name, or written as an address of it or of a private network."""
    if host == _LOCAL_NAME:
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return any(address in network for network in _PRIVATE if network.version == address.version)


def _is_host(host: str) -> bool:
    if host.startswith("["):
        return _is_spelled(host[1:-1], ipaddress.IPv6Address)
    labels = host.split(".")
    if not labels[-1][:1].isalpha():
        # A name ends with a name: what ends with a number is taken for an address, in whichever spelling.
        return _is_spelled(host, ipaddress.IPv4Address)
    return len(host) <= _MAX_NAME and all(_LABEL.fullmatch(label) for label in labels)


def _is_spelled(text: str, kind: type[ipaddress.IPv4Address | ipaddress.IPv6Address]) -> bool:
    try:
        address = kind(text)
    except ValueError:
        return False
    # An IPv4 address in IPv6 is written in two ways, depending on who writes it.
    return str(address) == text and getattr(address, "ipv4_mapped", None) is None


def _invalid(url: str, reason: str) -> InvalidInput:
    return InvalidInput(
        "members.endpoint_invalid", f"{url[:MAX_ENDPOINT_CHARACTERS]!r} is no member's endpoint: {reason}"
    )
