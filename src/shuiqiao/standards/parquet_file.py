"""Opens a Parquet file whose bytes come from outside, so that what is read of it stays small.

What pages unpack to is bounded by ``parquet_pages`` [STD-37]. A dictionary multiplies: one long text stands in it once,
and may be the value of every row. So columns with a dictionary are read as one, which takes no more than the pages, and
their texts are written out only after their lengths were summed [STD-38].
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet

from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.regular_file import open_regular
from shuiqiao.standards.columns import arrow_source, pc
from shuiqiao.standards.parquet_pages import require_small_pages

pq: Any = pyarrow.parquet

MAX_BATCH_BYTES: Final = 256 << 20
"""Most bytes of one batch in memory: some 4 KiB per row of a full batch, forty times what a fact needs."""

_LIMITS: Final = {"thrift_string_size_limit": 16 << 20, "thrift_container_size_limit": 1 << 16}
"""Longest text of a footer in bytes, and longest list in items: of some 200 bytes each, allocated as claimed."""

_OFFSET_BYTES: Final = 4


def open_parquet(path: Path, **options: Any) -> Any:
    """Open a Parquet file of small pages; columns of texts with a dictionary are read as such [STD-37].

    Give what is read of it to ``decode_texts``. options: those of ``pyarrow.parquet.ParquetFile``.
    Raises FileNotFoundError; ValueError, OSError or ArrowException where the file is damaged or would not stay small.
    """
    with open_regular(path) as stream:
        metadata = pq.ParquetFile(arrow_source(path), **_LIMITS).metadata
        repeating = require_small_pages(stream, metadata)
    file = pq.ParquetFile(arrow_source(path), metadata=metadata, read_dictionary=repeating, **options)
    if len(set(file.schema_arrow.names)) != metadata.num_columns:
        raise ValueError("columns are nested, or several have one name")
    return file


def plain_schema(schema: Any) -> Any:
    """Return the schema of rows whose dictionaries are decoded."""
    fields = [field.with_type(field.type.value_type) if _repeats(field.type) else field for field in schema]
    return pa.schema(fields, metadata=schema.metadata)


def decode_texts(rows: Any) -> Any:
    """Return a table without dictionaries.

    Raises InvalidInput ``standards.batch_too_large`` before anything is decoded [STD-38].
    """
    total = sum(_plain_bytes(chunk) for column in rows.columns for chunk in column.chunks)
    if total > MAX_BATCH_BYTES:
        raise InvalidInput(
            "standards.batch_too_large",
            f"{rows.num_rows} rows fill {total} bytes where at most {MAX_BATCH_BYTES} are allowed",
        )
    return rows.cast(plain_schema(rows.schema))


def _repeats(kind: Any) -> bool:
    return bool(pa.types.is_dictionary(kind))


def _plain_bytes(chunk: Any) -> int:
    """Return the bytes of an array once its dictionary is decoded."""
    if not _repeats(chunk.type):
        return int(chunk.nbytes)
    lengths = pc.binary_length(chunk.dictionary).cast(pa.int64())
    return int(pc.sum(lengths.take(chunk.indices)).as_py() or 0) + _OFFSET_BYTES * len(chunk)
