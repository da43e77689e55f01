"""Packs several signed transactions as one of CometBFT's own, a bundle, so that its cost is shared [ABCI-24].

CometBFT carries every transaction of its own over the ABCI socket one by one on each validator, which costs more than
checking a signature. It encrypts, hashes, copies and stores every byte several times on each, so bundles are packed:
transactions beside each other have kinds, members and names of fields in common, and take two fifths of their bytes. To
the ledger a bundle is nothing: its transactions are checked, executed and refused one by one, and the log holds them
alone. What is no bundle is taken for a transaction, and refused as none.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor
from shuiqiao.base.errors import InvalidInput

MAX_BUNDLED: Final = 128
"""Transactions in a bundle: some ten milliseconds of signature checking, so that a block is not kept waiting."""

MAX_BUNDLE_BYTES: Final = 65_000
"""Bytes of a bundle before it is packed; at worst packing adds a hundred, and CometBFT's mempool takes 65,536."""

_ZLIB_HEAD: Final = 0x78
"""First byte of a zlib stream (RFC 1950) with the usual window. No transaction and no epoch note begins with it."""

_LEVEL: Final = 1
"""Most of what can be saved is saved by the quickest."""

GATHER_S: Final = 0.2
"""Longest that transactions gather for a bundle, in seconds."""

_GATHER_EACH_S: Final = 0.02
"""A submitter of less than fifty a second hardly waits; of more, one request to CometBFT carries many."""

_OUT_OF_MEMORY: Final = "Error -4 "
"""How zlib's Z_MEM_ERROR begins in Python."""

_KEPT: Final = 256
"""Bundles kept unpacked from CheckTx to the block: some 16 MiB, and of the longest 32."""

_HEAD_BYTES: Final = 5
"""Longest CBOR head of a transaction in a bundle, and more than that of the bundle itself."""


def encode_bundle(raws: Sequence[bytes]) -> bytes:
    """Return the bundle of different transactions, or the transaction itself where it is one; raises ValueError."""
    if len(raws) == 1:
        return raws[0]
    if not 0 < len(set(raws)) == len(raws) <= MAX_BUNDLED:
        raise ValueError(f"{len(raws)} transactions, not all of them different or more than {MAX_BUNDLED}")
    return zlib.compress(encode_cbor(list(raws)), _LEVEL)


def transactions_in(data: bytes) -> tuple[bytes, ...]:
    """Return the transactions of a bundle in order; of anything else, the bytes themselves."""
    return _bundled(data) if data and data[0] == _ZLIB_HEAD else (data,)


@lru_cache(maxsize=_KEPT)
def _bundled(data: bytes) -> tuple[bytes, ...]:
    try:
        found = decode_cbor_strict(_unpacked(data), max_bytes=MAX_BUNDLE_BYTES)
    except InvalidInput:
        return (data,)
    is_bundle = type(found) is list and 1 < len(found) <= MAX_BUNDLED and all(type(each) is bytes for each in found)
    return tuple(found) if is_bundle and len(set(found)) == len(found) else (data,)


def _unpacked(data: bytes) -> bytes:
    """Return what one whole zlib stream holds; nothing if it is none, or holds over a byte more than a bundle may.

    Raises MemoryError: zlib has one kind of error for wrong bytes and for memory that it lacks, told apart by a number.
    """
    stream = zlib.decompressobj()
    try:
        found = stream.decompress(data, MAX_BUNDLE_BYTES + 1)
    except zlib.error as error:
        if str(error).startswith(_OUT_OF_MEMORY):
            raise MemoryError from error
        return b""
    return found if stream.eof and not stream.unused_data else b""


def split_bundles(raws: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Yield different transactions in order, as many together as a bundle takes."""
    group: list[bytes] = []
    left = MAX_BUNDLE_BYTES - _HEAD_BYTES
    for raw in dict.fromkeys(raws):
        size = len(raw) + _HEAD_BYTES
        if group and (len(group) == MAX_BUNDLED or size > left):
            yield group
            group, left = [], MAX_BUNDLE_BYTES - _HEAD_BYTES
        group.append(raw)
        left -= size
    if group:
        yield group


def pause_after(count: int) -> float:
    """Return how many seconds transactions gather after so many were handed in; a full bundle goes at once."""
    return min(GATHER_S, _GATHER_EACH_S * count)
