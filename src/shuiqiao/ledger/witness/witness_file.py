"""What a witness last cosigned of one log, on disk: the one thing it may never forget or contradict ([WITNESS-3])."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from shuiqiao.base.durable import Disk, replace_file
from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor
from shuiqiao.base.errors import IntegrityError, ShuiqiaoError
from shuiqiao.base.files import read_regular

RECORD_VERSION: Final = 1
MAX_RECORD_BYTES: Final = 20_000
"""A note of 16,384 bytes and a few numbers."""

_DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessRecord:
    """The last checkpoint cosigned; size 0 and an empty note before the first [WITNESS-1]."""

    origin: str
    size: int
    root: bytes
    time_s: int
    note: bytes
    """The log's own signed note, kept as evidence for the day on which it says something else."""


class WitnessFile:
    """``last`` in the folder of one log."""

    def __init__(self, folder: Path, *, origin: str, disk: Disk) -> None:
        self.path = folder / "last"
        self._origin = origin
        self._disk = disk

    def load(self) -> WitnessRecord | None:
        """Return the record, None before the first; raises IntegrityError ``ledger.witness_record_damaged``."""
        try:
            data = read_regular(self.path, max_bytes=_DIGEST_BYTES + MAX_RECORD_BYTES)
        except FileNotFoundError:
            return None
        try:
            record = _decode(data)
        except (ShuiqiaoError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise self._damaged(str(error)) from error
        if record.origin != self._origin:
            raise self._damaged(f"it is of {record.origin!r}, not of {self._origin!r}")
        return record

    def save(self, record: WitnessRecord) -> None:
        """Replace the record; it is on the medium when this returns. Raises OSError, and then either one is there."""
        body = encode_cbor({"version": RECORD_VERSION, **asdict(record)})
        replace_file(self.path, hashlib.sha256(body).digest() + body, disk=self._disk)

    def _damaged(self, reason: str) -> IntegrityError:
        return IntegrityError(
            "ledger.witness_record_damaged",
            f"{self.path} cannot be read: {reason}",
            next_step="retire this witness key: without its record it could cosign a second history",
        )


def _decode(data: bytes) -> WitnessRecord:
    digest, body = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest:
        raise ValueError("its digest does not hold")
    fields: dict[str, Any] = decode_cbor_strict(body, max_bytes=MAX_RECORD_BYTES)
    version = fields.pop("version")
    if version != RECORD_VERSION:
        raise ValueError(f"it has version {version}, not {RECORD_VERSION}")
    return WitnessRecord(**fields)
