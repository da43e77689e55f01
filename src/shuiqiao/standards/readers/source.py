"""Opens a source file (Parquet, CSV or NDJSON), sees which record type it holds, and yields rows of canonical columns.

Rule: docs/spec/standard.md, [STD-30] to [STD-33] for columns, [STD-34] to [STD-36] for files. The file is known by its
content, not by its name; its record type by the names of its columns. A source is taken only as a whole: every required
field has a column and every column has a meaning; what fits several types, or none, is refused with the candidates.
Memory does not grow with the size of the file. Readers name columns; whether the cells are any good is for
``validation`` to say.

    source = open_source(path, record_type=None, catalogue=load_catalogue())
    first_row = 1
    for batch in source.batches(MAX_BATCH_ROWS):
        validated = validate_batch(source.record_type, batch, first_row=first_row)
        first_row += batch.num_rows
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa

from shuiqiao.base.errors import InvalidInput, Unavailable
from shuiqiao.base.files import open_regular
from shuiqiao.standards.columns import (
    FAULT_COLUMN,
    FAULT_VALUE_COLUMN,
    MAX_BATCH_ROWS,
    STANDARD_KEY,
    check_fits,
    source_field,
)
from shuiqiao.standards.model import AmountUnit, Catalogue, Field, FieldType, RecordType, SourceProfile
from shuiqiao.standards.readers import csv_file, dialect, json_lines
from shuiqiao.standards.readers.parquet_file import decode_in_parts, open_parquet, plain_schema

_PARQUET_MAGIC = b"PAR1"
_LOOKED_AT_BYTES = 256
_BUFFER_BYTES = 1 << 20
_DAMAGE = (pa.ArrowException, OSError, ValueError, OverflowError)
"""What a damaged Parquet file makes its library raise."""


class Source(ABC):
    """An opened source. Rows are numbered from 1 in the order in which ``batches`` yields them.

    plan: which column becomes which field, and which are left out. row_count: the number of rows, where the format
    says so before reading.
    """

    plan: ColumnPlan
    form: str
    row_count: int | None = None
    dialect: dialect.Dialect | None = None
    header: csv_file.Header | None = None

    @property
    def record_type(self) -> RecordType:
        """The record type that it holds."""
        return self.plan.record_type

    def batches(self, max_rows: int) -> Iterator[pa.RecordBatch]:
        """Return source batches of 1 to max_rows rows, for ``validation.validate_batch``; may be called again.

        Raises InvalidInput ``standards.file_unreadable`` where the file breaks off or is damaged.
        """
        if not 1 <= max_rows <= MAX_BATCH_ROWS:
            raise InvalidInput(
                "standards.batch_too_large", f"batches of {max_rows} rows where 1 to {MAX_BATCH_ROWS} are allowed"
            )
        return self._read(max_rows)

    @abstractmethod
    def _read(self, max_rows: int) -> Iterator[pa.RecordBatch]: ...


def open_source(path: Path, *, record_type: RecordType | None, catalogue: Catalogue) -> Source:
    """Open a source file of the named record type, or of the one that its columns show.

    Raises Unavailable ``standards.file_missing``; InvalidInput ``standards.file_empty``,
    ``standards.file_unreadable``, ``standards.column_type_unfit``, ``standards.encoding_unknown`` and those of
    ``recognise_columns``. Every message names the file.
    """
    start = _first_bytes(path)
    is_parquet = start.startswith(_PARQUET_MAGIC)
    if not is_parquet and path.suffix.lower() == ".parquet":
        raise _unreadable(path, ValueError("it is named as a Parquet file and does not begin as one, with PAR1"))
    make = _ParquetSource if is_parquet else _JsonLinesSource if json_lines.starts_as_json(start) else _CsvSource
    try:
        return make(path, record_type=record_type, catalogue=catalogue)
    except InvalidInput as error:
        name = repr(path.name[:100])
        raise (error if name in error.message else error.within(name)) from error


def _first_bytes(path: Path) -> bytes:
    try:
        with open_regular(path) as stream:
            start = stream.read(_LOOKED_AT_BYTES)
    except OSError as error:
        # A folder too: its bytes are not damaged, another file is to be named.
        raise Unavailable("standards.file_missing", f"{path} cannot be read: {error.strerror}") from error
    if not start:
        raise InvalidInput("standards.file_empty", f"{path.name[:100]!r} holds no byte")
    return start


class _ParquetSource(Source):
    """A Parquet file, read a few pages at a time."""

    form = "Parquet"

    def __init__(self, path: Path, *, record_type: RecordType | None, catalogue: Catalogue) -> None:
        self._path = path
        with self._open() as file:
            schema = plain_schema(file.schema_arrow)
            self.row_count = file.metadata.num_rows
        self.plan = _recognise_schema(schema, record_type=record_type, catalogue=catalogue)
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

    def _read(self, max_rows: int) -> Iterator[pa.RecordBatch]:
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


class _TextSource(Source):
    """A file of text, whose columns are texts under their positions."""

    def __init__(self, path: Path, plan: ColumnPlan) -> None:
        self._path, self.plan = path, plan
        self._fields = [source_field(column.field, pa.string(), unit=column.unit) for column in plan.columns]

    def _read(self, max_rows: int) -> Iterator[pa.RecordBatch]:
        for cut in self._cut():
            arrays = [cut.column(column.position) for column in self.plan.columns]
            fields = list(self._fields)
            if FAULT_COLUMN in cut.schema.names:
                arrays += [cut.column(FAULT_COLUMN), cut.column(FAULT_VALUE_COLUMN)]
                fields += [pa.field(FAULT_COLUMN, pa.string()), pa.field(FAULT_VALUE_COLUMN, pa.string())]
            named = pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))
            for start in range(0, named.num_rows, max_rows):
                yield named.slice(start, max_rows)

    @abstractmethod
    def _cut(self) -> Iterator[pa.RecordBatch]: ...


class _CsvSource(_TextSource):
    """A CSV file, read a block at a time."""

    form = "CSV"

    def __init__(self, path: Path, *, record_type: RecordType | None, catalogue: Catalogue) -> None:
        found = _recognise_text(path, record_type=record_type, catalogue=catalogue)
        super().__init__(path, found[2])
        self.dialect, self.header, _ = self._found = found

    def _cut(self) -> Iterator[pa.RecordBatch]:
        found, header, _ = self._found
        with dialect.opened(self._path, found) as stream:
            stream.seek(header.end)
            yield from csv_file.RowCutter(found, columns=len(header.names)).read_rows(stream)


class _JsonLinesSource(_TextSource):
    """A file with a JSON object in each line."""

    form = "NDJSON"

    def __init__(self, path: Path, *, record_type: RecordType | None, catalogue: Catalogue) -> None:
        with open_regular(path) as stream:
            self._names = json_lines.names_of(stream)
        if not self._names:
            raise csv_file.no_header(
                "is no JSON object of plain values, each named once: write one such object a line (NDJSON)"
            )
        super().__init__(path, recognise_columns(self._names, catalogue=catalogue, record_type=record_type))

    def _cut(self) -> Iterator[pa.RecordBatch]:
        with open_regular(self._path) as stream:
            rows = json_lines.read_lines(stream, self._names)
            yield from csv_file.in_batches(rows, columns=len(self._names))


def _recognise_text(
    path: Path, *, record_type: RecordType | None, catalogue: Catalogue
) -> tuple[dialect.Dialect, csv_file.Header, ColumnPlan]:
    """[STD-40]: return the dialect and the row near the start in which all names of columns have a meaning.

    Raises what the likeliest first row is refused with.
    """
    refused: list[tuple[int, InvalidInput]] = []
    for candidate in dialect.dialects_of(path):
        with dialect.opened(path, candidate) as stream:
            for header in csv_file.read_headers(stream, candidate):
                try:
                    plan = recognise_columns(header.names, catalogue=catalogue, record_type=record_type)
                except InvalidInput as error:
                    refused.append((-len(header.names), error))
                else:
                    return candidate, header, plan
    # Of the row that falls into most cells something can be said that helps.
    raise min(refused, key=itemgetter(0))[1] if refused else csv_file.no_header("is blank")


def _unreadable(path: Path, error: Exception) -> InvalidInput:
    return InvalidInput(
        "standards.file_unreadable",
        f"{path.name[:100]!r} is damaged or incomplete: {str(error)[:200]}",
        next_step="Fetch the file again from its source.",
    )


MAX_COLUMNS = 256
"""Most columns of a source."""

MAX_HEADER_CHARS = 200
"""Longest column name, in characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedColumn:
    """A column of the source, by its position, and the field that it becomes."""

    position: int
    source: str
    field: Field
    unit: AmountUnit


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnPlan:
    """How a source is read. layout: id of the source profile, or ``standard`` for the catalogue's own names."""

    record_type: RecordType
    layout: str
    columns: tuple[PlannedColumn, ...]
    ignored: tuple[str, ...] = ()
    natural_key_is_all: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fit:
    record_type: RecordType
    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    repeated: tuple[str, ...]

    def faults(self) -> int:
        return len(self.missing) + len(self.unknown) + len(self.repeated)

    def describe(self) -> str:
        parts = [
            f"{what} {', '.join(names[:8])}"
            for what, names in (("lacks", self.missing), ("does not know", self.unknown), ("repeats", self.repeated))
            if names
        ]
        return f"{self.record_type.id} {'; '.join(parts)}"


def recognise_columns(
    headers: Sequence[str], *, catalogue: Catalogue, record_type: RecordType | None = None
) -> ColumnPlan:
    """Return the plan for the columns of a source, of the named record type or of the only one that fits.

    Raises InvalidInput: ``standards.header_invalid`` (none, too many, too long, twice the same),
    ``standards.type_unrecognised`` (fits none or several; the message names the candidates) and
    ``standards.columns_wrong`` (the named type does not fit; the message says what is missing or unknown).
    """
    names = [header.strip().removeprefix("\ufeff") for header in headers]
    _check_headers(names)
    wanted = list(catalogue) if record_type is None else [record_type]
    plans = [plan for candidate in wanted if (plan := _plan_of(names, candidate, catalogue)) is not None]
    if len(plans) == 1:
        return plans[0]
    if plans:
        raise _ambiguous([plan.record_type for plan in plans])
    fits = sorted((_fit(names, candidate) for candidate in wanted), key=_Fit.faults)
    if record_type is not None:
        raise InvalidInput("standards.columns_wrong", f"the columns do not fit: {fits[0].describe()[:600]}")
    nearest = " | ".join(fit.describe()[:300] for fit in fits[:3])
    raise InvalidInput(
        "standards.type_unrecognised", f"no record type has the columns {', '.join(names)[:300]}; nearest: {nearest}"
    )


def _ambiguous(candidates: Sequence[RecordType]) -> InvalidInput:
    """[STD-32]: two meanings are no meaning."""
    ids = ", ".join(candidate.id for candidate in candidates)
    return InvalidInput(
        "standards.type_unrecognised",
        f"the columns fit several record types: {ids}",
        next_step="Name the record type, e.g. with --type.",
    )


def _check_headers(names: Sequence[str]) -> None:
    if not names or len(names) > MAX_COLUMNS:
        raise InvalidInput("standards.header_invalid", f"{len(names)} columns where 1 to {MAX_COLUMNS} are allowed")
    for name in names:
        if not name or len(name) > MAX_HEADER_CHARS:
            raise InvalidInput(
                "standards.header_invalid",
                f"a column name has {len(name)} characters where 1 to {MAX_HEADER_CHARS} are allowed",
            )
        if names.count(name) > 1:
            raise InvalidInput("standards.header_invalid", f"the column {name!r} stands {names.count(name)} times")


def _plan_of(names: Sequence[str], record_type: RecordType, catalogue: Catalogue) -> ColumnPlan | None:
    for profile in catalogue.profiles:
        whole = profile.sources <= set(names) <= profile.sources | profile.ignored_sources
        if whole and profile.record_type == record_type.id:
            return _profile_plan(names, record_type, profile)
    if _fit(names, record_type).faults():
        return None
    meanings = _meanings(record_type)
    columns = [
        PlannedColumn(position=position, source=name, field=meanings[name][0], unit=meanings[name][1])
        for position, name in enumerate(names)
    ]
    return ColumnPlan(record_type=record_type, layout="standard", columns=tuple(columns))


def _profile_plan(names: Sequence[str], record_type: RecordType, profile: SourceProfile) -> ColumnPlan:
    columns = tuple(
        PlannedColumn(
            position=names.index(column.source),
            source=column.source,
            field=record_type.field(column.field),
            unit=column.unit,
        )
        for column in profile.columns
    )
    ignored = tuple(name for name in names if name in profile.ignored_sources)
    return ColumnPlan(
        record_type=record_type,
        layout=profile.id,
        columns=columns,
        ignored=ignored,
        natural_key_is_all=profile.natural_key == "all",
    )


def _meanings(record_type: RecordType) -> dict[str, tuple[Field, AmountUnit]]:
    """[STD-31]: canonical names are in fen, as they say; Chinese names, source codes and aliases are in yuan."""
    meanings: dict[str, tuple[Field, AmountUnit]] = {}
    for entry in record_type.fields:
        outside = AmountUnit.YUAN if entry.type is FieldType.AMOUNT_FEN else AmountUnit.FEN
        for header in (entry.name_zh, entry.source_code, *entry.aliases):
            meanings[header] = (entry, outside)
        meanings[entry.name] = (entry, AmountUnit.FEN)
    return meanings


def _fit(names: Sequence[str], record_type: RecordType) -> _Fit:
    meanings = _meanings(record_type)
    targets = [meanings[name][0].name for name in names if name in meanings]
    return _Fit(
        record_type=record_type,
        missing=tuple(entry.name for entry in record_type.fields if entry.required and entry.name not in targets),
        unknown=tuple(name for name in names if name not in meanings),
        repeated=tuple(sorted({name for name in targets if targets.count(name) > 1})),
    )
