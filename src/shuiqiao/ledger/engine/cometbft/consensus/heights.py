"""Keeps which CometBFT height led to which of our blocks: the two differ, for empty blocks append nothing.

The record of a height is written before the block is stored [ABCI-14], so after a crash between the two the blocks
themselves decide whether the height was reached: if our block is there it was, else the height before it was. The file
has two slots written in turn; a torn write leaves the other one.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

import msgspec

from shuiqiao.base.durable import Disk
from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor, typed
from shuiqiao.base.errors import IntegrityError, ShuiqiaoError
from shuiqiao.base.files import open_descriptor
from shuiqiao.ledger.store.segments import disk_full, store_failed

SLOT_BYTES: Final = 4096
"""One slot, in bytes: a sector that the medium writes whole on usual disks, and far more than a record."""

_DIGEST_BYTES: Final = 32
_LENGTH_BYTES: Final = 2
_SLOTS: Final = 2


class HeightRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A CometBFT height and what it leads to.

    height: CometBFT's height. time_ms: time of its block. block: our height after it. previous and previous_time_ms:
    the height before it, which holds as long as our block is not stored. app_hash: hash after it.
    """

    height: int
    time_ms: int
    block: int
    app_hash: bytes
    previous: int
    previous_time_ms: int


class HeightFile:
    """``consensus/position`` of a ledger folder; used by one thread."""

    def __init__(self, path: Path, *, disk: Disk) -> None:
        """Open or create; raises OSError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._disk = disk
        self._descriptor = open_descriptor(path, flags=os.O_RDWR | os.O_CREAT, mode=0o644)
        # A block may be stored as soon as its record is: the record's name must then not be lost with the machine.
        disk.sync_folder(path.parent)
        disk.sync_folder(path.parent.parent)

    def load(self, *, block: int) -> HeightRecord | None:
        """Return where a ledger of this many blocks stands, None before the first height.

        Raises IntegrityError ``ledger.position_damaged`` if no record leads to that block.
        """
        records = [record for slot in range(_SLOTS) if (record := self._read(slot)) is not None]
        if not records:
            if block == 0:
                # None was written, or a crash tore the very first: either way nothing is stored, and CometBFT decides
                # again from its first height.
                return None
            raise self._damaged(f"it has no record that can be read, the ledger has {block} blocks")
        newest = max(records, key=lambda record: record.height)
        if newest.block == block:
            return newest
        if newest.block == block + 1:
            # The block was announced and never stored: the height before it is where we stand [ABCI-14].
            return self._before(newest, records, block=block)
        raise self._damaged(f"its newest record leads to block {newest.block}, the ledger has {block}")

    def _before(self, newest: HeightRecord, records: list[HeightRecord], *, block: int) -> HeightRecord | None:
        if newest.previous == 0:
            return None
        older = [record for record in records if record.height == newest.previous and record.block == block]
        if older:
            return older[0]
        raise self._damaged(f"block {newest.block} was announced and not stored, and height {newest.previous} is gone")

    def save(self, record: HeightRecord, *, is_durable: bool) -> None:
        """Write a record into the older slot; durable ones are on the medium when this returns.

        Raises Unavailable ``ledger.disk_full`` (the height was not reached) or ``ledger.store_failed`` (open again).
        """
        data = encode_cbor(msgspec.to_builtins(record, builtin_types=(bytes,)))
        body = len(data).to_bytes(_LENGTH_BYTES, "big") + data
        slot = hashlib.sha256(body).digest() + body
        offset = self._older_slot(record) * SLOT_BYTES
        try:
            self._disk.write_at(self._descriptor, slot.ljust(SLOT_BYTES, b"\x00"), offset=offset)
        except OSError as error:
            # Half a record does not hold, and the other slot has the height before: the same height may be tried again.
            raise disk_full(error, height=record.height) from error
        try:
            if is_durable:
                self._disk.sync(self._descriptor)
        except OSError as error:
            raise store_failed(error) from error

    def _older_slot(self, record: HeightRecord) -> int:
        """Return the slot that may go: not the one of the height before, which a crash may need again."""
        first = self._read(0)
        return 1 if first is not None and first.height == record.previous else 0

    def _read(self, slot: int) -> HeightRecord | None:
        return _decode_slot(os.pread(self._descriptor, SLOT_BYTES, slot * SLOT_BYTES))

    def close(self) -> None:
        """Release the file."""
        os.close(self._descriptor)

    def _damaged(self, reason: str) -> IntegrityError:
        return IntegrityError(
            "ledger.position_damaged",
            f"{self.path}: {reason}",
            next_step="restore the ledger folder as a whole from a backup, or join again by state sync",
        )


def newest_height(data: bytes) -> HeightRecord | None:
    """Return the newest record in the bytes of such a file, None if there is none that can be read."""
    slots = (data[at : at + SLOT_BYTES] for at in range(0, _SLOTS * SLOT_BYTES, SLOT_BYTES))
    return max(filter(None, map(_decode_slot, slots)), key=lambda record: record.height, default=None)


def _decode_slot(data: bytes) -> HeightRecord | None:
    length = int.from_bytes(data[_DIGEST_BYTES : _DIGEST_BYTES + _LENGTH_BYTES], "big")
    body = data[_DIGEST_BYTES : _DIGEST_BYTES + _LENGTH_BYTES + length]
    if len(data) < _DIGEST_BYTES or hashlib.sha256(body).digest() != data[:_DIGEST_BYTES]:
        return None
    try:
        fields = decode_cbor_strict(body[_LENGTH_BYTES:], max_bytes=SLOT_BYTES)
        return typed(fields, HeightRecord, builtin_types=(bytes,))
    except (ShuiqiaoError, msgspec.ValidationError):
        return None
