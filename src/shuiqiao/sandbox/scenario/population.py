"""Who takes part in a run: the synthetic economy, or the research data set, in one shape."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from shuiqiao.base.words import Words
from shuiqiao.lending.model import PaperInvoice
from shuiqiao.sandbox.economy.cumcm2020c import load_cumcm2020c
from shuiqiao.sandbox.economy.files import write_economy
from shuiqiao.sandbox.economy.generation import generate_economy
from shuiqiao.sandbox.economy.model import Population, RecordFile

SYNTHETIC_AS_OF = date(2026, 9, 30)
"""The day on which synthetic applicants are judged."""

RESEARCH_REQUEST_FEN = 100_000_000
"""One million yuan: what every firm of the research data is assumed to ask for."""

_LATE_ROWS = 5


COMMON_ASSUMPTIONS = (
    Words(
        en="The share of customers lost at a rate (churn), the loss given default and the cost of funds are "
        "assumptions.",
        zh="客户流失曲线、违约损失率与资金成本为假设值。",
    ),
    Words(
        en="Decision times are of this machine with all institutions in one process; network delays are not measured.",
        zh="审批耗时为本机单进程内各机构合计，未包含网络时延。",
    ),
    Words(en="There is no interface to a credit bureau in this run.", zh="本次运行未接入征信机构。"),
)

SYNTHETIC_ASSUMPTIONS = (
    Words(
        en="Taxpayers are synthetic: every figure about risk says how the software works, not how firms behave.",
        zh="纳税人为模拟数据：风险类指标仅说明软件运行方式，不代表真实企业行为。",
    ),
    Words(
        en="Defaults depend on a hidden health that no party sees; its weight is an assumption.",
        zh="违约由各方均不可见的隐含健康度决定，其权重为假设值。",
    ),
)

RESEARCH_ASSUMPTIONS = (
    Words(
        en="Invoices and outcomes are real; firms are pseudonyms.",
        zh="发票与违约结果为真实数据，企业为代号。",
    ),
    Words(
        en="The data has no loan or default dates, so look-ahead in the outcome cannot be excluded.",
        zh="数据没有放款与违约日期，无法排除结果中的前视偏差。",
    ),
    Words(
        en="There is no tax credit grade, filing or payment in the data: the product has no grade gate.",
        zh="数据中没有纳税信用等级、申报与缴款：产品不设等级准入。",
    ),
    Words(
        en="The bank's own rating column is not used, because it leaks the outcome.",
        zh="银行自有评级列泄露结果，未使用。",
    ),
    Words(
        en="Every firm is assumed to ask for one million yuan, because the data has no requests.",
        zh="数据中没有申请金额，假设每户申请一百万元。",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunData:
    """A population with what a bank holds besides. source, assumptions: what it is, for people."""

    population: Population
    product: str
    is_synthetic: bool
    papers: Mapping[str, tuple[PaperInvoice, ...]]
    source: Words
    assumptions: tuple[Words, ...]

    def requested_fen(self, taxpayer: int) -> int:
        """Return what the n-th applicant asks for."""
        view = self.population.applicants[taxpayer].bank_view
        return RESEARCH_REQUEST_FEN if view is None else view.requested_fen


def synthetic_data(folder: Path, *, taxpayers: int, seed: int, as_of: date = SYNTHETIC_AS_OF) -> RunData:
    """Generate an economy and write it into a folder, with a late export that holds what must be kept out."""
    files = write_economy(generate_economy(taxpayers=taxpayers, seed=seed, as_of=as_of), folder)
    population = files.population
    return RunData(
        population=replace(population, record_files=(*population.record_files, _late_export(population))),
        product="tax-credit-loan",
        is_synthetic=True,
        papers=_papers(files.bank_files["invoice_copy"]),
        source=Words(en=f"{taxpayers} synthetic taxpayers, seed {seed}", zh=f"{taxpayers} 户模拟纳税人，种子 {seed}"),
        assumptions=(*SYNTHETIC_ASSUMPTIONS, *COMMON_ASSUMPTIONS),
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
        source=Words(
            en=f"real invoices of {firms} enterprises (cumcm2020c, att1)",
            zh=f"{firms} 户企业的真实发票（cumcm2020c，附件一）",
        ),
        assumptions=(*RESEARCH_ASSUMPTIONS, *COMMON_ASSUMPTIONS),
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
