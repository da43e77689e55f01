"""An output says for sure what every value behind it has in common, and no more."""

from __future__ import annotations

import math
from itertools import product

import pytest

from scored_loans import TAX_CUTS, bands_of, card_of, conditions, contents, feature, risk
from shuiqiao.base.errors import IntegrityError
from shuiqiao.base.money import MAX_FEN
from shuiqiao.credit.model_content import read_outputs
from shuiqiao.credit.output_bounds import Bounds, feature_bounds, least_fen, points_range
from shuiqiao.exchange.modes.score import ScoreOutput


def test_a_band_leaves_the_points_between_its_cuts_that_the_card_can_give():
    assert points_range(risk(), ScoreOutput(band="A")) == (620, 660)
    assert points_range(risk(), ScoreOutput(band="B")) == (580, 619)
    assert points_range(conditions(), ScoreOutput(yes_no=True)) == (4, 4)
    assert points_range(conditions(), ScoreOutput(yes_no=False)) == (0, 3)
    with pytest.raises(IntegrityError, match=r"exchange\.output_wrong"):
        points_range(risk(), ScoreOutput(band="C"))


def test_a_band_of_one_feature_says_between_which_cuts_its_value_is():
    content = bands_of("log_annual_tax_12m", TAX_CUTS)
    said = [feature_bounds(content, ScoreOutput(band=str(band)))["log_annual_tax_12m"] for band in range(4)]
    # What is not known stands in the lowest band, which so says nothing.
    assert said == [
        Bounds(),
        Bounds(least=TAX_CUTS[0], most=TAX_CUTS[1] - 1),
        Bounds(least=TAX_CUTS[1], most=TAX_CUTS[2] - 1),
        Bounds(least=TAX_CUTS[2]),
    ]


def test_a_yes_says_of_each_feature_what_it_takes_and_a_no_says_nothing_of_any():
    assert feature_bounds(conditions(), ScoreOutput(yes_no=True)) == {
        "registered_months": Bounds(least=24_000_000),
        "days_since_last_sale": Bounds(most=92_999_999),
        "log_arrears_owed": Bounds(most=0),
        "tax_credit_grade_rank": Bounds(least=3_000_000),
    }
    assert set(feature_bounds(conditions(), ScoreOutput(yes_no=False)).values()) == {Bounds()}


def test_bounds_hold_for_every_combination_of_bins_and_are_the_widest_of_them():
    """Against all combinations of a card whose points neither rise nor differ."""
    card = card_of(
        "odd",
        feature("sales_months_12m", (10, 20, 30), (5, 1, 5, 9), unknown=2),
        feature("zero_sales_months_12m", (7,), (3, -4), unknown=3),
    )
    content = read_outputs({"bands": ["x", "y", "z"], "cuts": [3, 8]}, card=card)
    edges = [(None, 9), (10, 19), (20, 29), (30, None)]
    for band in "xyz":
        bounds = feature_bounds(content, ScoreOutput(band=band))["sales_months_12m"]
        bins = [
            place
            for place, other in product(range(5), (3, -4, 3))
            if content.band_of((5, 1, 5, 9, 2)[place] + other) == band
        ]
        if 4 in bins:
            assert bounds == Bounds()
        else:
            # The rest may be anything between the least and the most that it can bring: never narrower than the truth.
            least, most = edges[min(bins)][0], edges[max(bins)][1]
            assert bounds.least is None or (least is not None and bounds.least <= least)
            assert bounds.most is None or (most is not None and bounds.most >= most)
    assert feature_bounds(content, ScoreOutput(band="z"))["sales_months_12m"] == Bounds(least=None)


@pytest.mark.parametrize("yuan", [10_000, 50_000, 402_000])
def test_the_least_amount_behind_a_cut_is_at_least_what_the_cut_was_made_for_and_hardly_more(yuan):
    cut = math.ceil(1e6 * math.log(1 + yuan / 12)) + 1
    assert yuan * 100 <= least_fen(Bounds(least=cut), months=12) < yuan * 100 + yuan // 1000


def test_edges_beyond_all_money_and_below_none_stay_amounts():
    assert least_fen(Bounds(), months=12) is None
    assert least_fen(Bounds(least=-5), months=12) == 0
    assert least_fen(Bounds(least=2**63 - 1), months=12) == MAX_FEN
    assert least_fen(Bounds(least=1), months=12) == 0


def test_the_models_of_the_world_are_contents_that_can_run():
    assert {job: content.outputs.allowed for job, content in contents().items()} == {
        "risk": ("band",), "tax": ("band",), "sales": ("band",), "conditions": ("yes_no",),
    }  # fmt: skip
