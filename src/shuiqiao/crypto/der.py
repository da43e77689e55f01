"""Reads DER (X.690) from outside: what certificates, seals and their signatures are written in.

A value is split into its parts one level at a time; nothing is decoded that was not asked for. Only definite lengths in
their shortest form are read, and every part lies within the whole, so that no two readers see different parts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from shuiqiao.base.errors import InvalidInput
from shuiqiao.crypto.sm2 import COORDINATE_BYTES

INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
OBJECT_ID: Final = 0x06
UTF8_STRING: Final = 0x0C
PRINTABLE_STRING: Final = 0x13
IA5_STRING: Final = 0x16
UTC_TIME: Final = 0x17
GENERALIZED_TIME: Final = 0x18
SEQUENCE: Final = 0x30

MAX_PARTS: Final = 256
"""Parts of one value: a list of certificates is the longest that is asked for here."""

_MAX_LENGTH_BYTES: Final = 4
_LONG: Final = 0x80
_MANY_BYTE_TAG: Final = 0x1F
_MAX_INTEGER_BYTES: Final = 64
_CENTURY_TURN: Final = 50
_UTC_TIME: Final = re.compile(r"(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})Z", re.ASCII)
_GENERALIZED_TIME: Final = re.compile(r"(\d{4})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})(?:\.\d{1,6})?Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Part:
    """One value: its tag, its body, and the whole of its bytes, which are what is signed."""

    tag: int
    body: bytes
    whole: bytes

    def parts(self, *, tag: int = SEQUENCE) -> tuple[Part, ...]:
        """Return the values within a sequence, or within another constructed tag."""
        return split_parts(self._of(tag))

    def octets(self) -> bytes:
        """Return an octet string."""
        return self._of(OCTET_STRING)

    def bits(self) -> bytes:
        """Return a bit string of whole bytes."""
        body = self._of(BIT_STRING)
        if not body or body[0]:
            raise _malformed("a bit string is no whole number of bytes")
        return body[1:]

    def integer(self) -> int:
        """Return an integer of at most 512 bits."""
        body = self._of(INTEGER)
        if not 0 < len(body) <= _MAX_INTEGER_BYTES:
            raise _malformed(f"an integer has {len(body)} bytes")
        if len(body) > 1 and body[0] in {0, 0xFF} and (body[0] ^ body[1]) < _LONG:
            raise _malformed("an integer is not in its shortest form")
        return int.from_bytes(body, "big", signed=True)

    def text(self) -> str:
        """Return a UTF-8, printable or IA5 string."""
        if self.tag not in {UTF8_STRING, PRINTABLE_STRING, IA5_STRING}:
            raise _malformed(f"tag {self.tag:#x} stands where a text should")
        try:
            return self.body.decode("utf-8" if self.tag == UTF8_STRING else "ascii")
        except UnicodeDecodeError as error:
            raise _malformed("a text is not in its encoding") from error

    def object_id(self) -> str:
        """Return an object identifier as dotted numbers."""
        body = self._of(OBJECT_ID)
        if not 0 < len(body) <= _MAX_INTEGER_BYTES or body[-1] & _LONG:
            raise _malformed("an object identifier breaks off")
        arcs, number = [], 0
        for byte in body:
            number = number << 7 | byte & 0x7F
            if not byte & _LONG:
                arcs.append(number)
                number = 0
        first = min(arcs[0] // 40, 2)
        return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))

    def moment(self) -> datetime:
        """Return a UTCTime or GeneralizedTime in UTC, to the second."""
        if self.tag not in {UTC_TIME, GENERALIZED_TIME}:
            raise _malformed(f"tag {self.tag:#x} stands where a time should")
        return read_moment(self.body)

    def _of(self, tag: int) -> bytes:
        if self.tag != tag:
            raise _malformed(f"tag {self.tag:#x} stands where {tag:#x} should")
        return self.body


def decode_der(data: bytes) -> Part:
    """Return the one value that bytes are; raises InvalidInput ``crypto.der_malformed``.

    ::

        version, cert = decode_der(data).parts()
    """
    parts = split_parts(data)
    if len(parts) != 1:
        raise _malformed(f"{len(parts)} values stand where one should")
    return parts[0]


def split_parts(data: bytes) -> tuple[Part, ...]:
    """Return the values that stand in bytes one after another; raises as ``decode_der``."""
    found: list[Part] = []
    position = 0
    while position < len(data):
        if len(found) == MAX_PARTS:
            raise _malformed(f"there are more than {MAX_PARTS} values")
        start, end = _bounds(data, position)
        found.append(Part(data[position], data[start:end], data[position:end]))
        position = end
    return tuple(found)


def _bounds(data: bytes, position: int) -> tuple[int, int]:
    if data[position] & _MANY_BYTE_TAG == _MANY_BYTE_TAG:
        raise _malformed("a tag has several bytes")
    start = position + 2
    if start > len(data):
        raise _malformed("a value breaks off")
    length = data[position + 1]
    if length >= _LONG:
        count = length - _LONG
        digits = data[start : start + count]
        length = int.from_bytes(digits, "big")
        if not 0 < count <= _MAX_LENGTH_BYTES or len(digits) < count or not digits[0] or length < _LONG:
            raise _malformed("a length is not in its shortest form")
        start += count
    if start + length > len(data):
        raise _malformed("a value breaks off")
    return start, start + length


def read_moment(body: bytes) -> datetime:
    """Return a time of ASN.1 in UTC, to the second; raises as ``decode_der``."""
    text = body.decode("ascii", "replace")
    found = _GENERALIZED_TIME.fullmatch(text) or _UTC_TIME.fullmatch(text)
    if found is None:
        raise _malformed(f"{text[:40]!r} is no time")
    year, month, day, hour, minute, second = map(int, found.groups())
    if found.re is _UTC_TIME:
        year += 1900 if year >= _CENTURY_TURN else 2000
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        raise _malformed(f"{text!r} is no time") from error


def raw_signature(data: bytes) -> bytes:
    """Return r || s of an SM2 signature that is written as DER (GM/T 0009 section 7.3) or raw.

    The suite judges whether they are in range. Raises as ``decode_der``.
    """
    if len(data) == 2 * COORDINATE_BYTES:
        return data
    numbers = [part.integer() for part in decode_der(data).parts()]
    if len(numbers) != 2 or not all(0 <= number < 1 << 8 * COORDINATE_BYTES for number in numbers):  # noqa: PLR2004 - r and s
        raise _malformed("a signature is not two numbers of 256 bits")
    return b"".join(number.to_bytes(COORDINATE_BYTES, "big") for number in numbers)


def _malformed(fault: str) -> InvalidInput:
    return InvalidInput("crypto.der_malformed", f"the DER is malformed: {fault}")
