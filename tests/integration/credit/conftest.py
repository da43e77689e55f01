"""The real invoices as canonical tables. The bank's rating and the firms' names are never read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from shuiqiao.features.engine import FeatureEngine

_SIDES = {"invoice_issued": ("output", "buyer_id"), "invoice_received": ("input", "seller_id")}


@pytest.fixture(scope="session")
def real_invoices(data_folder: Path) -> dict[str, pa.Table]:
    return {
        record_type: duckdb.sql(f"""
            SELECT DISTINCT firm_id AS uscc, invoice_no, issue_date, status, is_red_letter,
                CAST(ROUND(amount * 100) AS BIGINT) AS amount_fen, CAST(ROUND(tax * 100) AS BIGINT) AS tax_fen,
                CAST(ROUND(total * 100) AS BIGINT) AS total_fen, {partner} AS counterparty_id
            FROM '{data_folder / "cumcm2020c" / f"{name}_invoices_att1.parquet"}'
            WHERE ABS(ROUND((amount + tax - total) * 100)) = 0""").to_arrow_table()
        for record_type, (name, partner) in _SIDES.items()
    }


@pytest.fixture(scope="session")
def real_outcomes(data_folder: Path) -> dict[str, bool]:
    path = data_folder / "cumcm2020c" / "enterprises_att1.parquet"
    return dict(duckdb.sql(f"SELECT firm_id, defaulted FROM '{path}' ORDER BY firm_id").fetchall())


@pytest.fixture(scope="session")
def engine() -> Iterator[FeatureEngine]:
    with FeatureEngine() as engine:
        yield engine


@pytest.fixture(scope="session")
def of_firm(real_invoices) -> Callable[[str], dict[str, pa.Table]]:
    def select(firm: str) -> dict[str, pa.Table]:
        import pyarrow.compute as pc

        return {name: table.filter(pc.equal(table.column("uscc"), firm)) for name, table in real_invoices.items()}

    return select
