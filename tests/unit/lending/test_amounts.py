"""An amount is hidden in public and opens for the regulator alone, for its own application alone."""

from __future__ import annotations

import hashlib

import pytest

from shuiqiao.base.encoding import encode_cbor
from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.base.money import MAX_FEN
from shuiqiao.crypto.suites import get_suite
from shuiqiao.lending.amounts import MAX_OPENING_BYTES, AmountOpening, open_amount

NETWORK, APPLICATION, SALT = b"n" * 32, b"a" * 16, b"s" * 32


@pytest.fixture(scope="module", params=["intl", "gm"])
def suite(request):
    return get_suite(request.param)


@pytest.fixture(scope="module")
def key(suite):
    return suite.sealing_key_from_seed(b"k" * 32)


def opening(**changes):
    return AmountOpening(**({"application": APPLICATION, "amount_fen": 12_345, "salt": SALT} | changes))


def sealed(suite, key, made):
    return made.seal(suite, regulator_key=key.public_key, network=NETWORK)


def seal_fields(suite, key, fields):
    binding = b"shuiqiao/opening/1" + NETWORK + APPLICATION
    return suite.seal(encode_cbor(fields), recipient=key.public_key, associated_data=binding)


def opened(data, key, **changes):
    return open_amount(data, **({"key": key, "network": NETWORK, "application": APPLICATION} | changes))


def test_the_commitment_is_the_documented_hash(suite):
    content = b"shuiqiao/amount/1" + APPLICATION + SALT + (12_345).to_bytes(8, "big")
    assert opening().commitment(suite) == hashlib.new(suite.hash_name, content).digest()


def test_every_part_of_an_opening_changes_its_commitment(suite):
    changes = [{"amount_fen": 12_346}, {"salt": b"t" * 32}, {"application": b"b" * 16}]
    commitments = {opening(**change).commitment(suite) for change in [{}, *changes]}
    assert len(commitments) == 4


def test_a_fresh_opening_draws_its_salt():
    made = AmountOpening.fresh(application=APPLICATION, amount_fen=1, entropy=lambda count: b"r" * count)
    assert made == opening(amount_fen=1, salt=b"r" * 32)


@pytest.mark.parametrize("amount_fen", [0, 1, MAX_FEN])
def test_the_regulator_opens_what_was_sealed(suite, key, amount_fen):
    made = opening(amount_fen=amount_fen)
    assert opened(sealed(suite, key, made), key) == made


def test_nobody_else_opens_it_and_nowhere_else(suite, key):
    data = sealed(suite, key, opening())
    other_key = suite.sealing_key_from_seed(b"o" * 32)
    for attempt in ({"key": other_key}, {"network": b"m" * 32}, {"application": b"b" * 16}):
        with pytest.raises(IntegrityError) as caught:
            opened(data, **({"key": key} | attempt))
        assert caught.value.code == "crypto.seal_broken"


def test_an_opening_of_another_application_inside_the_right_seal_is_misplaced(suite, key):
    data = seal_fields(suite, key, {"application": b"b" * 16, "amount_fen": 1, "salt": SALT})
    with pytest.raises(IntegrityError) as caught:
        opened(data, key)
    assert caught.value.code == "lending.opening_misplaced"


@pytest.mark.parametrize(
    "fields",
    [
        [],
        {"application": APPLICATION, "amount_fen": 1},
        {"application": APPLICATION, "amount_fen": 1, "salt": SALT, "fee": 1},
        {"application": APPLICATION, "amount_fen": -1, "salt": SALT},
        {"application": APPLICATION, "amount_fen": MAX_FEN + 1, "salt": SALT},
        {"application": APPLICATION, "amount_fen": True, "salt": SALT},
        {"application": APPLICATION, "amount_fen": 1, "salt": SALT[:-1]},
        {"application": APPLICATION, "amount_fen": 1, "salt": "s" * 32},
    ],
)
def test_a_malformed_opening_is_refused(suite, key, fields):
    with pytest.raises(InvalidInput) as caught:
        opened(seal_fields(suite, key, fields), key)
    assert caught.value.code == "lending.opening_malformed"


def test_an_oversize_opening_is_refused(suite, key):
    with pytest.raises(InvalidInput) as caught:
        opened(seal_fields(suite, key, "x" * MAX_OPENING_BYTES), key)
    assert caught.value.code == "base.cbor_too_large"


def test_an_application_id_of_another_length_is_refused(suite, key):
    with pytest.raises(InvalidInput) as caught:
        opened(b"", key, application=b"short")
    assert caught.value.code == "lending.opening_malformed"
