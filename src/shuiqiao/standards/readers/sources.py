"""Opens a source file (Parquet or CSV) and yields its rows in batches with canonical column names.

Rule: docs/spec/standard.md, [STD-34] to [STD-36]. The file is known by its content, not by its name. Memory does not
grow with the size of the file. Readers name columns; whether the cells are any good is for ``validation`` to say.

    source = open_source(path, record_type=None, catalogue=load_catalogue())
    first_row = 1
    for batch in source.batches(MAX_BATCH_ROWS):
        validated = validate_batch(source.record_type, batch, first_row=first_row)
        first_row += batch.num_rows
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from shuiqiao.base.errors import InvalidInput, Unavailable
from shuiqiao.base.regular_file import open_regular
from shuiqiao.standards.columns import (
    FAULT_COLUMN,
    FAULT_VALUE_COLUMN,
    MAX_BATCH_ROWS,
    STANDARD_KEY,
    check_fits,
    source_field,
)
from shuiqiao.standards.model import Catalogue, RecordType
from shuiqiao.standards.readers import csv_rows
from shuiqiao.standards.readers.parquet_file import decode_in_parts, open_parquet, plain_schema
from shuiqiao.standards.readers.recognition import ColumnPlan, recognise_columns

_PARQUET_MAGIC = b"PAR1"
_BUFFER_BYTES = 1 << 20
_DAMAGE = (pa.ArrowException, OSError, ValueError, OverflowError)
"""What a damaged Parquet file makes its library raise."""


class Source(Protocol):
    """An opened source. Rows are numbered from 1 in the order in which ``batches`` yields them."""

    @property
    def record_type(self) -> RecordType:
        """The record type that it holds."""
        ...

    @property
    def plan(self) -> ColumnPlan:
        """Which column becomes which field, and which are left out."""
        ...

    @property
    def row_count(self) -> int | None:
        """The number of rows, where the format says so before reading."""
        ...

    def batches(self, max_rows: int) -> Iterator[pa.RecordBatch]:
        """Yield source batches of 1 to max_rows rows, for ``validation.validate_batch``; may be called again.

        Raises InvalidInput ``standards.file_unreadable`` where the file breaks off or is damaged.
        """
        ...


def open_source(path: Path, *, record_type: RecordType | None, catalogue: Catalogue) -> Source:
    """Open a source file of the named record type, or of the one that its columns show.

    Raises Unavailable ``standards.file_missing``; InvalidInput ``standards.file_empty``,
    ``standards.file_unreadable``, ``standards.column_type_unfit``, ``standards.encoding_unknown`` and those of
    ``recognition.recognise_columns``. Every message names the file.
    """
    make = _ParquetSource if _first_bytes(path) == _PARQUET_MAGIC else _CsvSource
    try:
        return make(path, record_type=record_type, catalogue=catalogue)
    except InvalidInput as error:
        name = repr(path.name[:100])
        raise (error if name in error.message else error.within(name)) from error


def _first_bytes(path: Path) -> bytes:
    try:
        with open_regular(path) as stream:
            start = stream.read(len(_PARQUET_MAGIC))
    except OSError as error:
        # A folder too: its bytes are not damaged, another file is to be named.
        raise Unavailable("standards.file_missing", f"{path} cannot be read: {error.strerror}") from error
    if not start:
        raise InvalidInput("standards.file_empty", f"{path.name[:100]!r} holds no byte")
    return start


def _check_max_rows(max_rows: int) -> None:
    if not 1 <= max_rows <= MAX_BATCH_ROWS:
        raise InvalidInput(
            "standards.batch_too_large", f"batches of {max_rows} rows where 1 to {MAX_BATCH_ROWS} are allowed"
        )


class _ParquetSource:
    """A Parquet file, read a few pages at a time."""

    def __init__(self, path: Path, *, record_type: RecordType | None, catalogue: Catalogue) -> None:
        self._path = path
        with self._open() as file:
            schema = plain_schema(file.schema_arrow)
            self.row_count: int | None = file.metadata.num_rows
        self.plan = _recognise_schema(schema, record_type=record_type, catalogue=catalogue)
        self.record_type = self.plan.record_type
        for column in self.plan.columns:
            check_fits(column.field, schema.field(column.position).type, source=column.source)
        self._fields = [
            source_field(column.field, schema.field(column.position).type, unit=column.unit)
            for column in self.plan.columns
        ]

    def _open(self) -> Any:
        # [STD-35] pre_buffer would hold whole row groups; a buffered stream holds pages.
        try:
            return open_parquet(self._path, pre_buffer=False, buffer_size=_BUFFER_BYTES)
        except _DAMAGE as error:
            raise _unreadable(self._path, error) from error

    def batches(self, max_rows: int) -> Iterator[pa.RecordBatch]:
        """See Source."""
        _check_max_rows(max_rows)
        names = [column.source for column in self.plan.columns]
        try:
            with self._open() as file:
                for rows in file.iter_batches(batch_size=max_rows, columns=names, use_threads=False):
                    for part in decode_in_parts(rows):
                        yield self._renamed(part)
        except _DAMAGE as error:
            raise _unreadable(self._path, error) from error

    def _renamed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        arrays = [batch.column(column.source) for column in self.plan.columns]
        return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(self._fields))


def _recognise_schema(schema: Any, *, record_type: RecordType | None, catalogue: Catalogue) -> ColumnPlan:
    declared = (schema.metadata or {}).get(STANDARD_KEY)
    if record_type is None and declared is not None:
        record_type = catalogue.get(declared[:100].decode("utf-8", errors="replace"))
    return recognise_columns(schema.names, catalogue=catalogue, record_type=record_type)


class _CsvSource:
    """A CSV file, read a block at a time."""

    row_count: int | None = None

    def __init__(self, path: Path, *, record_type: RecordType | None, catalogue: Catalogue) -> None:
        self._path = path
        with path.open("rb") as stream:
            self._encoding = csv_rows.detect_encoding(stream)
            headers = csv_rows.read_header(stream, self._encoding)
        self._columns = len(headers)
        self.plan = recognise_columns(headers, catalogue=catalogue, record_type=record_type)
        self.record_type = self.plan.record_type
        self._fields = [source_field(column.field, pa.string(), unit=column.unit) for column in self.plan.columns]

    def batches(self, max_rows: int) -> Iterator[pa.RecordBatch]:
        """See Source."""
        _check_max_rows(max_rows)
        with self._path.open("rb") as stream:
            csv_rows.read_header(stream, self._encoding)
            for rows in csv_rows.read_rows(stream, encoding=self._encoding, columns=self._columns):
                yield from self._slices(rows, max_rows)

    def _slices(self, cut: pa.RecordBatch, max_rows: int) -> Iterator[pa.RecordBatch]:
        arrays = [cut.column(column.position) for column in self.plan.columns]
        fields = list(self._fields)
        if FAULT_COLUMN in cut.schema.names:
            arrays += [cut.column(FAULT_COLUMN), cut.column(FAULT_VALUE_COLUMN)]
            fields += [pa.field(FAULT_COLUMN, pa.string()), pa.field(FAULT_VALUE_COLUMN, pa.string())]
        named = pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))
        for start in range(0, named.num_rows, max_rows):
            yield named.slice(start, max_rows)


def _unreadable(path: Path, error: Exception) -> InvalidInput:
    return InvalidInput(
        "standards.file_unreadable",
        f"{path.name[:100]!r} is damaged or incomplete: {str(error)[:200]}",
        next_step="Fetch the file again from its source.",
    )
