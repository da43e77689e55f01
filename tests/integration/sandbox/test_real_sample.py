"""The reader against the real research data set."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from shuiqiao.sandbox.economy.cumcm2020c import load_cumcm2020c


def test_the_real_folder_gives_123_firms_with_27_defaults(data_folder: Path) -> None:
    population = load_cumcm2020c(data_folder / "cumcm2020c")

    assert (len(population.applicants), sum(entry.defaulted is True for entry in population.applicants)) == (123, 27)
    assert date(2020, 2, 21) == population.as_of
    assert [len(curve.rates) for curve in population.churn.values()] == [29] * 3
    assert {"invoice_issued", "invoice_received"} == {file.record_type for file in population.record_files}
