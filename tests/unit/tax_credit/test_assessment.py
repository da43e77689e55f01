"""The rules of tax credit, row by row: each row names the text that it comes from [GRADE-4] [GRADE-5] [GRADE-7] [GRADE-8]."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from shuiqiao.base.errors import InvalidInput
from shuiqiao.standards.tax_credit_grade import Grade
from shuiqiao.tax_credit.assessment import after_repair, assess_grade, repair_advice
from shuiqiao.tax_credit.model import CreditEvent, GradeFacts, Instalment, LineKind, PreviousGrade
from shuiqiao.tax_credit.rules import RuleKind, rule_set

A, B, M, C, D = Grade.A, Grade.B, Grade.M, Grade.C, Grade.D
DAY = date(2025, 6, 16)
GRADED_ON = date(2026, 12, 31)
NEW_RULES = "2025-12"
OLD_RULES = ("2014-40", "2018-8", "2019-37", "2020-15", "2021-31")


def facts(**changes: Any) -> GradeFacts:
    plain: dict[str, Any] = {
        "year": DAY.year,
        "as_of": GRADED_ON,
        "operating_since": date(2015, 1, 1),
        "has_income": True,
        "has_non_regular_indicators": False,
        "is_fee_information_complete": True,
    }
    return GradeFacts(**{**plain, **changes})


def event(rule: str = "late_filing", *, after_days: int | None = None, since: date = DAY, **more: Any) -> CreditEvent:
    corrected = None if after_days is None else since + timedelta(days=after_days)
    return CreditEvent(rule=rule, since=since, corrected_on=corrected, **more)


def monthly(count: int) -> tuple[CreditEvent, ...]:
    """Late returns, one a month."""
    return tuple(event(since=date(DAY.year, month, 15)) for month in range(1, count + 1))


def times(count: int) -> tuple[CreditEvent, ...]:
    """Late financial statements: each time counts."""
    return (event("late_statements"),) * count


def corrected(**when: Any) -> dict[str, Any]:
    return {"events": (event(**when),)}


GOLDEN: list[tuple[str, str, str, dict[str, Any], Grade | None, int | None]] = [
    # source, version, name, facts, grade, points in tenths
    ("2025 No. 12, art. 13", NEW_RULES, "start_100", {"has_non_regular_indicators": True}, A, 1000),
    ("2025 No. 12, art. 13", NEW_RULES, "start_93", {}, A, 930),
    ("2025 No. 12, art. 13", NEW_RULES, "start_90", {"is_fee_information_complete": False}, A, 900),
    ("2014 No. 40", "2021-31", "old_start_100", {"has_non_regular_indicators": True}, A, 1000),
    ("2014 No. 40", "2021-31", "old_start_90", {}, A, 900),
    # what costs points
    ("2025 No. 12, annex 1, 010101", NEW_RULES, "late_filing", {"events": (event(),)}, B, 880),
    ("2025 No. 12, annex 1, 010101", NEW_RULES, "two_returns_of_a_month_count_once", {"events": (event(), event(since=date(2025, 6, 25)))}, B, 880),
    ("2025 No. 12, annex 1, 010101", NEW_RULES, "two_months_count_twice", {"events": monthly(2)}, B, 830),
    ("2014 No. 48, 010101", "2021-31", "each_return_counted_before", {"events": (event(), event(since=date(2025, 6, 25)))}, B, 800),
    ("2025 No. 12, annex 1, 010102", NEW_RULES, "late_withholding", {"events": (event("late_withholding"),)}, B, 880),
    ("2025 No. 12, annex 1, 010106", NEW_RULES, "false_promise", {"events": (event("false_promise"),)}, B, 820),
    ("2025 No. 12, annex 1, 010107", NEW_RULES, "personal_settlement", {"events": (event("personal_settlement_missing"),)}, B, 880),
    ("2025 No. 12, annex 1, 010301", NEW_RULES, "export_inquiry", {"events": (event("export_inquiry_failed"),)}, A, 920),
    ("2025 No. 12, annex 6", NEW_RULES, "late_statements", {"events": times(2)}, B, 870),
    ("2025 No. 12, annex 6", NEW_RULES, "accounting_method_once", {"events": (event("accounting_method_not_filed"),) * 2}, A, 900),
    ("2025 No. 12, annex 6", NEW_RULES, "accounts_once", {"events": (event("accounts_not_all_reported"),) * 2}, B, 820),
    ("2025 No. 12, annex 6", NEW_RULES, "account_late", {"events": (event("account_reported_late"),)}, B, 880),
    ("2021 No. 31, annex 2", "2021-31", "old_statements", {"events": times(1)}, B, 870),
    ("2021 No. 31, annex 2", "2021-31", "old_accounts", {"events": (event("accounts_not_all_reported"),)}, B, 790),
    ("unconfirmed", NEW_RULES, "late_payment", {"events": (event("late_payment"),)}, B, 880),
    ("unconfirmed", NEW_RULES, "arrears", {"events": (event("arrears_unpaid"),)}, B, 820),
    ("unconfirmed", NEW_RULES, "invoice_matter", {"events": (event("serious_invoice_matter"),)}, B, 820),
    # first offences
    ("2021 No. 31", NEW_RULES, "first_offence_is_free", {"events": (event(is_first_offence=True),)}, A, 930),
    ("2021 No. 31", "2021-31", "first_offence_is_free_since_2021", {"events": (event(is_first_offence=True),)}, A, 900),
    ("2021 No. 31", "2020-15", "first_offence_counted_before", {"events": (event(is_first_offence=True),)}, B, 850),
    # what a correction gives back
    ("2025 No. 12, annex 6", NEW_RULES, "day_3_all", corrected(after_days=3), A, 930),
    ("2025 No. 12, annex 6", NEW_RULES, "day_4_80_percent", corrected(after_days=4), A, 920),
    ("2025 No. 12, annex 6", NEW_RULES, "day_30_80_percent", corrected(after_days=30), A, 920),
    ("2025 No. 12, annex 6", NEW_RULES, "day_30_of_2000_yuan_all", corrected(after_days=30, amount_fen=200_000), A, 930),
    ("2025 No. 12, annex 6", NEW_RULES, "day_30_of_more_80_percent", corrected(after_days=30, amount_fen=200_001), A, 920),
    ("2025 No. 12, annex 6", NEW_RULES, "day_31_60_percent", corrected(after_days=31, amount_fen=1), A, 910),
    ("2025 No. 12, annex 6", NEW_RULES, "day_90_60_percent", corrected(after_days=90), A, 910),
    ("2025 No. 12, annex 6", NEW_RULES, "day_91_40_percent", corrected(after_days=91), A, 900),
    ("2025 No. 12, annex 6", NEW_RULES, "day_400_40_percent", corrected(after_days=400), A, 900),
    ("2025 No. 12, annex 6", NEW_RULES, "statements_by_small_amount_do_not_come_back_whole", corrected(rule="late_statements", after_days=30, amount_fen=1), A, 924),
    ("2025 No. 12, annex 6", NEW_RULES, "a_month_is_repaired_when_all_is", {"events": (event(after_days=1), event(since=date(2025, 6, 25)))}, B, 880),
    ("2025 No. 12, annex 6", NEW_RULES, "no_repair_of_a_false_promise", corrected(rule="false_promise", after_days=1), B, 820),
    ("2025 No. 12, annex 6", NEW_RULES, "paid_by_parts", {"events": (event("arrears_unpaid", amount_fen=1000, payments=(Instalment(paid_on=DAY + timedelta(days=2), paid_fen=500), Instalment(paid_on=DAY + timedelta(days=20), paid_fen=250))),)}, B, 930 - 110 + 55 + 22),
    ("2025 No. 12, annex 6", NEW_RULES, "the_rest_paid_at_last", {"events": (event("arrears_unpaid", after_days=100, amount_fen=1000, payments=(Instalment(paid_on=DAY + timedelta(days=2), paid_fen=500),)),)}, B, 930 - 110 + 55 + 22),
    ("2021 No. 31, annex 2", "2021-31", "old_day_30_80_percent", corrected(after_days=30), B, 890),
    ("2021 No. 31, annex 2", "2021-31", "old_day_30_of_1000_yuan_all", corrected(after_days=30, amount_fen=100_000), A, 900),
    ("2021 No. 31, annex 2", "2021-31", "old_day_30_of_more", corrected(after_days=30, amount_fen=100_001), B, 890),
    ("2021 No. 31, annex 2", "2021-31", "old_same_year_40_percent", corrected(after_days=31), B, 870),
    ("2021 No. 31, annex 2", "2021-31", "old_last_day_of_the_year", corrected(after_days=(date(2025, 12, 31) - DAY).days), B, 870),
    ("2021 No. 31, annex 2", "2021-31", "old_next_year_20_percent", corrected(after_days=(date(2026, 1, 1) - DAY).days), B, 860),
    ("2019 No. 37, annex 1", "2019-37", "repair_began", corrected(after_days=30), B, 890),
    ("2019 No. 37", "2018-8", "no_repair_before", corrected(after_days=1), B, 850),
    ("2025 No. 12, annex 6", NEW_RULES, "whole_credit_after_5_months", {"events": (event(after_days=100),), "whole_credit_asked_on": date(2025, 12, 1)}, A, 900),
    ("unconfirmed", NEW_RULES, "whole_credit_after_6_months", {"events": (event(after_days=100),), "whole_credit_asked_on": date(2025, 12, 16)}, A, 910),
    ("unconfirmed", NEW_RULES, "whole_credit_never_more_than_was_lost", {"events": (event(after_days=100),), "whole_credit_asked_on": date(2026, 11, 16)}, A, 930),
    ("unconfirmed", NEW_RULES, "whole_credit_needs_all_corrected", {"events": (event(),), "whole_credit_asked_on": date(2026, 11, 16)}, B, 880),
    # which letter
    ("2025 No. 12, art. 16", NEW_RULES, "b_from_70", {"is_fee_information_complete": False, "events": monthly(4)}, B, 700),
    ("2025 No. 12, art. 16", NEW_RULES, "c_below_70", {"events": monthly(5)}, C, 680),
    ("2025 No. 12, art. 16", NEW_RULES, "c_from_40", {"is_fee_information_complete": False, "events": monthly(10)}, C, 400),
    ("2025 No. 12, art. 16", NEW_RULES, "d_below_40", {"is_fee_information_complete": False, "events": monthly(11)}, D, 350),
    ("2025 No. 12, art. 16", NEW_RULES, "never_below_0", {"events": times(40)}, D, 0),
    ("2025 No. 12, art. 16", NEW_RULES, "new_is_m", {"operating_since": date(2025, 1, 2)}, M, 930),
    ("2025 No. 12, art. 13", NEW_RULES, "new_is_m_whatever_the_points", {"operating_since": date(2025, 1, 2), "events": monthly(12)}, M, 330),
    ("2025 No. 12, art. 15", NEW_RULES, "a_full_year_is_graded", {"operating_since": date(2025, 1, 1)}, B, 930),
    ("2025 No. 12, art. 16", NEW_RULES, "no_income_is_m", {"has_income": False}, M, 930),
    ("2025 No. 12, art. 16", NEW_RULES, "no_income_below_70_is_c", {"has_income": False, "events": monthly(5)}, C, 680),
    ("2018 No. 8", "2014-40", "new_was_not_rated", {"operating_since": date(2025, 2, 1)}, None, 900),
    ("2018 No. 8", "2014-40", "no_income_was_not_rated", {"has_income": False}, None, 900),
    ("2018 No. 8", "2018-8", "m_came_in_2018", {"has_income": False}, M, 900),
    # what bars an A
    ("2025 No. 12, art. 17 (1)", NEW_RULES, "under_three_years", {"operating_since": date(2023, 1, 2)}, B, 930),
    ("2025 No. 12, art. 17 (1)", NEW_RULES, "three_years", {"operating_since": date(2023, 1, 1)}, A, 930),
    ("2025 No. 12, art. 17 (2)", NEW_RULES, "direct_d_two_years_ago", {"previous": PreviousGrade(letter=D, is_direct=True, years=2)}, B, 930),
    ("2025 No. 12, art. 17 (2)", NEW_RULES, "last_year_c_may_be_a", {"previous": PreviousGrade(letter=C)}, A, 930),
    ("2025 No. 12, art. 17 (3)", NEW_RULES, "zero_vat_2_in_a_row", {"zero_vat_in_a_row": 2}, A, 930),
    ("2025 No. 12, art. 17 (3)", NEW_RULES, "zero_vat_3_in_a_row", {"zero_vat_in_a_row": 3}, B, 930),
    ("2025 No. 12, art. 17 (3)", NEW_RULES, "zero_vat_5_in_total", {"zero_vat_in_total": 5}, A, 930),
    ("2025 No. 12, art. 17 (3)", NEW_RULES, "zero_vat_6_in_total", {"zero_vat_in_total": 6}, B, 930),
    ("2025 No. 12, art. 17 (4)", NEW_RULES, "books", {"are_books_to_standard": False}, B, 930),
    # after a D
    ("2020 No. 15, art. 3", "2019-37", "d_by_points_stood_another_year", {"previous": PreviousGrade(letter=D)}, D, None),
    ("2020 No. 15, art. 3", "2019-37", "and_no_longer", {"previous": PreviousGrade(letter=D, years=2)}, B, 900),
    ("2020 No. 15, art. 3", "2020-15", "d_by_points_costs_11", {"previous": PreviousGrade(letter=D)}, B, 790),
    ("unconfirmed", NEW_RULES, "d_by_points_costs_11_still", {"previous": PreviousGrade(letter=D)}, B, 820),
    ("2020 No. 15, art. 3", "2020-15", "direct_d_stands_two_years", {"previous": PreviousGrade(letter=D, is_direct=True)}, D, None),
    # what ends a direct D
    ("2025 No. 12, annex 6", NEW_RULES, "abnormal_household_lifted_never_a", corrected(rule="abnormal_household", after_days=300), B, 930),
    ("2019 No. 37, art. 1 (3)", "2019-37", "abnormal_household_lifted", corrected(rule="abnormal_household", after_days=300), B, 900),
    ("2019 No. 37, art. 1 (3)", "2018-8", "not_lifted_before", corrected(rule="abnormal_household", after_days=1), D, None),
    ("2019 No. 37, art. 1 (2)", "2021-31", "decision_paid_on_day_60", corrected(rule="decision_not_paid", after_days=60), B, 900),
    ("2019 No. 37, art. 1 (2)", "2021-31", "decision_paid_on_day_61", corrected(rule="decision_not_paid", after_days=61), D, None),
    ("2025 No. 12, annex 6: amounts unknown", NEW_RULES, "decision_paid", corrected(rule="decision_not_paid", after_days=1), D, None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("version", "change", "letter", "points"),
    [(version, change, letter, points) for _, version, _, change, letter, points in GOLDEN],
    ids=[name for _, _, name, *_ in GOLDEN],
)
def test_golden_table(version: str, change: dict[str, Any], letter: Grade | None, points: int | None) -> None:
    result = assess_grade(facts(**change), rule_set(version))

    assert (letter, points, version) == (result.letter, result.points_tenths, result.version.id)


@pytest.mark.parametrize("version", [*OLD_RULES, NEW_RULES])
def test_every_direct_d_is_a_d_whatever_the_points_and_stands_two_years(version: str) -> None:
    rules = rule_set(version)
    for rule in rules.of(RuleKind.DIRECT_D):
        result = assess_grade(facts(events=(event(rule.id),), has_non_regular_indicators=True), rules)

        assert (D, None, (rule.id,), True) == (result.letter, result.points_tenths, result.reasons, result.is_direct_d)
        assert [(DAY, date(2026, 12, 31))] == [(line.since, line.until) for line in result.lines]


def test_the_rules_of_2025_have_13_direct_ds_and_the_older_ones_those_of_article_20() -> None:
    counts = {version: len([*rule_set(version).of(RuleKind.DIRECT_D)]) for version in ("2014-40", NEW_RULES)}

    assert counts == {"2014-40": 11, NEW_RULES: 13}


def test_a_direct_d_holds_two_years_and_bars_an_a_in_the_third() -> None:
    rules = rule_set(NEW_RULES)
    years = [assess_grade(facts(events=(event("evasion"),)), rules)]
    for _ in range(3):
        years.append(assess_grade(facts(previous=years[-1].as_previous()), rules))

    assert [year.letter for year in years] == [D, D, B, A]
    assert [year.reasons for year in years] == [("evasion",), ("direct_d_kept",), ("last_year_d",), ()]


def test_a_new_breach_in_the_second_year_starts_the_two_years_again() -> None:
    rules = rule_set(NEW_RULES)
    second = assess_grade(
        facts(events=(event("evasion"),), previous=PreviousGrade(letter=D, is_direct=True, years=1)), rules
    )
    third = assess_grade(facts(previous=second.as_previous()), rules)

    assert (second.letter, third.letter) == (D, D)


def test_all_that_bars_an_a_is_named() -> None:
    result = assess_grade(
        facts(operating_since=date(2024, 1, 1), zero_vat_in_total=7, are_books_to_standard=False), rule_set(NEW_RULES)
    )

    assert result.reasons == ("operating_under_three_years", "zero_vat_in_total", "books_not_to_standard")


def test_who_was_not_rated_is_nothing_to_the_next_year() -> None:
    assert assess_grade(facts(has_income=False), rule_set("2014-40")).as_previous() is None


def test_lines_name_rule_source_points_and_events() -> None:
    result = assess_grade(facts(events=(event(after_days=31, reference="W1"),)), rule_set(NEW_RULES))

    assert [
        (LineKind.POINTS, "start_fees_complete", 930, (), None),
        (LineKind.POINTS, "late_filing", -50, ("W1",), DAY),
        (LineKind.POINTS, "corrected_within_90_days", 30, ("W1",), DAY),
        (LineKind.GRADE, "grade_a", 0, (), None),
    ] == [(line.kind, line.rule.id, line.tenths, line.references, line.since) for line in result.lines]
    assert all(line.rule.source for line in result.lines)


def test_what_happened_or_was_corrected_after_the_day_of_grading_is_not_known() -> None:
    early = facts(as_of=date(2025, 6, 30), events=(event(after_days=20), event(since=date(2025, 7, 15))))

    assert assess_grade(early, rule_set(NEW_RULES)).points_tenths == 880


def test_events_of_other_years_do_not_count() -> None:
    other = (event(since=date(2024, 12, 31)), event("evasion", since=date(2026, 1, 1)))

    assert assess_grade(facts(events=other), rule_set(NEW_RULES)).letter is A


def test_an_event_of_no_rule_is_refused() -> None:
    with pytest.raises(InvalidInput, match="rule_unknown"):
        assess_grade(facts(events=(event("false_promise"),)), rule_set("2021-31"))


def test_unconfirmed_rules_are_named_and_never_advised_on() -> None:
    owed = facts(events=(event("arrears_unpaid"), event(reference="W1")), as_of=DAY)
    result = assess_grade(owed, rule_set(NEW_RULES))

    assert result.unconfirmed == ("arrears_unpaid",)
    assert [each.rule.id for each in repair_advice(owed, rule_set(NEW_RULES))] == ["late_filing"]
    assert after_repair(owed, rule_set(NEW_RULES)).points_tenths == 820


def test_advice_says_by_when_and_what_each_delay_costs() -> None:
    (advice,) = repair_advice(facts(as_of=date(2025, 6, 18), events=(event(reference="W1"),)), rule_set(NEW_RULES))

    assert ("late_filing", ("W1",), DAY) == (advice.rule.id, advice.references, advice.since)
    assert [
        (date(2025, 6, 19), 50, 930, A),
        (date(2025, 7, 16), 40, 920, A),
        (date(2025, 9, 14), 30, 910, A),
        (None, 20, 900, A),
    ] == [(each.by, each.tenths, each.points_tenths, each.letter) for each in advice.options]


def test_advice_under_the_rules_before_2025_ends_with_the_next_year() -> None:
    (advice,) = repair_advice(facts(as_of=date(2025, 8, 1), events=(event(),)), rule_set("2021-31"))

    assert [(date(2025, 12, 31), 20), (date(2026, 12, 31), 10)] == [(each.by, each.tenths) for each in advice.options]


def test_a_month_of_two_late_returns_is_repaired_by_both() -> None:
    both = facts(as_of=date(2025, 6, 26), events=(event(), event(since=date(2025, 6, 25))))
    (advice,) = repair_advice(both, rule_set(NEW_RULES))

    assert [(date(2025, 7, 16), 40), (date(2025, 9, 14), 30), (None, 20)] == [
        (each.by, each.tenths) for each in advice.options
    ]


def test_an_abnormal_household_is_told_that_its_d_ends_and_that_it_is_no_a() -> None:
    abnormal = facts(events=(event("abnormal_household"),))
    (advice,) = repair_advice(abnormal, rule_set(NEW_RULES))

    assert [(None, "abnormal_household_lifted", 930, B)] == [
        (each.by, each.step.id, each.points_tenths, each.letter) for each in advice.options
    ]


def test_a_direct_d_whose_repair_is_not_known_is_not_advised_on() -> None:
    assert () == repair_advice(facts(events=(event("evasion"),)), rule_set(NEW_RULES))


def test_what_is_corrected_needs_no_advice() -> None:
    done = facts(events=(event(after_days=40),))

    assert () == repair_advice(done, rule_set(NEW_RULES))
    assert after_repair(done, rule_set(NEW_RULES)) == assess_grade(done, rule_set(NEW_RULES))
