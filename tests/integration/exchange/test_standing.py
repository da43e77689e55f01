"""Consents that rest on others: good once, renewed, given together; at the bureau and at the bank."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pytest

from consent_world import BANK_A, BANK_B, BUREAU, OTHER_BUREAU, TAXPAYER, a_cipher
from exchange_world import NEIGHBOUR
from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.base.errors import Denied, InvalidInput
from shuiqiao.base.ids import Uscc, split_owned_id
from shuiqiao.consent.codes import CodePurpose, EnrolmentCodes
from shuiqiao.consent.model import Fetch, Frequency, FrequencyUnit, JointConsent, JointRole, Purpose
from shuiqiao.consent.standing import joint_consent_id, other_consent
from shuiqiao.consent.store import ConsentStore
from shuiqiao.exchange.contract import REQUEST, AccessRequestBody
from shuiqiao.exchange.messages import encode_request
from shuiqiao.exchange.model import RequestMessage

REPRESENTED = Uscc("91440300MA5REPRES7")
"""Whose legal representative changes; the others' never do."""

ONCE = {"fetch": Fetch.ONE_TIME, "frequency": Frequency(count=1, unit=FrequencyUnit.DAY)}


def unchecked(world, consent):
    """A request of a bank that does not look at itself first."""
    message = RequestMessage(
        request=world.entropy(16),
        consent=split_owned_id(consent)[1],
        sender=BANK_A,
        receiver=BUREAU,
        purpose=Purpose.UNDERWRITING,
        mode="disclose",
        items={"invoice_issued@2": ["core"]},
        period_from=date(2024, 1, 1),
        period_to=date(2025, 12, 31),
        made_ms=world.clock.now_ms(),
        salt=world.entropy(32),
    )
    raw = encode_request(message, network=world.network, suite=world.suite, key=world.signing[BANK_A])
    body = AccessRequestBody(
        request=message.request,
        consent=consent,
        purpose=message.purpose,
        mode=message.mode,
        request_digest=world.suite.digest(raw),
    )
    world.submitters[BANK_A].submit(REQUEST, body)
    return message, raw


def expect_refused_by_both(world, consent, code, field):
    """The bank does not ask, and the provider refuses one that does, on the ledger."""
    with pytest.raises(Denied) as refusal:
        world.asked(consent)
    assert refusal.value.code == code
    message, raw = unchecked(world, consent)
    with pytest.raises(Denied) as refusal:
        world.provider.answer(raw)
    assert refusal.value.code == code
    assert world.entry(message.request)["status"] == "refused"
    assert world.provider_store.asked(message.name).field_code == field


def answered(world, consent):
    return world.provider.answer(world.asked(consent).message)


# Once


def test_what_is_good_once_is_answered_once_in_its_whole_window(world):
    """[CONSENT-25]: the window of its frequency passes, and it stays used."""
    consent = world.granted(**ONCE)
    first = world.asked(consent)
    assert world.provider.answer(first.message) == world.provider.answer(first.message)
    for days in (0, 2, 50):
        world.clock.advance(days * MS_PER_DAY)
        with pytest.raises(Denied, match=r"^exchange\.frequency_exceeded.*good once"):
            answered(world, consent)


def test_what_is_periodic_is_answered_again_in_the_next_window(world):
    """[CONSENT-25]"""
    consent = world.granted(fetch=Fetch.PERIODIC, frequency=Frequency(count=1, unit=FrequencyUnit.MONTH))
    answered(world, consent)
    with pytest.raises(Denied, match=r"^exchange\.frequency_exceeded.*within a month"):
        answered(world, consent)
    world.clock.advance(30 * MS_PER_DAY + 1)
    assert answered(world, consent)


def test_a_refused_request_does_not_use_it_up(world):
    """[CONSENT-25]"""
    enterprise = world.enterprise()
    consent = world.granted(enterprise, **ONCE)
    _, raw = unchecked(world, consent)
    pause = enterprise.pause(consent, now_ms=world.clock.now_ms())
    world.consents.relay(pause.raw)
    with pytest.raises(Denied, match=r"^consent\.paused"):
        world.provider.answer(raw)
    world.consents.relay(enterprise.resume(consent, pause=pause.id, now_ms=world.clock.now_ms()).raw)
    assert answered(world, consent)


def test_good_once_and_three_answers_do_not_go_together(world):
    """[CONSENT-25]"""
    with pytest.raises(InvalidInput, match=r"^consent\.artefact_invalid.*one answer"):
        world.granted(fetch=Fetch.ONE_TIME)


# Another legal representative


def new_representative(world, enterprise):
    check = world.identity_check(reference="check-000018", checked_ms=world.clock.now_ms())
    codes = EnrolmentCodes(
        submitter=world.submitters[BUREAU],
        store=ConsentStore(world.databases[BUREAU], cipher=a_cipher(world.suite.name)),
        suite=world.suite,
        entropy=world.entropy,
    )
    code = codes.issue(REPRESENTED, identity_check=check, purpose=CodePurpose.REPRESENTATIVE)
    codes.redeem(enterprise.enrolment(BUREAU, taxpayer=REPRESENTED, code=code))
    return check


def test_a_consent_of_a_former_representative_waits_until_the_new_one_renews_it(world):
    """[CONSENT-31]"""
    enterprise = world.enterprise(7)
    before = world.granted(enterprise, taxpayer=REPRESENTED)
    sent = world.asked(before)
    assert world.provider.answer(sent.message)
    check = new_representative(world, enterprise)
    # The bank cannot know of it: it asks, and is refused, and what was answered before does not leave again.
    message, raw = unchecked(world, before)
    for asked in (raw, sent.message):
        with pytest.raises(Denied, match=r"^consent\.representative_changed"):
            world.provider.answer(asked)
    assert world.entry(message.request)["status"] == "refused"
    assert world.provider_store.asked(message.name).field_code == "04"
    terms = world.terms(taxpayer=REPRESENTED, identity_check=check, renews=split_owned_id(before)[1])
    submission = enterprise.submission(terms, now_ms=world.clock.now_ms())
    after = world.consents.receive(submission).artefact.name
    world.files[BANK_A].receive(submission.artefact)
    assert answered(world, after)


# Renewal


def renewed(world, enterprise, before, *, days=0, **changes):
    starts_ms = world.clock.now_ms() + days * MS_PER_DAY
    window = {"valid_from_ms": starts_ms, "valid_to_ms": starts_ms + 60 * MS_PER_DAY}
    return world.granted(enterprise, **window | {"renews": split_owned_id(before)[1]} | changes)


def test_the_one_before_ends_when_the_renewal_begins(world):
    """[CONSENT-26]"""
    enterprise = world.enterprise()
    before = world.granted(enterprise)
    after = renewed(world, enterprise, before, days=10)
    assert answered(world, before)
    with pytest.raises(Denied, match=r"^consent\.not_yet_valid"):
        world.asked(after)
    world.clock.advance(10 * MS_PER_DAY)
    expect_refused_by_both(world, before, "consent.renewed", "04")
    assert answered(world, after)


def test_withdrawing_the_renewal_brings_nothing_back(world):
    """[CONSENT-26]"""
    enterprise = world.enterprise()
    before = world.granted(enterprise)
    after = renewed(world, enterprise, before)
    world.consents.relay(enterprise.revoke(after, now_ms=world.clock.now_ms()).raw)
    expect_refused_by_both(world, before, "consent.renewed", "04")


def test_of_renewals_that_come_at_once_one_is_taken_in(world):
    """[CONSENT-26]"""
    enterprise = world.enterprise()
    before = world.granted(enterprise)
    terms = world.terms(renews=split_owned_id(before)[1])
    submissions = [enterprise.submission(terms, now_ms=world.clock.now_ms()) for _ in range(4)]
    together = threading.Barrier(len(submissions))

    def receive(submission):
        together.wait()
        try:
            return world.consents.receive(submission)
        except Denied as error:
            return error.code

    with ThreadPoolExecutor(len(submissions)) as pool:
        told = [*pool.map(receive, submissions)]
    assert told.count("consent.renewal_wrong") == len(submissions) - 1


def test_an_answer_that_was_kept_does_not_leave_after_the_renewal(world):
    """[CONSENT-26] [EXCHANGE-20]"""
    enterprise = world.enterprise()
    before = world.granted(enterprise)
    sent = world.asked(before)
    world.provider.answer(sent.message)
    renewed(world, enterprise, before)
    with pytest.raises(Denied, match=r"^consent\.renewed"):
        world.provider.answer(sent.message)


@pytest.mark.parametrize(
    "change",
    [{"recipient": BANK_B}, {"purpose": Purpose.LOAN_MONITORING}, {"renews": bytes(16)}],
    ids=["bank", "purpose", "unknown"],
)
def test_a_renewal_is_of_a_consent_like_it(world, change):
    """[CONSENT-26]"""
    enterprise = world.enterprise()
    before = world.granted(enterprise)
    with pytest.raises(Denied, match=r"^consent\.renewal_wrong"):
        renewed(world, enterprise, before, **change)


def test_anothers_consent_is_not_renewed(world):
    """[CONSENT-26]"""
    before = world.granted()
    with pytest.raises(Denied, match=r"^consent\.renewal_wrong"):
        renewed(world, world.enterprise(8), before, taxpayer=NEIGHBOUR)
    assert answered(world, before)


def test_a_consent_is_renewed_once(world):
    """[CONSENT-26]"""
    enterprise = world.enterprise()
    before = world.granted(enterprise)
    renewed(world, enterprise, before)
    with pytest.raises(Denied, match=r"^consent\.renewal_wrong.*already"):
        renewed(world, enterprise, before)


def test_the_ledger_does_not_tell_that_one_renews_the_other(world):
    """[CONSENT-14] [CONSENT-26]"""
    enterprise = world.enterprise()
    before = world.granted(enterprise)
    after = renewed(world, enterprise, before)
    bare = split_owned_id(before)[1]
    grants = [raw for raw in world.raw_transactions() if b"consent.grant" in raw]
    assert sum(bare in raw for raw in grants) == 1
    assert bare.hex() not in str(world.ledger.state().get(f"consent/grant/{after}"))


# Together


def joint_terms(world, role, joint=b"\x07" * 16, **changes):
    return {"joint": JointConsent(id=joint, role=role, other_provider=BUREAU)} | changes


@pytest.fixture
def joint(world):
    return world.entropy(16)


def test_a_joint_consent_is_good_while_both_are(world, joint):
    """[CONSENT-27]: not before the guarantor signed, not while it pauses, not after it withdrew."""
    borrower, guarantor = world.enterprise(), world.enterprise(8)
    mine = world.granted(borrower, **joint_terms(world, JointRole.BORROWER, joint))
    expect_refused_by_both(world, mine, "consent.joint_incomplete", "04")
    theirs = world.granted(guarantor, taxpayer=NEIGHBOUR, **joint_terms(world, JointRole.GUARANTOR, joint))
    assert answered(world, mine)
    assert answered(world, theirs)
    pause = guarantor.pause(theirs, now_ms=world.clock.now_ms())
    world.consents.relay(pause.raw)
    expect_refused_by_both(world, mine, "consent.joint_incomplete", "04")
    world.consents.relay(guarantor.resume(theirs, pause=pause.id, now_ms=world.clock.now_ms()).raw)
    assert answered(world, mine)
    world.consents.relay(borrower.revoke(mine, now_ms=world.clock.now_ms()).raw)
    expect_refused_by_both(world, theirs, "consent.joint_incomplete", "04")


@pytest.mark.parametrize("ending", ["guarantor withdraws", "renewal begins"])
def test_what_ends_a_consent_beside_it_while_records_are_read_lets_nothing_out(world, joint, ending):
    """[EXCHANGE-20] [CONSENT-26] [CONSENT-27]: the ledger cannot know of it, the bureau looks again."""
    enterprise, guarantor = world.enterprise(), world.enterprise(8)
    mine = world.granted(enterprise, **joint_terms(world, JointRole.BORROWER, joint))
    theirs = world.granted(guarantor, taxpayer=NEIGHBOUR, **joint_terms(world, JointRole.GUARANTOR, joint))
    message, raw = unchecked(world, mine)

    class EndsWhileRead:
        def __getattr__(self, name):
            return getattr(world.vault, name)

        def disclose(self, **wanted):
            if ending == "renewal begins":
                renewed(world, enterprise, mine)
            else:
                world.consents.relay(guarantor.revoke(theirs, now_ms=world.clock.now_ms()).raw)
            return world.vault.disclose(**wanted)

    with pytest.raises(Denied) as refusal:
        world.provider_with(EndsWhileRead()).answer(raw)
    expected = {"renewal begins": "consent.renewed", "guarantor withdraws": "consent.joint_incomplete"}
    assert refusal.value.code == expected[ending]
    assert world.entry(message.request)["status"] == "refused"
    assert world.provider_store.asked(message.name).answer is None


def test_each_names_the_other_by_the_joint_id(world, joint):
    """[CONSENT-27]"""
    borrower = JointConsent(id=joint, role=JointRole.BORROWER, other_provider=BUREAU)
    guarantor = JointConsent(id=joint, role=JointRole.GUARANTOR, other_provider=OTHER_BUREAU)
    ids = {role: joint_consent_id(joint, role, suite=world.suite) for role in JointRole}
    assert len(set(ids.values())) == 2
    assert other_consent(borrower, suite=world.suite) == f"{BUREAU}/{ids[JointRole.GUARANTOR].hex()}"
    assert other_consent(guarantor, suite=world.suite) == f"{OTHER_BUREAU}/{ids[JointRole.BORROWER].hex()}"
    assert not any(joint in raw for raw in world.raw_transactions())


@pytest.mark.parametrize(
    "change",
    [{"recipient": BANK_B}, {"purpose": Purpose.LOAN_MONITORING}, {"product": "another"}, {"taxpayer": TAXPAYER}],
)
def test_both_are_for_one_bank_purpose_and_product(world, joint, change):
    """[CONSENT-27]"""
    world.granted(**joint_terms(world, JointRole.BORROWER, joint))
    with pytest.raises(Denied, match=r"^consent\.joint_wrong"):
        world.granted(
            world.enterprise(8 if "taxpayer" not in change else 1),
            **{"taxpayer": NEIGHBOUR} | joint_terms(world, JointRole.GUARANTOR, joint) | change,
        )


def test_a_guarantor_of_another_bureau_does_not_count_before_it_consents_there(world, joint):
    """[CONSENT-27]: what this bureau has of a consent elsewhere is the ledger's word."""
    elsewhere = JointConsent(id=joint, role=JointRole.BORROWER, other_provider=OTHER_BUREAU)
    mine = world.granted(joint=elsewhere)
    here = world.granted(world.enterprise(8), taxpayer=NEIGHBOUR, **joint_terms(world, JointRole.GUARANTOR, joint))
    assert here.startswith(BUREAU)
    expect_refused_by_both(world, mine, "consent.joint_incomplete", "04")
