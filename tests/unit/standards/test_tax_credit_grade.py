"""The grading rules of 2025 No. 12 (and 2014 No. 40 before), row by row."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from shuiqiao.standards.tax_credit_grade import (
    RULES_2014,
    RULES_2025,
    Breach,
    CreditEvent,
    DirectD,
    Grade,
    GradeFacts,
    PreviousGrade,
    assess_grade,
    rules_in_force,
)

A, B, M, C, D = Grade.A, Grade.B, Grade.M, Grade.C, Grade.D


def facts(**changes: Any) -> GradeFacts:
    plain: dict[str, Any] = {
        "months_operating": 60,
        "has_income": True,
        "has_non_regular_indicators": False,
        "is_fee_information_complete": True,
    }
    return GradeFacts(**{**plain, **changes})


def late(count: int, *, after_days: int | None = None) -> tuple[CreditEvent, ...]:
    return (CreditEvent(breach=Breach.LATE_FILING, corrected_after_days=after_days),) * count


TABLE = [
    # start points, article 13
    ("start_both_indicator_kinds", {"has_non_regular_indicators": True}, A, 1000),
    ("start_fees_complete", {}, A, 930),
    ("start_fees_incomplete", {"is_fee_information_complete": False}, A, 900),
    # deductions
    ("late_filing_costs_5", {"events": late(1)}, B, 880),
    ("late_withholding_costs_5", {"events": (CreditEvent(breach=Breach.LATE_WITHHOLDING_RETURN),)}, B, 880),
    ("late_payment_costs_5", {"events": (CreditEvent(breach=Breach.LATE_PAYMENT),)}, B, 880),
    ("accounting_method_costs_3", {"events": (CreditEvent(breach=Breach.ACCOUNTING_METHOD_NOT_FILED),)}, A, 900),
    ("invoice_matter_costs_11", {"events": (CreditEvent(breach=Breach.SERIOUS_INVOICE_MATTER),)}, B, 820),
    ("arrears_cost_11", {"events": (CreditEvent(breach=Breach.ARREARS_NOT_PAID),)}, B, 820),
    ("first_offence_is_free", {"events": (CreditEvent(breach=Breach.LATE_FILING, is_first_offence_waived=True),)}, A, 930),
    # repair
    ("corrected_within_3_days_all_back", {"events": late(1, after_days=3)}, A, 930),
    ("corrected_on_day_4_80_percent", {"events": late(1, after_days=4)}, A, 920),
    ("corrected_on_day_30_80_percent", {"events": late(1, after_days=30)}, A, 920),
    ("corrected_on_day_31_60_percent", {"events": late(1, after_days=31)}, A, 910),
    ("corrected_on_day_91_40_percent", {"events": late(1, after_days=91)}, A, 900),
    ("corrected_after_a_year_nothing", {"events": late(1, after_days=366)}, B, 880),
    ("clean_5_months_nothing", {"events": late(4), "clean_months": 5}, B, 730),
    ("clean_6_months_one_point", {"events": late(4), "clean_months": 6}, B, 740),
    ("clean_bonus_at_most_11", {"events": late(4), "clean_months": 30}, B, 840),
    ("never_over_100", {"has_non_regular_indicators": True, "clean_months": 12}, A, 1000),
    # grades, article 16
    ("b_from_70", {"is_fee_information_complete": False, "events": late(4)}, B, 700),
    ("c_below_70", {"events": late(5)}, C, 680),
    ("c_from_40", {"is_fee_information_complete": False, "events": late(10)}, C, 400),
    ("d_below_40", {"is_fee_information_complete": False, "events": late(11)}, D, 350),
    ("never_below_0", {"events": late(30)}, D, 0),
    ("new_is_m", {"months_operating": 11}, M, 930),
    ("new_with_few_points_is_m", {"months_operating": 11, "events": late(6)}, M, 630),
    ("full_year_is_rated", {"months_operating": 12}, B, 930),
    ("no_income_is_m", {"has_income": False}, M, 930),
    ("no_income_below_70_is_c", {"has_income": False, "events": late(5)}, C, 680),
    # cannot be A, article 17
    ("under_three_years_not_a", {"months_operating": 35}, B, 930),
    ("three_years_may_be_a", {"months_operating": 36}, A, 930),
    ("zero_vat_two_in_a_row_may_be_a", {"zero_vat_in_a_row": 2}, A, 930),
    ("zero_vat_three_in_a_row_not_a", {"zero_vat_in_a_row": 3}, B, 930),
    ("zero_vat_five_in_total_may_be_a", {"zero_vat_in_total": 5}, A, 930),
    ("zero_vat_six_in_total_not_a", {"zero_vat_in_total": 6}, B, 930),
    ("books_not_kept_not_a", {"are_books_to_standard": False}, B, 930),
    ("direct_d_two_years_ago_not_a", {"previous": PreviousGrade(letter=D, direct_d_years=2)}, B, 930),
    ("last_year_d_by_points_loses_11", {"previous": PreviousGrade(letter=D)}, B, 820),
    ("last_year_c_may_be_a", {"previous": PreviousGrade(letter=C)}, A, 930),
]  # fmt: skip


@pytest.mark.parametrize(("change", "letter", "points"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_grade_table_of_2025(change: dict[str, Any], letter: Grade, points: int) -> None:
    result = assess_grade(facts(**change), rules=RULES_2025)

    assert (letter, points, "2025-12") == (result.letter, result.points_tenths, result.rules_version)


@pytest.mark.parametrize("reason", list(DirectD))
def test_every_direct_reason_leads_to_d_whatever_the_points(reason: DirectD) -> None:
    result = assess_grade(facts(direct_d=(reason,), has_non_regular_indicators=True))

    assert (D, None, (reason.value,), True) == (result.letter, result.points_tenths, result.reasons, result.is_direct_d)


def test_a_direct_d_holds_two_years_and_bars_an_a_in_the_third() -> None:
    first = assess_grade(facts(direct_d=(DirectD.EVASION,)))
    second = assess_grade(facts(previous=first.as_previous()))
    third = assess_grade(facts(previous=second.as_previous()))
    fourth = assess_grade(facts(previous=third.as_previous()))

    assert [year.letter for year in (first, second, third, fourth)] == [D, D, B, A]
    assert [year.reasons for year in (first, second, third, fourth)] == [
        ("evasion",),
        ("direct_d_kept",),
        ("last_year_d",),
        (),
    ]


def test_a_new_breach_in_the_second_year_starts_the_two_years_again() -> None:
    second = assess_grade(facts(direct_d=(DirectD.EVASION,), previous=PreviousGrade(letter=D, direct_d_years=1)))
    third = assess_grade(facts(previous=second.as_previous()))

    assert (second.letter, third.letter) == (D, D)


def test_all_reasons_against_an_a_are_named() -> None:
    result = assess_grade(facts(months_operating=20, zero_vat_in_total=7, are_books_to_standard=False))

    assert result.reasons == ("operating_under_three_years", "zero_vat_abnormal", "books_not_to_standard")


@pytest.mark.parametrize(
    ("after_days", "points"), [(3, 890), (30, 890), (31, 870), (90, 870), (91, 860), (None, 850)]
)  # fmt: skip
def test_the_old_rules_start_at_90_and_give_back_80_40_20(after_days: int | None, points: int) -> None:
    result = assess_grade(facts(events=late(1, after_days=after_days)), rules=RULES_2014)

    assert points == result.points_tenths


def test_the_version_follows_the_day_of_publication() -> None:
    assert RULES_2014 is rules_in_force(date(2025, 6, 30))
    assert RULES_2025 is rules_in_force(date(2025, 7, 1))
