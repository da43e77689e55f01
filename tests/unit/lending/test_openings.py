"""What a decision says is hidden in public and opens for its regulator alone, for its own bank and application alone."""

from __future__ import annotations

import hashlib

import cbor2
import msgspec
import pytest

from shuiqiao.base.encoding import encode_cbor
from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.base.money import MAX_FEN
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.transactions.document import to_plain
from shuiqiao.lending.model import Outcome
from shuiqiao.lending.openings import (
    MAX_OPENING_BYTES,
    ApplicationOpening,
    DecisionOpening,
    OpenedOutput,
    open_decision,
)

NETWORK, APPLICATION, SALT = b"n" * 32, b"a" * 16, b"s" * 32


@pytest.fixture(scope="module", params=["intl", "gm"])
def suite(request):
    return get_suite(request.param)


@pytest.fixture(scope="module")
def key(suite):
    return suite.sealing_key_from_seed(b"k" * 32)


def decision(**changes):
    fields = {
        "bank": "bank-east",
        "application": APPLICATION,
        "firm": b"f" * 32,
        "product": "tax-credit-loan",
        "outcome": Outcome.APPROVED,
        "amount_fen": 12_345,
        "grade": "A",
        "industry": "C",
        "province": "44",
        "model_digest": b"m" * 32,
        "salt": SALT,
    }
    return DecisionOpening(**(fields | changes))


def wanted(**changes):
    fields = {"bank": "bank-east", "application": APPLICATION, "product": "loan", "amount_fen": 1, "salt": SALT}
    return ApplicationOpening(**(fields | changes))


OUTPUT = OpenedOutput(request=b"r" * 16, model="bank-east/" + "0" * 32, band="B")
CHANGES = [
    {"bank": "bank-west"},
    {"application": b"b" * 16},
    {"firm": b"g" * 32},
    {"product": "invoice-loan"},
    {"outcome": Outcome.REFUSED},
    {"amount_fen": 12_346},
    {"grade": "B"},
    {"industry": "none"},
    {"province": "00"},
    {"model_digest": bytes(32)},
    {"salt": b"t" * 32},
    {"outputs": (OUTPUT,)},
    {"outputs": (OpenedOutput(request=b"r" * 16, model=OUTPUT.model, yes_no=True),)},
]


def sealed(suite, key, made):
    return made.seal(suite, regulator_key=key.public_key, network=NETWORK)


def seal_fields(suite, key, fields):
    binding = b"shuiqiao/lending/opening/2\x00" + NETWORK + APPLICATION + b"bank-east"
    return suite.seal(encode_cbor(fields), recipient=key.public_key, associated_data=binding)


def opened(data, key, **changes):
    terms = {"key": key, "network": NETWORK, "bank": "bank-east", "application": APPLICATION}
    return open_decision(data, **(terms | changes))


def test_the_commitments_are_the_documented_hashes(suite):
    """[LENDING-2] [LENDING-3]"""
    for made, domain in (
        (decision(), b"shuiqiao/lending/decision/2\x00"),
        (wanted(), b"shuiqiao/lending/application/2\x00"),
    ):
        fields = [name for name in made.__struct_fields__ if name != "outputs"]
        plain = cbor2.dumps({name: getattr(made, name) for name in fields}, canonical=True)
        assert made.commitment(suite) == hashlib.new(suite.hash_name, domain + plain).digest()


def test_the_outputs_of_a_decision_without_records_stand_in_what_is_committed_to(suite, key):
    """[LENDING-15]"""
    made = decision(outputs=(OUTPUT,))
    fields = {name: getattr(made, name) for name in made.__struct_fields__}
    said = {"request": b"r" * 16, "model": "bank-east/" + "0" * 32, "band": "B"}
    plain = cbor2.dumps(fields | {"outputs": [said]}, canonical=True)
    assert made.commitment(suite) == hashlib.new(suite.hash_name, b"shuiqiao/lending/decision/2\x00" + plain).digest()
    assert opened(sealed(suite, key, made), key) == made


def test_every_part_of_an_opening_changes_its_commitment(suite):
    """[LENDING-2] [LENDING-3]"""
    assert {field for change in CHANGES for field in change} == set(DecisionOpening.__struct_fields__)
    assert len({decision(**change).commitment(suite) for change in [{}, *CHANGES]}) == len(CHANGES) + 1
    others = [
        {"bank": "bank-west"},
        {"application": b"b" * 16},
        {"product": "x1"},
        {"amount_fen": 2},
        {"salt": bytes(32)},
    ]
    assert {field for change in others for field in change} == set(ApplicationOpening.__struct_fields__)
    assert len({wanted(**change).commitment(suite) for change in [{}, *others]}) == len(others) + 1


@pytest.mark.parametrize("amount_fen", [1, MAX_FEN])
def test_the_regulator_opens_what_was_sealed(suite, key, amount_fen):
    """[LENDING-4]"""
    made = decision(amount_fen=amount_fen)
    assert opened(sealed(suite, key, made), key) == made


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.REFERRED])
def test_what_is_not_approved_opens_with_no_amount(suite, key, outcome):
    made = decision(outcome=outcome, amount_fen=0)
    assert opened(sealed(suite, key, made), key) == made


def test_nobody_else_opens_it_and_nowhere_else(suite, key):
    """[LENDING-4]"""
    data = sealed(suite, key, decision())
    other_key = suite.sealing_key_from_seed(b"o" * 32)
    attempts = ({"key": other_key}, {"network": b"m" * 32}, {"application": b"b" * 16}, {"bank": "bank-west"})
    for attempt in attempts:
        with pytest.raises(IntegrityError) as caught:
            opened(data, **({"key": key} | attempt))
        assert caught.value.code == "crypto.seal_broken"


@pytest.mark.parametrize("change", [{"application": b"b" * 16}, {"bank": "bank-west"}])
def test_an_opening_of_another_decision_inside_the_right_seal_is_misplaced(suite, key, change):
    data = seal_fields(suite, key, to_plain(decision(**change)))
    with pytest.raises(IntegrityError) as caught:
        opened(data, key)
    assert caught.value.code == "lending.opening_misplaced"


@pytest.mark.parametrize(
    "change",
    [
        {"application": bytes(15)},
        {"application": bytes(17)},
        {"bank": "Bank"},
        {"amount_fen": -1},
        {"amount_fen": MAX_FEN + 1},
        {"amount_fen": True},
        {"amount_fen": 0},
        {"outcome": "refused"},
        {"outcome": "referred"},
        {"outcome": "granted"},
        {"grade": "E"},
        {"industry": "U"},
        {"industry": "C\n"},
        {"province": "4"},
        {"province": "ab"},
        {"firm": bytes(31)},
        {"salt": SALT[:-1]},
        {"salt": "s" * 32},
        {"model_digest": bytes(33)},
        {"product": "Loan"},
        {"fee": 1},
        {"salt": None},
    ],
)
def test_a_malformed_opening_is_refused(suite, key, change):
    fields = to_plain(decision()) | change
    with pytest.raises(InvalidInput) as caught:
        opened(seal_fields(suite, key, fields), key)
    assert caught.value.code == "lending.opening_malformed"


@pytest.mark.parametrize("content", [[], {}, 7])
def test_what_is_no_opening_is_refused(suite, key, content):
    with pytest.raises(InvalidInput) as caught:
        opened(seal_fields(suite, key, content), key)
    assert caught.value.code == "lending.opening_malformed"


def test_an_oversize_opening_is_refused_and_the_longest_is_not(suite, key):
    for length, code in (
        (MAX_OPENING_BYTES - 3, "lending.opening_malformed"),
        (MAX_OPENING_BYTES - 2, "base.cbor_too_large"),
    ):
        with pytest.raises(InvalidInput) as caught:
            opened(seal_fields(suite, key, "x" * length), key)
        assert (len(encode_cbor("x" * length)), caught.value.code) == (length + 3, code)
    output = OpenedOutput(request=b"r" * 16, model="b" * 32 + "/" + "0" * 32, band="x" * 32)
    longest = decision(
        bank="bank-east", product="p" * 32, amount_fen=MAX_FEN, industry="none", grade="none", outputs=(output,) * 8
    )
    assert len(encode_cbor(to_plain(longest))) <= MAX_OPENING_BYTES - 23
    assert opened(sealed(suite, key, longest), key) == longest


def test_an_opening_shows_nothing_but_what_is_declared():
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(to_plain(decision()) | {"uscc": "91"}, DecisionOpening, strict=True, builtin_types=(bytes,))
