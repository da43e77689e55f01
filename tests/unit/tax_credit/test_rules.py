"""The table of rules: complete in every version, and the version follows the day [GRADE-1] [GRADE-2]."""

from __future__ import annotations

from datetime import date

import pytest

from shuiqiao.base.errors import InvalidInput
from shuiqiao.tax_credit.rules import RuleKind, all_rules, rule_set, rules_in_force


@pytest.mark.parametrize(
    ("day", "version"),
    [
        (date(2014, 9, 30), "2014-40"),
        (date(2018, 3, 31), "2014-40"),
        (date(2018, 4, 1), "2018-8"),
        (date(2020, 1, 1), "2019-37"),
        (date(2020, 11, 1), "2020-15"),
        (date(2022, 4, 20), "2021-31"),
        (date(2025, 6, 30), "2021-31"),
        (date(2025, 7, 1), "2025-12"),
        (date(2031, 1, 1), "2025-12"),
    ],
)
def test_the_version_follows_the_day_of_grading(day: date, version: str) -> None:
    assert version == rules_in_force(day).version.id


def test_no_version_has_two_rows_of_one_id_and_no_row_names_a_version_that_is_none() -> None:
    versions, rules = all_rules()
    known = {version.id for version in versions}
    pairs = [(rule.id, version) for rule in rules for version in rule.versions]

    assert len(pairs) == len(set(pairs))
    assert known == {version for _, version in pairs}


def test_what_the_assessment_names_is_in_every_version() -> None:
    bars = {
        "operating_under_three_years",
        "last_year_d",
        "zero_vat_in_a_row",
        "zero_vat_in_total",
        "books_not_to_standard",
    }
    letters = {"grade_a", "grade_b", "grade_c", "grade_d"}
    for version in all_rules()[0]:
        rules = rule_set(version.id)

        assert bars == {rule.id for rule in rules.of(RuleKind.BAR)}
        assert letters <= {rule.id for rule in rules.of(RuleKind.LETTER)}
        assert {"start_full", "start_plain"} <= {rule.id for rule in rules.of(RuleKind.START)}
        assert "direct_d_kept" in rules.rules


def test_letters_stand_from_the_most_points_down() -> None:
    for version in all_rules()[0]:
        points = [rule_set(version.id).rules[f"grade_{letter}"].points for letter in "abcd"]

        assert [90, 70, 40, 0] == points


def test_steps_give_less_the_later_they_are() -> None:
    for version in all_rules()[0]:
        percents = [rule.percent for rule in rule_set(version.id).of(RuleKind.STEP)]

        assert percents == sorted(percents, reverse=True)


def test_a_version_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidInput, match="version_unknown"):
        rule_set("2030-1")


def test_an_event_names_a_deduction_or_a_direct_d() -> None:
    with pytest.raises(InvalidInput, match="rule_unknown"):
        rule_set("2025-12").event_rule("grade_a")
