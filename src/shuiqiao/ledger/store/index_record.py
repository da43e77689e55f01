"""What the index holds, as records and as bytes: the head, block places, epochs, and where Merkle hashes stand."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

import cbor2
import msgspec

from shuiqiao.base.encoding import decode_cbor, encode_cbor
from shuiqiao.base.errors import MACHINE_FAILURES, IntegrityError, ShuiqiaoError
from shuiqiao.ledger.log.tree import empty_root, hash_function
from shuiqiao.ledger.model import NetworkParameters
from shuiqiao.ledger.state.epoch_trail import EpochChange
from shuiqiao.ledger.state.state_map import EMPTY, decode_state_proof, encode_state_proof
from shuiqiao.ledger.store.frame import ZERO_DIGEST, HashName, Place, Tail

INDEX_VERSION: Final = 3

_BLOCK = struct.Struct(">QQIQIQ")
_HEAD_DIGEST_BYTES = 32


def stored_nodes(size: int) -> int:
    """Return how many Merkle hashes are stored for a log of this many leaves: every complete subtree once."""
    return 2 * size - size.bit_count()


def node_position(level: int, index: int) -> int:
    """Return where the hash over leaves [index * 2^level, (index + 1) * 2^level) stands in storing order ([STORE-15]).

    Appending a leaf completes subtrees of rising level that end at it: that order never changes, so hashes are only
    ever appended.
    """
    last_leaf = ((index + 1) << level) - 1
    return stored_nodes(last_leaf) + level


class Head(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the index covers: the last block in it, the roots of log and state, and where the segments stood."""

    network: bytes
    hash_name: HashName
    height: int
    time_ms: int
    size: int
    root: bytes
    state_root: bytes
    segment: int
    offset: int
    frame_bytes: int
    digest: bytes
    version: int = INDEX_VERSION

    @property
    def tail(self) -> Tail:
        """The end of the segments as the index knows it."""
        end = self.offset + self.frame_bytes
        return Tail(segment=self.segment, offset=end, height=self.height, size=self.size, digest=self.digest)


class BlockPlace(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where a block stands, and its shape."""

    height: int
    first_index: int
    count: int
    time_ms: int
    place: Place


class BlockRecord(msgspec.Struct, frozen=True, kw_only=True):
    """All that one block changes in the index.

    nodes: Merkle hashes to store, behind those of the block before. state: encoded new values, None for a removed key.
    pages: pages of the state map, None for one that is no more. replay: ids used by the block with the hour
    (since 1970) in which they expire.
    """

    block: BlockPlace
    nodes: Sequence[bytes]
    state: Mapping[str, bytes | None]
    pages: Mapping[bytes, bytes | None]
    replay: Sequence[tuple[bytes, int]]


class IndexUnreadable(Exception):
    """The index cannot be used and must be made again from the segments."""


def genesis_head(parameters: NetworkParameters, *, hash_name: HashName) -> Head:
    """Return the head of a new ledger; the root of its state is filled in with the state."""
    return Head(
        network=parameters.network,
        hash_name=hash_name,
        height=0,
        time_ms=parameters.genesis_time_ms,
        size=0,
        root=empty_root(hash_name=hash_name),
        state_root=EMPTY,
        segment=0,
        offset=0,
        frame_bytes=0,
        digest=ZERO_DIGEST,
    )


def unpack_record(form: struct.Struct, data: bytes) -> tuple[Any, ...]:
    """Return the numbers of a record; raises IntegrityError ``ledger.index_damaged`` for one of another length."""
    try:
        return form.unpack(data)
    except struct.error as error:
        raise index_damaged(f"a record has {len(data)} bytes where {form.size} belong") from error


def index_damaged(reason: str) -> IntegrityError:
    """Return the error for a record or page of the index that cannot be read."""
    return IntegrityError(
        "ledger.index_damaged",
        f"the ledger's index is damaged: {reason}",
        next_step="delete the ledger's index folder: it is made again from the segments",
    )


def encode_block(block: BlockPlace) -> bytes:
    """Return the bytes of a block's place; its height is the key."""
    place = block.place
    shape = (place.segment, place.offset, place.frame_bytes, block.first_index, block.count, block.time_ms)
    return _BLOCK.pack(*shape)


def encode_epoch(change: EpochChange) -> bytes:
    """Return the bytes of a change of epoch; its size is the key."""
    return encode_cbor({"epoch": change.epoch, "proof": encode_state_proof(change.proof)})


def decode_epoch(size: int, data: bytes) -> EpochChange:
    """Return a change of epoch; raises IntegrityError ``ledger.index_damaged``."""
    try:
        fields = decode_cbor(data)
        return EpochChange(size=size, epoch=fields["epoch"], proof=decode_state_proof(fields["proof"]))
    except (ShuiqiaoError, KeyError, TypeError) as error:
        raise index_damaged(f"the epoch behind leaf {size} cannot be read: {error}") from error


def decode_block(height: int, data: bytes) -> BlockPlace:
    """Return a block's place; raises IntegrityError ``ledger.index_damaged``."""
    segment, offset, frame_bytes, first_index, count, time_ms = unpack_record(_BLOCK, data)
    place = Place(segment=segment, offset=offset, frame_bytes=frame_bytes)
    return BlockPlace(height=height, first_index=first_index, count=count, time_ms=time_ms, place=place)


def encode_head(head: Head) -> bytes:
    """Return the bytes of the head, their digest first."""
    # Its bytes are compared with nothing but their digest, so the fields need not be sorted.
    data = cbor2.dumps(msgspec.structs.asdict(head))
    return hash_function(head.hash_name)(data) + data


def decode_head(data: bytes) -> Head:
    """Return the head; raises IndexUnreadable for bytes that do not hold."""
    try:
        fields = decode_cbor(data[_HEAD_DIGEST_BYTES:])
        head = Head(**fields)
        digest = hash_function(head.hash_name)(data[_HEAD_DIGEST_BYTES:])
    except MACHINE_FAILURES:
        raise
    except Exception as error:  # a damaged record may be any bytes
        raise IndexUnreadable(f"the head record cannot be read: {error}") from error
    if digest != data[:_HEAD_DIGEST_BYTES] or head.version != INDEX_VERSION:
        raise IndexUnreadable(f"the head record (version {head.version}) does not hold")
    return head
