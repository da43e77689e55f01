"""A certificate authority of SM2 keys from seeds: roots, certificates below them, revocation lists, as DER.

Every key follows from its name, so the same names make files that verify against each other. Nobody trusts it who does
not name its root.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from shuiqiao.crypto import der
from shuiqiao.crypto.certificates import SM2_WITH_SM3, Certificate, RevocationList
from shuiqiao.crypto.model import SigningKey
from shuiqiao.crypto.suites import get_suite

VALID_FROM: Final = datetime(2020, 1, 1, tzinfo=UTC)
VALID_TO: Final = datetime(2040, 1, 1, tzinfo=UTC)

_BOOLEAN_TRUE: Final = b"\x01\x01\xff"
_BASIC_CONSTRAINTS: Final = "2.5.29.19"
_KEY_USAGE: Final = "2.5.29.15"
_SIGNS: Final = b"\x00\xc0"
_ISSUES: Final = b"\x00\x06"
_EXPLICIT: Final = 0xA0


def value(tag: int, *bodies: bytes) -> bytes:
    """Return a DER value."""
    body = b"".join(bodies)
    if len(body) < 0x80:  # noqa: PLR2004 - X.690 8.1.3
        return bytes([tag, len(body)]) + body
    digits = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(digits)]) + digits + body


def sequence(*parts: bytes) -> bytes:
    """Return a DER sequence."""
    return value(der.SEQUENCE, *parts)


def explicit(number: int, body: bytes) -> bytes:
    """Return a value under a tag of its own."""
    return value(_EXPLICIT | number, body)


def integer(number: int) -> bytes:
    """Return a DER integer that is not negative."""
    return value(der.INTEGER, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def bits(data: bytes) -> bytes:
    """Return a DER bit string of whole bytes."""
    return value(der.BIT_STRING, b"\0", data)


def object_id(dotted: str) -> bytes:
    """Return a DER object identifier."""
    first, second, *others = map(int, dotted.split("."))
    body = b""
    for arc in (40 * first + second, *others):
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(arc & 0x7F | 0x80)
        body += bytes(reversed(groups))
    return value(der.OBJECT_ID, body)


def moment(time: datetime) -> bytes:
    """Return a DER GeneralizedTime."""
    return value(der.GENERALIZED_TIME, f"{time.astimezone(UTC):%Y%m%d%H%M%SZ}".encode())


def utc_time(time: datetime) -> bytes:
    """Return a DER UTCTime, which certificates have up to 2049."""
    return value(der.UTC_TIME, f"{time.astimezone(UTC):%y%m%d%H%M%SZ}".encode())


@dataclass(frozen=True)
class Holder:
    """Who has a key and its certificate. issuer: None of a root."""

    name: str
    issuer: Holder | None = None
    is_issuer: bool = False
    valid_from: datetime = VALID_FROM
    valid_to: datetime = VALID_TO

    @cached_property
    def key(self) -> SigningKey:
        """The key that follows from the name."""
        return get_suite("gm").signing_key_from_seed(hashlib.sha256(self.name.encode()).digest())

    @cached_property
    def serial(self) -> int:
        """The number of its certificate."""
        return int.from_bytes(hashlib.sha256(self.name.encode()).digest()[:8], "big") >> 1

    @property
    def subject(self) -> bytes:
        """The name as DER."""
        named = x509.Name(
            [x509.NameAttribute(NameOID.COUNTRY_NAME, "CN"), x509.NameAttribute(NameOID.COMMON_NAME, self.name)]
        )
        return named.public_bytes()

    @cached_property
    def certificate(self) -> Certificate:
        """The certificate, signed by its issuer or by itself."""
        by = self.issuer or self
        constraints = sequence(_BOOLEAN_TRUE) if self.is_issuer else sequence()
        usage = value(der.BIT_STRING, _ISSUES if self.is_issuer else _SIGNS)
        body = sequence(
            explicit(0, integer(2)),
            integer(self.serial),
            sequence(object_id(SM2_WITH_SM3)),
            by.subject,
            sequence(utc_time(self.valid_from), utc_time(self.valid_to)),
            self.subject,
            sequence(
                sequence(object_id("1.2.840.10045.2.1"), object_id("1.2.156.10197.1.301")), bits(self.key.public_key)
            ),
            explicit(3, sequence(_extension(_BASIC_CONSTRAINTS, constraints), _extension(_KEY_USAGE, usage))),
        )
        return Certificate(by.signed(body))

    def sign(self, message: bytes) -> bytes:
        """Return a signature as DER."""
        raw = self.key.sign(message)
        return sequence(integer(int.from_bytes(raw[:32], "big")), integer(int.from_bytes(raw[32:], "big")))

    def signed(self, body: bytes) -> bytes:
        """Return a document of X.509: what was signed, the algorithm, the signature."""
        return sequence(body, sequence(object_id(SM2_WITH_SM3)), bits(self.sign(body)))

    def revoke(self, holders: Sequence[Holder], *, at: datetime) -> RevocationList:
        """Return the list that says that holders' certificates were revoked at a time."""
        entries = [sequence(integer(each.serial), utc_time(at)) for each in holders]
        body = sequence(
            integer(1),
            sequence(object_id(SM2_WITH_SM3)),
            self.subject,
            utc_time(VALID_FROM),
            utc_time(VALID_TO),
            *([sequence(*entries)] if entries else []),
        )
        return RevocationList(self.signed(body))


def _extension(identifier: str, body: bytes) -> bytes:
    return sequence(object_id(identifier), _BOOLEAN_TRUE, value(der.OCTET_STRING, body))


ROOT: Final = Holder("Test root 测试根证书", is_issuer=True)
OFFICE: Final = Holder("Test tax certificates 测试税务证书中心", issuer=ROOT, is_issuer=True)
BUREAU: Final = Holder("Test tax bureau 测试税务局", issuer=OFFICE)
