"""The epoch document: what stands in it, what may follow it, and what it asks of a checkpoint."""

from __future__ import annotations

import dataclasses

import pytest

from members_world import World, signing
from shuiqiao.base.encoding import encode_cbor
from shuiqiao.base.errors import Denied, IntegrityError, InvalidInput
from shuiqiao.ledger.checkpoints.policy import CheckpointPolicy
from shuiqiao.members.epoch import (
    MAX_EPOCH_BYTES,
    Epoch,
    checkpoint_policy,
    decode_epoch,
    epoch_document,
    genesis_epoch,
    read_epoch,
    smallest_quorum,
    verify_epoch,
    verify_follows,
)
from shuiqiao.members.model import EngineName

VALIDATORS = ("bank-east", "bank-north", "bank-west", "bureau")


@pytest.fixture(params=["intl", "gm"])
def world(request):
    return World(request.param, witnesses=("bank-east", "regulator"), quorum=1, governing=("bureau",))


@pytest.fixture(params=["intl", "gm"])
def consortium(request):
    return World(request.param, engine="cometbft", witnesses=VALIDATORS, quorum=3)


def test_epoch_zero_follows_from_the_genesis(world):
    # Holds [EPOCH-1].
    def keys(*names):
        return {name: signing(name, world.suite).public_key for name in names}

    expected = {
        "number": 0,
        "operator": "bureau",
        "operator_key": signing("bureau", world.suite).public_key,
        "quorum": 1,
        "witnesses": keys("bank-east", "regulator"),
        "governing": keys("bureau"),
    }
    assert expected == world.epoch == epoch_document(genesis_epoch(world.genesis))
    assert read_epoch(world.state) == genesis_epoch(world.genesis)
    assert read_epoch(world.state).engine is EngineName.EMBEDDED


def test_a_consortium_has_no_operator(consortium):
    epoch = read_epoch(consortium.state)
    assert (epoch.operator, epoch.operator_key, epoch.engine) == (None, None, EngineName.COMETBFT)
    assert (consortium.epoch["operator"], consortium.epoch["operator_key"]) == ("", b"")
    assert list(epoch.witnesses) == list(VALIDATORS)


def test_an_epoch_is_the_policy_of_its_checkpoints(world, consortium):
    # Holds [EPOCH-5].
    for each in (world, consortium):
        epoch = read_epoch(each.state)
        expected = CheckpointPolicy(
            origin=each.parameters.origin,
            operator=epoch.operator,
            operator_key=epoch.operator_key,
            witnesses=epoch.witnesses,
            quorum=epoch.quorum,
            epoch=7,
        )
        epoch = dataclasses.replace(epoch, number=7)
        assert expected == checkpoint_policy(epoch, origin=each.parameters.origin)


def test_its_bytes_go_there_and_back(world, consortium):
    for each in (world, consortium):
        data = each.state.encoded()["members/epoch"]
        assert decode_epoch(data) == read_epoch(each.state)
        assert encode_cbor(epoch_document(decode_epoch(data))) == data


FAULTS = {
    "a field too many": {"fee": 1},
    "a number below zero": {"number": -1},
    "a number that is too large": {"number": 2**53},
    "a number that is a truth": {"number": True},
    "a quorum that is text": {"quorum": "1"},
    "a quorum that is too high": {"quorum": 3},
    "witnesses that are a list": {"witnesses": []},
    "a witness that is no member id": {"witnesses": {"Bank": b"k" * 32}},
    "a witness whose name is a number": {"witnesses": {1: b"k" * 32}},
    "a witness without a key": {"witnesses": {"bank-east": b""}},
    "a key of odd length": {"governing": {"bureau": b"k" * 33}},
    "a key that is too short": {"governing": {"bureau": b"k" * 31}},
    "a key of one byte less": {"governing": {"bureau": b"k" * 64}},
    "a key of one byte more": {"governing": {"bureau": b"k" * 66}},
    "a key that is text": {"governing": {"bureau": "k" * 32}},
    "a quorum below zero": {"quorum": -1},
    "governing members that are a list": {"governing": []},
    "an operator with a key that is none": {"operator_key": b"k" * 33},
    "nobody that governs": {"governing": {}},
    "an operator without a key": {"operator_key": b""},
    "a key without an operator": {"operator": ""},
    "an operator that is a number": {"operator": 7},
    "an operator that witnesses": {"operator": "regulator"},
}


@pytest.mark.parametrize("what", FAULTS)
def test_a_document_is_refused_with(world, what):
    with pytest.raises(IntegrityError) as caught:
        decode_epoch(encode_cbor({**world.epoch, **FAULTS[what]}))
    assert caught.value.code == "members.epoch_malformed"


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xa0", encode_cbor(7), b"x" * (MAX_EPOCH_BYTES + 1)])
def test_bytes_that_are_no_document_are_refused(data):
    with pytest.raises(IntegrityError, match=r"members\.epoch_malformed"):
        decode_epoch(data)


def test_the_largest_document_stays_under_its_bound():
    keys = {f"b{number:031}": bytes([number]) * 65 for number in range(64)}
    governing = {f"g{number:031}": bytes([number]) * 65 for number in range(64)}
    epoch = Epoch(
        number=2**53 - 1, operator="o" * 32, operator_key=b"o" * 65, quorum=64, witnesses=keys, governing=governing
    )
    assert decode_epoch(encode_cbor(epoch_document(epoch))) == epoch
    assert MAX_EPOCH_BYTES == 16_384


def test_a_walk_goes_forward_and_stays_with_its_engine(world, consortium):
    # Holds [EPOCH-4].
    epoch = read_epoch(world.state)
    later = dataclasses.replace(epoch, number=3)
    verify_follows(later, previous=epoch)
    for following in (epoch, dataclasses.replace(later, number=2), later):
        with pytest.raises(IntegrityError) as caught:
            verify_follows(following, previous=later)
        assert caught.value.code == "members.epoch_not_later"
        assert "3" in caught.value.message or "0" in caught.value.message
    with pytest.raises(IntegrityError, match=r"members\.epoch_engine_changed"):
        verify_follows(dataclasses.replace(read_epoch(consortium.state), number=1), previous=epoch)


@pytest.mark.parametrize(("validators", "least"), [(1, 1), (2, 1), (3, 2), (4, 2), (7, 3), (10, 4)])
def test_among_validators_one_more_than_may_be_faulty_must_sign(validators, least):
    assert smallest_quorum(EngineName.COMETBFT, witnesses=validators) == least
    assert smallest_quorum(EngineName.EMBEDDED, witnesses=validators) == 0


def refusal(epoch):
    """The code that refuses an epoch, or None."""
    try:
        verify_epoch(epoch)
    except (Denied, InvalidInput) as error:
        return error.code
    return None


@pytest.mark.parametrize(
    ("quorum", "code"), [(1, "members.quorum_too_low"), (2, None), (4, None), (5, "members.quorum_too_high")]
)
def test_a_quorum_that_cannot_work_is_refused(consortium, quorum, code):
    # Holds [EPOCH-3].
    assert refusal(dataclasses.replace(read_epoch(consortium.state), quorum=quorum)) == code


@pytest.mark.parametrize(("quorum", "code"), [(0, None), (2, None), (3, "members.quorum_too_high")])
def test_an_operators_log_needs_no_cosignature_and_no_more_than_it_has_witnesses(world, quorum, code):
    assert refusal(dataclasses.replace(read_epoch(world.state), quorum=quorum)) == code


@pytest.mark.parametrize("which", ["witnesses", "governing"])
@pytest.mark.parametrize(("count", "code"), [(63, None), (64, None), (65, "members.set_too_large")])
def test_a_set_has_a_most(world, which, count, code):
    # Holds [EPOCH-3].
    members = {f"member-{number}": bytes([number]) * 32 for number in range(count)}
    assert refusal(dataclasses.replace(read_epoch(world.state), **{which: members})) == code


def test_an_epoch_that_cannot_govern_or_watches_itself_is_refused(world):
    epoch = read_epoch(world.state)
    assert refusal(dataclasses.replace(epoch, governing={})) == "members.governing_empty"
    own = {epoch.operator: epoch.operator_key}
    assert refusal(dataclasses.replace(epoch, witnesses=own)) == "members.witness_is_operator"
    # In a consortium nobody is the operator, so anybody may be a witness.
    assert refusal(dataclasses.replace(epoch, operator=None, operator_key=None, witnesses=own)) is None


def test_the_numbers_of_a_document_reach_their_bounds(world):
    largest = {**world.epoch, "number": 2**53 - 1, "quorum": 0}
    found = decode_epoch(encode_cbor(largest))
    assert (found.number, found.quorum) == (2**53 - 1, 0)
