"""From a chunk of source rows to rows ready to be anchored: validated, ordered, written as groups, hashed, identified.

Pure but for its inputs, so that it can run in this process or in a worker: salts are given, nothing is stored. Whether
a row repeats one that is known is for the ingest to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shuiqiao.standards.columns import binary_list
from shuiqiao.standards.encoding import encode_group
from shuiqiao.standards.model import RecordType
from shuiqiao.standards.validation import Issue, validate_batch
from shuiqiao.vault.identity import identify, taxpayer_order
from shuiqiao.vault.leaves import group_hashes, leaf_hashes, split_salts
from shuiqiao.vault.model import SALT_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Rows of one source as they were read.

    source: number of the source in the index. first_row: 1-based row of the first. salts: 16 bytes per row and group.
    batch: id for the batch that the chunk may begin; drawn here so that a seeded run repeats itself. key_is_all: the
    source's profile says that its rows are known by all their fields.
    """

    record_type: RecordType
    type_number: int
    source: int
    first_row: int
    rows: Any
    salts: bytes
    batch: bytes
    key_is_all: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedRows:
    """A chunk's good rows, ordered by taxpayer and period, with all that anchoring needs; and its issues.

    rows: canonical RecordBatch. groups: per disclosure group, an Arrow binary array. salts: 16 bytes per row and
    group. leaves: one 32-byte hash a row. keys, digests, states, days: see ``identity``.
    """

    rows: Any
    groups: tuple[Any, ...]
    salts: bytes
    leaves: list[bytes]
    keys: list[bytes]
    digests: list[bytes]
    states: list[bytes]
    days: npt.NDArray[np.int32]
    source_rows: npt.NDArray[np.int64]
    issues: list[Issue]
    read: int
    quarantined: int


def prepare(chunk: Chunk, *, hash_name: str) -> PreparedRows:
    """Return the rows of a chunk, ready. Raises what ``standards.validation`` refuses a whole batch for."""
    record_type = chunk.record_type
    checked = validate_batch(record_type, chunk.rows, first_row=chunk.first_row)
    rows, source_rows = checked.rows, checked.source_rows
    order = taxpayer_order(record_type, rows)
    if order is not None:
        rows, source_rows = rows.take(order), source_rows[order]
    salts = chunk.salts[: rows.num_rows * len(record_type.groups) * SALT_BYTES]
    encoded, parts, leaves = encode_and_hash(record_type, rows, salts, hash_name=hash_name)
    found = identify(
        record_type,
        rows,
        parts,
        type_number=chunk.type_number,
        hash_name=hash_name,
        key_is_all=chunk.key_is_all,
    )
    return PreparedRows(
        rows=rows,
        groups=encoded,
        salts=salts,
        leaves=leaves,
        keys=found.keys,
        digests=found.digests,
        states=found.states,
        days=found.days,
        source_rows=source_rows,
        issues=checked.issues,
        read=chunk.rows.num_rows,
        quarantined=checked.quarantined,
    )


def encode_and_hash(
    record_type: RecordType, rows: Any, salts: bytes, *, hash_name: str
) -> tuple[tuple[Any, ...], list[list[bytes]], list[bytes]]:
    """Return groups as Arrow columns, the same as lists of bytes, and the leaves of canonical rows [VAULT-LEAF-1]."""
    encoded = tuple(encode_group(record_type, group, rows) for group in record_type.group_ids)
    parts = [binary_list(column) for column in encoded]
    salt_columns = split_salts(salts, groups=len(encoded))
    hashes = [group_hashes(salt, part, hash_name=hash_name) for salt, part in zip(salt_columns, parts, strict=True)]
    return encoded, parts, leaf_hashes(hashes, hash_name=hash_name)
