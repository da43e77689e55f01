"""The grader never rewards a breach and never forgets a range."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

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
)

ORDER = {Grade.A: 4, Grade.B: 3, Grade.M: 3, Grade.C: 2, Grade.D: 1}

events = st.builds(
    CreditEvent,
    breach=st.sampled_from(Breach),
    corrected_after_days=st.none() | st.integers(0, 800),
    is_first_offence_waived=st.booleans(),
)
facts = st.builds(
    GradeFacts,
    months_operating=st.integers(1, 200),
    has_income=st.booleans(),
    has_non_regular_indicators=st.booleans(),
    is_fee_information_complete=st.booleans(),
    are_books_to_standard=st.booleans(),
    zero_vat_in_a_row=st.integers(0, 12),
    zero_vat_in_total=st.integers(0, 12),
    clean_months=st.integers(0, 40),
    events=st.lists(events, max_size=12).map(tuple),
    direct_d=st.lists(st.sampled_from(DirectD), max_size=1).map(tuple),
    previous=st.none()
    | st.builds(PreviousGrade, letter=st.sampled_from(Grade), direct_d_years=st.just(0))
    | st.builds(PreviousGrade, letter=st.just(Grade.D), direct_d_years=st.integers(1, 2)),
)
rules = st.sampled_from([RULES_2014, RULES_2025])


@given(facts, events, rules)
@settings(max_examples=200, deadline=None)
def test_one_more_breach_never_helps(before: GradeFacts, event: CreditEvent, rules_version) -> None:
    after = replace(before, events=(*before.events, event))
    first, second = assess_grade(before, rules=rules_version), assess_grade(after, rules=rules_version)

    assert ORDER[second.letter] <= ORDER[first.letter]
    if first.points_tenths is not None and second.points_tenths is not None:
        assert 0 <= second.points_tenths <= first.points_tenths <= 1000


@given(facts, rules)
@settings(max_examples=200, deadline=None)
def test_letter_and_points_agree(given_facts: GradeFacts, rules_version) -> None:
    result = assess_grade(given_facts, rules=rules_version)

    assert (result.points_tenths is None) == result.is_direct_d
    if result.points_tenths is None or result.points_tenths < 400:
        assert Grade.D is result.letter
    elif result.letter is Grade.A:
        assert result.points_tenths >= 900
        assert result.reasons == ()
    elif result.letter is Grade.C:
        assert 400 <= result.points_tenths < 700
