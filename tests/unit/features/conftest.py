"""Builders of canonical records, and one feature engine for the whole room (compiling the catalogue takes a second)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import pyarrow as pa
import pytest

from shuiqiao.features.engine import FeatureEngine
from shuiqiao.features.inputs import input_schema

AS_OF = date(2026, 3, 31)


@pytest.fixture(scope="session")
def engine() -> Iterator[FeatureEngine]:
    with FeatureEngine(threads=1) as engine:
        yield engine


@pytest.fixture
def records() -> Callable[..., pa.Table]:
    """records("filing", {...}, {...}): a canonical table; what is not given is null, the taxpayer is F1."""

    def build(record_type: str, *rows: dict[str, Any]) -> pa.Table:
        schema = input_schema(record_type)
        return pa.Table.from_pylist(
            [{name: row.get(name, "F1" if name == "uscc" else None) for name in schema.names} for row in rows],
            schema=schema,
        )

    return build


@pytest.fixture
def invoices(records) -> Callable[..., pa.Table]:
    """invoices("invoice_issued", (day, yuan), (day, yuan, {...})): valid blue invoices at 13 % to the buyer P1."""

    def build(record_type: str, *rows: tuple[Any, ...]) -> pa.Table:
        full = []
        for number, (day, yuan, *more) in enumerate(rows):
            row = {
                "invoice_no": f"{number:08d}",
                "issue_date": day,
                "status": "valid",
                "is_red_letter": yuan < 0,
                "amount_fen": yuan * 100,
                "tax_fen": yuan * 13,
                "total_fen": yuan * 113,
                "counterparty_id": "P1",
            }
            full.append(row | (more[0] if more else {}))
        return records(record_type, *full)

    return build


@pytest.fixture
def compute(engine) -> Callable[..., dict[str, Any]]:
    """compute(invoice_issued=...): the features of F1 on AS_OF as a dict."""

    def run(*, as_of: date = AS_OF, **tables: pa.Table) -> dict[str, Any]:
        return engine.compute(tables, population={"F1": as_of}).to_pylist()[0]

    return run
