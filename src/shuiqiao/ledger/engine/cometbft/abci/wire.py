"""The bytes on the ABCI socket: protobuf messages by their annotated fields, each behind its length as a varint.

Only what ABCI needs of protobuf: varints, length-delimited fields, nested messages, lists. A field's annotation names
its public number; one loop decodes by it and one encodes. Unknown fields are skipped, as protobuf demands, so that a
newer CometBFT may add some [ABCI-2]; a known field of another wire type, a length beyond its message, a varint of more
than 64 bits or text that is not UTF-8 refuses the message [ABCI-3]. What messages mean stands in ``messages``; why this
is not Google's library, in docs/adr/0031-own-abci-codec.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from functools import cache
from typing import Any, Final, Generic, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from shuiqiao.base.errors import InvalidInput

MAX_FRAME_BYTES: Final = 64 * 1024 * 1024
"""Longest message taken from a socket, in bytes: four times the largest block, for the votes and lists beside it."""

MAX_VARINT_BYTES: Final = 10
UNSIGNED: Final = "unsigned"
"""Annotates an integer that is not two's complement of 64 bits."""

_CONTINUES: Final = 0x80
_SEVEN_BITS: Final = 0x7F
_LAST_SHIFT: Final = 63
_U64: Final = 1 << 64
_SIGN: Final = 1 << 63

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_FIXED_BYTES: Final = {_FIXED64: 8, _FIXED32: 4}


class Message(msgspec.Struct, frozen=True):
    """A value whose fields are annotated with their public numbers: ``tx: Annotated[bytes, 1] = b""``.

    Types are bytes, str, int (signed unless UNSIGNED stands behind the number), a message or None, and sequences
    of bytes, texts and messages; a sequence of int is a packed list of unsigned ones.
    """


class Sort(IntEnum):
    """How a field's value is written: the first two as a varint, the others behind their length."""

    UINT = 0
    INT = 1
    BYTES = 2
    TEXT = 3
    MESSAGE = 4
    PACKED = 5


class Field(NamedTuple):
    """A field of a message. of: the table of a nested message."""

    name: str
    number: int
    sort: Sort
    of: Table[Any] | None
    many: bool

    @property
    def tag(self) -> int:
        """Number and wire type, as they stand before each value."""
        return self.number << 3 | (_VARINT if self.sort <= Sort.INT else _LENGTH)


_SORTS: Final = {bytes: Sort.BYTES, str: Sort.TEXT, int: Sort.INT}

M = TypeVar("M", bound=Message)


class Table(Generic[M]):
    """How one type of message is read and written."""

    def __init__(self, make: type[M]) -> None:
        hints = get_type_hints(make, include_extras=True)
        self.fields = [_field_of(name, hints[name]) for name in make.__struct_fields__]
        self.make = make
        self._numbers = frozenset(each.number for each in self.fields)
        self._slots = {each.tag: (at, each.sort, each.of, each.many) for at, each in enumerate(self.fields)}
        self._plan = [
            (each.name, each.sort, encode_uvarint(each.tag), each.of, each.many)
            for each in sorted(self.fields, key=lambda each: each.number)
        ]

    def decode(self, data: bytes, at: int = 0, end: int | None = None) -> M:
        """Return the message in data[at:end]; raises InvalidInput ``ledger.abci_malformed``."""
        values: list[Any] = list(self.make.__struct_defaults__)
        stop = len(data) if end is None else end
        while at < stop:
            tag = data[at]
            if tag < _CONTINUES:
                at += 1
            else:
                tag, at = decode_uvarint(data, at, stop)
            slot = self._slots.get(tag)
            if slot is None:
                at = self._skip(data, tag, at, stop)
                continue
            index, sort, of, many = slot
            number, at = decode_uvarint(data, at, stop)
            if tag & 7 == _VARINT:
                value: Any = number - _U64 if sort is Sort.INT and number >= _SIGN else number
            else:
                start, at = at, at + number
                if at > stop:
                    raise malformed(f"a field of {number} bytes goes beyond its message")
                value = data[start:at] if sort is Sort.BYTES else _read(data, start, at, sort, of)
            if not many:
                values[index] = value
            elif values[index]:
                values[index].append(value)
            else:
                values[index] = [value]
        return self.make(*values)

    def _skip(self, data: bytes, tag: int, at: int, end: int) -> int:
        """Pass over a field this table does not know [ABCI-2]."""
        number, wire = tag >> 3, tag & 7
        if number in self._numbers or number == 0:
            raise malformed(f"field {number} comes with wire type {wire}")
        if wire == _VARINT:
            return decode_uvarint(data, at, end)[1]
        if wire == _LENGTH:
            length, at = decode_uvarint(data, at, end)
            at += length
        elif wire in _FIXED_BYTES:
            at += _FIXED_BYTES[wire]
        else:
            raise malformed(f"field {number} has wire type {wire}")
        if at > end:
            raise malformed(f"field {number} goes beyond its message")
        return at

    def encode(self, message: M) -> bytes:
        """Return a message's bytes; fields of their default value are left out, as in proto3."""
        parts: list[bytes] = []
        for name, sort, tag, of, many in self._plan:
            value: Any = getattr(message, name)
            if many:
                for each in value:
                    data = _written(each, sort, of)
                    parts += (tag, encode_uvarint(len(data)), data)
            elif value or (sort is Sort.MESSAGE and value is not None):
                if sort <= Sort.INT:
                    parts += (tag, encode_uvarint(value % _U64))
                else:
                    data = _written(value, sort, of)
                    parts += (tag, encode_uvarint(len(data)), data)
        return b"".join(parts)


_table_of: Final = cache(Table[Any])


def _field_of(name: str, hint: Any) -> Field:
    kind, number, *signs = get_args(hint)
    many = get_origin(kind) is Sequence
    one = next(iter(get_args(kind)), kind)
    if UNSIGNED in signs:
        return Field(name, number, Sort.UINT, None, many=False)
    if many and one is int:
        return Field(name, number, Sort.PACKED, None, many=False)
    sort = _SORTS.get(one, Sort.MESSAGE)
    return Field(name, number, sort, _table_of(one) if sort is Sort.MESSAGE else None, many)


def _read(data: bytes, at: int, end: int, sort: Sort, of: Any) -> Any:
    """Return the value of a field that lies in data[at:end]."""
    if sort is Sort.MESSAGE:
        return of.decode(data, at, end)
    if sort is Sort.TEXT:
        try:
            return data[at:end].decode()
        except UnicodeDecodeError as error:
            raise malformed("a text is not UTF-8") from error
    numbers: list[int] = []
    while at < end:
        number, at = decode_uvarint(data, at, end)
        numbers.append(number)
    return numbers


def _written(value: Any, sort: Sort, of: Any) -> bytes:
    """Return what stands behind the length of a field."""
    if sort is Sort.BYTES:
        return value  # type: ignore[no-any-return]
    if sort is Sort.MESSAGE:
        return of.encode(value)  # type: ignore[no-any-return]
    if sort is Sort.TEXT:
        return value.encode()  # type: ignore[no-any-return]
    return b"".join(map(encode_uvarint, value))


def encode_uvarint(number: int) -> bytes:
    """Return an unsigned number below 2^64 as a varint."""
    if number < _CONTINUES:
        return _ONE_BYTE[number]
    out = bytearray()
    while number >= _CONTINUES:
        out.append(number & _SEVEN_BITS | _CONTINUES)
        number >>= 7
    out.append(number)
    return bytes(out)


_ONE_BYTE: Final = tuple(bytes((value,)) for value in range(_CONTINUES))


def decode_uvarint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return the varint at an offset and where it ends; raises InvalidInput ``ledger.abci_malformed``."""
    number = shift = 0
    while at < end:
        byte = data[at]
        at += 1
        number |= (byte & _SEVEN_BITS) << shift
        if byte < _CONTINUES:
            if number >= _U64:
                break
            return number, at
        shift += 7
        if shift > _LAST_SHIFT:
            break
    raise malformed("a varint does not end or has more than 64 bits")


class Calls:
    """The calls of one direction: exactly one stands in each message of the socket, under its number [ABCI-1]."""

    def __init__(self, makes: Mapping[int, type[Message]]) -> None:
        self.tables: Final = {number: _table_of(make) for number, make in makes.items()}
        self._numbers = {make: number for number, make in makes.items()}

    def decode(self, data: bytes, at: int = 0, end: int | None = None) -> Message:
        """Return the call in data[at:end], which is one message without its length.

        Raises InvalidInput ``ledger.abci_malformed``, or ``ledger.abci_call_unknown`` for a call that we do not speak.
        """
        stop = len(data) if end is None else end
        tag, start = decode_uvarint(data, at, stop)
        if tag & 7 != _LENGTH:
            raise malformed(f"the call's field has wire type {tag & 7}")
        length, start = decode_uvarint(data, start, stop)
        if start + length != stop:
            raise malformed(f"a call of {length} bytes in a message that leaves {stop - start} for it")
        table = self.tables.get(tag >> 3)
        if table is None:
            raise InvalidInput(
                "ledger.abci_call_unknown", f"call number {tag >> 3} is in no version of ABCI 2.0 we speak"
            )
        found: Message = table.decode(data, start, stop)
        return found

    def encode(self, call: Message) -> bytes:
        """Return a call as it goes over the socket, behind its length."""
        number = self._numbers[type(call)]
        body = self.tables[number].encode(call)
        inner = encode_uvarint(number << 3 | _LENGTH) + encode_uvarint(len(body))
        return encode_uvarint(len(inner) + len(body)) + inner + body


def split_frames(data: bytes, *, max_bytes: int = MAX_FRAME_BYTES) -> tuple[list[tuple[int, int]], int, int]:
    """Find the complete frames at the start of received bytes.

    Returns start and end of each message, the offset after the last of them, and how many bytes from there on the next
    one takes (0 if its length is not known yet). Raises InvalidInput
    ``ledger.abci_frame_too_long`` as soon as a length says so [ABCI-4], or ``ledger.abci_malformed``.
    """
    found: list[tuple[int, int]] = []
    at, size = 0, len(data)
    while at < size:
        try:
            length, start = decode_uvarint(data, at, min(size, at + MAX_VARINT_BYTES))
        except InvalidInput:
            if size - at >= MAX_VARINT_BYTES:
                raise
            break
        if length > max_bytes:
            raise InvalidInput("ledger.abci_frame_too_long", f"a frame of {length} bytes where {max_bytes} are allowed")
        if start + length > size:
            return found, at, start + length - at
        at = start + length
        found.append((start, at))
    return found, at, 0


def malformed(reason: str) -> InvalidInput:
    """Return the error for bytes that are no ABCI message."""
    return InvalidInput("ledger.abci_malformed", f"not an ABCI message: {reason}")
