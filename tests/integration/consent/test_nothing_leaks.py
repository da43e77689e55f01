"""[CONSENT-14]: a ledger full of one enterprise's consents tells a reader nothing about the enterprise."""

from __future__ import annotations

import hashlib

import pytest

from shuiqiao.base.ids import MemberId
from shuiqiao.consent.enterprise import EnterpriseKeys
from shuiqiao.ledger.state.overlay import genesis_writes

BUREAU, BANK_A, BANK_B = (MemberId(name) for name in ("bureau", "bank-a", "bank-b"))


@pytest.fixture
def busy(world):
    """Two consents of one enterprise, paused, resumed and revoked by way of both banks."""
    enterprise = world.enterprise()
    consents = [world.granted(enterprise), world.granted(enterprise, recipient=BANK_B)]
    for consent, relay in zip(consents, (BANK_A, BANK_B), strict=True):
        now_ms = world.clock.now_ms()
        pause = enterprise.pause(consent, now_ms=now_ms)
        world.submitters[relay].relay(pause.raw)
        world.submitters[relay].relay(enterprise.resume(consent, pause=pause.id, now_ms=now_ms).raw)
        world.submitters[relay].relay(enterprise.revoke(consent, now_ms=now_ms).raw)
    return consents


def secrets_of(world, consents):
    """What must not be found, and that it was really there to leak."""
    artefacts = [world.consents.artefact(consent) for consent in consents]
    words = {
        artefacts[0].taxpayer,
        artefacts[0].product,
        artefacts[0].identity_check.reference,
        "invoice_issued",
        "2024-01-01",
    }
    stored = b"".join(world.consents._store.artefact(consent).raw for consent in consents)
    assert {word for word in words if word.encode() in stored} == words
    return words


def test_no_word_of_an_artefact_stands_on_the_ledger(world, busy):
    ledger = b"".join(world.raw_transactions())
    assert len(world.raw_transactions()) >= 8
    found = {word for word in secrets_of(world, busy) if word.encode() in ledger}
    assert found == set()


def test_no_guess_hashed_plainly_stands_on_the_ledger(world, busy):
    """An attacker who knows the number, or every artefact field but the salt, finds no digest that matches."""
    ledger = b"".join(world.raw_transactions())
    artefact = world.consents.artefact(busy[0])
    guesses = [artefact.taxpayer.encode(), artefact.product.encode(), artefact.consent + artefact.taxpayer.encode()]
    guesses += [guess.lower() for guess in guesses] + [world.network + guess for guess in guesses]
    digests = [hashlib.new(name, guess).digest() for guess in guesses for name in ("sha256", "sm3", "sha1", "md5")]
    assert [digest for digest in digests if digest in ledger or digest.hex().encode() in ledger] == []
    unsalted = world.suite.digest(world.consents._store.artefact(busy[0]).raw)
    assert unsalted not in ledger


def test_no_two_consents_of_one_enterprise_share_a_byte_string(world, busy):
    """[CONSENT-2] [CONSENT-3]: neither key, id nor commitment recurs, and the enrolment key never appears."""
    grants = [world.grant(consent) for consent in busy]
    assert len({grant.key for grant in grants}) == len(grants)
    assert len({grant.commitment for grant in grants}) == len(grants)
    keys = EnterpriseKeys(bytes([1]) * 32, suite=world.suite)
    enrolment = keys.enrolment_key(BUREAU, network=world.network)
    ledger = b"".join(world.raw_transactions()) + b"".join(genesis_writes(world.parameters).values())
    assert enrolment.public_key not in ledger
    assert enrolment.key_id not in ledger
    other_bureau = keys.enrolment_key(MemberId("bureau-of-another-city"), network=world.network)
    other_network = keys.enrolment_key(BUREAU, network=bytes(32))
    assert len({enrolment.public_key, other_bureau.public_key, other_network.public_key}) == 3


def test_the_bank_never_sees_the_enrolment_key(world, busy):
    """[CONSENT-1] [CONSENT-3]: what the bank is handed does not hold the key that links consents."""
    enrolment = EnterpriseKeys(bytes([1]) * 32, suite=world.suite).enrolment_key(BUREAU, network=world.network)
    stored = world.files[BANK_A]._store.artefact(busy[0]).raw
    assert world.consents._store.artefact(busy[0]).raw == stored
    assert enrolment.key_id not in stored
    assert enrolment.public_key not in stored
