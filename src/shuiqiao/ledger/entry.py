"""The block entry: the leaf that closes a block, and the rule of block time.

::

    entry (version 1) = {count, height, time_ms, version}      deterministic CBOR

No leaf can be taken for the other sort [LEDGER-BLOCK-2]: a transaction begins with D8 62 (CBOR tag 98), an entry with
A4 (a map of four), and neither form has another encoding. Version 2 adds the state root and so begins with A5.
"""

from __future__ import annotations

from dataclasses import dataclass

from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor
from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.ledger.log import MAX_TREE_SIZE

ENTRY_VERSION = 1
MAX_ENTRY_BYTES = 256
"""Far above the 55 bytes of a version 1 entry, far below a transaction."""

_FIELDS = {"version", "height", "time_ms", "count"}
_MAP_OF_FOUR = 0xA4


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockEntry:
    """What a block says of itself."""

    height: int
    """1 is the first."""
    time_ms: int
    count: int
    """Number of transactions, the leaves right before this one."""


def encode_entry(entry: BlockEntry) -> bytes:
    """Return the leaf bytes of a block entry [LEDGER-BLOCK-1]."""
    return encode_cbor(
        {"version": ENTRY_VERSION, "height": entry.height, "time_ms": entry.time_ms, "count": entry.count}
    )


def decode_entry(data: bytes) -> BlockEntry:
    """Return the entry in leaf bytes; raises IntegrityError ``ledger.entry_malformed``."""
    try:
        fields = decode_cbor_strict(data, max_bytes=MAX_ENTRY_BYTES)
    except InvalidInput as error:
        raise IntegrityError("ledger.entry_malformed", f"not a block entry: {error.message}") from error
    is_entry = (
        type(fields) is dict
        and set(fields) == _FIELDS
        and all(type(value) is int for value in fields.values())
        and fields["version"] == ENTRY_VERSION
        and 1 <= fields["count"] <= MAX_TREE_SIZE
        and 1 <= fields["height"] <= MAX_TREE_SIZE
        and 0 <= fields["time_ms"] <= MAX_TREE_SIZE
    )
    if not is_entry:
        raise IntegrityError("ledger.entry_malformed", f"not a block entry of version {ENTRY_VERSION}")
    return BlockEntry(height=fields["height"], time_ms=fields["time_ms"], count=fields["count"])


def is_entry(leaf: bytes) -> bool:
    """Return whether leaf bytes are a block entry rather than a transaction [LEDGER-BLOCK-2]."""
    return leaf[:1] == bytes((_MAP_OF_FOUR,))


def next_block_time(*, clock_ms: int, previous_ms: int) -> int:
    """Return the time of the next block: the clock, but always after the previous block [LEDGER-BLOCK-3]."""
    return max(clock_ms, previous_ms + 1)
