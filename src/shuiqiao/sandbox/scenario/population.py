"""Who takes part in a run: the synthetic economy, or the research data set, in one shape."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from shuiqiao.credit.pricing import ChurnCurve
from shuiqiao.lending.papers import PaperInvoice
from shuiqiao.sandbox.economy.cumcm2020c import load_cumcm2020c
from shuiqiao.sandbox.economy.files import write_economy
from shuiqiao.sandbox.economy.generation import generate_economy
from shuiqiao.sandbox.economy.model import ChurnPoint, Population, RecordFile
from shuiqiao.sandbox.scenario import words

SYNTHETIC_AS_OF = date(2026, 9, 30)
"""The day on which synthetic applicants are judged."""

RESEARCH_REQUEST_FEN = 100_000_000
"""One million yuan: what every firm of the research data is assumed to ask for."""

_LATE_ROWS = 5

_BANDS = ("A", "B", "C")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunData:
    """A population with what a bank holds besides, and the words that say what it is."""

    population: Population
    product: str
    is_synthetic: bool
    papers: Mapping[str, tuple[PaperInvoice, ...]]
    source_en: str
    source_zh: str
    assumptions_en: tuple[str, ...]
    assumptions_zh: tuple[str, ...]

    @property
    def churn(self) -> dict[str, ChurnCurve]:
        """The churn curve per risk band."""
        return {band: _curve(self.population.churn, band) for band in _BANDS}

    def requested_fen(self, taxpayer: int) -> int:
        """Return what the n-th applicant asks for."""
        view = self.population.applicants[taxpayer].bank_view
        return RESEARCH_REQUEST_FEN if view is None else view.requested_fen


def synthetic_data(folder: Path, *, taxpayers: int, seed: int) -> RunData:
    """Generate an economy and write it into a folder, with a late export that holds what must be kept out."""
    files = write_economy(generate_economy(taxpayers=taxpayers, seed=seed, as_of=SYNTHETIC_AS_OF), folder)
    population = files.population
    return RunData(
        population=replace(population, record_files=(*population.record_files, _late_export(population))),
        product="tax-credit-loan",
        is_synthetic=True,
        papers=_papers(files.bank_files["invoice_copy"]),
        source_en=f"{taxpayers} synthetic taxpayers, seed {seed}",
        source_zh=f"{taxpayers} 户模拟纳税人，种子 {seed}",
        assumptions_en=(*words.SYNTHETIC_ASSUMPTIONS_EN, *words.COMMON_ASSUMPTIONS_EN),
        assumptions_zh=(*words.SYNTHETIC_ASSUMPTIONS_ZH, *words.COMMON_ASSUMPTIONS_ZH),
    )


def research_data(folder: Path) -> RunData:
    """Read the research data set cumcm2020c; raises InvalidInput ``sandbox.data_*``."""
    population = load_cumcm2020c(folder)
    firms = len(population.applicants)
    return RunData(
        population=population,
        product="invoice-loan",
        is_synthetic=False,
        papers={},
        source_en=f"real invoices of {firms} enterprises (cumcm2020c, att1)",
        source_zh=f"{firms} 户企业的真实发票（cumcm2020c，附件一）",
        assumptions_en=(*words.RESEARCH_ASSUMPTIONS_EN, *words.COMMON_ASSUMPTIONS_EN),
        assumptions_zh=(*words.RESEARCH_ASSUMPTIONS_ZH, *words.COMMON_ASSUMPTIONS_ZH),
    )


def _late_export(population: Population) -> RecordFile:
    """Write a second export of grades as bureaus get them: two rows that are known already, three that break a rule."""
    import pyarrow.parquet

    parquet: Any = pyarrow.parquet
    grades = next(file for file in population.record_files if file.record_type == "tax_credit_grade")
    rows: list[dict[str, Any]] = parquet.read_table(grades.path).slice(0, _LATE_ROWS).to_pylist()
    changes: tuple[dict[str, Any], ...] = ({}, {}, {"grade": "E"}, {"year": "next year"}, {"uscc": ""})
    path = grades.path.with_name("tax_credit_grade_late.csv")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(row | change for row, change in zip(rows, changes, strict=True))
    return RecordFile(record_type=grades.record_type, path=path)


def _papers(path: Path) -> dict[str, tuple[PaperInvoice, ...]]:
    import pyarrow.parquet

    found: dict[str, list[PaperInvoice]] = defaultdict(list)
    parquet: Any = pyarrow.parquet
    for row in parquet.read_table(path).to_pylist():
        found[row["uscc"]].append(
            PaperInvoice(
                paper=row["paper_id"],
                invoice_no=row["invoice_no"],
                issue_date=row["issue_date"],
                total_fen=row["total_fen"],
            )
        )
    return {taxpayer: tuple(papers) for taxpayer, papers in found.items()}


def _curve(points: tuple[ChurnPoint, ...], band: str) -> ChurnCurve:
    return ChurnCurve(
        rates=tuple(point.annual_rate for point in points), churn=tuple(point.churn[band] for point in points)
    )
