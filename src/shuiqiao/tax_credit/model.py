"""What a grade rests on and what it is: the facts and events of one year, and the assessment with every line of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from shuiqiao.standards.tax_credit_grade import Grade
from shuiqiao.tax_credit.rules import TENTHS, Rule, RulesVersion


def points_text(tenths: int) -> str:
    """Return tenths of a point as points in their shortest decimal form, e.g. ``93``, ``-5`` or ``87.5``."""
    whole, part = divmod(abs(tenths), TENTHS)
    return f"{'-' if tenths < 0 else ''}{whole}{f'.{part}' if part else ''}"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Instalment:
    """A part of what was owed: the day it was paid on, and how much, in fen."""

    paid_on: date
    paid_fen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditEvent:
    """One breach, or one case that leads straight to D.

    rule: its id in ``rules.toml``. since: the day that the days of repair count from, which is the last day on which it
    would have been in time, else the day on which the bureau recorded it; its year is the year that it counts in.
    corrected_on: None while it is not. amount_fen: the tax concerned, None where not known. payments: where it was paid
    in parts. reference: by which the bureau finds it, e.g. the number of a violation.
    """

    rule: str
    since: date
    corrected_on: date | None = None
    amount_fen: int | None = None
    payments: tuple[Instalment, ...] = ()
    is_first_offence: bool = False
    reference: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviousGrade:
    """The grade of the year before. years: for how many years running a D has stood by now."""

    letter: Grade
    is_direct: bool = False
    years: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class GradeFacts:
    """What a grader looks at for one calendar year.

    as_of: the day of the grading: what happened or was corrected later is not known. operating_since: the first day of
    business with the bureau. zero_vat_in_a_row, zero_vat_in_total: months of zero VAT payable for no normal reason.
    whole_credit_asked_on: the day on which repair of the whole credit was asked for.
    """

    year: int
    as_of: date
    operating_since: date
    has_income: bool
    has_non_regular_indicators: bool
    is_fee_information_complete: bool
    are_books_to_standard: bool = True
    zero_vat_in_a_row: int = 0
    zero_vat_in_total: int = 0
    whole_credit_asked_on: date | None = None
    events: tuple[CreditEvent, ...] = ()
    previous: PreviousGrade | None = None


class LineKind(StrEnum):
    """What a line of an assessment tells."""

    POINTS = "points"
    NOT_COUNTED = "not_counted"
    GRADE = "grade"
    """A rule by which the letter follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One step that led to a grade.

    tenths: of a point, below 0 where it costs. references: of the events it is about. since, until: from which day it
    counts, and, of a direct D, until when it stands.
    """

    kind: LineKind
    rule: Rule
    tenths: int = 0
    references: tuple[str, ...] = ()
    since: date | None = None
    until: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairOption:
    """What a correction until a day gives back, and the points and the letter that follow from it alone.

    by: the last day; None where there is no last day.
    """

    by: date | None
    step: Rule
    tenths: int
    points_tenths: int | None
    letter: Grade | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairAdvice:
    """What can still be corrected: the events of one deduction or direct D, and what each delay costs."""

    rule: Rule
    references: tuple[str, ...]
    since: date
    options: tuple[RepairOption, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GradeAssessment:
    """A grade, and how it came about [GRADE-7].

    letter: None where these rules rate nobody of this kind. points_tenths: None where D does not follow from points.
    reasons: ids of the rules that made it a D or barred an A. years: for how many years running a D has stood.
    unconfirmed: ids of the rules that it rests on which are not confirmed.
    """

    version: RulesVersion
    letter: Grade | None
    points_tenths: int | None
    lines: tuple[Line, ...]
    reasons: tuple[str, ...] = ()
    is_direct_d: bool = False
    years: int = 0
    unconfirmed: tuple[str, ...] = ()

    def as_previous(self) -> PreviousGrade | None:
        """Return it as the next year's input."""
        if self.letter is None:
            return None
        return PreviousGrade(letter=self.letter, is_direct=self.is_direct_d, years=max(1, self.years))
