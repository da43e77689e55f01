"""What must hold of bins and cards whatever the firms: monotone, exact, one form in bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shuiqiao.base.errors import InvalidInput
from shuiqiao.credit.binning import UNKNOWN, BinningSettings, fit_bins
from shuiqiao.credit.scorecard import (
    Scorecard,
    ScorecardFeature,
    decode_scorecard,
    default_probability,
    encode_scorecard,
)
from shuiqiao.features.model import Direction

INT64 = st.integers(-9 * 10**18, 9 * 10**18)


@settings(max_examples=150, deadline=None)
@given(
    values=st.lists(st.one_of(INT64, st.integers(-5, 5), st.just(int(UNKNOWN))), min_size=1, max_size=60),
    direction=st.sampled_from(list(Direction)),
    smoothing=st.floats(0.01, 100),
    data=st.data(),
)
def test_bins_are_monotone_and_count_every_firm_once(values, direction, smoothing, data):
    bad = np.array(data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values))))
    array = np.array(values, dtype=np.int64)
    found = fit_bins(
        "x", values=array, bad=bad, direction=direction, settings=BinningSettings(bins=8, smoothing=smoothing)
    )
    rising = sorted(found.woe)
    assert list(found.woe) in (rising, rising[::-1])
    if direction is not Direction.OPEN:
        assert list(found.woe) == (rising if direction is Direction.LOWER_RISK else rising[::-1])
    assert list(found.cuts) == sorted(set(found.cuts))
    assert (sum(found.counts), sum(found.bad)) == (len(values), bad.sum())
    assert np.bincount(found.bin_of(array), minlength=len(found.counts)).tolist() == list(found.counts)
    assert np.isfinite(found.transform(array)).all()


@st.composite
def cards(draw: st.DrawFn) -> Scorecard:
    names = draw(st.lists(st.from_regex("[a-z][a-z0-9_]{0,10}", fullmatch=True), unique=True, max_size=4))
    features = []
    for name in names:
        cuts = tuple(sorted(draw(st.sets(INT64, max_size=6))))
        bins = len(cuts) + 1
        numbers = st.integers(-500, 500)
        counts = draw(st.lists(st.integers(0, 10**9), min_size=bins + 1, max_size=bins + 1))
        features.append(
            ScorecardFeature(
                name=name,
                cuts=cuts,
                points=tuple(draw(st.lists(numbers, min_size=bins, max_size=bins))),
                unknown_points=draw(numbers),
                counts=tuple(counts),
                bad=tuple(count // 2 for count in counts),
            )
        )
    return Scorecard(name="card", base_points=draw(st.integers(0, 1000)), features=tuple(features), n=3, bad=1)


@settings(max_examples=60, deadline=None)
@given(card=cards())
def test_a_card_survives_its_bytes(card):
    assert decode_scorecard(encode_scorecard(card)) == card


@settings(max_examples=100, deadline=None)
@given(card=cards(), place=st.integers(0, 10**6), value=st.integers(0, 255))
def test_changed_bytes_are_refused_or_are_another_card(card, place, value):
    data = bytearray(encode_scorecard(card))
    data[place % len(data)] = value
    changed = bytes(data)
    try:
        other = decode_scorecard(changed)
    except InvalidInput as refused:
        code = refused.code
    else:
        code = "read" if encode_scorecard(other) == changed else "read as something else"
    assert code in {"credit.scorecard_malformed", "base.json_malformed", "read"}


@given(points=st.integers(-2000, 3000))
def test_more_points_never_mean_more_risk(points):
    assert default_probability(points + 1) <= default_probability(points)


def test_bytes_beyond_the_limit_are_refused():
    with pytest.raises(InvalidInput) as refused:
        decode_scorecard(b" " * 1_000_001)
    assert refused.value.code == "base.json_too_large"
