"""``write_economy``: one Parquet file per record type in canonical columns, the bank's files, and the truth apart.

FOLDER/tax/<record type>.parquet      for the bureau to ingest, columns of the standard's catalogue
FOLDER/bank/<file>.parquet            what the bank has without tax data
FOLDER/truth/<file>.parquet           outcomes and forgeries, for judging a run only

Files are written block by block, each in one pass. Health is in none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet

from shuiqiao.base.errors import Conflict
from shuiqiao.credit.pricing import ChurnCurve, exponential_churn
from shuiqiao.sandbox.economy.bank_files import BANK_TABLES, TRUTH_TABLES
from shuiqiao.sandbox.economy.generation import Economy
from shuiqiao.sandbox.economy.model import Applicant, Case, EconomyFiles, Population, RecordFile
from shuiqiao.sandbox.economy.records import RECORD_TABLES
from shuiqiao.standards.columns import canonical_schema
from shuiqiao.standards.publication import load_catalogue

pq: Any = pyarrow.parquet

BLOCKS_PER_GROUP = 8
"""Neighbourhoods per Parquet row group: 200 taxpayers, about 90,000 invoices in memory at a time."""

_CHURN_FROM = Decimal("0.04")
_CHURN_STEEPNESS = {"A": Decimal(24), "B": Decimal(21), "C": Decimal(20)}
_CHURN_RATES = tuple(Decimal(quarter_percent) / 400 for quarter_percent in range(16, 61))

Columns = Mapping[str, Sequence[Any] | pa.Array]
Tabulate = Callable[[int, Sequence[Case]], Columns]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    path: Path
    schema: pa.Schema
    tabulate: Tabulate


class _Writer:
    """Appends blocks of rows to one Parquet file and counts them."""

    def __init__(self, table: _Table) -> None:
        self._table = table
        self._file = pq.ParquetWriter(str(table.path), table.schema, compression="zstd")
        self.rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, seed: int, cases: Sequence[Case]) -> None:
        """Write the rows that a block of cases gives."""
        columns = self._table.tabulate(seed, cases)
        batch = record_batch(self._table.schema, columns)
        self._file.write_batch(batch)
        self.rows += batch.num_rows


def record_batch(schema: pa.Schema, columns: Columns) -> pa.RecordBatch:
    """Return a batch with the columns of a schema; a column that is not given is null throughout."""
    size = len(next(iter(columns.values())))
    arrays = [
        pa.array(columns[field.name], type=field.type) if field.name in columns else pa.nulls(size, field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def write_economy(economy: Economy, folder: Path) -> EconomyFiles:
    """Write an economy into a new or empty folder.

    Raises Conflict (``sandbox.folder_not_empty``): files of two economies must not mix.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Conflict("sandbox.folder_not_empty", f"{folder} is not a new or empty folder")
    tables = _tables(folder)
    applicants: list[Applicant] = []
    with ExitStack() as stack:
        writers = {name: stack.enter_context(_Writer(table)) for name, table in tables.items()}
        for cases in _groups(economy):
            applicants += [_applicant(case) for case in cases]
            for writer in writers.values():
                writer.append(economy.seed, cases)
    population = Population(
        as_of=economy.as_of,
        applicants=tuple(applicants),
        record_files=tuple(RecordFile(record_type=name, path=tables[name].path) for name in RECORD_TABLES),
        churn=assumed_churn(),
    )
    return EconomyFiles(
        folder=folder,
        population=population,
        bank_files={name: tables[name].path for name in BANK_TABLES},
        truth_files={name: tables[name].path for name in TRUTH_TABLES},
        rows={name: writer.rows for name, writer in writers.items()},
    )


def assumed_churn() -> dict[str, ChurnCurve]:
    """Return how many customers leave at an annual rate, by risk band: an assumption.

    Nobody leaves at 4 %, nearly everybody would at 15 %, better customers sooner.
    """
    return {
        band: exponential_churn(start=_CHURN_FROM, steepness=steepness, rates=_CHURN_RATES)
        for band, steepness in _CHURN_STEEPNESS.items()
    }


def _tables(folder: Path) -> dict[str, _Table]:
    """Make the folders and return every table to write, by name."""
    catalogue = load_catalogue()
    for room in ("tax", "bank", "truth"):
        (folder / room).mkdir(parents=True, exist_ok=True)
    tables = {
        name: _Table(
            path=folder / "tax" / f"{name}.parquet",
            schema=canonical_schema(catalogue.get(name)),
            tabulate=tabulate,
        )
        for name, tabulate in RECORD_TABLES.items()
    }
    for room, group in (("bank", BANK_TABLES), ("truth", TRUTH_TABLES)):
        for name, (schema, tabulate) in group.items():
            tables[name] = _Table(path=folder / room / f"{name}.parquet", schema=schema, tabulate=tabulate)
    return tables


def _groups(economy: Economy) -> Iterable[Sequence[Case]]:
    waiting: list[Case] = []
    for blocks, neighbourhood in enumerate(economy.neighbourhoods(), start=1):
        waiting += neighbourhood
        if blocks % BLOCKS_PER_GROUP == 0:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def _applicant(case: Case) -> Applicant:
    return Applicant(
        uscc=case.taxpayer.uscc,
        defaulted=case.defaulted,
        section=case.taxpayer.section,
        province_code=case.taxpayer.province_code,
        bank_view=case.bank_view,
    )
