"""What a provider runs for a bank: a card with the outputs that may leave, canonical and within bounds [MODEL-8]."""

from __future__ import annotations

import json
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models_world import BANDS, a_card, a_content
from shuiqiao.base.errors import InvalidInput
from shuiqiao.consent.model import Output
from shuiqiao.credit.model_content import (
    MAX_POINTS_VALUES,
    decode_content,
    encode_content,
    output_values,
    reachable_points,
    read_content_facts,
    read_outputs,
)
from shuiqiao.credit.scorecard import Scorecard, ScorecardFeature


def feature(name, points, unknown):
    counts = (1,) * (len(points) + 1)
    cuts = tuple(range(1, len(points)))
    return ScorecardFeature(name=name, cuts=cuts, points=points, unknown_points=unknown, counts=counts, bad=counts)


def card_of(*features):
    return Scorecard(name="trial", base_points=600, features=features, n=10, bad=1)


def test_a_content_is_read_back_and_says_what_it_reveals():
    content = decode_content(a_content({**BANDS, "points": True, "reasons": True}))
    assert (content.card, content.outputs.bands) == (a_card(), ("C", "B", "A"))
    assert content.outputs.allowed == (Output.BAND, Output.POINTS, Output.REASONS, Output.YES_NO)
    facts = read_content_facts(encode_content(content))
    # Four sums; no reason, or one that is lost or not known.
    assert facts.outputs == {Output.BAND: 3, Output.POINTS: 4, Output.REASONS: 3, Output.YES_NO: 2}
    assert (facts.inputs, facts.rank) == (("zero_sales_months_12m",), 1)


@pytest.mark.parametrize(("points", "band"), [(559, "C"), (560, "B"), (619, "B"), (620, "A"), (-100, "C"), (900, "A")])
def test_a_band_holds_its_least_points_and_not_those_of_the_next(points, band):
    assert decode_content(a_content()).band_of(points) == band


@pytest.mark.parametrize(
    "outputs",
    [
        {},
        {"points": False},
        {"bands": ["A", "B"], "cuts": []},
        {"bands": [], "cuts": [500]},
        {"bands": ["A", "A"], "cuts": [500]},
        {"bands": ["C", "B", "A"], "cuts": [600, 500]},
        {"bands": ["C", "B", "A"], "cuts": [500, 500]},
        {"bands": ["A b"], "cuts": []},
        {"yes_from": "580"},
        {"yes_from": 580, "no_from": 1},
        {"bands": [f"b{number}" for number in range(65)], "cuts": [*range(64)]},
    ],
)
def test_outputs_that_cannot_be_are_refused(outputs):
    with pytest.raises(InvalidInput, match=r"credit\.content_malformed"):
        read_outputs(outputs, card=a_card())


def test_points_of_more_than_twelve_bits_do_not_leave_and_bands_of_them_do():
    fine = [feature(name, tuple(4**place * step for step in range(4)), 0) for place, name in enumerate(NAMES[:6])]
    assert reachable_points(card_of(*fine)) == MAX_POINTS_VALUES
    assert read_outputs({"points": True}, card=card_of(*fine)).outputs.points
    finer = card_of(*fine, feature(NAMES[6], (0, MAX_POINTS_VALUES), 0))
    assert reachable_points(finer) == 2 * MAX_POINTS_VALUES
    with pytest.raises(InvalidInput, match=r"credit\.output_too_fine: .* 8192 values"):
        read_outputs({"points": True}, card=finer)
    assert output_values(read_outputs(BANDS, card=finer), Output.BAND) == 3


NAMES = (
    "zero_sales_months_12m",
    "log_monthly_sales_12m",
    "log_monthly_sales_24m",
    "sales_growth_6m",
    "sales_growth_12m",
    "sales_variation_12m",
    "sales_months_12m",
)

POINTS = st.integers(-100_000, 100_000)
FEATURES = st.lists(st.tuples(st.lists(POINTS, min_size=1, max_size=4), POINTS), max_size=4)


@settings(max_examples=60, deadline=None)
@given(features=FEATURES)
def test_the_scores_that_a_card_can_give_are_counted_exactly(features):
    given_names = zip(NAMES, features, strict=False)
    card = card_of(*(feature(name, tuple(points), unknown) for name, (points, unknown) in given_names))
    sums = {sum(chosen) for chosen in product(*([*points, unknown] for points, unknown in features))}
    assert reachable_points(card) == len(sums)


def test_only_the_canonical_bytes_of_a_known_card_are_a_content():
    data = a_content()
    file = json.loads(data)
    for changed in (
        json.dumps(file).encode(),
        data.replace(b"shuiqiao-model@1", b"shuiqiao-model@2"),
        json.dumps({**file, "more": 1}, sort_keys=True, separators=(",", ":")).encode(),
        json.dumps({**file, "outputs": []}, sort_keys=True, separators=(",", ":")).encode(),
        json.dumps({**file, "outputs": {"yes_from": 580}}, sort_keys=True, separators=(",", ":")).encode(),
    ):
        with pytest.raises(InvalidInput, match=r"credit\.content_malformed"):
            decode_content(changed)
    with pytest.raises(InvalidInput, match=r"base\.json_malformed"):
        decode_content(b"{")
    with pytest.raises(InvalidInput, match=r"credit\.feature_unknown"):
        decode_content(data.replace(b"zero_sales_months_12m", b"nonesuch"))
    with pytest.raises(InvalidInput, match=r"credit\.scorecard_malformed"):
        decode_content(data.replace(b'"base_score":600', b'"base_score":601'))
