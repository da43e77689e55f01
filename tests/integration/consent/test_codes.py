"""An enterprise enrols from its own device by a one-time code, and leaves an encrypted key with its bureau."""

from __future__ import annotations

import pytest

import consent_world as worlds
from consent_world import BUREAU, OTHER_BUREAU, TAXPAYER
from shuiqiao.base.errors import Denied, IntegrityError, InvalidInput
from shuiqiao.base.ids import Uscc, system_entropy
from shuiqiao.consent.codes import CODE_LIFE_MS, MAX_ATTEMPTS, CodePurpose, EnrolmentCodes
from shuiqiao.consent.enrolment import EnrolmentBody, encode_enrolment
from shuiqiao.consent.enterprise import EnterpriseKeys
from shuiqiao.consent.store import ConsentStore
from shuiqiao.crypto.keyfile import PassphraseCost, load_key_file, save_key_file
from shuiqiao.crypto.model import SuiteName

CHEAP = PassphraseCost(memory_kib=64, passes=1, lanes=1)


@pytest.fixture(params=["intl", "gm"])
def world(request, tmp_path):
    made = worlds.ConsentWorld(tmp_path, request.param)
    yield made
    made.close()


@pytest.fixture
def store(world):
    return ConsentStore(world.databases[BUREAU], cipher=worlds.a_cipher(world.suite.name))


@pytest.fixture
def codes(world, store):
    return EnrolmentCodes(submitter=world.submitters[BUREAU], store=store, suite=world.suite, entropy=system_entropy)


def code_of(act):
    with pytest.raises((Denied, InvalidInput, IntegrityError)) as caught:
        act()
    return caught.value.code


MANY = 8


def test_a_code_enrols_one_key_once_with_the_check_it_was_issued_on(world, store, codes):
    """[CONSENT-20]"""
    check = world.identity_check(reference="check-000042")
    code = codes.issue(TAXPAYER, identity_check=check)
    assert len(code.replace("-", "")) == 12
    asked = world.enterprise(1).enrolment(BUREAU, taxpayer=TAXPAYER, code=code.lower().replace("0", "o"))
    enrolment = codes.redeem(asked)
    assert (enrolment.taxpayer, enrolment.identity_check) == (TAXPAYER, check)
    assert store.enrolment(TAXPAYER) == enrolment == codes.redeem(asked)
    other = world.enterprise(2).enrolment(BUREAU, taxpayer=TAXPAYER, code=code)
    assert code_of(lambda: codes.redeem(other)) == "consent.code_wrong"
    assert store.enrolment(TAXPAYER) == enrolment
    terms = world.terms(identity_check=check)
    assert world.consents.receive(world.enterprise(1).submission(terms, now_ms=world.clock.now_ms()))


def test_a_fresh_code_renews_the_check_of_the_same_key_and_a_wrong_one_does_not(world, store, codes):
    """[CONSENT-20]"""
    enterprise = world.enterprise(1)

    def shown(code):
        return codes.redeem(enterprise.enrolment(BUREAU, taxpayer=TAXPAYER, code=code))

    first = shown(codes.issue(TAXPAYER, identity_check=world.identity_check()))
    assert shown("AAAA-AAAA-AAAA") == first == store.enrolment(TAXPAYER)
    later = world.identity_check(reference="check-000043", checked_ms=world.clock.now_ms())
    renewed = shown(codes.issue(TAXPAYER, identity_check=later))
    assert (renewed.enrolment_key, renewed.identity_check) == (first.enrolment_key, later)
    assert (first.representative_since_ms, renewed.representative_since_ms) == (None, None)


def test_a_code_for_a_new_representative_says_since_when_and_later_ones_keep_it(world, store, codes):
    """[CONSENT-31]"""

    def shown(number, check, purpose):
        code = codes.issue(TAXPAYER, identity_check=check, purpose=purpose)
        return codes.redeem(world.enterprise(number).enrolment(BUREAU, taxpayer=TAXPAYER, code=code))

    shown(1, world.identity_check(), CodePurpose.ENROL)
    changed = world.identity_check(reference="check-000043", checked_ms=world.clock.now_ms())
    assert shown(1, changed, CodePurpose.REPRESENTATIVE).representative_since_ms == changed.checked_ms
    again = world.identity_check(reference="check-000044", checked_ms=world.clock.now_ms() + 1)
    assert shown(2, again, CodePurpose.ENROL).representative_since_ms == changed.checked_ms
    world.enrol(world.enterprise(3))
    assert store.enrolment(TAXPAYER).representative_since_ms == changed.checked_ms
    recovering = codes.issue(TAXPAYER, identity_check=again, purpose=CodePurpose.REPRESENTATIVE)
    assert code_of(lambda: codes.give_back(TAXPAYER, recovering)) == "consent.code_wrong"


def test_what_is_wrong_about_a_code_is_never_told_and_many_wrong_ones_end_it(world, codes, monkeypatch):
    """[CONSENT-21]"""
    # A code has 60 random bits: all that may be tried guess it by chance in one of 10^12 at most.
    assert MAX_ATTEMPTS * 10**12 < 2**60
    monkeypatch.setattr("shuiqiao.consent.codes.MAX_ATTEMPTS", MANY)
    enterprise = world.enterprise(1)

    def tried(code, taxpayer=TAXPAYER):
        return code_of(lambda: codes.redeem(enterprise.enrolment(BUREAU, taxpayer=taxpayer, code=code)))

    assert tried("AAAA-AAAA-AAAA") == "consent.code_wrong"
    code = codes.issue(TAXPAYER, identity_check=world.identity_check())
    assert tried(code, taxpayer=Uscc("91440300MA5NOBODY1")) == "consent.code_wrong"
    for _ in range(MANY):
        assert tried("AAAA-AAAA-AAAA") == "consent.code_wrong"
    assert tried(code) == "consent.code_wrong"
    late = codes.issue(TAXPAYER, identity_check=world.identity_check())
    assert tried(code) == "consent.code_wrong"
    world.clock.advance(CODE_LIFE_MS)
    assert tried(late) == "consent.code_wrong"
    recovering = codes.issue(TAXPAYER, identity_check=world.identity_check(), purpose=CodePurpose.RECOVER)
    assert tried(recovering) == "consent.code_wrong"
    assert code_of(lambda: codes.issue("no number!", identity_check=world.identity_check())) == (
        "consent.taxpayer_invalid"
    )


def test_who_does_not_hold_the_key_or_speaks_to_another_bureau_is_refused(world, codes):
    code = codes.issue(TAXPAYER, identity_check=world.identity_check())
    mine = EnterpriseKeys(bytes([1]) * 32, suite=world.suite).enrolment_key(BUREAU, network=world.network)
    other = EnterpriseKeys(bytes([2]) * 32, suite=world.suite).enrolment_key(BUREAU, network=world.network)
    body = EnrolmentBody(bureau=BUREAU, taxpayer=TAXPAYER, key=mine.public_key, code=code)
    forged = encode_enrolment(body, network=world.network, suite=world.suite, key=other)
    assert code_of(lambda: codes.redeem(forged))
    elsewhere = world.enterprise(1).enrolment(OTHER_BUREAU, taxpayer=TAXPAYER, code=code)
    assert code_of(lambda: codes.redeem(elsewhere)) == "consent.provider_wrong"
    assert code_of(lambda: codes.redeem(b"\x00" * 50))


def test_a_key_that_was_encrypted_on_the_device_comes_back_for_a_code_and_only_so(world, codes, tmp_path):
    """[CONSENT-22]"""
    path, enterprise = tmp_path / "key.json", world.enterprise(1)
    suite = SuiteName(world.suite.name)
    save_key_file(
        path, seed=bytes([1]) * 32, suite=suite, purpose="enterprise", passphrase=b"long words",
        entropy=system_entropy, cost=CHEAP,
    )  # fmt: skip
    asked = enterprise.key_backup(BUREAU, taxpayer=TAXPAYER, key_file=path.read_bytes())
    assert code_of(lambda: codes.keep_backup(asked, taxpayer=TAXPAYER))
    world.enrol(enterprise)
    codes.keep_backup(asked, taxpayer=TAXPAYER)
    code = codes.issue(TAXPAYER, identity_check=world.identity_check())
    assert code_of(lambda: codes.give_back(TAXPAYER, code)) == "consent.code_wrong"
    code = codes.issue(TAXPAYER, identity_check=world.identity_check(), purpose=CodePurpose.RECOVER)
    found = tmp_path / "found.json"
    found.write_bytes(codes.give_back(TAXPAYER, code))
    assert load_key_file(found, passphrase=b"long words").seed == bytes([1]) * 32
    assert code_of(lambda: codes.give_back(TAXPAYER, code)) == "consent.code_wrong"
    assert code_of(lambda: enterprise.key_backup(BUREAU, taxpayer=TAXPAYER, key_file=b"{}"))
    with world.databases[BUREAU].connect() as connection:
        stored = connection.exec_driver_sql("SELECT key_file FROM consent_key_backup").scalar_one()
    assert path.read_bytes() not in stored
