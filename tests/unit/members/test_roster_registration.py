"""[MEMBER-24]: a key is registered by who holds it, and nobody keeps another's key from it."""

from __future__ import annotations

import pytest

from members_world import World, sealing, signing, validating
from shuiqiao.base.ids import MemberId
from shuiqiao.members.action import ChangeFlags
from shuiqiao.members.model import KeyPurpose
from shuiqiao.members.roster import Registration

VALIDATORS = ("bank-east", "bank-north", "bank-west", "bureau")


@pytest.fixture(params=["intl", "gm"])
def world(request):
    return World(request.param)


@pytest.fixture(params=["intl", "gm"])
def consortium(request):
    return World(request.param, engine="cometbft", witnesses=VALIDATORS, quorum=3)


def test_the_statement_names_network_member_purpose_and_key():
    registration = Registration.on_network(b"\x01" * 32, MemberId("bank-east"))
    expected = "key registration/v1\nnetwork {}\nmember bank-east\npurpose signing\nkey 0203\n".format("01" * 32)
    assert registration.statement(b"\x02\x03", purpose=KeyPurpose.SIGNING) == expected.encode()
    named = Registration.in_genesis("01" * 32, MemberId("bank-east"))
    assert named.statement(b"\x02\x03", purpose=KeyPurpose.SIGNING) != expected.encode()


@pytest.mark.parametrize("of", [signing, sealing])
def test_a_newcomers_key_named_as_ones_sealing_key_voids_no_admission(world, of):
    """The worked example: a sealing key was as unique as the others, and was taken by whoever named it first."""
    admission = world.admission("bank-south")
    assert world.rotate("bank-west", of("bank-south", world.suite).public_key, purpose="sealing") is None
    world.pass_action(admission)
    assert world.state.get("members/member/bank-south")["sign"] == admission.signing_key


def test_a_newcomers_key_cannot_be_taken_as_ones_own(world):
    stranger = signing("bank-south", world.suite)
    assert world.rotate("bank-west", stranger, keys=[world.keys["bank-west"]]) == "ledger.signature_missing"
    stolen = world.admission("bank-stolen", signing_key=stranger.public_key)
    assert world.propose(stolen)[0] == "members.key_unproven"
    world.pass_action(world.admission("bank-south"))


@pytest.mark.parametrize("purpose", ["signing", "sealing"])
def test_each_key_of_a_newcomer_is_proven(world, purpose):
    key = signing("bank-south", world.suite)
    admission = world.admission("bank-south")
    good = getattr(admission, f"{purpose}_proof")
    wrong = [
        b"",
        good[:-1] + bytes([good[-1] ^ 1]),
        world.proof("bank-south", key, purpose=purpose, network=bytes(32)),
        world.proof("bank-other", key, purpose=purpose),
        world.proof("bank-south", key, purpose="validator"),
    ]
    for proof in wrong:
        assert world.propose(world.admission("bank-south", **{f"{purpose}_proof": proof}))[0] == "members.key_unproven"
    assert world.propose(world.admission("bank-south", validator_proof=bytes(64)))[0] == "members.key_unproven"
    assert world.propose(admission)[0] is None


def test_a_sealing_key_is_vouched_for_by_its_owners_signing_key(world):
    registration = Registration.on_network(world.parameters.network, MemberId("bank-south"))
    key = sealing("bank-south", world.suite).public_key
    proof = registration.prove(key, purpose=KeyPurpose.SEALING, by=signing("bank-east", world.suite))
    assert world.propose(world.admission("bank-south", sealing_proof=proof))[0] == "members.key_unproven"


def test_a_validator_key_that_nobody_holds_is_refused_wherever_it_is_named(consortium):
    world, key = consortium, validating("nobody")
    without = world.admission("bank-south", witness=True, validator=True, validator_proof=b"")
    assert world.propose(without)[0] == "members.key_unproven"

    def change(proof, name="bureau"):
        flags = ChangeFlags(
            member=name, witness=True, governing=True, validator_key=key.public_key, validator_proof=proof
        )
        return world.propose(flags)[0]

    for_another = world.proof("bank-east", key)
    assert [change(proof) for proof in (b"", for_another)] == ["members.key_unproven"] * 2
    assert world.rotate("bureau", key, purpose="validator", proof=b"") == "members.key_unproven"
    assert world.rotate("bureau", key, purpose="validator", proof=for_another) == "members.key_unproven"
    assert change(world.proof("bureau", key)) is None
    assert world.rotate("bureau", key, purpose="validator") is None


def test_a_proof_stands_only_where_a_key_is_registered_by_it(consortium):
    world = consortium
    proof, own = world.proof("bureau", validating("bureau")), validating("bureau").public_key
    flags = ChangeFlags(member="bureau", witness=True, governing=False, validator_key=own, validator_proof=proof)
    assert world.propose(flags)[0] == "members.key_unproven"
    new = signing("bureau 2", world.suite)
    assert world.rotate("bureau", new, proof=proof) == "members.key_unproven"
    other = sealing("bureau 2", world.suite).public_key
    assert world.rotate("bureau", other, purpose="sealing", proof=proof) == "members.key_unproven"


def test_a_member_has_no_key_for_two_purposes(world):
    own = world.keys["bank-west"].public_key
    assert world.rotate("bank-west", own, purpose="sealing") == "members.key_used"
    if world.suite.name == "gm":
        seal = world.suite.signing_key_from_seed(world.suite.digest(b"both"))
        assert world.rotate("bank-west", seal.public_key, purpose="sealing") is None
        assert world.rotate("bank-west", seal) == "members.key_used"
