"""The block entry: the leaf that closes a block, and the rule of block time.

::

    entry (version 3) = {count, epoch, height, time_ms, version, state_root}      deterministic CBOR

The state root is the root of the state map after the block [LEDGER-BLOCK-5]; the epoch is the number of the one whose
signatures the checkpoint that ends with this entry needs, so nobody can leave one out [LEDGER-BLOCK-6]. No leaf can be
taken for the other sort [LEDGER-BLOCK-2]: a transaction begins with D8 62 (CBOR tag 98), an entry with A6 (a map of
six), and neither form has another encoding.
"""

from __future__ import annotations

from typing import Annotated

import cbor2
import msgspec
from msgspec import Meta

from shuiqiao.base.encoding import decode_cbor_strict, typed
from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.ledger.log.tree import HASH_BYTES, MAX_TREE_SIZE

ENTRY_VERSION = 3
MAX_ENTRY_BYTES = 256
"""Far above the 100 bytes of an entry, far below a transaction."""

_MAP_OF_SIX = 0xA6


_Number = Annotated[int, Meta(ge=0, le=MAX_TREE_SIZE)]
_Ordinal = Annotated[int, Meta(ge=1, le=MAX_TREE_SIZE)]


class BlockEntry(msgspec.Struct, frozen=True, kw_only=True, gc=False, forbid_unknown_fields=True):
    """What a block says of itself."""

    height: _Ordinal
    """1 is the first."""
    time_ms: _Number
    count: _Ordinal
    """Number of transactions, the leaves right before this one."""
    epoch: _Number
    """Number of the epoch in force before the block."""
    state_root: Annotated[bytes, Meta(min_length=HASH_BYTES, max_length=HASH_BYTES)]
    """Root of the state map after the block, 32 bytes."""


def encode_entry(entry: BlockEntry) -> bytes:
    """Return the leaf bytes of a block entry [LEDGER-BLOCK-1]."""
    # Shorter names stand first, which is the deterministic order: the encoder need not sort them.
    return cbor2.dumps(
        {
            "count": entry.count,
            "epoch": entry.epoch,
            "height": entry.height,
            "time_ms": entry.time_ms,
            "version": ENTRY_VERSION,
            "state_root": entry.state_root,
        }
    )


def decode_entry(data: bytes) -> BlockEntry:
    """Return the entry in leaf bytes; raises IntegrityError ``ledger.entry_malformed``."""
    try:
        fields = decode_cbor_strict(data, max_bytes=MAX_ENTRY_BYTES)
        version = fields.pop("version", None) if type(fields) is dict else None
        if type(version) is not int or version != ENTRY_VERSION:
            raise _malformed(f"it has not the fields of version {ENTRY_VERSION}")
        return typed(fields, BlockEntry, builtin_types=(bytes,))
    except (InvalidInput, msgspec.ValidationError) as error:
        raise _malformed(str(error)) from error


def _malformed(reason: str) -> IntegrityError:
    return IntegrityError("ledger.entry_malformed", f"not a block entry: {reason}")


def is_entry(leaf: bytes) -> bool:
    """Return whether leaf bytes are a block entry rather than a transaction [LEDGER-BLOCK-2]."""
    return leaf[:1] == bytes((_MAP_OF_SIX,))


def next_block_time(*, clock_ms: int, previous_ms: int) -> int:
    """Return the time of the next block: the clock, but always after the previous block [LEDGER-BLOCK-3]."""
    return max(clock_ms, previous_ms + 1)
