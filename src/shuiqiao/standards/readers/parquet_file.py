"""Opens a Parquet file whose bytes come from outside, so that what is read of it stays small.

What pages unpack to is bounded by ``parquet_pages`` [STD-37]. A dictionary multiplies: one long text stands in it once,
and may be the value of every row. So columns whose texts all lie in one are read as a dictionary, which takes no more
than the pages, and their texts are written out only after their lengths were summed [STD-38]. Who works on rows copies
them, several times over: ``decode_in_parts`` hands out a few MiB at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet

from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.regular_file import open_regular
from shuiqiao.standards.columns import MAX_CELL_BYTES, arrow_source, pc
from shuiqiao.standards.readers.parquet_pages import require_small_pages

pq: Any = pyarrow.parquet

MAX_BATCH_BYTES: Final = 256 << 20
"""Most bytes of one batch in memory: some 4 KiB per row of a full batch, forty times what a fact needs."""

MAX_PART_BYTES: Final = 16 << 20
"""Most bytes handed out at once, but for a single row of more: a KiB per row of a vault's batch. Checking rows and
writing them as groups takes some ten times as much."""

_LIMITS: Final = {"thrift_string_size_limit": 16 << 20, "thrift_container_size_limit": 1 << 16}
"""Longest text of a footer in bytes, and longest list in items: of some 200 bytes each, allocated as claimed."""

_OFFSET_BYTES: Final = 4
_VIEW_NUMBERS: Final = 4
_TEXTS: Final = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_dictionary,
)
"""Kinds of columns whose values have lengths of their own, but for views."""


def open_parquet(path: Path, **options: Any) -> Any:
    """Open a Parquet file of small pages; columns of texts with a dictionary are read as such [STD-37].

    Give what is read of it to ``decode_texts``. options: those of ``pyarrow.parquet.ParquetFile``.
    Raises FileNotFoundError; ValueError, OSError or ArrowException where the file is damaged or would not stay small.
    """
    with open_regular(path) as stream:
        file = pq.ParquetFile(arrow_source(path), **_LIMITS)
        metadata = file.metadata
        if len(set(file.schema_arrow.names)) != metadata.num_columns:
            raise ValueError("columns are nested, or several have one name")
        repeating = require_small_pages(stream, metadata, longest_text=partial(_longest_text, path, metadata))
    file = pq.ParquetFile(arrow_source(path), metadata=metadata, read_dictionary=repeating, **options)
    for field in file.schema_arrow:
        if _repeats(field.type) and field.name not in repeating and metadata.num_rows:
            raise ValueError(f"column {field.name[:60]!r} is declared as a dictionary and has pages without one")
    return file


def _longest_text(path: Path, metadata: Any, group: int, *, name: str) -> int:
    """Return the bytes of the longest text in the dictionary that a row group's column begins with."""
    with pq.ParquetFile(arrow_source(path), metadata=metadata, read_dictionary=[name]) as file:
        rows = file.iter_batches(batch_size=1, row_groups=[group], columns=[name], use_threads=False)
        first = next(rows, None)
    return 0 if first is None else _longest(first.column(0))


def plain_schema(schema: Any) -> Any:
    """Return the schema of rows whose dictionaries are decoded."""
    fields = [field.with_type(field.type.value_type) if _repeats(field.type) else field for field in schema]
    return pa.schema(fields, metadata=schema.metadata)


def decode_texts(rows: Any) -> Any:
    """Return a table without dictionaries, whose texts have at most MAX_CELL_BYTES.

    Raises InvalidInput ``standards.batch_too_large`` and ValueError before anything is decoded [STD-38], [STD-39].
    """
    _measure(rows)
    longest = max((_longest(chunk) for column in rows.columns for chunk in column.chunks), default=0)
    if longest > MAX_CELL_BYTES:
        raise ValueError(f"a text has {longest} bytes, at most {MAX_CELL_BYTES} may")
    return _decoded(rows)


def decode_in_parts(rows: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Yield a batch without dictionaries, in parts of at most MAX_PART_BYTES or of one row [STD-38].

    Raises InvalidInput ``standards.batch_too_large`` before anything is decoded.
    """
    table: Any = pa.Table.from_batches([rows])
    if _measure(table) <= MAX_PART_BYTES:
        yield from _decoded(table).to_batches()
        return
    ends = np.cumsum(sum(_row_bytes(column) for column in rows.columns))
    start = before = 0
    while start < len(ends):
        stop = max(start + 1, int(np.searchsorted(ends, before + MAX_PART_BYTES, side="right")))
        yield from _decoded(table.slice(start, stop - start)).to_batches()
        start, before = stop, int(ends[stop - 1])


def _measure(rows: Any) -> int:
    """Return the bytes of a table once its dictionaries are decoded."""
    total = sum(_plain_bytes(chunk) for column in rows.columns for chunk in column.chunks)
    if total > MAX_BATCH_BYTES:
        raise InvalidInput(
            "standards.batch_too_large",
            f"{rows.num_rows} rows fill {total} bytes where at most {MAX_BATCH_BYTES} are allowed",
        )
    return total


def _decoded(rows: Any) -> Any:
    return rows.cast(plain_schema(rows.schema))


def _repeats(kind: Any) -> bool:
    return bool(pa.types.is_dictionary(kind))


def _is_view(kind: Any) -> bool:
    return bool(pa.types.is_string_view(kind) or pa.types.is_binary_view(kind))


def _plain_bytes(chunk: Any) -> int:
    """Return the bytes of an array once its dictionary is decoded."""
    if not _repeats(chunk.type):
        return int(chunk.nbytes)
    return int(pc.sum(_text_lengths(chunk)).as_py() or 0) + _OFFSET_BYTES * len(chunk)


def _longest(chunk: Any) -> int:
    """Return the bytes of the longest text of an array."""
    texts = chunk.dictionary if _repeats(chunk.type) else chunk
    return int(_row_bytes(texts).max()) - _OFFSET_BYTES if len(texts) else 0


def _row_bytes(column: Any) -> npt.NDArray[np.int64]:
    """Return the bytes of each value of an array once its dictionary is decoded."""
    if _is_view(column.type):
        # Each view begins with the length of its text; no function of Arrow's tells it.
        lengths = np.frombuffer(column.buffers()[1], dtype=np.int32)[::_VIEW_NUMBERS][column.offset :][: len(column)]
        return np.where(column.is_valid(), lengths, 0).astype(np.int64) + _OFFSET_BYTES
    if not any(is_kind(column.type) for is_kind in _TEXTS):
        return np.full(len(column), -(-column.nbytes // len(column)), dtype=np.int64)
    return np.asarray(_text_lengths(column).fill_null(0), dtype=np.int64) + _OFFSET_BYTES


def _text_lengths(texts: Any) -> Any:
    if not _repeats(texts.type):
        return pc.binary_length(texts)
    return pc.binary_length(texts.dictionary).cast(pa.int64()).take(texts.indices)
