"""The tax credit grade 纳税(缴费)信用等级: its five letters, and the rules by which a year's events lead to one.

Rule: STA Announcement 2025 No. 12, in force since 2025-07-01 (articles 13, 16, 17 and the repair standards); before
that 2014 No. 40 with its amendments. Points are counted in tenths, so that partial repair stays exact.

It issues nothing: a grade in the records is a fact that the tax side published. This calculator makes the synthetic
economy's grades and can check or simulate others.

LIMIT: the bounds of the later repair steps (30 and 90 days) and the 11 points after a D by points are taken from the
rules before 2025; the new annexes were not at hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

TENTHS = 10
_FULL_YEAR_MONTHS = 12
_A_FROM, _B_FROM, _C_FROM = 90 * TENTHS, 70 * TENTHS, 40 * TENTHS
_A_NEEDS_MONTHS = 36
_MAX_ZERO_VAT_IN_A_ROW = 2
_MAX_ZERO_VAT_IN_TOTAL = 5
_CLEAN_MONTHS_NEEDED = 6
_IN_FORCE_2025 = date(2025, 7, 1)


class Grade(StrEnum):
    """Tax credit grade 纳税信用等级 (Announcement 2025 No. 12, article 16)."""

    A = "A"
    B = "B"
    M = "M"
    C = "C"
    D = "D"


class Breach(StrEnum):
    """What costs points."""

    LATE_FILING = "late_filing"
    LATE_WITHHOLDING_RETURN = "late_withholding_return"
    LATE_PAYMENT = "late_payment"
    ACCOUNTING_METHOD_NOT_FILED = "accounting_method_not_filed"
    SERIOUS_INVOICE_MATTER = "serious_invoice_matter"
    ARREARS_NOT_PAID = "arrears_not_paid"


class DirectD(StrEnum):
    """What leads straight to D whatever the points."""

    TAX_CRIME = "tax_crime"
    EVASION = "evasion"
    DECISION_NOT_PAID = "decision_not_paid"
    VIOLENT_REFUSAL = "violent_refusal"
    INVOICE_BREACH_WITH_LOSS = "invoice_breach_with_loss"
    FALSE_RELIEF_MATERIALS = "false_relief_materials"
    REFUND_SUSPENDED = "refund_suspended"
    ABNORMAL_HOUSEHOLD = "abnormal_household"
    RESPONSIBLE_PERSON_OF_D = "responsible_person_of_d"
    OTHER_SERIOUS = "other_serious"


DEDUCTIONS: dict[Breach, int] = {
    Breach.LATE_FILING: 5 * TENTHS,
    Breach.LATE_WITHHOLDING_RETURN: 5 * TENTHS,
    Breach.LATE_PAYMENT: 5 * TENTHS,
    Breach.ACCOUNTING_METHOD_NOT_FILED: 3 * TENTHS,
    Breach.SERIOUS_INVOICE_MATTER: 11 * TENTHS,
    Breach.ARREARS_NOT_PAID: 11 * TENTHS,
}
"""Tenths of a point per event (indicators of 2014 No. 48)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GradeRules:
    """One version of the rules. repair: (corrected within days, percent of the points given back), in order."""

    version: str
    start_full: int
    start_fees_complete: int
    start_plain: int
    repair: tuple[tuple[int, int], ...]
    clean_bonus_max: int
    points_d_carry: int
    """Deducted in the year after a D by points."""


RULES_2014 = GradeRules(
    version="2014-40",
    start_full=100 * TENTHS,
    start_fees_complete=90 * TENTHS,
    start_plain=90 * TENTHS,
    repair=((30, 80), (90, 40), (365, 20)),
    clean_bonus_max=0,
    points_d_carry=11 * TENTHS,
)
RULES_2025 = GradeRules(
    version="2025-12",
    start_full=100 * TENTHS,
    start_fees_complete=93 * TENTHS,
    start_plain=90 * TENTHS,
    repair=((3, 100), (30, 80), (90, 60), (365, 40)),
    clean_bonus_max=11 * TENTHS,
    points_d_carry=11 * TENTHS,
)


def rules_in_force(evaluated_on: date) -> GradeRules:
    """Return the rules under which a grade published on a day was made."""
    return RULES_2025 if evaluated_on >= _IN_FORCE_2025 else RULES_2014


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditEvent:
    """One breach of the year. corrected_after_days: days from the due date to correction, None if not corrected."""

    breach: Breach
    corrected_after_days: int | None = None
    is_first_offence_waived: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviousGrade:
    """The grade of the year before. direct_d_years: how many years running it has been D for a direct reason."""

    letter: Grade
    direct_d_years: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GradeFacts:
    """What the grader looks at for one calendar year.

    months_operating: from registration to the year's end. zero_vat_in_a_row, zero_vat_in_total: months of zero VAT
    payable for abnormal reasons. clean_months: months without a new breach for which whole-credit repair was asked.
    """

    months_operating: int
    has_income: bool
    has_non_regular_indicators: bool
    is_fee_information_complete: bool
    are_books_to_standard: bool = True
    zero_vat_in_a_row: int = 0
    zero_vat_in_total: int = 0
    clean_months: int = 0
    events: tuple[CreditEvent, ...] = ()
    direct_d: tuple[DirectD, ...] = ()
    previous: PreviousGrade | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GradeAssessment:
    """The result. points_tenths is None where D was direct. reasons: codes, in the order in which they were found."""

    letter: Grade
    points_tenths: int | None
    reasons: tuple[str, ...]
    rules_version: str
    direct_d_years: int = 0

    @property
    def is_direct_d(self) -> bool:
        """Whether it is D for a direct reason, in the first or the second year."""
        return self.direct_d_years > 0

    def as_previous(self) -> PreviousGrade:
        """Return it as the next year's input."""
        return PreviousGrade(letter=self.letter, direct_d_years=self.direct_d_years)


def assess_grade(facts: GradeFacts, *, rules: GradeRules = RULES_2025) -> GradeAssessment:
    """Grade one taxpayer for one year."""
    reasons, years = _direct_d(facts)
    if years:
        return GradeAssessment(
            letter=Grade.D, points_tenths=None, reasons=reasons, rules_version=rules.version, direct_d_years=years
        )
    points = credit_points(facts, rules=rules)
    letter = _letter_of(points, facts)
    barred = _reasons_against_a(facts) if letter is Grade.A else ()
    return GradeAssessment(
        letter=Grade.B if barred else letter, points_tenths=points, reasons=barred, rules_version=rules.version
    )


def _direct_d(facts: GradeFacts) -> tuple[tuple[str, ...], int]:
    # A direct D holds two years: the first by its reason, the second kept whatever the points.
    if facts.direct_d:
        return tuple(reason.value for reason in facts.direct_d), 1
    if facts.previous is not None and facts.previous.direct_d_years == 1:
        return ("direct_d_kept",), 2
    return (), 0


def credit_points(facts: GradeFacts, *, rules: GradeRules) -> int:
    """Return the year's points in tenths, between 0 and 1000."""
    points = _start_points(facts, rules) - sum(_lost(event, rules) for event in facts.events)
    if facts.previous is not None and facts.previous.letter is Grade.D and not facts.previous.direct_d_years:
        points -= rules.points_d_carry
    points += _clean_bonus(facts.clean_months, rules)
    return max(0, min(points, 100 * TENTHS))


def _start_points(facts: GradeFacts, rules: GradeRules) -> int:
    if facts.has_non_regular_indicators:
        return rules.start_full
    return rules.start_fees_complete if facts.is_fee_information_complete else rules.start_plain


def _lost(event: CreditEvent, rules: GradeRules) -> int:
    # First offences without penalty have not been counted since 2021.
    if event.is_first_offence_waived:
        return 0
    return DEDUCTIONS[event.breach] * (100 - _percent_back(event.corrected_after_days, rules)) // 100


def _percent_back(corrected_after_days: int | None, rules: GradeRules) -> int:
    if corrected_after_days is None:
        return 0
    return next((percent for days, percent in rules.repair if corrected_after_days <= days), 0)


def _clean_bonus(clean_months: int, rules: GradeRules) -> int:
    earned = max(0, clean_months - _CLEAN_MONTHS_NEEDED + 1) * TENTHS
    return min(earned, rules.clean_bonus_max)


def _letter_of(points: int, facts: GradeFacts) -> Grade:
    if points < _C_FROM:
        return Grade.D
    if facts.months_operating < _FULL_YEAR_MONTHS:
        return Grade.M
    if points < _B_FROM:
        return Grade.C
    if not facts.has_income:
        return Grade.M
    return Grade.A if points >= _A_FROM else Grade.B


def _reasons_against_a(facts: GradeFacts) -> tuple[str, ...]:
    """Article 17: what bars an A although the points suffice."""
    last_was_d = facts.previous is not None and facts.previous.letter is Grade.D
    zero_vat = facts.zero_vat_in_a_row > _MAX_ZERO_VAT_IN_A_ROW or facts.zero_vat_in_total > _MAX_ZERO_VAT_IN_TOTAL
    found = (
        ("operating_under_three_years", facts.months_operating < _A_NEEDS_MONTHS),
        ("last_year_d", last_was_d),
        ("zero_vat_abnormal", zero_vat),
        ("books_not_to_standard", not facts.are_books_to_standard),
    )
    return tuple(reason for reason, holds in found if holds)
