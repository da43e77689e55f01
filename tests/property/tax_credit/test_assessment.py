"""Whatever the facts: events have no order, one more never helps, a correction never harms [GRADE-3] [GRADE-6]."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from shuiqiao.standards.tax_credit_grade import Grade
from shuiqiao.tax_credit.assessment import after_repair, assess_grade, repair_advice
from shuiqiao.tax_credit.model import CreditEvent, GradeAssessment, GradeFacts, Instalment, PreviousGrade
from shuiqiao.tax_credit.rules import RuleKind, RuleSet, all_rules, rule_set

ORDER = {Grade.A: 4, Grade.B: 3, Grade.M: 3, Grade.C: 2, Grade.D: 1}
YEAR = 2025
VERSIONS = [version.id for version in all_rules()[0]]

days = st.integers(0, 364).map(lambda day: date(YEAR, 1, 1) + timedelta(days=day))
later = st.integers(0, 900).map(lambda day: date(YEAR, 1, 1) + timedelta(days=day))
payments = st.lists(st.builds(Instalment, paid_on=later, paid_fen=st.integers(1, 300_000)), max_size=3).map(tuple)
previous = st.none() | st.builds(
    PreviousGrade, letter=st.sampled_from(Grade), is_direct=st.booleans(), years=st.integers(1, 2)
)


@st.composite
def events(draw: st.DrawFn, rules: RuleSet) -> CreditEvent:
    kinds = (RuleKind.DEDUCTION, RuleKind.DEDUCTION, RuleKind.DEDUCTION, RuleKind.DIRECT_D)
    rule = draw(st.sampled_from([each.id for each in rules.of(draw(st.sampled_from(kinds)))]))
    return CreditEvent(
        rule=rule,
        since=draw(days),
        corrected_on=draw(st.none() | later),
        amount_fen=draw(st.none() | st.integers(0, 300_000)),
        payments=draw(payments),
        is_first_offence=draw(st.booleans()),
        reference=draw(st.sampled_from(["", "W1", "W2"])),
    )


@st.composite
def cases(draw: st.DrawFn) -> tuple[GradeFacts, RuleSet]:
    rules = rule_set(draw(st.sampled_from(VERSIONS)))
    facts = GradeFacts(
        year=YEAR,
        as_of=draw(later),
        operating_since=draw(st.dates(date(2015, 1, 1), date(2025, 12, 31))),
        has_income=draw(st.booleans()),
        has_non_regular_indicators=draw(st.booleans()),
        is_fee_information_complete=draw(st.booleans()),
        are_books_to_standard=draw(st.booleans()),
        zero_vat_in_a_row=draw(st.integers(0, 12)),
        zero_vat_in_total=draw(st.integers(0, 12)),
        whole_credit_asked_on=draw(st.none() | later),
        events=tuple(draw(st.lists(events(rules), max_size=8))),
        previous=draw(previous),
    )
    return facts, rules


def is_no_better(second: GradeAssessment, first: GradeAssessment) -> bool:
    if (first.letter is None) != (second.letter is None):
        # Who is not rated for want of a full year or of income gets a D all the same for a serious breach.
        return second.letter is Grade.D
    if first.letter is None or second.letter is None:
        return True
    fewer = first.points_tenths is None or (second.points_tenths or 0) <= first.points_tenths
    return ORDER[second.letter] <= ORDER[first.letter] and (fewer or second.letter is Grade.D)


@given(cases(), st.data())
@settings(max_examples=200, deadline=None)
def test_the_order_of_events_does_not_matter(case: tuple[GradeFacts, RuleSet], data: st.DataObject) -> None:
    facts, rules = case
    shuffled = replace(facts, events=tuple(data.draw(st.permutations(facts.events))))

    assert assess_grade(facts, rules) == assess_grade(shuffled, rules)
    assert repair_advice(facts, rules) == repair_advice(shuffled, rules)


@given(cases(), st.data())
@settings(max_examples=300, deadline=None)
def test_one_more_event_never_betters_a_grade(case: tuple[GradeFacts, RuleSet], data: st.DataObject) -> None:
    facts, rules = case
    more = replace(facts, events=(*facts.events, data.draw(events(rules))))

    assert is_no_better(assess_grade(more, rules), assess_grade(facts, rules))


@given(cases(), st.data())
@settings(max_examples=300, deadline=None)
def test_a_correction_never_worsens_a_grade(case: tuple[GradeFacts, RuleSet], data: st.DataObject) -> None:
    facts, rules = case
    waiting = [place for place, event in enumerate(facts.events) if event.corrected_on is None]
    if not waiting:
        return
    place = data.draw(st.sampled_from(waiting))
    corrected = replace(facts.events[place], corrected_on=data.draw(later))
    after = replace(facts, events=(*facts.events[:place], corrected, *facts.events[place + 1 :]))

    assert is_no_better(assess_grade(facts, rules), assess_grade(after, rules))


@given(cases())
@settings(max_examples=200, deadline=None)
def test_advice_keeps_its_word_and_gives_less_the_longer_one_waits(case: tuple[GradeFacts, RuleSet]) -> None:
    facts, rules = case
    now = assess_grade(facts, rules)
    assert is_no_better(now, after_repair(facts, rules))
    for advice in repair_advice(facts, rules):
        given_back = [option.tenths for option in advice.options]
        assert given_back == sorted(given_back, reverse=True)
        assert advice.rule.confirmed
        for option in advice.options:
            assert option.step.confirmed
            assert option.by is None or option.by >= facts.as_of


@given(cases())
@settings(max_examples=200, deadline=None)
def test_points_letter_and_lines_agree(case: tuple[GradeFacts, RuleSet]) -> None:
    facts, rules = case
    result = assess_grade(facts, rules)
    told = sum(line.tenths for line in result.lines)

    if result.points_tenths is None:
        assert result.letter is Grade.D
        return
    assert max(0, min(told, 1000)) == result.points_tenths
    if result.letter is Grade.A:
        assert (result.points_tenths >= 900, result.reasons) == (True, ())
    elif result.letter is Grade.C:
        assert 400 <= result.points_tenths < 700
    elif result.letter is Grade.D:
        assert result.points_tenths < 400
    assert set(result.unconfirmed) == {line.rule.id for line in result.lines if not line.rule.confirmed}
