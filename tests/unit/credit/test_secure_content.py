"""The content of a model without its weights: indicators and functions go out, points and cuts of bands stay."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from models_world import BANDS, a_card
from shuiqiao.base.encoding import decode_cbor, encode_cbor
from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.consent.model import Output
from shuiqiao.credit.binning import UNKNOWN
from shuiqiao.credit.indicators import indicators_of, middle_of
from shuiqiao.credit.model_content import read_outputs
from shuiqiao.credit.scorecard import Scorecard
from shuiqiao.credit.secure_content import (
    bank_values,
    committed_weights,
    decode_secure,
    output_in,
    read_secure_facts,
    secure_content,
)
from shuiqiao.exchange.modes.score import ScoreOutput
from shuiqiao.privacy.secure.model import SecureFunction, SecureOutput

DECLARED = {**BANDS, "points": True}
SALT = bytes(range(32))
FEATURE = "zero_sales_months_12m"


@pytest.fixture(scope="module")
def model():
    return read_outputs(DECLARED, card=a_card())


@pytest.fixture(scope="module")
def data(model):
    return secure_content(model, salt=SALT)


def test_a_reviewer_sees_indicators_functions_and_bits_and_no_number_of_the_card(data):
    """[SECURE-10] [SECURE-11]"""
    facts = read_secure_facts(data)
    assert dict(facts.outputs) == {Output.BAND: 3, Output.POINTS: 4_096, Output.YES_NO: 2}
    assert (facts.inputs, facts.rank) == ((FEATURE,), 1)
    found = decode_cbor(data)
    assert found["features"] == [{"cuts": [2_000_000, 5_000_000], "name": FEATURE}]
    shape = {"indicators": 4, "cuts": 2, "output": SecureOutput.BAND}
    assert found["outputs"]["band"] == {"function": SecureFunction(**shape).digest, "values": 3}
    # Nothing else depends on the card: another one of the same features differs in its commitment alone.
    other = secure_content(read_outputs(DECLARED | {"cuts": [570, 640]}, card=a_card(base=640)), salt=SALT)
    assert decode_cbor(other) | {"weights": b""} == found | {"weights": b""}
    assert decode_cbor(other)["weights"] != found["weights"]
    assert secure_content(read_outputs(DECLARED, card=a_card()), salt=bytes(32)) != data


def test_what_the_bank_puts_in_gives_the_plain_points_bands_and_answers(model, data):
    """[SECURE-11] [SECURE-14]: by the function as it is written, on values at, between and beyond the cuts, and unknown."""
    values = np.array([[-1], [0], [1_999_999], [2_000_000], [4_000_000], [5_000_000], [99_000_000], [UNKNOWN]])
    holds = indicators_of(decode_secure(data).features, values).T.astype(int)
    for row, plain in zip(holds, model.card.points(values), strict=True):
        for output in (Output.POINTS, Output.BAND, Output.YES_NO):
            weights, cuts = np.split(np.array(bank_values(model, output)), [4])
            points = int(weights @ row)
            found = points if output is Output.POINTS else sum(points >= cut for cut in cuts.tolist())
            told = output_in(model, output, found=found)
            expected = {
                Output.POINTS: ScoreOutput(
                    points=int(plain), band=model.band_of(int(plain)), yes_no=bool(plain >= BANDS["yes_from"])
                ),
                Output.BAND: ScoreOutput(band=model.band_of(int(plain))),
                Output.YES_NO: ScoreOutput(yes_no=bool(plain >= BANDS["yes_from"])),
            }
            assert told == expected[output]


@pytest.mark.parametrize("points", [562, 622, 5_000])
def test_points_that_the_card_cannot_give_are_refused(model, points):
    """[SECURE-14]"""
    with pytest.raises(IntegrityError, match=r"^exchange\.output_wrong"):
        output_in(model, Output.POINTS, found=points - middle_of(model.card))


@pytest.mark.parametrize(
    ("declared", "card", "code"),
    [
        ({"reasons": True, "points": True}, a_card(), "credit.content_malformed"),
        ({"bands": ["A"], "cuts": []}, a_card(), "credit.content_malformed"),
        (
            {"bands": ["B", "A"], "cuts": [0]},
            Scorecard(name="none", base_points=0, features=(), n=0, bad=0),
            "credit.content_malformed",
        ),
        (
            {"bands": ["B", "A"], "cuts": [0]},
            msgspec.structs.replace(
                a_card(), features=(msgspec.structs.replace(a_card().features[0], points=(-2_048, 0, 2_048)),)
            ),
            "credit.output_too_fine",
        ),
    ],
    ids=["reasons", "one band", "no feature", "too fine"],
)
def test_a_card_that_nothing_can_be_computed_of_is_refused(declared, card, code):
    """[SECURE-10] [SECURE-11]"""
    with pytest.raises(InvalidInput, match=f"^{code}".replace(".", r"\.")):
        secure_content(read_outputs(declared, card=card), salt=SALT)


def with_output(value, output, **changes):
    return value | {"outputs": value["outputs"] | {output: value["outputs"].get(output, {}) | changes}}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda value: value | {"format": "shuiqiao-secure@2"}, "credit.content_malformed"),
        (lambda value: value | {"more": 1}, "credit.content_malformed"),
        (lambda value: value | {"features": value["features"] * 2}, "credit.content_malformed"),
        (lambda value: value | {"features": [{"cuts": [2, 1], "name": FEATURE}]}, "credit.content_malformed"),
        (lambda value: value | {"features": [{"cuts": [1, 2], "name": "none"}]}, "credit.feature_unknown"),
        (lambda value: value | {"features": [{"cuts": [1], "name": FEATURE}]}, "privacy.secure_function_differs"),
        (lambda value: value | {"features": []}, "credit.content_malformed"),
        (lambda value: value | {"outputs": {}}, "credit.content_malformed"),
        (lambda value: value | {"weights": b"short"}, "credit.content_malformed"),
        (lambda value: with_output(value, "band", function=bytes(32)), "privacy.secure_function_differs"),
        (lambda value: with_output(value, "band", values=4), "privacy.secure_function_differs"),
        (lambda value: with_output(value, "points", values=2), "privacy.secure_function_differs"),
        (lambda value: with_output(value, "yes_no", values=1), "credit.content_malformed"),
        (lambda value: with_output(value, "band", values=4_096), "privacy.secure_function_differs"),
        (lambda value: with_output(value, "reasons", values=2, function=bytes(32)), "credit.content_malformed"),
    ],
)
def test_hostile_contents_are_refused_with_a_code(data, change, code):
    """[SECURE-10]"""
    with pytest.raises(InvalidInput, match=f"^{code}".replace(".", r"\.")):
        read_secure_facts(encode_cbor(change(decode_cbor(data))))


@pytest.mark.parametrize("bad", [b"", b"\xa0", b"{}", bytes(100)])
def test_other_bytes_are_no_content(bad):
    with pytest.raises(InvalidInput, match=r"credit\.content_malformed"):
        decode_secure(bad)


def test_a_commitment_opens_to_its_card_and_salt_alone():
    """[SECURE-11]"""
    assert committed_weights(b"card", salt=SALT) == committed_weights(b"card", salt=SALT)
    assert len({committed_weights(b"card", salt=SALT), committed_weights(b"cards", salt=SALT[:-1] + b"s")}) == 2
