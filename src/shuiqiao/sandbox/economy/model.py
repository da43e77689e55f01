"""The nouns of the synthetic economy: a taxpayer, its hidden life, its facts, what a bank sees, what is true.

Two kinds of knowledge are kept apart on purpose. *Facts* (invoices, filings, grades) and the *bank's view* are
written to files. A *hidden life* (health) and *truth* (defaults, forgeries) are not: health never leaves memory, truth
goes to a folder of its own that neither bureau nor bank reads.

The arithmetic of tax periods stands at the end. A month is an int: months since January 1970.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from pathlib import Path

from shuiqiao.base.ids import Uscc
from shuiqiao.credit.pricing import ChurnCurve
from shuiqiao.sandbox.economy.seeds import BoolArray, FloatArray, IntArray
from shuiqiao.standards.tax_credit_grade import Grade
from shuiqiao.tax_credit.model import GradeAssessment

NEIGHBOURHOOD = 25
"""Taxpayers that may trade with each other. A neighbourhood is generated whole, so that the facts of a taxpayer do not
depend on how many others the economy has."""


class TaxpayerKind(StrEnum):
    """VAT taxpayer kind; codes of the standard's list ``taxpayer_kind``."""

    GENERAL = "general"
    SMALL_SCALE = "small_scale"


@dataclass(frozen=True, slots=True, kw_only=True)
class Taxpayer:
    """Registration facts of one taxpayer."""

    index: int
    uscc: Uscc
    name: str
    section: str
    """GB/T 4754 section letter."""
    province_code: str
    """First two digits of GB/T 2260."""
    kind: TaxpayerKind
    registered_on: date
    capital_fen: int
    staff: int
    legal_representative: str
    """Opaque id; names nobody."""
    is_abnormal: bool = False
    """Abnormal household (非正常户) at the end of the window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HiddenLife:
    """What nobody can look up. Never written to a file.

    monthly: health per month of the window, standard normal over the population; firm: its lasting part;
    final: mean of the last six months, standardised: what default depends on.
    """

    monthly: FloatArray = field(repr=False)
    firm: float = field(repr=False)
    final: float = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The calendar months that the economy covers: ``months`` whole ones, the last ending on or before ``as_of``."""

    as_of: date
    first_month: int
    """Months since 1970-01."""
    months: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceRows:
    """Invoices as parallel arrays of one length. ``original`` is the row of the reversed invoice, or -1.

    parties are numbers of ``parties``; day: days since 1970-01-01; rate: percent; amounts: fen; serial: the last 15
    digits of the invoice number.
    """

    seller: IntArray
    buyer: IntArray
    serial: IntArray
    day: IntArray
    rate: IntArray
    amount_fen: IntArray
    tax_fen: IntArray
    total_fen: IntArray
    is_void: BoolArray
    is_special: BoolArray
    original_serial: IntArray
    """-1 where the invoice is blue."""
    original_day: IntArray

    @property
    def is_red(self) -> BoolArray:
        """Which rows are red-letter invoices."""
        return self.original_serial >= 0

    def __len__(self) -> int:
        return len(self.day)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filing:
    """One tax return. Dates are days; ``filed_on`` is None while it is missing."""

    tax_code: str
    tax_item: str
    period_from: date
    period_to: date
    due_on: date
    filed_on: date | None
    revenue_fen: int
    tax_payable_fen: int
    relief_fen: int
    prepaid_fen: int

    @property
    def tax_due_fen(self) -> int:
        """Payable less relief and prepaid; negative means a refund or credit."""
        return self.tax_payable_fen - self.relief_fen - self.prepaid_fen


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """Money that reached the treasury. kind: code of the standard's list ``payment_kind``."""

    voucher_no: str
    filing: Filing
    kind: str
    due_on: date
    paid_on: date
    paid_fen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrears:
    """Tax not paid when due, open or cleared."""

    arrears_no: str
    filing: Filing
    due_on: date
    arose_on: date
    cleared_on: date | None
    due_fen: int

    @property
    def owed_fen(self) -> int:
        """What is still owed."""
        return 0 if self.cleared_on else self.due_fen


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A registered breach of the tax rules."""

    violation_no: str
    kind: str
    name: str
    state: str
    registered_on: date
    first_offence_no_penalty: bool
    penalty_fen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class YearlyGrade:
    """A yearly tax credit grade as the bureau published it."""

    year: int
    evaluated_on: date
    letter: Grade
    assessment: GradeAssessment


@dataclass(frozen=True, slots=True, kw_only=True)
class BankView:
    """What the bank knows of an applicant without any tax data. Amounts in fen.

    turnover_12m_fen: credits on the account held with this bank, a noisy part of sales. history_months: length of the
    credit history, or None where there is none; overdue_count is None with it.
    """

    turnover_12m_fen: int
    average_balance_fen: int
    account_months: int
    history_months: int | None
    overdue_count: int | None
    inquiries_3m: int
    other_debt_fen: int
    collateral_fen: int
    requested_fen: int
    term_months: int


class ForgeryKind(StrEnum):
    """How a paper lies."""

    INFLATED_INVOICE = "inflated_invoice"
    INVENTED_INVOICE = "invented_invoice"
    INFLATED_STATEMENT = "inflated_statement"


@dataclass(frozen=True, slots=True, kw_only=True)
class FinancialStatement:
    """A yearly statement on paper, as handed to the bank."""

    paper_id: str
    year_to: date
    revenue_fen: int
    profit_fen: int
    assets_fen: int
    liabilities_fen: int
    forgery: ForgeryKind | None
    """Ground truth; not in the bank's file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceCopy:
    """A copy of an issued invoice on paper, as handed to the bank."""

    paper_id: str
    invoice_no: str
    issue_date: date
    buyer_uscc: Uscc
    amount_fen: int
    tax_fen: int
    total_fen: int
    forgery: ForgeryKind | None
    """Ground truth; not in the bank's file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Papers:
    """Everything on paper that one applicant handed in."""

    statement: FinancialStatement
    invoice_copies: tuple[InvoiceCopy, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxFacts:
    """Everything the bureau holds about one taxpayer."""

    issued: InvoiceRows
    received: InvoiceRows
    filings: tuple[Filing, ...]
    payments: tuple[Payment, ...]
    arrears: tuple[Arrears, ...]
    violations: tuple[Violation, ...]
    grades: tuple[YearlyGrade, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One taxpayer with all that is known, seen and true about it."""

    taxpayer: Taxpayer
    life: HiddenLife
    facts: TaxFacts
    bank_view: BankView
    papers: Papers
    defaulted: bool
    """Ground truth: default within twelve months after as_of, if lent to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Applicant:
    """A taxpayer in the loan book of a run. uscc: the code, or the pseudonym of a research data set.

    defaulted: the outcome that the bank's loan book records; None where it is unknown. bank_view: None where the
    source has nothing of the kind.
    """

    uscc: Uscc
    defaulted: bool | None
    section: str | None = None
    province_code: str | None = None
    bank_view: BankView | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFile:
    """A file for the bureau to ingest, with the id of its record type."""

    record_type: str
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """What a scenario runs on, whether synthetic or real: applicants, the bureau's files, the churn curves.

    churn: share of customers lost at an annual rate, by risk band ``A`` to ``C``.
    """

    as_of: date
    applicants: tuple[Applicant, ...]
    record_files: tuple[RecordFile, ...]
    churn: Mapping[str, ChurnCurve]


@dataclass(frozen=True, slots=True, kw_only=True)
class EconomyFiles:
    """Where an economy was written.

    bank_files: ``applicant``, ``financial_statement``, ``invoice_copy``. truth_files: ``outcome``, ``forgery``; read by
    the scenario that judges a run, never by bureau or bank. rows: row count per file name.
    """

    folder: Path
    population: Population
    bank_files: Mapping[str, Path]
    truth_files: Mapping[str, Path]
    rows: Mapping[str, int]


_EPOCH = date(1970, 1, 1)
MONTHS_PER_YEAR = 12
MONTHS_PER_QUARTER = 3
_DUE_DAY = 15
"""Returns and payments are due on the 15th of the following month (holiday shifts are left out)."""


def month_of(day: date) -> int:
    """Return the month that contains a day."""
    return (day.year - _EPOCH.year) * MONTHS_PER_YEAR + day.month - 1


def first_day(month: int) -> date:
    """Return the first day of a month."""
    return date(_EPOCH.year + month // MONTHS_PER_YEAR, month % MONTHS_PER_YEAR + 1, 1)


def last_day(month: int) -> date:
    """Return the last day of a month."""
    return first_day(month + 1) - timedelta(days=1)


def due_day(last_month: int) -> date:
    """Return the day on which the return of a period ending with a month is due."""
    return first_day(last_month + 1).replace(day=_DUE_DAY)


def day_number(day: date) -> int:
    """Return days since 1970-01-01."""
    return (day - _EPOCH).days


def date_of(number: int) -> date:
    """Return the day with a number."""
    return _EPOCH + timedelta(days=number)


def year_of(month: int) -> int:
    """Return the calendar year that contains a month."""
    return _EPOCH.year + month // MONTHS_PER_YEAR


def window_before(as_of: date, *, months: int) -> Window:
    """Return the last ``months`` whole calendar months that end on or before ``as_of``."""
    end = month_of(as_of + timedelta(days=1))
    return Window(as_of=as_of, first_month=end - months, months=months)
