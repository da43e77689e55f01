"""Gathers prepared rows into a batch and makes the batch durable: tree, two files, folder [VAULT-STORE-1]."""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from shuiqiao.base.durable import sync_folder, write_file
from shuiqiao.crypto.model import CipherSuite
from shuiqiao.standards.columns import canonical_schema
from shuiqiao.standards.model import TAXPAYER_FIELD, FieldType, RecordType
from shuiqiao.vault.batch_file import (
    LEAVES_SUFFIX,
    PARQUET_SUFFIX,
    GroupBytes,
    LeavesHeader,
    encode_leaves,
)
from shuiqiao.vault.index import BatchRow
from shuiqiao.vault.model import SALT_BYTES
from shuiqiao.vault.preparation import PreparedRows
from shuiqiao.vault.tree import tree_levels

ROW_GROUP_RECORDS = 4096
"""Records per Parquet row group: a disclosure of a few reads a quarter of a batch, not all of it."""

_REPEATING_TYPES = frozenset({FieldType.CODE, FieldType.RATE, FieldType.DATE, FieldType.MONTH, FieldType.YEAR})

_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some rows of a chunk on their way into a batch."""

    rows: Any
    groups: tuple[Any, ...]
    salts: bytes
    leaves: list[bytes]
    days: npt.NDArray[np.int32]


def part_of(prepared: PreparedRows, kept: npt.NDArray[np.int64] | None) -> Part:
    """Return the kept rows (positions, or None for all) of a chunk as one part."""
    if kept is None:
        return Part(
            rows=prepared.rows,
            groups=prepared.groups,
            salts=prepared.salts,
            leaves=prepared.leaves,
            days=prepared.days,
        )
    stride = len(prepared.groups) * SALT_BYTES
    return Part(
        rows=prepared.rows.take(kept),
        groups=tuple(column.take(kept) for column in prepared.groups),
        salts=b"".join(prepared.salts[at * stride : (at + 1) * stride] for at in kept.tolist()),
        leaves=[prepared.leaves[at] for at in kept.tolist()],
        days=prepared.days[kept],
    )


def slice_part(part: Part, start: int, stop: int) -> Part:
    """Return some rows of a part."""
    if start == 0 and stop == len(part.leaves):
        return part
    stride = len(part.groups) * SALT_BYTES
    return Part(
        rows=part.rows.slice(start, stop - start),
        groups=tuple(column.slice(start, stop - start) for column in part.groups),
        salts=part.salts[start * stride : stop * stride],
        leaves=part.leaves[start:stop],
        days=part.days[start:stop],
    )


class BatchBuilder:
    """A batch in the making. number and id: its names in the index and on the ledger. size_bytes: of its groups."""

    def __init__(self, record_type: RecordType, *, number: int, batch: bytes) -> None:
        self.record_type = record_type
        self.number = number
        self.id = batch
        self.count = 0
        self.size_bytes = 0
        self._parts: list[Part] = []

    def add(self, part: Part) -> None:
        """Take rows in; they get the next leaf indexes."""
        self._parts.append(part)
        self.count += len(part.leaves)
        self.size_bytes += sum(column.nbytes for column in part.groups)

    def write(self, folder: Path, *, suite: CipherSuite) -> BatchRow:
        """Write the batch's two files durably and return its row for the index, not yet anchored."""
        rows = pa.Table.from_batches([part.rows for part in self._parts], schema=canonical_schema(self.record_type))
        parquet = encode_parquet(self.record_type, rows)
        groups = [
            _group_bytes([part.groups[position] for part in self._parts])
            for position in range(len(self.record_type.groups))
        ]
        leaves = [leaf for part in self._parts for leaf in part.leaves]
        levels = tree_levels(leaves, hash_name=suite.hash_name)
        header = LeavesHeader(
            batch=self.id,
            suite=str(suite.name),
            standard=self.record_type.standard_id,
            groups=list(self.record_type.group_ids),
            count=self.count,
            erased=[],
            parquet=suite.digest(parquet),
            sizes=[len(group.data) for group in groups],
        )
        tree = b"".join(node for level in levels for node in level)
        salts = b"".join(part.salts for part in self._parts)
        write_file(folder / (self.id.hex() + PARQUET_SUFFIX), [parquet])
        write_file(
            folder / (self.id.hex() + LEAVES_SUFFIX), encode_leaves(header, tree=tree, salts=salts, groups=groups)
        )
        sync_folder(folder)
        return self._row(root=levels[-1][0], parquet=header.parquet)

    def _row(self, *, root: bytes, parquet: bytes) -> BatchRow:
        first = min(int(part.days.min()) for part in self._parts)
        last = max(int(part.days.max()) for part in self._parts)
        return BatchRow(
            number=self.number,
            id=self.id,
            standard=self.record_type.standard_id,
            count=self.count,
            period_from=(_EPOCH + timedelta(days=first)).isoformat(),
            period_to=(_EPOCH + timedelta(days=last)).isoformat(),
            root=root,
            parquet=parquet,
        )


def encode_parquet(record_type: RecordType, rows: Any) -> bytes:
    """Return records as one Parquet file; the same records give the same bytes.

    Dictionaries are built for columns whose values repeat by nature; for amounts and numbers they cost more time than
    all the rest and save nothing.
    """
    repeating = [
        entry.name for entry in record_type.fields if entry.name == TAXPAYER_FIELD or entry.type in _REPEATING_TYPES
    ]
    sink = io.BytesIO()
    options: dict[str, Any] = {"row_group_size": ROW_GROUP_RECORDS, "compression": "lz4", "use_dictionary": repeating}
    pq.write_table(rows, sink, **options)
    return sink.getvalue()


def _group_bytes(columns: list[Any]) -> GroupBytes:
    """Join one group's Arrow columns into ends and data without touching single values."""
    ends: list[Any] = []
    data: list[bytes] = []
    total = 0
    for column in columns:
        _, offsets, buffer = column.buffers()
        bounds = np.frombuffer(offsets, dtype=np.int32)[column.offset : column.offset + len(column) + 1]
        first, last = int(bounds[0]), int(bounds[-1])
        ends.append(bounds[1:].astype(np.int64) - first + total)
        data.append(buffer.slice(first, last - first).to_pybytes())
        total += last - first
    return GroupBytes(ends=np.concatenate(ends).astype(np.uint32), data=b"".join(data))
