"""The bytes on the ABCI socket: protobuf messages by tables, each behind its length as an unsigned varint.

Only what ABCI needs of protobuf: varints, length-delimited fields, nested messages, lists. A table names for each
field of a struct its public number and sort; one loop decodes by it and one encodes. Unknown fields are skipped, as
protobuf demands, so that a newer CometBFT may add some [ABCI-2]; a known field of another wire type, a length beyond
its message, a varint of more than 64 bits or text that is not UTF-8 refuses the message [ABCI-3]. What messages mean
is not known here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final, Generic, TypeVar

import msgspec

from shuiqiao.base.errors import InvalidInput

MAX_FRAME_BYTES: Final = 64 * 1024 * 1024
"""Longest message taken from a socket, in bytes: four times the largest block, for the votes and lists beside it."""

MAX_VARINT_BYTES: Final = 10
_CONTINUES: Final = 0x80
_SEVEN_BITS: Final = 0x7F
_LAST_SHIFT: Final = 63
_U64: Final = 1 << 64
_SIGN: Final = 1 << 63

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_FIXED_BYTES: Final = {_FIXED64: 8, _FIXED32: 4}


class Message(msgspec.Struct, frozen=True):
    """What all messages have in common: they are values."""


class Sort(IntEnum):
    """How a field's value is written."""

    UINT = 0
    INT = 1
    BOOL = 2
    BYTES = 3
    TEXT = 4
    MESSAGE = 5


M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message: its public number, and how its value is written."""

    number: int
    sort: Sort
    of: Table[Any] | None = None
    """The table of a nested message."""
    many: bool = False


def uint_field(number: int) -> Field:
    """Return an unsigned or enumerated field."""
    return Field(number, Sort.UINT)


def int_field(number: int) -> Field:
    """Return a signed field: two's complement of 64 bits."""
    return Field(number, Sort.INT)


def bool_field(number: int) -> Field:
    """Return a yes or no field."""
    return Field(number, Sort.BOOL)


def bytes_field(number: int) -> Field:
    """Return a field of raw bytes."""
    return Field(number, Sort.BYTES)


def text_field(number: int) -> Field:
    """Return a field of UTF-8 text."""
    return Field(number, Sort.TEXT)


def nested(number: int, of: Table[Any]) -> Field:
    """Return a field that is a message itself."""
    return Field(number, Sort.MESSAGE, of)


def many_nested(number: int, of: Table[Any]) -> Field:
    """Return a list of messages."""
    return Field(number, Sort.MESSAGE, of, many=True)


def many(number: int, sort: Sort) -> Field:
    """Return a list of plain values."""
    return Field(number, sort, many=True)


@dataclass(slots=True)
class Table(Generic[M]):
    """A message type: the struct it becomes, whose attributes stand in the order of the fields."""

    make: type[M]
    fields: Mapping[str, Field]
    _defaults: tuple[Any, ...] = field(init=False)
    _slots: dict[int, tuple[int, Sort, Any, bool]] = field(init=False)
    _numbers: frozenset[int] = field(init=False)
    _plan: tuple[tuple[str, Sort, bytes, Any, bool], ...] = field(init=False)

    def __post_init__(self) -> None:
        fields = list(self.fields.values())
        if tuple(self.fields) != self.make.__struct_fields__:
            raise ValueError(f"the table of {self.make} names {tuple(self.fields)}")
        self._defaults = tuple(_default(each) for each in fields)
        self._numbers = frozenset(each.number for each in fields)
        self._slots = {}
        for index, each in enumerate(fields):
            for wire in _wires(each):
                self._slots[each.number << 3 | wire] = (index, each.sort, each.of, each.many)
        self._plan = tuple(
            (name, each.sort, encode_uvarint(each.number << 3 | _tag_wire(each)), each.of, each.many)
            for name, each in self.fields.items()
        )

    def decode(self, data: bytes, at: int = 0, end: int | None = None) -> M:
        """Return the message in data[at:end]; raises InvalidInput ``ledger.abci_malformed``."""
        values: list[Any] = list(self._defaults)
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
            value, at = _read(data, at, stop, tag & 7, sort, of)
            if not many:
                values[index] = value
            else:
                _extend(values, index, value)
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
                if value:
                    _write_many(parts, value, tag, sort, of)
            elif value is not None and (value or sort is Sort.MESSAGE):
                _write(parts, value, tag, sort, of)
        return b"".join(parts)


def _default(each: Field) -> Any:
    if each.many:
        return ()
    return {
        Sort.UINT: 0,
        Sort.INT: 0,
        Sort.BOOL: False,
        Sort.BYTES: b"",
        Sort.TEXT: "",
        Sort.MESSAGE: None,
    }[each.sort]


def _wires(each: Field) -> tuple[int, ...]:
    """Return the wire types a field may come with: lists of numbers packed or one by one."""
    if each.sort in {Sort.BYTES, Sort.TEXT, Sort.MESSAGE}:
        return (_LENGTH,)
    return (_VARINT, _LENGTH) if each.many else (_VARINT,)


def _tag_wire(each: Field) -> int:
    return _LENGTH if each.many or each.sort in {Sort.BYTES, Sort.TEXT, Sort.MESSAGE} else _VARINT


def _extend(values: list[Any], index: int, value: Any) -> None:
    """Put one more element, or a packed list of them, into a list field."""
    if not values[index]:
        values[index] = []
    if type(value) is _Packed:
        values[index].extend(value)
    else:
        values[index].append(value)


class _Packed(list[int]):
    """The numbers of one packed field."""


def _read(data: bytes, at: int, end: int, wire: int, sort: Sort, of: Any) -> tuple[Any, int]:
    """Return a field's value and where it ends."""
    number, at = decode_uvarint(data, at, end)
    if wire == _VARINT:
        return _number(number, sort), at
    stop = at + number
    if stop > end:
        raise malformed(f"a field of {number} bytes goes beyond its message")
    if sort is Sort.BYTES:
        return data[at:stop], stop
    if sort is Sort.MESSAGE:
        return of.decode(data, at, stop), stop
    if sort is Sort.TEXT:
        return _text(data[at:stop]), stop
    return _unpack(data, at, stop, sort), stop


def _unpack(data: bytes, at: int, end: int, sort: Sort) -> _Packed:
    numbers = _Packed()
    while at < end:
        number, at = decode_uvarint(data, at, end)
        numbers.append(_number(number, sort))
    return numbers


def _number(number: int, sort: Sort) -> int:
    if sort is Sort.INT and number >= _SIGN:
        return number - _U64
    return bool(number) if sort is Sort.BOOL else number


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise malformed("a text is not UTF-8") from error


def _write(parts: list[bytes], value: Any, tag: bytes, sort: Sort, of: Any) -> None:
    if sort is Sort.UINT or sort is Sort.INT or sort is Sort.BOOL:
        parts += (tag, encode_uvarint(int(value) % _U64))
        return
    data: bytes = of.encode(value) if sort is Sort.MESSAGE else value.encode() if sort is Sort.TEXT else value
    parts += (tag, encode_uvarint(len(data)), data)


def _write_many(parts: list[bytes], values: Iterable[Any], tag: bytes, sort: Sort, of: Any) -> None:
    if sort in {Sort.BYTES, Sort.TEXT, Sort.MESSAGE}:
        for value in values:
            _write(parts, value, tag, sort, of)
        return
    packed = b"".join(encode_uvarint(int(value) % _U64) for value in values)
    parts += (tag, encode_uvarint(len(packed)), packed)


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


def frame(message: bytes) -> bytes:
    """Return a message behind its length, as it goes over the socket [ABCI-1]."""
    return encode_uvarint(len(message)) + message


def split_frames(data: bytes, *, max_bytes: int = MAX_FRAME_BYTES) -> tuple[list[tuple[int, int]], int, int]:
    """Find the complete frames at the start of received bytes.

    Returns start and end of each message, the offset after the last of them, and how many bytes from there on the next
    one takes (0 if its length is not known yet). Raises InvalidInput
    ``ledger.abci_frame_too_long`` as soon as a length says so [ABCI-4], or ``ledger.abci_malformed``.
    """
    found: list[tuple[int, int]] = []
    at, size = 0, len(data)
    while at < size:
        head = _frame_head(data, at, size)
        if head is None:
            break
        length, start = head
        if length > max_bytes:
            raise InvalidInput("ledger.abci_frame_too_long", f"a frame of {length} bytes where {max_bytes} are allowed")
        if start + length > size:
            return found, at, start + length - at
        at = start + length
        found.append((start, at))
    return found, at, 0


def _frame_head(data: bytes, at: int, size: int) -> tuple[int, int] | None:
    """Return a frame's length and where its message starts, None while the length itself is incomplete."""
    for last in range(at, min(size, at + MAX_VARINT_BYTES)):
        if data[last] < _CONTINUES:
            return decode_uvarint(data, at, last + 1)
    if size - at >= MAX_VARINT_BYTES:
        raise malformed(f"a length of more than {MAX_VARINT_BYTES} bytes")
    return None


def malformed(reason: str) -> InvalidInput:
    """Return the error for bytes that are no ABCI message."""
    return InvalidInput("ledger.abci_malformed", f"not an ABCI message: {reason}")
