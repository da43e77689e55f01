"""[LEAK-7]: no answers, whatever they are and in whatever order cuts are chosen, tell more places than are counted."""

from __future__ import annotations

from datetime import date
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from shuiqiao.privacy.model import MILLI, feature_and_cut, indicator
from shuiqiao.privacy.resolution import feature_millibits

SINCE = date(2025, 1, 1)
DAYS = st.sampled_from([date(2026, 6, 30), date(2026, 7, 31)])
cut_sets = st.lists(st.sets(st.integers(0, 40), max_size=6), max_size=6)


def row(cuts, *, day, feature="sales"):
    return {indicator(feature, cut=cut, since=SINCE, as_of=day): 1 for cut in cuts}


def most_transcripts(questions, *, low, high):
    """How many different lists of answers an adaptive asker can get of a value from low to below high, at the most.

    Each question says between which of its cuts the value is; later ones move their cuts to where it is, which is why the
    same number of cuts is spread over each interval that is left.
    """
    if not questions or high - low <= 1:
        return 1
    inner = min(len(questions[0]), high - low - 1)
    edges = [low, *(low + (high - low) * (at + 1) // (inner + 1) for at in range(inner)), high]
    return sum(most_transcripts(questions[1:], low=a, high=b) for a, b in pairwise(edges) if b > a)


@given(cut_sets, DAYS)
def test_no_adaptive_asker_tells_more_values_apart(questions, day):
    counted = feature_millibits([row(cuts, day=day) for cuts in questions]).get("sales", 0)
    # Cuts that are new in each question, which is what an asker that moves them has.
    fresh, seen = [], set()
    for cuts in questions:
        fresh.append(cuts - seen)
        seen |= cuts
    assert most_transcripts(fresh, low=0, high=10**6) <= 2 ** (counted / MILLI) + 1e-6


@given(cut_sets, DAYS, DAYS)
def test_the_same_cuts_again_count_nothing_on_any_day(questions, day, other):
    asked = [row(cuts, day=day) for cuts in questions]
    again = [row(cuts, day=other) for cuts in questions]
    assert feature_millibits(asked + again) == feature_millibits(asked)


@given(st.integers(-(2**63), 2**63 - 1) | st.none(), DAYS)
def test_the_name_of_an_indicator_says_of_which_feature_and_cut_it_is(cut, day):
    assert feature_and_cut(indicator("sales", cut=cut, since=SINCE, as_of=day)) == (
        "sales",
        "?" if cut is None else str(cut),
    )
    assert feature_and_cut("ciphertext 00ff@2026-06-30") is None
