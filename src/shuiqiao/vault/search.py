"""Finds records by taxpayer, type and field values, with every version and what the ledger says of each.

By taxpayer it reads that taxpayer's part of the index; without one it first reads the files of every batch of the type
to see whose records are meant. What was erased is not found: its identity was destroyed with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.ids import Uscc
from shuiqiao.standards.columns import pc
from shuiqiao.standards.model import Catalogue, RecordType
from shuiqiao.vault.identity import taxpayer_prefix
from shuiqiao.vault.model import LeafLookup
from shuiqiao.vault.storage.batch_file import BatchFiles
from shuiqiao.vault.storage.index import Entry, IndexView, unpack_entries

MAX_FOUND = 1000
"""Versions of records found at once: bounds the answer; a search for more is to be narrowed."""

PENDING = "pending"
"""Status of a version whose batch the ledger does not have yet; the others are those of ``model.LeafStatus``."""

_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordQuery:
    """What to look for. values: canonical text by field name. number: any number in the natural key. None: any."""

    uscc: Uscc | None = None
    record_type: RecordType | None = None
    values: Mapping[str, str] = field(default_factory=dict[str, str])
    number: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundRecord:
    """One version of a record and its place.

    version: 1 for the first of ``versions``. anchored: log index of its batch's anchor, None if pending or not noted.
    key: the natural key, and what may advance, as canonical values. file, row: where it was first read.
    """

    standard: str
    batch: bytes
    index: int
    version: int
    versions: int
    status: str
    day: date
    anchored: int | None
    file: str
    row: int
    key: Mapping[str, Any]


def find_records(
    view: IndexView, query: RecordQuery, *, files: BatchFiles, catalogue: Catalogue, status_of: LeafLookup
) -> list[FoundRecord]:
    """Return every version of the records that a query fits, by type and taxpayer, oldest version first.

    Raises InvalidInput ``vault.query_empty``, ``standards.field_unknown``,
    ``vault.found_too_many``.
    """
    if query.uscc is None and query.number is None and not query.values:
        raise InvalidInput(
            "vault.query_empty", "nothing to look for was named", next_step="Name a taxpayer, a number or a field."
        )
    found: list[FoundRecord] = []
    for record_type in [query.record_type] if query.record_type is not None else list(catalogue):
        if view.type_number(record_type.id) is None or not _fits(record_type, query):
            continue
        search = _Search(view=view, query=query, record_type=record_type, files=files, status_of=status_of)
        for uscc in [query.uscc] if query.uscc is not None else sorted(search.taxpayers()):
            found += search.versions(uscc)
            if len(found) > MAX_FOUND:
                raise InvalidInput("vault.found_too_many", f"more than {MAX_FOUND} versions of records fit")
    return found


def shown_fields(record_type: RecordType) -> tuple[str, ...]:
    """Return the fields of a type whose values a search shows."""
    series = () if record_type.series is None else record_type.series.fields
    return tuple(dict.fromkeys((*record_type.natural_key, *series, *record_type.advances)))


def _fits(record_type: RecordType, query: RecordQuery) -> bool:
    """Whether a type has the fields that are asked for; one that was named must have them."""
    if query.record_type is not None:
        for name in query.values:
            record_type.field(name)
    return set(query.values) <= set(record_type.field_names) and (query.number is None or bool(_numbers(record_type)))


def _numbers(record_type: RecordType) -> list[str]:
    return [name for name in record_type.natural_key if name.endswith("_no")]


@dataclass(kw_only=True)
class _Search:
    """A search within one record type."""

    view: IndexView
    query: RecordQuery
    record_type: RecordType
    files: BatchFiles
    status_of: LeafLookup

    def __post_init__(self) -> None:
        self._hidden = set(self.view.pending_batches())
        self._shown = shown_fields(self.record_type)

    def taxpayers(self) -> set[str]:
        """Return whose records fit, from the files of every batch of the type."""
        found: set[str] = set()
        for row in self.view.batches():
            if row.standard == self.record_type.standard_id and not row.erased:
                rows = self._read(row.id, range(row.count))
                fitting = rows.filter(pa.array(self._mask(rows)))
                found.update(fitting.column(self.record_type.taxpayer_field).unique().to_pylist())
        return found

    def versions(self, uscc: str) -> Iterator[FoundRecord]:
        """Yield every version of a taxpayer's records of which one version fits."""
        number = self.view.type_number(self.record_type.id)
        assert number is not None
        records = [unpack_entries(value) for value in self.view.records(taxpayer_prefix(number, uscc))]
        rows = self._rows_of([entry for versions in records for entry in versions])
        for versions in records:
            if any(_place(entry) in rows for entry in versions):
                for position, entry in enumerate(versions, start=1):
                    yield self._found(entry, position, len(versions), rows)

    def _rows_of(self, entries: Sequence[Entry]) -> dict[tuple[int, int], dict[str, Any]]:
        """Return the shown values of those entries that fit, by place."""
        found: dict[tuple[int, int], dict[str, Any]] = {}
        for number in sorted({entry.batch for entry in entries}):
            indexes = sorted(entry.index for entry in entries if entry.batch == number)
            rows = self._read(self.view.batch(number).id, indexes)
            fitting = np.flatnonzero(self._mask(rows))
            values = rows.select(list(self._shown)).take(pa.array(fitting)).to_pylist()
            found |= {(number, indexes[at]): row for at, row in zip(fitting.tolist(), values, strict=True)}
        return found

    def _read(self, batch: bytes, indexes: Sequence[int]) -> Any:
        return self.files.read_rows(batch, [*dict.fromkeys((*self._shown, *self.query.values))], indexes)

    def _mask(self, rows: Any) -> Any:
        """Return which rows fit, as booleans."""
        mask = np.ones(rows.num_rows, dtype=np.bool_)
        for name, value in self.query.values.items():
            mask &= _equal(rows.column(name), value)
        if self.query.number is not None:
            numbers = [_equal(rows.column(name), self.query.number) for name in _numbers(self.record_type)]
            mask &= np.any(numbers, axis=0)
        return mask

    def _found(
        self, entry: Entry, version: int, versions: int, rows: Mapping[tuple[int, int], Mapping[str, Any]]
    ) -> FoundRecord:
        batch = self.view.batch(entry.batch)
        is_pending = entry.batch in self._hidden
        return FoundRecord(
            standard=batch.standard,
            batch=batch.id,
            index=entry.index,
            version=version,
            versions=versions,
            status=PENDING if is_pending else str(self.status_of(batch.id, entry.index)),
            day=_EPOCH + timedelta(days=entry.day),
            anchored=batch.committed if batch.committed is not None and batch.committed >= 0 else None,
            file=self.view.source(entry.source),
            row=entry.row,
            key=rows.get(_place(entry), {}),
        )


def _place(entry: Entry) -> tuple[int, int]:
    return entry.batch, entry.index


def _equal(column: Any, value: str) -> Any:
    """Return where a column, as canonical text, is a value; an empty cell is none."""
    same = pc.equal(column.cast(pa.string()), value).fill_null(False)  # noqa: FBT003  # Arrow's fill value
    return np.asarray(same.to_numpy(zero_copy_only=False), dtype=np.bool_)
