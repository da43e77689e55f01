"""A member's own keys: replaced by itself alone, never to return; and its offer to witness."""

from __future__ import annotations

import pytest

from members_world import DAY_MS, World, sealing, signing, validating
from shuiqiao.base.encoding import encode_cbor
from shuiqiao.crypto import intl
from shuiqiao.members.action import SetWitnesses
from shuiqiao.members.contract import REGISTER_WITNESS, WitnessRegisterBody
from shuiqiao.members.roster import member_record


@pytest.fixture(params=["intl", "gm"])
def world(request):
    return World(request.param, governing=("bank-east", "bureau"))


def test_a_signing_key_is_replaced_by_old_and_new_together(world):
    # Holds [MEMBER-9].
    new = signing("bank-west 2", world.suite)
    old = world.keys["bank-west"]
    assert world.rotate("bank-west", new, keys=[old]) == "ledger.signature_missing"
    assert world.rotate("bank-west", new, keys=[new]) == "ledger.signature_missing"
    assert world.rotate("bank-west", new, keys=[old, new]) is None
    assert member_record(world.state, "bank-west")["sign"] == new.public_key
    assert [event.name for event in world.events] == ["member.key_rotated"]
    offer = WitnessRegisterBody(endpoint="http://127.0.0.1:9000")
    assert world.submit(REGISTER_WITNESS, offer, author="bank-west", keys=[old]) == "ledger.signature_missing"
    assert world.submit(REGISTER_WITNESS, offer, author="bank-west", keys=[new]) is None


def test_a_key_never_returns_not_even_to_its_owner(world):
    # Holds [MEMBER-8].
    first, second = world.keys["bank-west"], signing("bank-west 2", world.suite)
    assert world.rotate("bank-west", second) is None
    assert world.rotate("bank-west", first) == "members.key_used"
    assert world.rotate("bank-east", first) == "members.key_used"
    assert world.rotate("bank-east", world.keys["bank-east"], keys=[world.keys["bank-east"]]) == "members.key_used"
    assert world.rotate("bank-east", signing("bureau", world.suite)) == "members.key_used"


@pytest.mark.parametrize("purpose", ["signing", "sealing"])
def test_the_key_of_a_consent_never_becomes_a_members(world, purpose):
    """[CONSENT-13]: else that member alone would speak for the enterprise."""
    new = (signing if purpose == "signing" else sealing)("bank-west 2", world.suite)
    world.state.write({f"consent/key/{new.public_key.hex()}": encode_cbor("bureau/" + "0" * 32)})
    assert world.rotate("bank-west", new, purpose=purpose) == "members.key_of_consent"
    assert world.propose(admission_with(world, purpose, new))[0] == "members.key_of_consent"


def admission_with(world, purpose, key):
    return world.admission("bank-south", **{f"{purpose}_key": key.public_key})


def test_one_member_does_not_begin_epoch_after_epoch(world):
    """[MEMBER-25]: else one key brings all receipts of a network to an end, each of which walks over every epoch."""
    started_ms = world.time_ms
    keys = [signing(f"bank-east {number}", world.suite) for number in range(7)]
    assert [world.rotate("bank-east", key) for key in keys[:4]] == [None] * 4
    assert world.rotate("bank-east", keys[4]) == "members.rotated_often"
    assert world.rotate("bank-west", signing("bank-west 2", world.suite)) is None
    assert world.rotate("bank-east", sealing("bank-east 2", world.suite), purpose="sealing") is None
    # The first rotation stands in the block after started_ms; the next attempt stands just before 30 days, then at them.
    world.wait(started_ms + 1 + 30 * DAY_MS - 2 - world.time_ms)
    assert world.rotate("bank-east", keys[5]) == "members.rotated_often"
    assert world.rotate("bank-east", keys[5]) is None
    assert world.epoch["number"] == 5


def test_a_sealing_key_is_replaced_by_the_signing_key(world):
    new, old = (sealing(name, world.suite) for name in ("bank-west 2", "bank-west"))
    assert world.rotate("bank-west", new, purpose="sealing") is None
    assert member_record(world.state, "bank-west")["seal"] == new.public_key
    assert world.rotate("bank-west", new, purpose="sealing") == "members.key_used"
    assert world.rotate("bank-west", old, purpose="sealing") is None
    assert world.rotate("bank-west", bytes(32), purpose="sealing") == "members.key_invalid"
    assert world.epoch["number"] == 0


def test_a_key_that_is_none_cannot_sign_so_it_is_no_signing_key(world):
    assert world.rotate("bank-west", b"k" * 33, keys=[world.keys["bank-west"]]) == "ledger.signature_missing"


def test_a_key_of_the_epoch_makes_the_next_one_wherever_it_stands(world):
    # Holds [EPOCH-2].
    world.pass_action(SetWitnesses(witnesses=["bank-east", "regulator"]), voters=("bureau", "bank-east"))
    expected = world.epoch
    for name in ("bureau", "bank-east", "regulator", "bank-west"):
        new = signing(f"{name} 2", world.suite)
        assert world.rotate(name, new) is None
        for place in ("witnesses", "governing"):
            if name in expected[place]:
                expected[place][name] = new.public_key
        if name == "bureau":
            expected["operator_key"] = new.public_key
        if name != "bank-west":
            expected["number"] += 1
        assert world.epoch == expected
    assert expected["number"] == 4


def test_a_validator_key_is_for_validators(world):
    assert world.rotate("bank-west", validating("bank-west"), purpose="validator") == "members.not_validator"
    validators = ("bank-east", "bank-north", "bureau")
    consortium = World(world.suite.name, engine="cometbft", witnesses=validators, quorum=2)
    assert consortium.rotate("bureau", validating("bank-east"), purpose="validator") == "members.key_used"
    assert consortium.rotate("bureau", b"\x01" + bytes(31), purpose="validator") == "members.key_invalid"
    assert consortium.rotate("bureau", validating("bureau 2"), purpose="validator") is None
    assert consortium.state.get("members/validator/bureau") == {"key": validating("bureau 2").public_key, "power": 10}
    assert consortium.epoch["number"] == 0


def test_a_suspended_member_does_not_rotate(world):
    assert world.suspend_now("bank-west") is None
    assert world.rotate("bank-west", signing("bank-west 2", world.suite)) == "ledger.member_suspended"


def test_a_member_offers_to_witness_and_takes_it_back(world):
    # Holds [MEMBER-18].
    def register(endpoint):
        return world.submit(REGISTER_WITNESS, WitnessRegisterBody(endpoint=endpoint), author="bank-west")

    assert register("") == "members.witness_not_registered"
    assert register("https://witness.example/log") is None
    assert world.state.get("members/witness/bank-west") == {"endpoint": "https://witness.example/log", "height": 1}
    assert register("http://127.0.0.1:9000") is None
    assert world.state.get("members/witness/bank-west")["endpoint"] == "http://127.0.0.1:9000"
    assert register("") is None
    assert world.state.get("members/witness/bank-west") is None
    assert world.epoch["number"] == 0


def test_a_stranger_does_not_offer_to_witness(world):
    # Holds [MEMBER-18]: neither through the ledger, nor by the contract's own rule.
    stranger = signing("stranger", world.suite)
    body = WitnessRegisterBody(endpoint="https://witness.example")
    raw = world.sign(REGISTER_WITNESS, body, author="stranger", keys=[stranger])
    assert world.block(raw) == ["members.unknown"]
    assert world.check(REGISTER_WITNESS, body, author="stranger") == "members.unknown"
    assert world.check(REGISTER_WITNESS, body, author="bank-west") is None


@pytest.mark.parametrize(
    "endpoint", ["ftp://witness", "https://", "https://a b", "https://a\n", "https://" + "a" * 191]
)
def test_an_endpoint_is_an_address_of_the_web(world, endpoint):
    body = WitnessRegisterBody(endpoint=endpoint)
    assert world.submit(REGISTER_WITNESS, body, author="bank-west") == "ledger.body_invalid"


def test_no_provider_is_asked_whether_a_key_can_be_sealed_to(monkeypatch):  # [LEDGER-SIGN-4]
    """Else a node whose provider fails would refuse a key, or call an admission void, that all others accept."""

    class FailedKey:
        @staticmethod
        def from_public_bytes(_data):
            raise ValueError("Error computing shared key.")

    world = World("intl", governing=("bank-east", "bureau"))
    new, admission = sealing("bank-west 2", world.suite), world.admission("bank-south")
    monkeypatch.setattr(intl, "X25519PublicKey", FailedKey)
    assert world.rotate("bank-west", new, purpose="sealing") is None
    world.pass_action(admission)
