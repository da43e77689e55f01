"""Reads the folder of the research data set cumcm2020c into the shape that a scenario runs on.

The data: real invoices of 123 firms under pseudonyms with their credit record. Its ``credit_rating`` is one bank's own
rating and leaks the outcome (every D defaulted), so that column is never read. The outcome is the bank's loan book; the
firm's name is not needed and not read either. Invoice rows are not touched here: the standard's readers know these
files, and every odd row is theirs to report.
"""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.ids import Uscc
from shuiqiao.credit.pricing import ChurnCurve
from shuiqiao.sandbox.economy.model import Applicant, Population, RecordFile
from shuiqiao.standards.readers.parquet_file import decode_texts, open_parquet, plain_schema

ENTERPRISES = "enterprises_att1.parquet"
CHURN = "rate_churn_att3.parquet"
INVOICES = {
    "invoice_issued": "output_invoices_att1.parquet",
    "invoice_received": "input_invoices_att1.parquet",
}
MAX_ENTERPRISES = 100_000
"""Rows of the enterprise file; the real one has 123."""
MAX_CHURN_POINTS = 1_000
_MAX_TABLE_BYTES = 64 * 1024 * 1024
"""Of a file that is read whole; the real ones have a few kilobytes."""

_BANDS = ("A", "B", "C")
_FIRM_ID = re.compile(r"[0-9A-Z]{1,20}")


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def load_cumcm2020c(folder: Path) -> Population:
    """Return the population of the data set in a folder.

    ``as_of`` is the day of the last invoice. Raises InvalidInput: ``sandbox.data_file_missing``,
    ``sandbox.data_file_malformed``, ``sandbox.data_file_too_large``, ``sandbox.data_column_missing``,
    ``sandbox.data_column_type``, ``sandbox.data_row_count``, ``sandbox.data_firm_id_invalid``,
    ``sandbox.data_firm_repeated``, ``sandbox.data_value_missing``, ``sandbox.data_churn_invalid``,
    ``sandbox.data_dates_missing``.
    """
    applicants = _load_applicants(folder / ENTERPRISES)
    churn = _load_churn(folder / CHURN)
    files = tuple(RecordFile(record_type=name, path=folder / file) for name, file in INVOICES.items())
    return Population(
        as_of=max(_last_issue_date(file.path) for file in files),
        applicants=applicants,
        record_files=files,
        churn=churn,
    )


def _load_applicants(path: Path) -> tuple[Applicant, ...]:
    columns = _read_columns(path, {"firm_id": _is_text, "defaulted": pa.types.is_boolean}, max_rows=MAX_ENTERPRISES)
    seen: set[str] = set()
    for firm_id in columns["firm_id"]:
        if not _FIRM_ID.fullmatch(firm_id):
            raise InvalidInput(
                "sandbox.data_firm_id_invalid",
                f"{path.name}: {firm_id[:40]!r} is not a firm id of 1 to 20 digits and capital letters",
            )
        if firm_id in seen:
            raise InvalidInput("sandbox.data_firm_repeated", f"{path.name}: the firm {firm_id} stands there twice")
        seen.add(firm_id)
    return tuple(
        Applicant(uscc=Uscc(firm_id), defaulted=defaulted)
        for firm_id, defaulted in zip(columns["firm_id"], columns["defaulted"], strict=True)
    )


def _load_churn(path: Path) -> dict[str, ChurnCurve]:
    wanted = {"annual_rate": pa.types.is_floating, **{f"churn_{band}": pa.types.is_floating for band in _BANDS}}
    columns = _read_columns(path, wanted, max_rows=MAX_CHURN_POINTS)
    numbers = {name: tuple(_fraction(path, value) for value in values) for name, values in columns.items()}
    rates = numbers["annual_rate"]
    if list(rates) != sorted(set(rates)):
        raise InvalidInput("sandbox.data_churn_invalid", f"{path.name}: the annual rates do not rise from row to row")
    return {band: ChurnCurve(rates=rates, churn=numbers[f"churn_{band}"]) for band in _BANDS}


def _fraction(path: Path, value: float) -> Decimal:
    # A comparison with NaN is false, so NaN is refused here too.
    if not 0 <= value <= 1:
        raise InvalidInput("sandbox.data_churn_invalid", f"{path.name}: {value} is not a fraction between 0 and 1")
    return Decimal(repr(value))


def _read_columns(path: Path, wanted: dict[str, Any], *, max_rows: int) -> dict[str, list[Any]]:
    """Return whole columns of a small Parquet file as Python values, without nulls."""
    file = _open(path)
    if path.stat().st_size > _MAX_TABLE_BYTES:
        raise InvalidInput(
            "sandbox.data_file_too_large",
            f"{path.name} has {path.stat().st_size} bytes where at most {_MAX_TABLE_BYTES} are read",
        )
    _check_columns(path, plain_schema(file.schema_arrow), wanted)
    rows = file.metadata.num_rows
    if not 1 <= rows <= max_rows:
        raise InvalidInput("sandbox.data_row_count", f"{path.name} has {rows} rows where 1 to {max_rows} are expected")
    columns = _values(path, file, list(wanted))
    for name, values in columns.items():
        if None in values:
            raise InvalidInput(
                "sandbox.data_value_missing", f"{path.name}: row {values.index(None)} has no value in {name}"
            )
    return columns


def _open(path: Path) -> Any:
    if not path.is_file():
        raise InvalidInput(
            "sandbox.data_file_missing",
            f"{path} is not there",
            next_step=f"name the folder that holds {ENTERPRISES}, {', '.join(INVOICES.values())} and {CHURN}",
        )
    try:
        return open_parquet(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _malformed(path, error) from error


def _values(path: Path, file: Any, names: list[str]) -> dict[str, list[Any]]:
    try:
        table = decode_texts(file.read(columns=names))
        return {name: table.column(name).to_pylist() for name in names}
    except (InvalidInput, pa.ArrowException, OSError, ValueError) as error:
        raise _malformed(path, error) from error


def _malformed(path: Path, error: Exception) -> InvalidInput:
    return InvalidInput(
        "sandbox.data_file_malformed", f"{path.name} is not a whole Parquet file: {str(error).splitlines()[0][:200]}"
    )


def _check_columns(path: Path, schema: Any, wanted: dict[str, Any]) -> None:
    for name, fits in wanted.items():
        if name not in schema.names:
            raise InvalidInput(
                "sandbox.data_column_missing",
                f"{path.name} has no column {name}, only {', '.join(schema.names)[:200]}",
            )
        kind = schema.field(name).type
        if not fits(kind):
            raise InvalidInput("sandbox.data_column_type", f"{path.name}: column {name} has the unfit type {kind}")


def _last_issue_date(path: Path) -> date:
    """Return the newest issue date of an invoice file from its column statistics, else from the column."""
    file = _open(path)
    _check_columns(path, plain_schema(file.schema_arrow), {"firm_id": _is_text, "issue_date": pa.types.is_date})
    position = file.schema_arrow.names.index("issue_date")
    newest: list[date] = []
    for group in range(file.metadata.num_row_groups):
        statistics = file.metadata.row_group(group).column(position).statistics
        if statistics is None or not statistics.has_min_max:
            newest = [day for day in _values(path, file, ["issue_date"])["issue_date"] if day is not None]
            break
        newest.append(statistics.max)
    if not newest:
        raise InvalidInput("sandbox.data_dates_missing", f"{path.name} has no invoice with an issue date")
    return max(newest)
