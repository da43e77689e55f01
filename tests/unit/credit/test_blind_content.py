"""The content of encrypted weights: a card goes in, its indicators come out, and its points only for who has the key."""

from __future__ import annotations

import os

import msgspec
import numpy as np
import pytest

from models_world import a_card
from shuiqiao.base.encoding import decode_cbor, encode_cbor
from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.consent.model import Output
from shuiqiao.credit.binning import UNKNOWN
from shuiqiao.credit.blind_content import (
    MAX_INDICATORS,
    decode_blind,
    encrypt_card,
    points_in,
    read_blind_facts,
)
from shuiqiao.credit.indicators import indicators_of, middle_of, points_range
from shuiqiao.credit.model_content import read_outputs
from shuiqiao.credit.scorecard import Scorecard, ScorecardFeature
from shuiqiao.privacy.blind.scheme import blind_scheme

FEATURES = ("log_monthly_sales_12m", "sales_growth_12m", "zero_sales_months_12m")


def card_of(*points, base=600):
    features = tuple(
        ScorecardFeature(
            name=name,
            cuts=tuple(1_000_000 * step for step in range(1, len(earned) - 1)),
            points=tuple(earned[:-1]),
            unknown_points=earned[-1],
            counts=(1,) * len(earned),
            bad=(0,) * len(earned),
        )
        for name, earned in zip(FEATURES, points, strict=False)
    )
    return Scorecard(name="blind", base_points=base, features=features, n=10, bad=1)


@pytest.fixture(scope="module")
def keys():
    return blind_scheme().generate_keys()


@pytest.fixture(scope="module")
def card():
    return card_of((-40, -5, 12, 33, 0), (-9, 9, -1), (-120, 7, 55, -13))


@pytest.fixture(scope="module")
def data(card, keys):
    return encrypt_card(read_outputs({"points": True}, card=card), keys=keys)


def test_every_taxpayer_gets_the_points_of_the_plain_card(card, keys, data):
    """[BLIND-6] [BLIND-7] [BLIND-9]: whole points within one, on values at, between and beyond the cuts, and unknown."""
    rng = np.random.default_rng(3)
    values = rng.integers(-1, 6, size=(900, len(FEATURES))) * 500_000
    values[rng.random(values.shape) < 0.1] = UNKNOWN
    content, scheme = decode_blind(data), blind_scheme()
    assert content.feature_names == card.feature_names
    holds = indicators_of(content.features, values)
    assert (holds.sum(axis=0) == len(FEATURES)).all()
    weights = scheme.read_weights(content.weights, public=content.public)
    found = scheme.decrypt(scheme.evaluate(weights, holds, entropy=os.urandom), secret=keys.secret, count=len(values))
    points, plain = [points_in(card, each) for each in found], card.points(values)
    assert np.abs(np.array(points) - plain).max() <= 1
    assert np.mean(np.array(points) == plain) > 0.99


def test_a_reviewer_sees_features_and_twelve_bits_and_no_points(card, data):
    """[BLIND-7]"""
    facts = read_blind_facts(data)
    assert (dict(facts.outputs), facts.inputs, facts.rank) == ({Output.POINTS: 4_096}, FEATURES, 1)
    rest = msgspec.json.encode([msgspec.to_builtins(each) for each in decode_blind(data).features])
    assert all(str(points).encode() not in rest for points in (-40, -120, 33, 55, -13))


def test_the_same_card_is_never_encrypted_to_the_same_bytes(card, keys, data):
    assert encrypt_card(read_outputs({"points": True}, card=card), keys=keys)[-1_000:] != data[-1_000:]


@pytest.mark.parametrize(
    ("declared", "points", "code"),
    [
        ({"yes_from": 600}, (0, 1), "credit.content_malformed"),
        ({"points": True}, (-2_048, 2_048, 0), "credit.output_too_fine"),
        ({"points": True}, (*range(64), 0), None),
        ({"points": True}, None, "credit.content_malformed"),
    ],
)
def test_a_card_that_a_result_cannot_carry_is_not_encrypted(keys, declared, points, code):
    """[BLIND-6] [BLIND-8]"""
    card = card_of() if points is None else card_of(points)
    content = read_outputs(declared, card=card)
    if code is None:
        assert len(decode_blind(encrypt_card(content, keys=keys)).weights) == 65
        return
    with pytest.raises(InvalidInput, match=code.replace(".", r"\.")):
        encrypt_card(content, keys=keys)


def test_more_indicators_than_a_content_holds_are_refused(keys):
    card = card_of(*[(*range(64), 0)] * 2)
    with pytest.raises(InvalidInput, match=rf"credit\.content_malformed.*{MAX_INDICATORS}"):
        encrypt_card(read_outputs({"points": True}, card=card), keys=keys)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda value: value | {"format": "shuiqiao-blind@2"}, "credit.content_malformed"),
        (lambda value: value | {"more": 1}, "credit.content_malformed"),
        (lambda value: value | {"weights": value["weights"][1:]}, "credit.content_malformed"),
        (lambda value: value | {"weights": []}, "credit.content_malformed"),
        (lambda value: value | {"features": value["features"][:1] * 3}, "credit.content_malformed"),
        (lambda value: value | {"features": [{"cuts": [2, 1], "name": FEATURES[0]}]}, "credit.content_malformed"),
        (lambda value: value | {"features": [{"cuts": [0] * 70, "name": FEATURES[0]}]}, "credit.content_malformed"),
        (
            lambda value: value | {"features": [value["features"][0] | {"name": "none"}, *value["features"][1:]]},
            "credit.feature_unknown",
        ),
        (lambda value: value | {"weights": [b"x", *value["weights"][1:]]}, "privacy.blind_malformed"),
        (lambda value: value | {"public": value["weights"][0]}, "privacy.blind_malformed"),
        (lambda value: value | {"public": ""}, "credit.content_malformed"),
    ],
)
def test_hostile_contents_are_refused_with_a_code(data, change, code):
    """[BLIND-3] [BLIND-7]"""
    value = decode_cbor(data)
    with pytest.raises(InvalidInput, match=code.replace(".", r"\.")):
        read_blind_facts(encode_cbor(change(value)))


@pytest.mark.parametrize("bad", [b"", b"\xa0", b"{}", bytes(100)])
def test_other_bytes_are_no_content(bad):
    with pytest.raises(InvalidInput, match=r"credit\.content_malformed"):
        decode_blind(bad)


def test_a_result_that_the_card_cannot_give_is_refused():
    """[BLIND-10]"""
    card = a_card()
    least, most = points_range(card)
    assert (least, most) == (563, 621)
    middle = middle_of(card)
    assert [points_in(card, each - middle) for each in (563, 562.4, 580.4, 621.5)] == [563, 563, 580, 621]
    for wrong in (561.9, 622.1, float("inf")):
        with pytest.raises(IntegrityError, match=r"exchange\.output_wrong"):
            points_in(card, wrong - middle)
