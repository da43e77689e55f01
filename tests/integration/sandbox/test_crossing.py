"""What crosses between bank and bureau holds no raw value, identifier or weight that the mode does not grant."""

from __future__ import annotations

from itertools import cycle

import pytest

from absence import without
from consortium_world import CHEAP
from shuiqiao.base.encoding import encode_cbor, encode_json
from shuiqiao.credit.model_content import decode_content
from shuiqiao.privacy.blind import scheme
from shuiqiao.sandbox.crossing import (
    found_in,
    looked_at,
    number_secret,
    open_stage,
    text_secret,
    weights_of,
)
from shuiqiao.sandbox.scenario.modes import AT_SOURCE, BLIND, DISCLOSE, MODES, PREDICATES, PROVE, SECURE
from shuiqiao.sandbox.score_equality import scored_content


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with open_stage(tmp_path_factory.mktemp("stage"), cost=CHEAP) as opened:
        yield opened


@pytest.fixture(scope="module")
def crossed(stage):
    banks = cycle(stage.consortium.banks.values())
    return {mode: stage.cross(mode, bank) for mode, bank in zip(MODES, banks, strict=False)}


def test_records_are_found_where_they_are_disclosed_and_nothing_beside_what_was_granted(stage, crossed):
    """[EXCHANGE-13]"""
    disclosed, every = crossed[DISCLOSE], stage.every_record()
    found = found_in(disclosed.to_bank, every)
    assert set(found) <= set(disclosed.records)
    assert len(found) > 50
    # There was more that could have leaked: who the partners are.
    assert len(every) - len(disclosed.records) > 50
    assert found_in(disclosed.to_bureau, stage.weights()) == {}


@pytest.mark.parametrize("mode", [AT_SOURCE, BLIND, SECURE, PROVE, PREDICATES])
def test_nothing_of_the_records_reaches_a_bank_that_sees_none(stage, crossed, mode):
    """[EXCHANGE-26] [EXCHANGE-27] [BLIND-9] [CREDENTIAL-9] [CREDENTIAL-15]"""
    assert len(crossed[mode].to_bank) > 1_000
    assert found_in(crossed[mode].to_bank, stage.every_record()) == {}


def test_what_a_credential_says_is_read_as_the_bank_reads_it(crossed):
    """[CREDENTIAL-9]: so that a raw value would be found in it."""
    assert b'"tax_credit_grade"' in crossed[PROVE].to_bank
    assert found_in(crossed[PROVE].to_bank, {"grade": text_secret("tax_credit_grade")}) != {}


def test_weights_reach_the_bureau_with_an_open_card_and_not_with_an_encrypted_one(stage, crossed):
    """[BLIND-8]"""
    weights = stage.weights()
    assert set(found_in(crossed[AT_SOURCE].to_bureau, weights)) == set(weights)
    assert len(crossed[BLIND].to_bureau) > 10_000_000
    assert found_in(crossed[BLIND].to_bureau, weights) == {}
    # What both ends sent while they computed is there too.
    assert min(len(crossed[SECURE].to_bureau), len(crossed[SECURE].to_bank)) > 50_000
    assert found_in(crossed[SECURE].to_bureau, weights) == {}


def test_the_account_says_who_saw_what(stage, crossed):
    """[LEAK-1] [LEAK-6]"""
    known, unseen = stage.learning.who_saw_what, {"fields": 0, "bits": 12.0}
    east, north, south = stage.consortium.banks
    assert set(crossed) == set(MODES)
    disclosed, open_card = known[east].pop(DISCLOSE), known[north].pop(AT_SOURCE)
    assert disclosed["fields"] > 0
    assert disclosed["bits"] > 1_000
    assert (open_card["fields"], 0 < open_card["bits"] <= 12) == (0, True)
    shown = known.pop("anybody")
    assert known == {east: {SECURE: unseen}, north: {}, south: {BLIND: unseen}}
    # Both credentials say the same of the taxpayer, to whoever is shown one.
    assert [shown[mode]["bits"] > 0 for mode in (PROVE, PREDICATES)] == [True, True]
    assert shown.keys() == {PROVE, PREDICATES}


def test_without_the_extra_the_study_says_so_in_the_mode_s_place(stage, crossed, monkeypatch):
    """[BLIND-1]"""
    without("tenseal", monkeypatch)
    scheme._the_scheme.cache_clear()
    leaked, granted = looked_at(stage, BLIND, next(iter(stage.consortium.banks.values())))
    assert leaked["refused"]["code"] == granted["refused"]["code"] == "privacy.extra_missing"


AMOUNT = 12_345_678


@pytest.mark.parametrize(
    "data",
    [
        b'{"amount_fen":12345678}',
        b"total 123456.78 yuan",
        encode_cbor({"amount": AMOUNT}),
        AMOUNT.to_bytes(8, "little"),
        AMOUNT.to_bytes(8, "big"),
    ],
    ids=["fen", "yuan", "CBOR", "column", "big endian"],
)
def test_an_amount_is_found_however_it_is_written(data):
    assert set(found_in(b"before " + data + b" after", {"it": number_secret(AMOUNT)})) == {"it"}


@pytest.mark.parametrize("data", [b"24412345678000", b"eyJ12345678Zx", b"12345678.901", b"Q12345678", b"12345678_"])
def test_digits_within_a_longer_number_or_encoded_text_are_no_amount(data):
    assert found_in(data, {"it": number_secret(AMOUNT)}) == {}


def test_a_text_and_the_weights_of_a_card_are_found():
    name = "鹏城样例科技有限公司"
    assert found_in(f"to {name}, {name}".encode(), {"name": text_secret(name)}) == {"name": 2 * len(name.encode())}
    weights = weights_of(decode_content(scored_content()).card)
    assert set(found_in(scored_content(), weights)) == set(weights)
    (first, *_), points = weights, decode_content(scored_content()).card.features[0].points
    assert set(found_in(encode_cbor(list(points)), weights)) == {first}
    assert set(found_in(encode_json(list(points)), weights)) == {first}
