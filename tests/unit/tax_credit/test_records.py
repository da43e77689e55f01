"""What records say of a year, and what they leave open [GRADE-10]."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from shuiqiao.base.errors import Conflict
from shuiqiao.standards.tax_credit_grade import Grade
from shuiqiao.tax_credit.explanation import IssuedGrade
from shuiqiao.tax_credit.facts_file import MAX_EVENTS
from shuiqiao.tax_credit.model import CreditEvent, PreviousGrade
from shuiqiao.tax_credit.records import facts_of_records

YEAR = 2025
AS_OF = date(2026, 2, 1)
DUE = date(2025, 6, 16)


def registration(**changes: Any) -> dict[str, Any]:
    return {"registered_on": date(2019, 3, 1), "status": "normal", **changes}


def filing(**changes: Any) -> dict[str, Any]:
    return {
        "tax_code": "vat",
        "period_from": date(2025, 5, 1),
        "period_to": date(2025, 5, 31),
        "due_on": DUE,
        "filed_on": DUE,
        "filing_kind": "original",
        "is_void": None,
        "revenue_fen": 100,
        "tax_due_fen": 3,
        **changes,
    }


def arrears(**changes: Any) -> dict[str, Any]:
    return {
        "arrears_no": "Q1",
        "payment_kind": "tax",
        "due_on": DUE,
        "cleared_on": None,
        "due_fen": 500,
        "owed_fen": 400,
        **changes,
    }


def violation(**changes: Any) -> dict[str, Any]:
    return {
        "violation_no": "W1",
        "violation_kind": "invoice",
        "state": "closed",
        "registered_on": DUE,
        "first_offence_no_penalty": None,
        "is_void": None,
        **changes,
    }


def grade(year: int, letter: str, *, direct: bool = False, score: str | None = None) -> dict[str, Any]:
    return {
        "year": year,
        "grade": letter,
        "score": score,
        "direct_d": direct,
        "evaluated_on": date(year + 1, 4, 20),
    }


def said(year: int = YEAR, **rows: list[dict[str, Any]]) -> Any:
    empty: dict[str, list[dict[str, Any]]] = {
        "registration": [registration()],
        "filing": [],
        "arrears": [],
        "violation": [],
        "tax_credit_grade": [],
    }
    return facts_of_records({**empty, **rows}, year=year, as_of=AS_OF)


def about(found: Any) -> list[str]:
    return [remark.about for remark in found.remarks]


ASSUMED = ["has_non_regular_indicators", "is_fee_information_complete", "are_books_to_standard", "zero_vat"]


def test_business_began_with_the_first_registration() -> None:
    found = said(registration=[registration(), registration(registered_on=date(2017, 1, 1))])

    assert found.facts.operating_since == date(2017, 1, 1)


def test_without_a_registration_nothing_is_graded() -> None:
    with pytest.raises(Conflict) as refused:
        said(registration=[])

    assert refused.value.code == "tax_credit.registration_missing"


def test_a_return_filed_after_its_day_is_late_and_was_corrected_when_it_was_filed() -> None:
    found = said(filing=[filing(filed_on=date(2025, 6, 20)), filing()])

    assert found.facts.events == (
        CreditEvent(
            rule="late_filing",
            since=DUE,
            corrected_on=date(2025, 6, 20),
            amount_fen=3,
            reference="filing vat 2025-05-01 2025-05-31",
        ),
    )
    assert about(found) == ASSUMED


@pytest.mark.parametrize(
    "changes",
    [
        {"is_void": True},
        {"filing_kind": "corrected"},
        {"due_on": date(2024, 12, 16)},
    ],
    ids=str,
)
def test_void_and_corrected_returns_and_those_of_other_years_are_not_late(changes: dict[str, Any]) -> None:
    assert said(filing=[filing(filed_on=date(2025, 12, 20), **changes)]).facts.events == ()


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({}, "arrears_unpaid"),
        ({"cleared_on": date(2026, 1, 5)}, "arrears_unpaid"),
        ({"cleared_on": date(2025, 12, 31)}, "late_payment"),
        ({"cleared_on": DUE}, None),
        ({"payment_kind": "fine"}, None),
        ({"due_on": date(2024, 6, 16)}, None),
    ],
    ids=str,
)
def test_what_is_owed_at_the_end_of_the_year_is_arrears(changes: dict[str, Any], rule: str | None) -> None:
    found = said(arrears=[arrears(**changes)]).facts.events

    assert [(event.rule, event.amount_fen, event.reference) for event in found] == (
        [] if rule is None else [(rule, 500, "arrears Q1")]
    )


@pytest.mark.parametrize(
    ("changes", "rules", "remarks"),
    [
        ({"violation_kind": "false_invoice"}, ["tax_fraud"], []),
        ({"violation_kind": "false_invoice", "state": "handling"}, [], ["violation W1"]),
        ({"violation_kind": "evasion"}, [], ["violation W1"]),
        ({}, [], ["violation W1"]),
        ({"first_offence_no_penalty": True}, [], []),
        ({"is_void": True}, [], []),
        ({"registered_on": date(2024, 6, 16)}, [], []),
    ],
    ids=str,
)
def test_a_violation_counts_only_where_its_rule_is_known(
    changes: dict[str, Any], rules: list[str], remarks: list[str]
) -> None:
    found = said(filing=[filing()], violation=[violation(**changes)])

    assert (rules, [*ASSUMED, *remarks]) == ([event.rule for event in found.facts.events], about(found))


def test_an_abnormal_household_is_a_direct_d_of_the_year() -> None:
    (event,) = said(registration=[registration(status="abnormal")]).facts.events

    assert (event.rule, event.since, event.corrected_on) == ("abnormal_household", date(2025, 12, 31), None)


@pytest.mark.parametrize(
    ("revenues", "has_income", "is_assumed"),
    [([100, 0], True, False), ([0, 0], False, False), ([None], True, True), ([], True, True)],
)
def test_income_follows_from_what_was_declared(revenues: list[int | None], has_income: bool, is_assumed: bool) -> None:
    found = said(filing=[filing(revenue_fen=revenue) for revenue in revenues])

    assert (has_income, is_assumed) == (found.facts.has_income, "has_income" in about(found))


@pytest.mark.parametrize(
    ("grades", "previous"),
    [
        ([], None),
        ([grade(2024, "B")], PreviousGrade(letter=Grade.B)),
        ([grade(2023, "D", direct=True), grade(2024, "B")], PreviousGrade(letter=Grade.B)),
        ([grade(2024, "D", direct=True)], PreviousGrade(letter=Grade.D, is_direct=True, years=1)),
        (
            [grade(2023, "D", direct=True), grade(2024, "D", direct=True)],
            PreviousGrade(letter=Grade.D, is_direct=True, years=2),
        ),
        ([grade(2023, "D", direct=True), grade(2024, "D")], PreviousGrade(letter=Grade.D, years=1)),
        ([grade(2022, "D"), grade(2024, "D")], PreviousGrade(letter=Grade.D, years=1)),
    ],
)
def test_the_grade_before_says_how_long_a_d_has_stood(
    grades: list[dict[str, Any]], previous: PreviousGrade | None
) -> None:
    assert previous == said(tax_credit_grade=grades).facts.previous


def test_the_grade_that_was_issued_is_told() -> None:
    found = said(tax_credit_grade=[grade(2025, "B", score="88.5")])

    assert found.issued == IssuedGrade(grade="B", points="88.5", evaluated_on=date(2026, 4, 20))
    assert said().issued is None


def test_more_events_than_are_worked_out_are_refused() -> None:
    with pytest.raises(Conflict) as refused:
        said(filing=[filing(filed_on=date(2025, 6, 20))] * (MAX_EVENTS + 1))

    assert refused.value.code == "tax_credit.events_many"
