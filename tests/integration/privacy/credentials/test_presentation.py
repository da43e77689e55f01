"""Who asks for a credential, by what a receipt of the ledger proves to whoever has the genesis alone."""

from __future__ import annotations

import pytest

from consent_world import BANK_A, BANK_B, BUREAU, KINDS, REGULATOR
from credentials_world import CredentialsWorld
from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.ledger.receipts.verification import verify_receipt
from shuiqiao.ledger.transactions.kinds import KindTable
from shuiqiao.ledger.transactions.looking_up import newest_index
from shuiqiao.members import contract as members_contract
from shuiqiao.members.key_ring import MemberKeyRing
from shuiqiao.privacy.credentials.presentation import (
    MAX_REQUEST_AGE_MS,
    MAX_REQUEST_AHEAD_MS,
    PresentationRequestBody,
    asker_keys,
    decode_request,
    encode_request,
    verify_asker,
)


@pytest.fixture(params=["intl", "gm"])
def world(request, tmp_path):
    made = CredentialsWorld(tmp_path, request.param)
    made.issued(1)
    yield made
    made.close()


def asked(world, bank=BANK_A, *, signer=None, age_ms=0):
    """A request of a bank, signed by a member."""
    body = PresentationRequestBody(
        request=world.entropy(16),
        bank=bank,
        product="tax-credit-loan",
        rules=bytes(32),
        claims=["no_arrears"],
        made_ms=world.clock.now_ms() - age_ms,
    )
    raw = encode_request(body, network=world.network, suite=world.suite, key=world.signing[signer or BANK_A])
    return decode_request(raw, network=world.network, suite=world.suite)


def proven(world, *keys):
    """What a receipt proves of the state at keys."""
    receipt = world.ledger.receipt(newest_index(world.ledger), state_keys=keys)
    return verify_receipt(
        receipt, parameters=world.parameters, kinds=KindTable(KINDS), key_ring=MemberKeyRing(), suite=world.suite
    )


def refused(world, document, *, of=None):
    """The code of the refusal. of: the member whose record is proven, the one that asks by itself."""
    keys = asker_keys(of or document.body.bank)
    with pytest.raises(ShuiqiaoError) as refusal:
        verify_asker(document, proven=proven(world, *keys).values, suite=world.suite, now_ms=world.clock.now_ms())
    return refusal.value.code


def test_a_bank_that_signed_just_now_may_ask(world):
    """[CREDENTIAL-11]"""
    for age_ms in (MAX_REQUEST_AGE_MS, -MAX_REQUEST_AHEAD_MS):
        found = proven(world, *asker_keys(BANK_A))
        document = asked(world, age_ms=age_ms)
        verify_asker(document, proven=found.values, suite=world.suite, now_ms=world.clock.now_ms())
    assert found.as_of_ms == world.ledger.last_block()[1]


@pytest.mark.parametrize("age_ms", [MAX_REQUEST_AGE_MS + 1, -MAX_REQUEST_AHEAD_MS - 1])
def test_an_old_request_and_one_of_tomorrow_are_refused(world, age_ms):
    """[CREDENTIAL-11]"""
    assert refused(world, asked(world, age_ms=age_ms)) == "privacy.challenge_old"


@pytest.mark.parametrize("signer", [BANK_B, BUREAU, REGULATOR])
def test_who_signs_in_a_banks_name_is_refused(world, signer):
    """[CREDENTIAL-11]"""
    assert refused(world, asked(world, signer=signer)) == "privacy.asker_unproven"


@pytest.mark.parametrize("member", [BUREAU, REGULATOR, "stranger"])
def test_a_member_that_is_no_bank_and_a_stranger_ask_for_nothing(world, member):
    """[CREDENTIAL-11]"""
    signer = BANK_A if member == "stranger" else member
    assert refused(world, asked(world, member, signer=signer)) == "privacy.asker_wrong"


def test_the_record_of_another_member_proves_nothing(world):
    """[CREDENTIAL-11]: a receipt that is true, of a bank that is none of those who ask."""
    assert refused(world, asked(world, BANK_B), of=BANK_A) == "privacy.asker_unproven"
    own, _ = asker_keys(BANK_A)
    with pytest.raises(ShuiqiaoError, match=r"privacy\.asker_unproven"):
        verify_asker(asked(world), proven=proven(world, own).values, suite=world.suite, now_ms=world.clock.now_ms())


def test_a_suspended_bank_asks_for_nothing(world):
    """[CREDENTIAL-11]"""
    ground = members_contract.Emergency(until_ms=world.clock.now_ms() + MS_PER_DAY, evidence_digest=bytes(32))
    body = members_contract.MemberSuspendBody(member=BANK_A, ground=ground)
    world.submitters[REGULATOR].submit(members_contract.SUSPEND, body)
    assert refused(world, asked(world)) == "privacy.asker_wrong"
    # Another bank goes on.
    values = proven(world, *asker_keys(BANK_B)).values
    document = asked(world, BANK_B, signer=BANK_B)
    verify_asker(document, proven=values, suite=world.suite, now_ms=world.clock.now_ms())


def test_a_key_that_the_bank_replaced_asks_for_nothing(world):
    """[CREDENTIAL-11]"""
    document = asked(world)
    world.rotate(BANK_A)
    assert refused(world, document) == "privacy.asker_unproven"
