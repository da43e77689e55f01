"""The reader of the research data set, on small files of its layout: what it takes, refuses and never touches."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shuiqiao.base.errors import InvalidInput
from shuiqiao.sandbox.economy.cumcm2020c import CHURN, ENTERPRISES, INVOICES, load_cumcm2020c


def enterprises(**changes: Any) -> pa.Table:
    columns: dict[str, Any] = {
        "firm_id": ["X1", "X2", "X3"],
        "firm_name": ["secret one", "secret two", "secret three"],
        "credit_rating": ["A", "B", "D"],
        "defaulted": [False, False, True],
    }
    return pa.table({**columns, **changes})


def churn(**changes: Any) -> pa.Table:
    columns: dict[str, Any] = {
        "annual_rate": [0.04, 0.0425],
        "churn_A": [0.0, 0.1],
        "churn_B": [0.0, 0.05],
        "churn_C": [0.0, 0.06],
    }
    return pa.table({**columns, **changes})


def invoices(last: date) -> pa.Table:
    return pa.table({"firm_id": ["X1", "X2"], "issue_date": pa.array([date(2019, 1, 2), last], pa.date32())})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pq.write_table(enterprises(), tmp_path / ENTERPRISES)
    pq.write_table(churn(), tmp_path / CHURN)
    pq.write_table(invoices(date(2020, 2, 20)), tmp_path / INVOICES["invoice_issued"])
    pq.write_table(invoices(date(2020, 2, 21)), tmp_path / INVOICES["invoice_received"])
    return tmp_path


def refused(folder: Path) -> str:
    with pytest.raises(InvalidInput) as refusal:
        load_cumcm2020c(folder)
    return refusal.value.code


def test_it_gives_applicants_files_churn_and_the_last_day(folder: Path) -> None:
    population = load_cumcm2020c(folder)

    assert [(entry.uscc, entry.defaulted) for entry in population.applicants] == [
        ("X1", False),
        ("X2", False),
        ("X3", True),
    ]
    assert date(2020, 2, 21) == population.as_of
    assert [("invoice_issued", folder / INVOICES["invoice_issued"])] == [
        (file.record_type, file.path) for file in population.record_files[:1]
    ]
    assert {band: curve.rates[1] for band, curve in population.churn.items()} == dict.fromkeys("ABC", Decimal("0.0425"))
    assert {band: curve.churn[1] for band, curve in population.churn.items()} == {
        "A": Decimal("0.1"),
        "B": Decimal("0.05"),
        "C": Decimal("0.06"),
    }


def test_neither_rating_nor_name_is_passed_on(folder: Path) -> None:
    shown = repr(load_cumcm2020c(folder).applicants)

    assert "secret" not in shown
    assert "rating" not in shown


def test_the_rating_column_is_not_even_needed(folder: Path) -> None:
    pq.write_table(enterprises().drop_columns(["credit_rating", "firm_name"]), folder / ENTERPRISES)

    assert len(load_cumcm2020c(folder).applicants) == 3


def test_dates_are_read_from_the_column_where_there_are_no_statistics(folder: Path) -> None:
    pq.write_table(invoices(date(2021, 5, 6)), folder / INVOICES["invoice_issued"], write_statistics=False)

    assert date(2021, 5, 6) == load_cumcm2020c(folder).as_of


@pytest.mark.parametrize("name", [ENTERPRISES, CHURN, *INVOICES.values()])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(InvalidInput) as refusal:
        load_cumcm2020c(folder)

    assert refusal.value.code == "sandbox.data_file_missing"
    assert name in refusal.value.message


@pytest.mark.parametrize("name", [ENTERPRISES, CHURN, *INVOICES.values()])
@pytest.mark.parametrize("content", [b"", b"PAR1", b"firm_id,defaulted\nX1,1\n"])
def test_what_is_no_parquet_is_refused(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)

    assert refused(folder) == "sandbox.data_file_malformed"


@pytest.mark.parametrize("name", [ENTERPRISES, CHURN, *INVOICES.values()])
def test_a_file_cut_in_half_is_refused(folder: Path, name: str) -> None:
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) // 2])

    assert refused(folder) == "sandbox.data_file_malformed"


@pytest.mark.parametrize(
    ("table", "code"),
    [
        (enterprises().drop_columns(["defaulted"]), "sandbox.data_column_missing"),
        (enterprises(defaulted=["no", "no", "yes"]), "sandbox.data_column_type"),
        (enterprises(firm_id=[1, 2, 3]), "sandbox.data_column_type"),
        (enterprises().slice(0, 0), "sandbox.data_row_count"),
        (enterprises(firm_id=["X1", "X2", "X1"]), "sandbox.data_firm_repeated"),
        (enterprises(firm_id=["X1", "X2", "../x"]), "sandbox.data_firm_id_invalid"),
        (enterprises(firm_id=["X1", "X2", None]), "sandbox.data_value_missing"),
        (enterprises(defaulted=[False, None, True]), "sandbox.data_value_missing"),
    ],
)
def test_a_wrong_enterprise_file_is_refused(folder: Path, table: pa.Table, code: str) -> None:
    pq.write_table(table, folder / ENTERPRISES)

    assert code == refused(folder)


@pytest.mark.parametrize(
    ("table", "code"),
    [
        (churn(annual_rate=[0.05, 0.05]), "sandbox.data_churn_invalid"),
        (churn(annual_rate=[0.05, 0.04]), "sandbox.data_churn_invalid"),
        (churn(churn_A=[0.0, 1.5]), "sandbox.data_churn_invalid"),
        (churn(churn_A=[0.0, float("nan")]), "sandbox.data_churn_invalid"),
        (churn(churn_B=["0", "1"]), "sandbox.data_column_type"),
        (churn().drop_columns(["churn_C"]), "sandbox.data_column_missing"),
    ],
)
def test_a_wrong_churn_file_is_refused(folder: Path, table: pa.Table, code: str) -> None:
    pq.write_table(table, folder / CHURN)

    assert code == refused(folder)


def test_invoices_without_a_date_are_refused(folder: Path) -> None:
    empty = pa.table({"firm_id": pa.array([], pa.string()), "issue_date": pa.array([], pa.date32())})
    pq.write_table(empty, folder / INVOICES["invoice_issued"])

    assert refused(folder) == "sandbox.data_dates_missing"
