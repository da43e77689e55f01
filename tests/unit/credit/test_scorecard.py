"""Points, probabilities and reasons of a small card whose sums can be done by hand."""

from __future__ import annotations

import hashlib
import math
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from shuiqiao.base.encoding import decode_json, encode_json
from shuiqiao.base.errors import InvalidInput
from shuiqiao.credit.binning import UNKNOWN, FeatureBins
from shuiqiao.credit.scorecard import (
    MAX_SCORECARD_BYTES,
    Scorecard,
    ScorecardFeature,
    decode_scorecard,
    default_probability,
    encode_scorecard,
    make_scorecard,
    score_taxpayers,
    scorecard_digest,
)
from shuiqiao.credit.training import Candidate, FittedModel

SALES = ScorecardFeature(
    name="log_monthly_sales_12m",
    cuts=(8_000_000, 12_000_000),
    points=(-30, 0, 25),
    unknown_points=-5,
    counts=(10, 20, 30, 0),
    bad=(5, 3, 1, 0),
)
GAP = ScorecardFeature(
    name="longest_sales_gap_24m",
    cuts=(40_000_000,),
    points=(12, -20),
    unknown_points=0,
    counts=(40, 20, 0),
    bad=(4, 5, 0),
)
CARD = Scorecard(name="card-1", base_points=560, features=(SALES, GAP), n=60, bad=9)


def features(*rows: tuple[float | None, float | None]) -> pa.Table:
    return pa.table(
        {
            "log_monthly_sales_12m": pa.array([row[0] for row in rows], type=pa.float64()),
            "longest_sales_gap_24m": pa.array([row[1] for row in rows], type=pa.float64()),
        }
    )


def test_points_are_the_base_and_one_bin_of_each_feature():
    values = np.array([[7_999_999, 0], [8_000_000, 40_000_000], [12_000_000, UNKNOWN], [UNKNOWN, 39_999_999]])
    assert CARD.points(values).tolist() == [560 - 30 + 12, 560 + 0 - 20, 560 + 25 + 0, 560 - 5 + 12]


def test_forty_points_double_the_odds():
    assert default_probability(600) == Decimal("0.047619")  # 1 / 21
    assert default_probability(640) == Decimal("0.024390")  # 1 / 41
    assert default_probability(560) == Decimal("0.090909")  # 1 / 11
    assert default_probability(100_000) == Decimal("0.000001")
    assert default_probability(-100_000) == Decimal("0.999999")


def test_a_fitted_model_becomes_the_points_of_its_log_odds():
    bins = FeatureBins(
        feature="x", cuts=(0,), woe=(-math.log(2), math.log(4)), unknown_woe=0.0, counts=(1, 1, 0), bad=(1, 0, 0)
    )
    model = FittedModel(
        bins=(bins,),
        columns=(0,),
        intercept=-math.log(20),
        coefficients=(-1.0,),
        candidate=Candidate(features=1, penalty=1.0),
    )
    card = make_scorecard(model, name="m", n=2, bad=1)
    assert (card.base_points, card.features[0].points, card.features[0].unknown_points) == (600, (-40, 80), 0)
    odds = model.log_odds(np.array([[-1], [1]]))
    assert card.points(np.array([[-1], [1]])).tolist() == [560, 680]
    assert [float(default_probability(point)) for point in (560, 680)] == pytest.approx(
        1 / (1 + np.exp(-odds)), abs=1e-6
    )


def test_reasons_are_the_largest_losses_against_the_best_bin():
    weak, strong, unknown = score_taxpayers(CARD, features=features((7.0, 90.0), (13.0, 5.0), (None, 5.0)))
    assert weak.points == 510
    assert [(reason.feature, reason.points_lost) for reason in weak.reasons] == [
        ("log_monthly_sales_12m", 55),
        ("longest_sales_gap_24m", 32),
    ]
    assert weak.reasons[1].words.zh == "开票中断时间长"
    assert weak.reasons[1].change.en == "Invoicing without long breaks"
    assert strong.reasons == ()
    assert [reason.points_lost for reason in unknown.reasons] == [30]
    assert unknown.reasons[0].words.en == "Not known: log_monthly_sales_12m"
    assert "invoice_issued" in unknown.reasons[0].change.zh


def test_there_are_at_most_four_reasons():
    names = ("sales_growth_6m", "sales_growth_12m", "sales_months_12m", "sales_months_36m", "days_since_last_sale")
    card = Scorecard(
        name="c",
        base_points=600,
        features=tuple(
            ScorecardFeature(name=name, cuts=(0,), points=(9, 9), unknown_points=place, counts=(0, 0, 0), bad=(0, 0, 0))
            for place, name in enumerate(names)
        ),
        n=0,
        bad=0,
    )
    table = pa.table({name: pa.nulls(1, pa.float64()) for name in names})
    (score,) = score_taxpayers(card, features=table)
    assert [reason.feature for reason in score.reasons] == list(names[:4])


def test_a_feature_that_is_missing_is_refused():
    with pytest.raises(InvalidInput) as refused:
        score_taxpayers(CARD, features=features((1.0, 1.0)).drop_columns(["longest_sales_gap_24m"]))
    assert refused.value.code == "credit.feature_unknown"


def test_a_card_has_one_form_in_bytes_and_one_digest():
    data = encode_scorecard(CARD)
    assert decode_scorecard(data) == CARD
    assert b"." not in data.replace(b"shuiqiao-scorecard@1", b"")  # no floating point anywhere
    digest = scorecard_digest(CARD, digest=lambda raw: hashlib.sha256(raw).digest())
    assert digest.hex() == "242aa657b0dce21bd22307ffe3220364024321a594adcec3fcbc2656a39e152a"


def changed(**values):
    return encode_json(decode_json(encode_scorecard(CARD), max_bytes=MAX_SCORECARD_BYTES) | values)


def changed_feature(**values):
    content = decode_json(encode_scorecard(CARD), max_bytes=MAX_SCORECARD_BYTES)
    content["features"][0] |= values
    return encode_json(content)


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (changed(format="shuiqiao-scorecard@2"), "format"),
        (changed(base_odds=19), "scale"),
        (changed(extra=1), "extra"),
        (changed(name="Card 1"), "name"),
        (changed_feature(points=[1, 2]), "2 cuts and 2 bins"),
        (changed_feature(cuts=[12_000_000, 8_000_000]), "do not rise"),
        (changed_feature(counts=[1]), "count the firms"),
        (changed_feature(name="longest_sales_gap_24m"), "twice"),
        (changed_feature(points=[1, 2, 10**9]), "points"),
        (encode_scorecard(CARD) + b"\n", "canonical"),
    ],
)
def test_impossible_cards_are_refused(data, part):
    with pytest.raises(InvalidInput, match=part) as refused:
        decode_scorecard(data)
    assert refused.value.code == "credit.scorecard_malformed"
