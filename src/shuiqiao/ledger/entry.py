"""The block entry: the leaf that closes a block, and the rule of block time.

::

    entry (version 1) = {count, height, time_ms, version}      deterministic CBOR

No leaf can be taken for the other sort [LEDGER-BLOCK-2]: a transaction begins with D8 62 (CBOR tag 98), an entry with
A4 (a map of four), and neither form has another encoding. Version 2 adds the state root and so begins with A5.
"""

from __future__ import annotations

import msgspec

from shuiqiao.base.errors import IntegrityError
from shuiqiao.ledger.log import MAX_TREE_SIZE

ENTRY_VERSION = 1
MAX_ENTRY_BYTES = 256
"""Far above the 55 bytes of a version 1 entry, far below a transaction."""

_NAMES = (b"\xa4\x65count", b"\x66height", b"\x67time_ms")
_LAST = b"\x67version" + bytes((ENTRY_VERSION,))
"""The four names in deterministic order, each behind its CBOR head. One form means it can be written down."""

_MAP_OF_FOUR = 0xA4
_NUMBER_BYTES = {0x18: 1, 0x19: 2, 0x1A: 4, 0x1B: 8}
_LARGEST_BARE = 0x17


class BlockEntry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a block says of itself."""

    height: int
    """1 is the first."""
    time_ms: int
    count: int
    """Number of transactions, the leaves right before this one."""


def encode_entry(entry: BlockEntry) -> bytes:
    """Return the leaf bytes of a block entry [LEDGER-BLOCK-1]."""
    numbers = (entry.count, entry.height, entry.time_ms)
    return b"".join([name + _encode_number(number) for name, number in zip(_NAMES, numbers, strict=True)]) + _LAST


def decode_entry(data: bytes) -> BlockEntry:
    """Return the entry in leaf bytes; raises IntegrityError ``ledger.entry_malformed``."""
    if len(data) > MAX_ENTRY_BYTES:
        raise _malformed(f"it has {len(data)} bytes where at most {MAX_ENTRY_BYTES} are allowed")
    count, height, time_ms = _decode_numbers(data)
    if not (1 <= count <= MAX_TREE_SIZE and 1 <= height <= MAX_TREE_SIZE and time_ms <= MAX_TREE_SIZE):
        raise _malformed(f"count {count}, height {height} or time {time_ms} is out of range")
    entry = BlockEntry(height=height, time_ms=time_ms, count=count)
    # Longer forms of a number and what stands behind the version end here.
    if encode_entry(entry) != data:
        raise _malformed(f"it is not the deterministic CBOR of version {ENTRY_VERSION}")
    return entry


def _decode_numbers(data: bytes) -> list[int]:
    numbers: list[int] = []
    at = 0
    for name in _NAMES:
        first = at + len(name)
        if not data.startswith(name, at) or first >= len(data):
            raise _malformed(f"{name[-6:]!r} is not where version {ENTRY_VERSION} has it")
        head = data[first]
        at = first + 1 + _NUMBER_BYTES.get(head, 0)
        numbers.append(head if head <= _LARGEST_BARE else int.from_bytes(data[first + 1 : at], "big"))
    return numbers


def _encode_number(number: int) -> bytes:
    """Return the shortest CBOR form of a number from 0 to 2^64 - 1."""
    if number <= _LARGEST_BARE:
        return bytes((number,))
    for head, width in _NUMBER_BYTES.items():
        if number < 1 << 8 * width:
            return bytes((head,)) + number.to_bytes(width, "big")
    raise ValueError(f"{number} has no place in a block entry")


def _malformed(reason: str) -> IntegrityError:
    return IntegrityError("ledger.entry_malformed", f"not a block entry: {reason}")


def is_entry(leaf: bytes) -> bool:
    """Return whether leaf bytes are a block entry rather than a transaction [LEDGER-BLOCK-2]."""
    return leaf[:1] == bytes((_MAP_OF_FOUR,))


def next_block_time(*, clock_ms: int, previous_ms: int) -> int:
    """Return the time of the next block: the clock, but always after the previous block [LEDGER-BLOCK-3]."""
    return max(clock_ms, previous_ms + 1)
