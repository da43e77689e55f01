"""The one form of an explanation: complete, and by the rules of the day unless others are asked for."""

from __future__ import annotations

import json
from datetime import date

from shuiqiao.tax_credit.explanation import IssuedGrade, Remark, explain_grade
from shuiqiao.tax_credit.facts_file import MAX_EVENTS
from shuiqiao.tax_credit.model import CreditEvent, GradeFacts, points_text
from shuiqiao.tax_credit.rules import rule_set

FACTS = GradeFacts(
    year=2025,
    as_of=date(2025, 7, 1),
    operating_since=date(2019, 3, 1),
    has_income=True,
    has_non_regular_indicators=False,
    is_fee_information_complete=True,
    events=(CreditEvent(rule="late_filing", since=date(2025, 6, 16), reference="VAT 2025-05"),),
)


def test_the_whole_form() -> None:
    told = explain_grade(
        FACTS,
        remarks=(Remark(about="has_income", en="assumed", zh="推定"),),
        issued=IssuedGrade(grade="B", points="88", evaluated_on=date(2026, 4, 20)),
    )

    assert json.loads(json.dumps(told)) == told
    assert ("2025-12", "B", "88", False, []) == (
        told["rules"]["version"],
        told["grade"],
        told["points"],
        told["direct_d"],
        told["unconfirmed"],
    )
    assert [("start_fees_complete", "93"), ("late_filing", "-5"), ("grade_b", None)] == [
        (line["rule"], line["points"]) for line in told["lines"]
    ]
    assert {
        "kind": "points",
        "rule": "late_filing",
        "name": "A return of taxes or fees was not filed in time",
        "name_zh": "未按规定期限办理纳税缴费申报",
        "source": "2025 No. 12, annex 1, indicator 010101: by month",
        "confirmed": True,
        "points": "-5",
        "references": ["VAT 2025-05"],
        "since": "2025-06-16",
        "until": None,
    } == told["lines"][1]
    assert [("2025-07-16", "4", "92", "A"), ("2025-09-14", "3", "91", "A"), (None, "2", "90", "A")] == [
        (option["by"], option["gives_back"], option["points"], option["grade"])
        for option in told["repairs"][0]["options"]
    ]
    assert {"grade": "A", "points": "92"} == told["after_repair"]
    assert [{"about": "has_income", "en": "assumed", "zh": "推定"}] == told["remarks"]
    assert {"grade": "B", "points": "88", "evaluated_on": "2026-04-20"} == told["issued"]


def test_other_rules_can_be_asked_for() -> None:
    told = explain_grade(FACTS, rules=rule_set("2020-15"))

    assert ("2020-15", "85") == (told["rules"]["version"], told["points"])


def test_points_are_shown_in_their_shortest_form() -> None:
    assert ["0", "93", "-5", "87.5", "-0.6"] == [points_text(tenths) for tenths in (0, 930, -50, 875, -6)]


def test_the_largest_file_is_explained_with_the_advice_that_gives_most() -> None:
    many = (CreditEvent(rule="late_statements", since=date(2025, 6, 16)),) * (MAX_EVENTS - 1)
    told = explain_grade(
        GradeFacts(
            year=2025,
            as_of=date(2025, 7, 1),
            operating_since=date(2019, 3, 1),
            has_income=True,
            has_non_regular_indicators=False,
            is_fee_information_complete=True,
            events=(*many, CreditEvent(rule="late_filing", since=date(2025, 6, 20))),
        )
    )

    assert (20, "late_filing") == (len(told["repairs"]), told["repairs"][0]["rule"])
