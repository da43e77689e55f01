"""Bundles: several signed transactions handed to CometBFT as one of its own, so that its cost is shared [ABCI-24].

CometBFT carries every transaction of its own over the ABCI socket one by one on each validator, which costs more than
checking a signature. To the ledger a bundle is nothing: its transactions are checked, executed and refused one by one,
and the log holds them alone. What is no bundle in its one form is taken for a transaction, and refused as none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor
from shuiqiao.base.errors import InvalidInput

MAX_BUNDLED: Final = 128
"""Transactions in a bundle: some ten milliseconds of signature checking, so that a block is not kept waiting."""

MAX_BUNDLE_BYTES: Final = 65_000
"""Bytes of a bundle; CometBFT's mempool takes 65,536."""

_ARRAY: Final = 4
_MAJOR_SHIFT: Final = 5
_HEAD_BYTES: Final = 5
"""Longest CBOR head of a transaction in a bundle, and more than that of the bundle itself."""


def encode_bundle(raws: Sequence[bytes]) -> bytes:
    """Return the bundle of different transactions, or the transaction itself where it is one; raises ValueError."""
    if len(raws) == 1:
        return raws[0]
    if not 0 < len(set(raws)) == len(raws) <= MAX_BUNDLED:
        raise ValueError(f"{len(raws)} transactions, not all of them different or more than {MAX_BUNDLED}")
    return encode_cbor(list(raws))


def transactions_in(data: bytes) -> tuple[bytes, ...]:
    """Return the transactions of a bundle in order; of anything else, the bytes themselves."""
    if not data or data[0] >> _MAJOR_SHIFT != _ARRAY:
        return (data,)
    try:
        found = decode_cbor_strict(data, max_bytes=MAX_BUNDLE_BYTES)
    except InvalidInput:
        return (data,)
    is_bundle = 1 < len(found) <= MAX_BUNDLED and all(type(each) is bytes for each in found)
    return tuple(found) if is_bundle and len(set(found)) == len(found) else (data,)


def first_of(wholes: Sequence[bytes], *, most: int) -> list[bytes]:
    """Return the first of CometBFT's transactions that hold at most so many of the ledger's, and one in any case."""
    taken: list[bytes] = []
    left = most
    for whole in wholes:
        left -= len(transactions_in(whole))
        if left < 0 and taken:
            break
        taken.append(whole)
    return taken


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
