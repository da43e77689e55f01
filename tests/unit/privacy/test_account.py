"""[LEAK-4] [LEAK-5]: what is counted against which budget, and that one thousandth of a bit too much is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from shuiqiao.base.errors import Denied
from shuiqiao.base.ids import MemberId
from shuiqiao.consent.model import FieldCode, Mode, Purpose, field_code
from shuiqiao.privacy.account import account_of, bits_text, verify_within
from shuiqiao.privacy.budgets import BUDGETS
from shuiqiao.privacy.model import MILLI, Charge, Revealed, indicator, millibits_of

BANK, OTHER, THIRD = (MemberId(name) for name in ("bank-a", "bank-b", "bank-c"))
UNDERWRITING = BUDGETS[Purpose.UNDERWRITING].each
SINCE = date(2025, 1, 1)


def charge(bits=0, *, number=0, row=None, **changes):
    fields = {
        "reference": f"bank-a/{number:032x}",
        "taxpayer": "E1",
        "recipient": BANK,
        "purpose": Purpose.UNDERWRITING,
        "mode": Mode.SCORE,
        "charged_ms": 1,
        "revealed": Revealed(millibits=round(bits * MILLI), row=row),
    }
    return Charge(**(fields | changes))


@pytest.mark.parametrize(("values", "millibits"), [(1, 0), (2, 1000), (3, 1585), (8, 3000), (4096, 12000)])
def test_a_value_among_so_many_has_that_many_bits_rounded_up(values, millibits):
    """[LEAK-2]"""
    assert millibits_of(values) == millibits


def test_bits_are_counted_up_to_the_budget_and_not_a_thousandth_further():
    past = [charge(UNDERWRITING.bits - 12)]
    assert verify_within(charge(12), past=past) is None
    with pytest.raises(
        Denied, match=r"^privacy\.budget_exceeded: with this answer bank-a would know 72\.001 bits"
    ) as refusal:
        verify_within(charge(12.001), past=past)
    assert field_code(refusal.value) is FieldCode.CEILING_EXCEEDED


def test_independent_sums_are_counted_and_the_same_again_is_free():
    past = [charge(number=number, row={f"f{number}": 1}) for number in range(UNDERWRITING.rank)]
    assert verify_within(charge(row={"f0": 5, "f1": -7}), past=past) is None
    with pytest.raises(Denied, match=r"^privacy\.budget_exceeded.*9 independent sums"):
        verify_within(charge(row={"g": 1}), past=past)


def test_the_same_question_again_counts_its_bits_and_nothing_else():
    """[LEAK-8]"""
    asked = [charge(12, number=number, row=card("sales", 1, 2)) for number in range(6)]
    (_, use) = account_of(asked).budgets
    assert (use.millibits, use.rank, use.feature, use.feature_millibits) == (72_000, 1, "sales", 1_585)
    with pytest.raises(Denied, match=r"^privacy\.budget_exceeded: .*84\.000 bits"):
        verify_within(charge(12, row=card("sales", 1, 2)), past=asked)


def test_two_banks_together_know_no_more_than_all_together_may():
    """What each of them may know still is refused to the one that would make it too much together."""
    past = [charge(UNDERWRITING.bits, recipient=bank, number=at) for at, bank in enumerate((BANK, OTHER))]
    with pytest.raises(Denied, match=r"^privacy\.budget_exceeded.*all recipients together would know more") as refused:
        verify_within(charge(1, recipient=THIRD), past=past)
    assert "145.000" not in str(refused.value)  # How much the others know is not for the one that asks.


def test_a_credential_counts_against_every_recipient_and_for_itself():
    """[LEAK-5]"""
    issued = charge(20, recipient=None, purpose=None, mode=None)
    assert verify_within(charge(52), past=[issued]) is None
    with pytest.raises(Denied, match=r"^privacy\.budget_exceeded"):
        verify_within(charge(52.001), past=[issued])
    assert verify_within(replace(issued, reference="2"), past=[issued] * 3) is None
    with pytest.raises(Denied, match=r"^privacy\.budget_exceeded.*credentials allow at most 96\.000 bits"):
        verify_within(replace(issued, reference="2"), past=[issued] * 4)


def test_what_is_disclosed_is_counted_and_not_bounded():
    """[LEAK-1]"""
    shown = charge(10**6, mode=Mode.DISCLOSE, number=1)
    assert verify_within(shown, past=[]) is None
    assert verify_within(charge(UNDERWRITING.bits), past=[shown]) is None


def test_other_purposes_have_budgets_of_their_own():
    past = [charge(UNDERWRITING.bits)]
    monitoring = charge(1, purpose=Purpose.LOAN_MONITORING)
    assert verify_within(monitoring, past=past) is None
    with pytest.raises(Denied, match=r"^privacy\.budget_exceeded"):
        verify_within(charge(0.001, purpose=Purpose.MODEL_DEVELOPMENT), past=[])


def test_an_account_tells_each_recipient_purpose_and_mode_and_what_is_left():
    fields = frozenset({"filing.uscc", "filing.due_on"})
    account = account_of(
        [
            charge(3, number=1, row={"a": 1}),
            charge(3, number=2, row={"a": 2}),
            charge(5, number=3, recipient=OTHER, row={"b": 1}),
            charge(900, number=4, mode=Mode.DISCLOSE, revealed=Revealed(fields=fields, millibits=900_000)),
            charge(20, number=5, recipient=None, purpose=None, mode=None),
        ]
    )
    told = [
        (line.recipient, line.mode, line.answers, line.fields, bits_text(line.millibits), line.rank)
        for line in account.lines
    ]
    assert told == [
        (None, None, 1, 0, "20.000", 0),
        (BANK, Mode.DISCLOSE, 1, 2, "900.000", 0),
        (BANK, Mode.SCORE, 2, 0, "6.000", 1),
        (OTHER, Mode.SCORE, 1, 0, "5.000", 1),
    ]
    used = {(use.recipient, use.purpose): (use.millibits, use.rank) for use in account.budgets}
    assert used == {
        (None, None): (20_000, 0),
        (None, Purpose.UNDERWRITING): (31_000, 2),
        (BANK, Purpose.UNDERWRITING): (26_000, 1),
        (OTHER, Purpose.UNDERWRITING): (25_000, 1),
    }


def test_a_credential_fits_the_budget_of_every_recipient_and_purpose_that_was_told_something():
    """[LEAK-5]: whichever came first."""
    told = charge(UNDERWRITING.bits - 10, number=1)
    issued = {"recipient": None, "purpose": None, "mode": None}
    verify_within(charge(10, number=2, **issued), past=[told])
    with pytest.raises(Denied, match=r"^privacy\.budget_exceeded.*with this answer bank-a would know"):
        verify_within(charge(11, number=2, **issued), past=[told])
    # Whoever may only read records has no budget to fit.
    verify_within(charge(11, number=2, **issued), past=[charge(900, number=1, mode=Mode.DISCLOSE)])


def test_the_same_sum_of_other_records_is_a_sum_of_its_own():
    """[LEAK-3]: who moves the first day asks something else."""
    days = [{"since": date(2025, month, 1), "as_of": date(2026, 6, 30)} for month in (1, 2)]
    rows = [{indicator("sales", cut=5, **each): 1} for each in days]
    account = account_of([charge(1, number=place, row=row) for place, row in enumerate(rows)])
    assert [line.rank for line in account.lines] == [2]
    # The cut is the same, and places the feature no finer.
    assert account.budgets[-1].feature_millibits == MILLI


def card(feature, *cuts, day=date(2026, 6, 30)):
    return {indicator(feature, cut=cut, since=SINCE, as_of=day): 5 for cut in cuts}


def test_cuts_of_one_feature_are_counted_over_all_days_and_the_same_ones_once():
    """[LEAK-7]: two cards of fifteen bins and "not known" are within the budget, one cut more is not."""
    cuts = [None, *range(1, 15)]
    past = [
        charge(3, number=1, row=card("sales", *cuts)),
        charge(3, number=2, row=card("sales", *cuts, day=date(2026, 7, 31))),
        charge(3, number=3, row=card("sales", None, *range(31, 45))),
    ]
    assert verify_within(charge(3, row=card("sales", *cuts, *range(31, 45))), past=past) is None
    assert verify_within(charge(3, row=card("tax", *cuts)), past=past) is None
    with pytest.raises(
        Denied, match=r"^privacy\.budget_exceeded.*8\.907 bits of sales by the cuts.*8\.000 bits of one feature"
    ):
        verify_within(charge(3, row=card("sales", 15)), past=past)


def test_two_banks_together_place_a_feature_no_finer_than_all_together_may():
    """[LEAK-7]"""
    past = [
        charge(number=at, recipient=bank, row=card("sales", *range(at * 64, at * 64 + 63)))
        for at, bank in enumerate((BANK, OTHER))
    ]
    assert verify_within(charge(recipient=THIRD, row=card("sales", 0, 1000)), past=past[:1]) is None
    with pytest.raises(Denied, match=r"^privacy\.budget_exceeded.*all recipients together would know more"):
        verify_within(charge(recipient=THIRD, row=card("sales", 1000)), past=past)


def test_every_purpose_has_a_budget_that_no_recipient_has_more_of_than_all():
    assert BUDGETS.keys() == {*Purpose, None}
    for budget in BUDGETS.values():
        for name in ("bits", "rank", "feature_bits"):
            assert getattr(budget.each, name) <= getattr(budget.together, name)
