"""The files of an economy: accepted by the shared standard without one issue, and free of what must stay hidden."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shuiqiao.base.errors import Conflict
from shuiqiao.sandbox.economy.files import record_tables, write_economy
from shuiqiao.sandbox.economy.generation import Economy
from shuiqiao.sandbox.economy.model import Case, EconomyFiles
from shuiqiao.standards.publication import load_catalogue
from shuiqiao.standards.readers.source import open_source
from shuiqiao.standards.validation import validate_batch

TYPES = {
    "registration",
    "tax_credit_grade",
    "filing",
    "payment",
    "arrears",
    "violation",
    "invoice_issued",
    "invoice_received",
}


def test_there_is_one_file_per_record_type(economy_files: EconomyFiles) -> None:
    assert {file.record_type for file in economy_files.population.record_files} == TYPES
    assert all(file.path.is_file() for file in economy_files.population.record_files)


@pytest.mark.parametrize("record_type", sorted(TYPES))
def test_the_standard_recognises_and_accepts_every_row(economy_files: EconomyFiles, record_type: str) -> None:
    path = economy_files.folder / "tax" / f"{record_type}.parquet"
    source = open_source(path, record_type=None, catalogue=load_catalogue())
    rows, issues = 0, []
    for batch in source.batches(65_536):
        checked = validate_batch(source.record_type, batch, first_row=rows)
        rows += batch.num_rows
        issues += checked.issues

    assert record_type == source.record_type.id
    assert issues == []
    assert economy_files.rows[record_type] == rows
    assert rows > 0


def test_records_in_memory_are_those_of_the_files(economy: Economy, economy_files: EconomyFiles) -> None:
    groups = list(record_tables(economy))
    assert [number for numbers, _ in groups for number in numbers] == [case.taxpayer.uscc for case in economy.cases()]
    for file in economy_files.population.record_files:
        found = pa.concat_tables([tables[file.record_type] for _, tables in groups])
        assert pq.read_table(file.path).equals(found)


@pytest.mark.parametrize("record_type", sorted(TYPES))
def test_no_natural_key_repeats(economy_files: EconomyFiles, record_type: str) -> None:
    kind = load_catalogue().get(record_type)
    columns = list(kind.natural_key)
    table = pq.read_table(economy_files.folder / "tax" / f"{record_type}.parquet", columns=columns)
    keys = list(zip(*(table.column(name).to_pylist() for name in columns), strict=True))

    assert len(keys) == len(set(keys))


def test_file_rows_equal_the_cases(economy_files: EconomyFiles, cases: tuple[Case, ...]) -> None:
    assert sum(len(case.facts.issued) for case in cases) == economy_files.rows["invoice_issued"]
    assert sum(len(case.facts.received) for case in cases) == economy_files.rows["invoice_received"]
    assert (
        sum(filing.filed_on is not None for case in cases for filing in case.facts.filings)
        == (economy_files.rows["filing"])
    )


def test_written_totals_equal_the_cases(economy_files: EconomyFiles, cases: tuple[Case, ...]) -> None:
    table = pq.read_table(economy_files.folder / "tax" / "invoice_issued.parquet")
    written = list(zip(table["uscc"].to_pylist(), table["total_fen"].to_pylist(), strict=True))
    expected = [(case.taxpayer.uscc, total) for case in cases for total in case.facts.issued.total_fen.tolist()]

    assert expected == written


def test_the_population_lists_every_taxpayer_with_its_outcome(
    economy_files: EconomyFiles, cases: tuple[Case, ...]
) -> None:
    expected = [(case.taxpayer.uscc, case.defaulted, case.bank_view) for case in cases]

    assert expected == [(entry.uscc, entry.defaulted, entry.bank_view) for entry in economy_files.population.applicants]


def test_outcomes_and_forgeries_stand_in_the_truth_folder_only(
    economy_files: EconomyFiles, cases: tuple[Case, ...]
) -> None:
    truth = pq.read_table(economy_files.truth_files["outcome"])
    forgeries = pq.read_table(economy_files.truth_files["forgery"])

    assert [case.defaulted for case in cases] == truth["defaulted"].to_pylist()
    assert any(case.defaulted for case in cases)
    assert forgeries.num_rows > 0
    for path in sorted(economy_files.folder.rglob("*.parquet")):
        names = set(pq.read_schema(path).names)
        if path.parent.name != "truth":
            assert set() == names & {"defaulted", "forgery"}


def test_no_file_carries_health_under_any_name(economy_files: EconomyFiles, cases: tuple[Case, ...]) -> None:
    # Health is a double; the files have none, so it cannot hide under another name.
    for path in sorted(economy_files.folder.rglob("*.parquet")):
        schema = pq.read_schema(path)
        assert not any(str(field.type) in {"double", "float", "halffloat"} for field in schema)
        assert not any("health" in name or "life" in name or "risk" in name for name in schema.names)


def test_the_bank_gets_no_tax_record(economy_files: EconomyFiles) -> None:
    applicant = set(pq.read_schema(economy_files.bank_files["applicant"]).names)

    assert set() == applicant & {"grade", "tax_payable_fen", "tax_due_fen", "filed_on", "score"}


def test_the_same_economy_gives_the_same_tables(economy: Economy, economy_files: EconomyFiles, tmp_path: Path) -> None:
    again = write_economy(economy, tmp_path / "again")

    for path in sorted(economy_files.folder.rglob("*.parquet")):
        assert pq.read_table(path).equals(pq.read_table(again.folder / path.relative_to(economy_files.folder)))


def test_a_folder_with_files_in_it_is_refused(economy: Economy, tmp_path: Path) -> None:
    (tmp_path / "something").write_text("here")
    with pytest.raises(Conflict) as refusal:
        write_economy(economy, tmp_path)

    assert refusal.value.code == "sandbox.folder_not_empty"


def test_the_churn_curves_rise_from_nothing_and_spare_weaker_bands(economy_files: EconomyFiles) -> None:
    curves = economy_files.population.churn

    assert list(curves) == ["A", "B", "C"]
    for curve in curves.values():
        assert (curve.rates[0], curve.rates[-1], len(curve.rates)) == (Decimal("0.04"), Decimal("0.15"), 45)
        assert curve.churn[0] == 0
        assert all(before < after < 1 for before, after in pairwise(curve.churn))
    for strong, middle, weak in zip(*(curve.churn for curve in curves.values()), strict=True):
        assert strong >= middle >= weak
