"""[LEDGER-RECEIPT-3]: whose word it is that those signed who had to."""

from __future__ import annotations

import pytest

from members_world import World, signing
from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.ledger.receipts.verification import SignerEvidence, judge_signers, keys_to_prove
from shuiqiao.members.contract import REGISTER_WITNESS, WitnessRegisterBody

RECORD = "members/member/bank-west"


@pytest.fixture(params=["intl", "gm"])
def world(request):
    return World(request.param, governing=("bank-east", "bureau"))


def offer(world, key):
    body = WitnessRegisterBody(endpoint="https://bank-west.example:9000")
    return world.machine.decode(world.sign(REGISTER_WITNESS, body, author="bank-west", keys=[key]))


def judge(world, tx, *keys):
    return judge_signers(tx, machine=world.machine, proven={key: world.state.get(key) for key in keys})


def test_keys_of_the_genesis_need_no_proof(world):
    tx = offer(world, world.keys["bank-west"])
    assert () == keys_to_prove(tx, machine=world.machine, state=world.state)
    assert SignerEvidence.GENESIS is judge(world, tx)
    assert SignerEvidence.GENESIS is judge(world, tx, RECORD)


def test_a_key_that_replaced_another_is_shown(world):
    old, new = world.keys["bank-west"], signing("bank-west 2", world.suite)
    before = offer(world, old)
    assert world.rotate("bank-west", new) is None
    after = offer(world, new)
    assert (RECORD,) == keys_to_prove(after, machine=world.machine, state=world.state)
    assert SignerEvidence.STATE is judge(world, after, RECORD)
    # Signed when the old key counted: the state of today cannot judge it, the genesis can.
    assert SignerEvidence.GENESIS is judge(world, before)
    assert SignerEvidence.LEDGER is judge(world, before, RECORD)


def test_a_foreign_key_is_refused_unless_a_replacement_is_proven(world):
    foreign = signing("bank-east", world.suite)
    tx = offer(world, foreign)
    for keys in ((), (RECORD,)):
        with pytest.raises(ShuiqiaoError) as caught:
            judge(world, tx, *keys)
        assert caught.value.code == "ledger.signature_missing"
    assert world.rotate("bank-west", signing("bank-west 2", world.suite)) is None
    with pytest.raises(ShuiqiaoError):
        judge(world, tx)
    assert SignerEvidence.LEDGER is judge(world, tx, RECORD)


def test_a_broken_signature_is_refused_with_a_proven_key_too(world):
    new = signing("bank-west 2", world.suite)
    assert world.rotate("bank-west", new) is None
    body = WitnessRegisterBody(endpoint="https://bank-west.example:9000")
    raw = world.sign(REGISTER_WITNESS, body, author="bank-west", keys=[new])
    tx = world.machine.decode(raw[:-1] + bytes([raw[-1] ^ 1]))
    with pytest.raises(ShuiqiaoError) as caught:
        judge(world, tx, RECORD)
    assert caught.value.code == "ledger.signature_invalid"
