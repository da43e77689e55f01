"""``write_economy``: one Parquet file per record type in canonical columns, the bank's files, and the truth apart.

FOLDER/tax/<record type>.parquet      for the bureau to ingest, columns of the standard's catalogue
FOLDER/bank/<file>.parquet            what the bank has without tax data: no forgery mark, no outcome
FOLDER/truth/<file>.parquet           outcomes and forgeries, for judging a run only

One function per file makes its rows; a field of the standard that the economy does not model stays null. Files are
written block by block, each in one pass. Health is in none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet

from shuiqiao.base.errors import Conflict
from shuiqiao.credit.pricing import ChurnCurve, exponential_churn
from shuiqiao.sandbox.economy.filings import VAT
from shuiqiao.sandbox.economy.generation import Economy
from shuiqiao.sandbox.economy.invoices import invoice_numbers, join_rows
from shuiqiao.sandbox.economy.model import (
    Applicant,
    Case,
    EconomyFiles,
    Filing,
    FinancialStatement,
    InvoiceCopy,
    InvoiceRows,
    Population,
    RecordFile,
)
from shuiqiao.sandbox.economy.seeds import IntArray
from shuiqiao.sandbox.economy.taxpayers import RESERVED_REGION, party_names, uscc_texts
from shuiqiao.standards.columns import canonical_schema
from shuiqiao.standards.publication import load_catalogue
from shuiqiao.tax_credit.model import points_text

pc: Any = pyarrow.compute
pq: Any = pyarrow.parquet

Row = Mapping[str, Any]
Tabulate = Callable[[pa.Schema, int, Sequence[Case]], pa.RecordBatch]
"""Makes the rows of one file: from its schema, the economy's seed and some cases."""

BLOCKS_PER_GROUP = 8
"""Neighbourhoods per Parquet row group: 200 taxpayers, about 90,000 invoices in memory at a time."""

_RATE_TEXTS = {rate: f"0.{rate:02d}" for rate in (1, 3, 6, 9, 13)}
_CHURN_FROM = Decimal("0.04")
_CHURN_STEEPNESS = {"A": Decimal(24), "B": Decimal(21), "C": Decimal(20)}
_CHURN_RATES = tuple(Decimal(quarter_percent) / 400 for quarter_percent in range(16, 61))


def _rows(rows_of: Callable[[Case], Iterable[Row]]) -> Tabulate:
    """Return how a file is made of what each case gives, row by row."""

    def tabulate(schema: pa.Schema, _seed: int, cases: Sequence[Case]) -> pa.RecordBatch:
        rows = [{"uscc": case.taxpayer.uscc, **row} for case in cases for row in rows_of(case)]
        return pa.RecordBatch.from_pylist(rows, schema=schema)

    return tabulate


def _attributes(entry: object, *names: str) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in names}


def _registration(case: Case) -> Iterator[Row]:
    taxpayer = case.taxpayer
    yield {
        **_attributes(taxpayer, "registered_on", "province_code"),
        "taxpayer_name": taxpayer.name,
        "registration_serial": f"{RESERVED_REGION}{taxpayer.index:018d}",
        "status": "abnormal" if taxpayer.is_abnormal else "normal",
        "taxpayer_kind": taxpayer.kind.value,
        "industry_code": taxpayer.section,
        "registered_capital_fen": taxpayer.capital_fen,
        "staff_count": taxpayer.staff,
        "legal_rep_name": f"样例代表{taxpayer.legal_representative[-6:]}",
        "legal_rep_id_kind": "other",
        "legal_rep_id": taxpayer.legal_representative,
    }


def _grades(case: Case) -> Iterator[Row]:
    for grade in case.facts.grades:
        found = grade.assessment
        yield {
            **_attributes(grade, "year", "evaluated_on"),
            "grade": grade.letter.value,
            "score": None if found.points_tenths is None else points_text(found.points_tenths),
            "direct_d": found.is_direct_d,
        }


def _filings(case: Case) -> Iterator[Row]:
    """Yield the returns that were filed by ``as_of``."""
    for filing in case.facts.filings:
        if filing.filed_on is not None:
            yield {
                **_period(filing),
                **_attributes(filing, "due_on", "filed_on", "revenue_fen", "tax_payable_fen"),
                **_attributes(filing, "relief_fen", "prepaid_fen", "tax_due_fen"),
                "filing_kind": "original",
                "is_void": False,
                "tax_base_fen": filing.revenue_fen if filing.tax_code == VAT else None,
            }


def _period(filing: Filing) -> Row:
    return _attributes(filing, "tax_code", "tax_item", "period_from", "period_to")


def _payments(case: Case) -> Iterator[Row]:
    for payment in case.facts.payments:
        shown = _attributes(payment, "voucher_no", "due_on", "paid_on", "paid_fen")
        yield {**_period(payment.filing), **shown, "payment_kind": payment.kind}


def _arrears(case: Case) -> Iterator[Row]:
    for entry in case.facts.arrears:
        shown = _attributes(entry, "arrears_no", "due_on", "arose_on", "cleared_on", "due_fen", "owed_fen")
        yield {**_period(entry.filing), **shown, "payment_kind": "tax"}


def _violations(case: Case) -> Iterator[Row]:
    for entry in case.facts.violations:
        shown = _attributes(entry, "violation_no", "state", "registered_on", "first_offence_no_penalty", "penalty_fen")
        yield {**shown, "violation_kind": entry.kind, "violation_name": entry.name, "is_void": False}


def _issued(schema: pa.Schema, seed: int, cases: Sequence[Case]) -> pa.RecordBatch:
    rows = join_rows(tuple(case.facts.issued for case in cases))
    return _invoices(schema, seed, rows, owner=rows.seller, counterparty=rows.buyer)


def _received(schema: pa.Schema, seed: int, cases: Sequence[Case]) -> pa.RecordBatch:
    rows = join_rows(tuple(case.facts.received for case in cases))
    return _invoices(schema, seed, rows, owner=rows.buyer, counterparty=rows.seller)


def _invoices(
    schema: pa.Schema, seed: int, rows: InvoiceRows, *, owner: IntArray, counterparty: IntArray
) -> pa.RecordBatch:
    """Return invoices column by column: there are many of them."""
    columns = {
        "uscc": _spread(owner, lambda parties: uscc_texts(seed, parties)),
        "counterparty_id": _spread(counterparty, lambda parties: uscc_texts(seed, parties)),
        "counterparty_name": _spread(counterparty, lambda parties: party_names(seed, parties)),
        "invoice_no": invoice_numbers(rows.day, rows.serial),
        "issue_date": pa.array(rows.day.astype(np.int32)).cast(pa.date32()),
        "status": pc.if_else(pa.array(rows.is_void), "void", "valid"),
        "is_red_letter": rows.is_red,
        "invoice_kind": pc.if_else(pa.array(rows.is_special), "special", "ordinary"),
        "original_invoice_no": _originals(rows),
        **_attributes(rows, "amount_fen", "tax_fen", "total_fen"),
        "tax_rate": _spread(rows.rate, lambda rates: [_RATE_TEXTS[rate] for rate in rates.tolist()]),
    }
    arrays = [
        pa.array(columns[field.name], type=field.type) if field.name in columns else pa.nulls(len(rows), field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _spread(parties: IntArray, name: Callable[[IntArray], list[str]]) -> pa.Array:
    """Return a text per row, made once per distinct party."""
    distinct, position = np.unique(parties, return_inverse=True)
    return pa.array(name(distinct), type=pa.string()).take(pa.array(position))


def _originals(rows: InvoiceRows) -> list[str | None]:
    texts: list[str | None] = [None] * len(rows)
    at = np.flatnonzero(rows.is_red)
    numbers = invoice_numbers(rows.original_day[at], rows.original_serial[at])
    for position, number in zip(at.tolist(), numbers, strict=True):
        texts[position] = number
    return texts


RECORD_TABLES: Mapping[str, Tabulate] = {
    "registration": _rows(_registration),
    "tax_credit_grade": _rows(_grades),
    "filing": _rows(_filings),
    "payment": _rows(_payments),
    "arrears": _rows(_arrears),
    "violation": _rows(_violations),
    "invoice_issued": _issued,
    "invoice_received": _received,
}
"""Record type id -> its rows."""


def _schema(**types: pa.DataType) -> pa.Schema:
    return pa.schema([("uscc", pa.string()), *types.items()])


def _amounts(*names: str) -> dict[str, pa.DataType]:
    return dict.fromkeys(names, pa.int64())


_APPLICANT = _schema(
    **dict.fromkeys(("taxpayer_name", "industry_code", "province_code"), pa.string()),
    **_amounts("requested_fen", "term_months", "turnover_12m_fen", "average_balance_fen", "account_months"),
    **_amounts("history_months", "overdue_count", "inquiries_3m", "other_debt_fen", "collateral_fen"),
)
_STATEMENT = _schema(
    paper_id=pa.string(),
    year_to=pa.date32(),
    **_amounts("revenue_fen", "profit_fen", "assets_fen", "liabilities_fen"),
)
_COPY = _schema(
    paper_id=pa.string(),
    invoice_no=pa.string(),
    issue_date=pa.date32(),
    buyer_uscc=pa.string(),
    **_amounts("amount_fen", "tax_fen", "total_fen"),
)
_OUTCOME = _schema(defaulted=pa.bool_())
_FORGERY = _schema(paper_id=pa.string(), forgery=pa.string())


def _applicants(case: Case) -> Iterator[Row]:
    """Yield what the bank's own systems say of an applicant."""
    taxpayer = case.taxpayer
    yield {
        "taxpayer_name": taxpayer.name,
        "industry_code": taxpayer.section,
        "province_code": taxpayer.province_code,
        **_attributes(case.bank_view, *_APPLICANT.names[4:]),
    }


def _statements(case: Case) -> Iterator[Row]:
    yield _attributes(case.papers.statement, *_STATEMENT.names[1:])


def _copies(case: Case) -> Iterator[Row]:
    for copy in case.papers.invoice_copies:
        yield _attributes(copy, *_COPY.names[1:])


def _outcomes(case: Case) -> Iterator[Row]:
    """Yield whether a taxpayer defaults within twelve months after ``as_of``."""
    yield {"defaulted": case.defaulted}


def _forgeries(case: Case) -> Iterator[Row]:
    papers: tuple[FinancialStatement | InvoiceCopy, ...] = (case.papers.statement, *case.papers.invoice_copies)
    for paper in papers:
        if paper.forgery is not None:
            yield {"paper_id": paper.paper_id, "forgery": paper.forgery.value}


BANK_TABLES: Mapping[str, tuple[pa.Schema, Tabulate]] = {
    "applicant": (_APPLICANT, _rows(_applicants)),
    "financial_statement": (_STATEMENT, _rows(_statements)),
    "invoice_copy": (_COPY, _rows(_copies)),
}
"""File name -> schema and rows, for the bank."""

TRUTH_TABLES: Mapping[str, tuple[pa.Schema, Tabulate]] = {
    "outcome": (_OUTCOME, _rows(_outcomes)),
    "forgery": (_FORGERY, _rows(_forgeries)),
}
"""File name -> schema and rows, for judging a run."""


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
        batch = self._table.tabulate(self._table.schema, seed, cases)
        self._file.write_batch(batch)
        self.rows += batch.num_rows


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


def record_tables(economy: Economy) -> Iterator[tuple[tuple[str, ...], dict[str, pa.Table]]]:
    """Yield the records of an economy by record type, as ``write_economy`` files them, 200 taxpayers at a time.

    Each time the numbers of those taxpayers, in order of index, and all tables.
    """
    catalogue = load_catalogue()
    schemas = {name: canonical_schema(catalogue.get(name)) for name in RECORD_TABLES}
    for cases in _groups(economy):
        yield (
            tuple(str(case.taxpayer.uscc) for case in cases),
            {
                name: pa.Table.from_batches([tabulate(schemas[name], economy.seed, cases)])
                for name, tabulate in RECORD_TABLES.items()
            },
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
    records = {name: (canonical_schema(catalogue.get(name)), rows) for name, rows in RECORD_TABLES.items()}
    tables: dict[str, _Table] = {}
    for room, group in (("tax", records), ("bank", BANK_TABLES), ("truth", TRUTH_TABLES)):
        (folder / room).mkdir(parents=True, exist_ok=True)
        for name, (schema, tabulate) in group.items():
            tables[name] = _Table(path=folder / room / f"{name}.parquet", schema=schema, tabulate=tabulate)
    return tables


def _groups(economy: Economy) -> Iterator[Sequence[Case]]:
    blocks = economy.neighbourhoods()
    while group := [case for block in islice(blocks, BLOCKS_PER_GROUP) for case in block]:
        yield group


def _applicant(case: Case) -> Applicant:
    taxpayer = case.taxpayer
    return Applicant(
        **_attributes(taxpayer, "uscc", "section", "province_code"),
        defaulted=case.defaulted,
        bank_view=case.bank_view,
    )
