"""By which addresses a server is reached, as an enterprise's program spells them [API-24].

An enterprise signs the address that it went to, and the server takes no log-in that was signed for another one. It
knows itself by what its operator configured, never by what a request says (``Host``, ``Forwarded``)::

    public_urls     as node.toml names them: a reverse proxy, a forwarded port
    certificate     the DNS names and addresses of its subjectAltName (RFC 5280, 4.2.1.6), with the port listened at
    listening       the address bound; of 127.0.0.1 and ::1 also localhost, of 0.0.0.0 and :: those of loopback

A name with a wildcard is not among them: another server may have a certificate of the same. Pure, no I/O.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Any

from shuiqiao.base.errors import InvalidInput
from shuiqiao.members.endpoint import decode_endpoint

_IPV4 = "127.0.0.1"
_IPV6 = "::1"
_LOCAL = "localhost"


def own_origins(place: Sequence[Any], *, names: Iterable[str], is_secure: bool) -> list[str]:
    """Return the origins of a server that listens, each once.

    place: host and port, as ``getsockname`` tells them. names: of its certificate, as ``names_of_certificate`` returns
    them. is_secure: whether it speaks TLS.

    Example: ``own_origins(("127.0.0.1", 8600), names=(), is_secure=False)`` is ``["http://127.0.0.1:8600",
    "http://localhost:8600"]``.
    """
    scheme, (host, port) = "https" if is_secure else "http", place
    found = (_origin(scheme, each, port) for each in (*names, *_spellings(str(host).partition("%")[0])))
    return list(dict.fromkeys(each for each in found if each is not None))


def read_public_urls(urls: Iterable[str]) -> list[str]:
    """Return the origins that node.toml names, in the spelling of a client; InvalidInput ``members.endpoint_invalid``.

    Example: ``read_public_urls(["https://bank.example"])`` is ``["https://bank.example:443"]``.
    """
    try:
        return [decode_endpoint(url).url for url in urls]
    except InvalidInput as error:
        raise error.within("public_urls in node.toml") from error


def names_of_certificate(pem: bytes) -> list[str]:
    """Return the DNS names and IP addresses in the subjectAltName of the first certificate of a chain (PEM).

    None of one that cannot be read: the server then knows itself by what else it was told.
    """
    from cryptography import x509

    unread = (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError)
    try:
        certificate = x509.load_pem_x509_certificates(pem)[0]
        known = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except unread:
        return []
    addresses = [str(address) for address in known.get_values_for_type(x509.IPAddress)]
    return [*(name.lower() for name in known.get_values_for_type(x509.DNSName)), *addresses]


def _spellings(host: str) -> tuple[str, ...]:
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        return (_LOCAL, _IPV4) if address.version == 4 else (_LOCAL, _IPV4, _IPV6)  # noqa: PLR2004
    return (host, _LOCAL) if host in {_IPV4, _IPV6} else (host,)


def _origin(scheme: str, host: str, port: int) -> str | None:
    """Return an origin, None for what no client reaches by it: a wildcard, a name in no form of a URL."""
    shown = f"[{host}]" if ":" in host else host
    try:
        return decode_endpoint(f"{scheme}://{shown}:{port}").url
    except InvalidInput:
        return None
