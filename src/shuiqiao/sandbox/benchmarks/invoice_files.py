"""Seeded invoices in Parquet files, for loading an ingest: the shape of a bureau's extract, a taxpayer after the other.

Every file holds the invoices of some taxpayers in time order, with three disclosure groups, all optional columns
present, Chinese names among the counterparties. Everything follows from the seed; nothing is drawn from real firms.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shuiqiao.standards.columns import canonical_schema
from shuiqiao.standards.model import RecordType

FILE_RECORDS = 100_000
INVOICES_PER_TAXPAYER = 500
"""About two and a half years of a small firm in the real data set (median of 123 firms: 600 issued)."""

_FIRST_DAY, _DAYS = 19_358, 912
_COUNTERPARTIES = 20_000
_RATE_PERCENT = 13
_VOID_SHARE = 0.05


def write_invoice_files(folder: Path, *, record_type: RecordType, records: int, seed: int) -> list[Path]:
    """Write issued invoices into as many files as needed; return their paths in order."""
    names = pa.array([f"第{number:05d}号商贸有限公司" for number in range(_COUNTERPARTIES)])
    ids = pa.array([f"91440300MA5{number:07d}" for number in range(_COUNTERPARTIES)])
    paths: list[Path] = []
    for number, (start, count) in enumerate(_spans(records)):
        path = folder / f"invoices-{number:05d}.parquet"
        rows = _invoices(record_type, start=start, count=count, seed=seed, parties=(ids, names))
        pq.write_table(rows, path, compression="zstd", row_group_size=FILE_RECORDS)
        paths.append(path)
    return paths


def _spans(records: int) -> Iterator[tuple[int, int]]:
    for start in range(0, records, FILE_RECORDS):
        yield start, min(FILE_RECORDS, records - start)


def _invoices(record_type: RecordType, *, start: int, count: int, seed: int, parties: tuple[Any, Any]) -> pa.Table:
    random = np.random.default_rng([seed, start])
    serials = np.arange(start, start + count)
    taxpayers = serials // INVOICES_PER_TAXPAYER
    amounts = random.integers(10_000, 50_000_000, count)
    taxes = amounts * _RATE_PERCENT // 100
    days = _FIRST_DAY + (serials % INVOICES_PER_TAXPAYER) * _DAYS // INVOICES_PER_TAXPAYER
    other = random.integers(0, _COUNTERPARTIES, count)
    columns: dict[str, Any] = {
        "uscc": pa.array([f"91320100MA1{number:07d}" for number in taxpayers.tolist()]),
        "invoice_no": pa.array([f"2532{number:016d}" for number in serials.tolist()]),
        "issue_date": pa.array(days.astype(np.int32)).cast(pa.date32()),
        "status": pa.array(np.where(random.random(count) < _VOID_SHARE, "void", "valid")),
        "is_red_letter": pa.array(np.zeros(count, dtype=np.bool_)),
        "amount_fen": pa.array(amounts),
        "tax_fen": pa.array(taxes),
        "total_fen": pa.array(amounts + taxes),
        "tax_rate": pa.repeat("0.13", count),
        "counterparty_id": parties[0].take(other),
        "counterparty_name": parties[1].take(other),
    }
    schema = canonical_schema(record_type)
    arrays = [columns[name] if name in columns else pa.nulls(count, schema.field(name).type) for name in schema.names]
    return pa.Table.from_arrays(
        [array.cast(field.type) for array, field in zip(arrays, schema, strict=True)], schema=schema
    )
