from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date

import msgspec
import pytest
from sqlalchemy import text

from patience import PATIENCE_S
from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.base.errors import Conflict, Denied, IntegrityError, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import MemberId, Uscc, owned_id
from shuiqiao.consent.artefact import ARTEFACT, commitment_of, decode_artefact, encode_artefact, encode_endorsement
from shuiqiao.consent.contract import GRANT, REVOKE, ConsentRevokeBody, grant_body, grant_transaction_id
from shuiqiao.consent.enterprise import EnterpriseKeys
from shuiqiao.consent.model import FieldCode, Frequency, FrequencyUnit, Mode, Purpose, RevokeReason, field_code
from shuiqiao.consent.service import ConsentService
from shuiqiao.consent.store import ConsentStore
from shuiqiao.consent.text import text_digest
from shuiqiao.crypto.column_cipher import EncryptedColumns
from shuiqiao.ledger.transactions.document import sign_document

BUREAU, BANK_A, BANK_B = (MemberId(name) for name in ("bureau", "bank-a", "bank-b"))


def refusal_of(world, submission) -> ShuiqiaoError:
    with pytest.raises(ShuiqiaoError) as refusal:
        world.consents.receive(submission)
    return refusal.value


def submission_with(world, enterprise, **changes):
    return enterprise.submission(world.terms(**changes), now_ms=world.clock.now_ms())


@pytest.fixture
def enterprise(world):
    holder = world.enterprise()
    world.enrol(holder)
    return holder


def test_a_sound_consent_is_kept_and_granted(world, enterprise):
    """[CONSENT-15]"""
    submission = submission_with(world, enterprise)
    granted = world.consents.receive(submission)
    assert world.terms().taxpayer == granted.artefact.taxpayer
    assert granted.artefact == world.consents.artefact(granted.artefact.name)
    assert granted.artefact in world.consents.artefacts_of(world.terms().taxpayer)
    assert world.consents._store.artefact(granted.artefact.name).granted_index == granted.committed.index


def test_a_taxpayer_nobody_enrolled_is_code_02(world, enterprise):
    error = refusal_of(world, submission_with(world, enterprise, taxpayer=Uscc("91440300MA5STRANGR")))
    assert (error.code, field_code(error)) == ("consent.taxpayer_mismatch", FieldCode.TAXPAYER_MISMATCH)


def test_an_artefact_for_another_taxpayer_is_refused(world, enterprise):
    """[CONSENT-15]: B cannot grant A's data, though both are enrolled."""
    other = world.enterprise(7)
    world.enrol(other, Uscc("91440300MA5OTHERS0"))
    error = refusal_of(world, submission_with(world, other))
    assert error.code == "consent.taxpayer_mismatch"


def said(error, submission, world):
    """All that a stranger is told, but the id that it chose itself."""
    artefact = decode_artefact(submission.artefact, network=world.network, suite=world.suite)
    message = error.message.replace(artefact.consent.hex(), "it")
    return type(error), error.code, message, error.next_step, type(error.__cause__)


def forged_endorsements(world, stranger, submission):
    """What somebody without the enrolled key can hand in: another's word, a broken one, one in the artefact's key."""
    artefact = decode_artefact(submission.artefact, network=world.network, suite=world.suite)
    flipped = bytearray(submission.endorsement)
    flipped[-1] ^= 1
    others = submission_with(world, stranger).endorsement
    own = encode_endorsement(
        artefact,
        artefact_bytes=submission.artefact,
        network=world.network,
        suite=world.suite,
        key=stranger._keys.consent_key(artefact.consent, network=world.network),
    )
    return [submission.endorsement, bytes(flipped), others, own, b"", b"\xd8\x62\x80", bytes(20_000)]


def test_a_stranger_cannot_learn_who_is_enrolled(world, enterprise):
    """[CONSENT-15]: the same answer, whatever is handed in, for a taxpayer that is known here and one that is not."""
    stranger = world.enterprise(66)
    told = []
    for taxpayer in (world.terms().taxpayer, Uscc("91440300MA5NOBODY0")):
        submission = submission_with(world, stranger, taxpayer=taxpayer)
        tries = [replace(submission, endorsement=each) for each in forged_endorsements(world, stranger, submission)]
        told.append([said(refusal_of(world, each), each, world) for each in tries])
    assert told[0] == told[1]
    assert {"consent.taxpayer_mismatch"} == {answer[1] for answer in told[0][:4]}
    assert all(answer[1].startswith(("base.", "ledger.document_")) for answer in told[0][4:])


def test_an_endorsement_of_another_artefact_is_code_02(world, enterprise):
    first, second = (submission_with(world, enterprise) for _ in range(2))
    error = refusal_of(world, replace(first, endorsement=second.endorsement))
    assert (error.code, field_code(error)) == ("consent.taxpayer_mismatch", FieldCode.TAXPAYER_MISMATCH)


def test_a_grant_that_does_not_follow_from_the_artefact_is_refused(world, enterprise):
    first, second = (submission_with(world, enterprise) for _ in range(2))
    error = refusal_of(world, replace(first, grant=second.grant))
    assert error.code == "consent.grant_mismatch"


def test_another_kind_cannot_be_slipped_in_as_the_grant(world, enterprise):
    submission = submission_with(world, enterprise)
    body = ConsentRevokeBody(consent=owned_id(BUREAU, bytes(16)), reason=RevokeReason.KEY_LOST)
    slipped = world.signed(REVOKE, body, author=BUREAU, keys=[world.signing[BANK_A]])
    assert refusal_of(world, replace(submission, grant=slipped)).code == "consent.grant_mismatch"


def test_an_artefact_for_another_bureau_is_refused(world, enterprise):
    assert refusal_of(world, submission_with(world, enterprise, provider=BANK_B)).code == "consent.provider_wrong"


def signed_as(world, enterprise, artefact):
    """What an enterprise hands in whose program says nothing of a text, or something else than the fields do."""
    raw = sign_document(
        artefact,
        name=ARTEFACT,
        network=world.network,
        suite=world.suite,
        keys=[enterprise._keys.consent_key(artefact.consent, network=world.network)],
    )
    whole = submission_with(world, enterprise)
    return replace(whole, artefact=raw)


def test_a_new_consent_holds_the_digest_of_the_text_that_was_read(world, enterprise):
    """[CONSENT-24]: one without it, as earlier releases made them, is read and not taken in anew."""
    unread = msgspec.structs.replace(enterprise.draft(world.terms()), text=None)
    submission = signed_as(world, enterprise, unread)
    assert unread == decode_artefact(submission.artefact, network=world.network, suite=world.suite)
    key = enterprise._keys.enrolment_key(BUREAU, network=world.network)
    endorsed = encode_endorsement(
        unread, artefact_bytes=submission.artefact, network=world.network, suite=world.suite, key=key
    )
    commitment = commitment_of(submission.artefact, salt=unread.salt, suite=world.suite)
    grant = enterprise._sign(
        GRANT,
        grant_body(unread, commitment=commitment),
        BUREAU,
        name=grant_transaction_id(commitment),
        key=enterprise._keys.consent_key(unread.consent, network=world.network),
        now_ms=world.clock.now_ms(),
    ).raw
    error = refusal_of(world, replace(submission, endorsement=endorsed, grant=grant))
    assert (error.code, field_code(error)) == ("consent.text_missing", FieldCode.BAD_PARAMETER)


def test_a_text_that_says_other_than_the_fields_is_refused_by_bureau_and_bank(world, enterprise):
    """[CONSENT-24]"""
    draft = enterprise.draft(world.terms())
    hidden = msgspec.structs.replace(draft, data_life_days=365)
    submission = signed_as(world, enterprise, hidden)
    assert refusal_of(world, submission).code == "consent.text_mismatch"
    with pytest.raises(InvalidInput, match=r"^consent\.text_mismatch"):
        world.files[BANK_A].receive(submission.artefact)
    with pytest.raises(InvalidInput, match=r"^consent\.text_mismatch"):
        enterprise.sign(hidden, now_ms=world.clock.now_ms())


@pytest.mark.parametrize("change", [{"reference": "check-000018"}, {"checked_ms": 1}])
def test_the_identity_check_must_be_the_one_on_record(world, enterprise, change):
    error = refusal_of(world, submission_with(world, enterprise, identity_check=world.identity_check(**change)))
    assert (error.code, field_code(error)) == ("consent.identity_unchecked", FieldCode.FAILED)


def test_an_old_identity_check_is_renewed_at_the_counter_first(world):
    holder = world.enterprise(9)
    # Each block is of a later time than the one before it, so the newest may be of one that no clock shows yet.
    now_ms = world.submitters[BUREAU].latest_ms()
    old = world.identity_check(checked_ms=now_ms - 180 * MS_PER_DAY - 1)
    world.consents.enrol(Uscc("9OLD"), enrolment_key=holder.enrolment_key(BUREAU), identity_check=old)
    error = refusal_of(world, submission_with(world, holder, taxpayer=Uscc("9OLD"), identity_check=old))
    assert error.code == "consent.identity_unchecked"
    just = world.identity_check(checked_ms=old.checked_ms + 1)
    world.consents.enrol(Uscc("9OLD"), enrolment_key=holder.enrolment_key(BUREAU), identity_check=just)
    granted = world.consents.receive(submission_with(world, holder, taxpayer=Uscc("9OLD"), identity_check=just))
    assert granted.artefact.identity_check == just


@pytest.mark.parametrize(
    "greedy",
    [
        {"purpose": Purpose.MODEL_DEVELOPMENT, "items": {"invoice_issued@2": ["core", "counterparty"]}},
        {"items": {"invoice_issued@2": ["core"]}, "modes": (Mode.TRAIN,)},
        {"period_from": date(2019, 1, 1)},
        {"frequency": Frequency(count=1, unit=FrequencyUnit.DAY)},
        {"data_life_days": 366},
        {"valid_to_ms": 1_775_001_600_000 + 200 * MS_PER_DAY},
    ],
    ids=["group", "mode", "period", "frequency", "life", "validity"],
)
def test_a_greedy_consent_is_code_412(world, enterprise, greedy):
    """[CONSENT-8]"""
    error = refusal_of(world, submission_with(world, enterprise, **greedy))
    assert (Denied, "consent.ceiling_exceeded") == (type(error), error.code)
    assert field_code(error) == FieldCode.CEILING_EXCEEDED


@pytest.mark.parametrize(
    "items", [{"tea_leaves@1": ["core"]}, {"filing@9": ["core"]}, {"filing@1": ["core", "gossip"]}]
)
def test_what_the_standard_does_not_know_cannot_be_granted(world, enterprise, items):
    error = refusal_of(world, submission_with(world, enterprise, items=items))
    assert error.code in {"standards.type_unknown", "standards.group_unknown"}


def test_the_same_consent_again_is_the_same_grant_and_after_long_code_11(world, enterprise, monkeypatch):
    """[CONSENT-17] [CONSENT-19]"""
    submission = submission_with(world, enterprise)
    granted, before = world.consents.receive(submission), world.raw_transactions()
    assert world.consents.receive(submission) == granted
    assert world.raw_transactions() == before
    # Nobody who hands in the same makes the bureau read its whole log.
    monkeypatch.setattr("shuiqiao.ledger.transactions.submitter._LATELY_BLOCKS", 0)
    error = refusal_of(world, submission)
    assert (Conflict, "consent.already_granted", FieldCode.ALREADY_AUTHORISED) == (
        type(error),
        error.code,
        field_code(error),
    )


def test_a_grant_the_ledger_refuses_is_no_consent(world, enterprise):
    """[CONSENT-19]: what stays on file counts as nothing."""
    submission = submission_with(
        world,
        enterprise,
        valid_from_ms=world.clock.now_ms() + 100 * MS_PER_DAY,
        valid_to_ms=world.clock.now_ms() + 120 * MS_PER_DAY,
    )
    assert refusal_of(world, submission).code == "consent.window_too_early"
    artefact = decode_artefact(submission.artefact, network=world.network, suite=world.suite)
    assert artefact not in world.consents.artefacts_of(artefact.taxpayer)
    with pytest.raises(Denied, match=r"^consent\.unknown"):
        world.consents.artefact(artefact.name)


def test_one_enterprise_has_one_firm_tag_at_its_bureau_and_no_other(world, enterprise):
    """[CONSENT-18]: the same in every consent, another one for another enterprise, and nowhere on the ledger."""
    own, again = (world.consents.receive(submission_with(world, enterprise)).artefact for _ in range(2))
    stranger = world.enterprise(2)
    world.enrol(stranger, Uscc("9OTHER"))
    other = world.consents.receive(submission_with(world, stranger, taxpayer=Uscc("9OTHER"))).artefact
    assert own.firm == again.firm != other.firm
    assert not any(own.firm in raw for raw in world.raw_transactions())


def test_a_firm_tag_of_ones_own_making_is_refused(world, enterprise):
    """[CONSENT-18]: else one firm could count as many."""
    made = submission_with(world, enterprise)
    artefact = msgspec.structs.replace(
        decode_artefact(made.artefact, network=world.network, suite=world.suite), firm=bytes(32)
    )
    keys = EnterpriseKeys(bytes([1]) * 32, suite=world.suite)
    key = keys.consent_key(artefact.consent, network=world.network)
    raw = encode_artefact(artefact, network=world.network, suite=world.suite, key=key)
    enrolment = keys.enrolment_key(BUREAU, network=world.network)
    endorsement = encode_endorsement(
        artefact, artefact_bytes=raw, network=world.network, suite=world.suite, key=enrolment
    )
    error = refusal_of(world, replace(made, artefact=raw, endorsement=endorsement))
    assert (error.code, "firm tag" in error.message) == ("consent.taxpayer_mismatch", True)


class Meanwhile:
    """The service's way to the ledger, on which something happens while a grant is on its way."""

    def __init__(self, submitter, act):
        self._submitter, self._act = submitter, act

    def __getattr__(self, name):
        return getattr(self._submitter, name)

    def countersign(self, raw):
        return self._act(self._submitter, raw)


def service_over(world, act):
    return ConsentService(
        submitter=Meanwhile(world.submitters[BUREAU], act),
        store=ConsentStore(world.databases[BUREAU], cipher=world.cipher),
        suite=world.suite,
        catalogue=world.catalogue,
    )


def test_a_submission_whose_answer_was_lost_may_be_handed_in_again(world, enterprise):
    """The first grant reaches the ledger while the second is on its way: the artefact that was kept stays."""
    submission = submission_with(world, enterprise)

    def lost(_submitter, _raw):
        raise Unavailable("ledger.commit_late", "no answer came")

    def late(submitter, raw):
        submitter.countersign(raw)
        return submitter.countersign(raw)

    with pytest.raises(Unavailable):
        service_over(world, lost).receive(submission)
    assert service_over(world, late).receive(submission).committed.index >= 0
    assert service_over(world, lost).receive(submission).artefact
    consent = owned_id(BUREAU, world.submitters[BUREAU].decode(submission.grant).body.consent)
    assert world.consents.artefact(consent).name == consent


def test_a_desk_takes_a_submission_again_that_did_not_go_through(world, enterprise):
    """What stopped the first one is over: the second is not held up by it."""
    answers = [Unavailable("ledger.commit_late", "no answer came"), Denied("ledger.member_suspended", "suspended")]

    def at_last(submitter, raw):
        if answers:
            raise answers.pop()
        return submitter.countersign(raw)

    submission = submission_with(world, enterprise)
    consents = service_over(world, at_last)
    for refused in (Denied, Unavailable):
        with pytest.raises(refused, match=r"^ledger\."):
            consents.receive(submission)
    consent = consents.receive(submission).artefact.name
    assert world.consents.artefact(consent).name == consent


def test_two_submissions_at_once_give_one_consent(world, enterprise):
    submission = submission_with(world, enterprise)
    taken = []

    def twice(submitter, raw):
        taken.append(world.consents.receive(submission).artefact)
        return submitter.countersign(raw)

    assert [service_over(world, twice).receive(submission).artefact] == taken
    assert [world.consents.artefact(each.name) for each in taken] == taken


def test_a_refused_grant_takes_no_artefact_from_one_that_another_process_commits(world, enterprise):
    """[CONSENT-19]: one process is refused while the other, with the same artefact, is on its way to the ledger."""
    submission = submission_with(world, enterprise)
    under_way, was_refused = threading.Event(), threading.Event()

    def good(submitter, raw):
        under_way.set()
        assert was_refused.wait(PATIENCE_S)
        return submitter.countersign(raw)

    def first(_submitter, _raw):
        others.append(pool.submit(service_over(world, good).receive, submission))
        assert under_way.wait(PATIENCE_S)
        raise Denied("ledger.tx_expired", "this grant is valid for longer than the ledger allows")

    others = []
    with ThreadPoolExecutor(max_workers=1) as pool:
        with pytest.raises(Denied):
            service_over(world, first).receive(submission)
        was_refused.set()
        consent = others[0].result().artefact
    assert world.consents.artefact(consent.name) == consent
    assert consent in world.consents.artefacts_of(consent.taxpayer)


def test_a_refusal_undoes_nothing_that_was_kept(world, enterprise):
    """The first grant may still be committed when the second is refused."""
    submission = submission_with(world, enterprise)

    def lost(_submitter, _raw):
        raise Unavailable("ledger.commit_late", "no answer came")

    def denied(_submitter, _raw):
        raise Denied("ledger.member_suspended", "suspended")

    with pytest.raises(Unavailable):
        service_over(world, lost).receive(submission)
    with pytest.raises(Denied):
        service_over(world, denied).receive(submission)
    consent = world.submitters[BUREAU].countersign(submission.grant)
    assert consent.index >= 0
    name = owned_id(BUREAU, world.submitters[BUREAU].decode(submission.grant).body.consent)
    assert world.consents.artefact(name).name == name


@pytest.mark.parametrize("part", ["artefact", "endorsement"])
def test_any_changed_byte_is_refused(world, enterprise, part):
    submission = submission_with(world, enterprise)
    good = getattr(submission, part)
    for position in range(0, len(good), 7):
        bad = bytearray(good)
        bad[position] ^= 0x20
        with pytest.raises((InvalidInput, IntegrityError, Denied)):
            world.consents.receive(replace(submission, **{part: bytes(bad)}))


def test_the_bank_files_what_the_ledger_commits_to(world, enterprise):
    """[CONSENT-16]"""
    submission = submission_with(world, enterprise)
    artefact = world.consents.receive(submission).artefact
    assert artefact == world.files[BANK_A].receive(submission.artefact)
    assert artefact == world.files[BANK_A].receive(submission.artefact)
    assert artefact == world.files[BANK_A].artefact(artefact.name)


def test_the_bank_refuses_an_artefact_that_is_not_granted_or_not_for_it(world, enterprise):
    """[CONSENT-16]"""
    submission = submission_with(world, enterprise)
    with pytest.raises(Denied, match=r"^consent\.unknown"):
        world.files[BANK_A].receive(submission.artefact)
    world.consents.receive(submission)
    with pytest.raises(Denied, match=r"^consent\.recipient_wrong"):
        world.files[BANK_B].receive(submission.artefact)


def wider_than(world, artefact):
    """The bytes of a second artefact under the same id and key, wider than the granted one."""
    wider = msgspec.structs.replace(artefact, data_life_days=365)
    wider = msgspec.structs.replace(wider, text=text_digest(wider, suite=world.suite))
    key = EnterpriseKeys(bytes([1]) * 32, suite=world.suite).consent_key(artefact.consent, network=world.network)
    raw = encode_artefact(wider, network=world.network, suite=world.suite, key=key)
    assert wider == decode_artefact(raw, network=world.network, suite=world.suite)
    return raw


def test_the_bank_refuses_other_bytes_than_those_committed_to(world, enterprise):
    """[CONSENT-16]"""
    artefact = world.consents.receive(submission_with(world, enterprise)).artefact
    with pytest.raises(IntegrityError, match=r"^consent\.commitment_mismatch"):
        world.files[BANK_A].receive(wider_than(world, artefact))


def test_an_artefact_that_is_not_on_file_is_said_to_be_missing(world, enterprise):
    artefact = world.consents.receive(submission_with(world, enterprise)).artefact
    with pytest.raises(Denied, match=r"^consent\.artefact_missing"):
        world.files[BANK_A].artefact(artefact.name)


def test_a_consent_between_others_is_as_unknown_as_one_that_never_was(world, enterprise):
    artefact = world.consents.receive(submission_with(world, enterprise)).artefact
    never = f"{artefact.provider}/{'0' * 32}"
    told = []
    for name in (artefact.name, never):
        with pytest.raises(Denied, match=r"^consent\.unknown") as raised:
            world.files[BANK_B].artefact(name)
        told.append(raised.value.message.replace(name, ""))
    assert told[0] == told[1]


def test_a_desk_does_not_take_a_second_artefact_under_one_id(world, enterprise):
    """[CONSENT-1]: what is on file is never replaced by other bytes."""
    submission = submission_with(world, enterprise)
    artefact = world.consents.receive(submission).artefact
    stored = world.consents._store.artefact(artefact.name)
    world.consents._store.save_artefact(stored)
    with pytest.raises(Conflict, match=r"^consent\.artefact_differs"):
        world.consents._store.save_artefact(replace(stored, raw=stored.raw + b"\x00"))


def test_an_artefact_that_was_changed_on_file_is_not_used(world, enterprise):
    """[CONSENT-16]: neither by who lacks the data key, nor by who has it."""
    artefact = world.consents.receive(submission_with(world, enterprise)).artefact
    columns = EncryptedColumns(table="consent_artefact", key="consent", columns={"raw": bytes})

    def encrypted(raw):
        return world.cipher.encrypt_row(columns, {"consent": artefact.name, "raw": raw})["raw"]

    for raw, code in (
        (b"\x00", "crypto.column_damaged"),
        (encrypted(b"\x00"), "consent.artefact_damaged"),
        (encrypted(wider_than(world, artefact)), "consent.commitment_mismatch"),
    ):
        with world.databases[BUREAU].begin() as connection:
            connection.execute(
                text("UPDATE consent_artefact SET raw = :raw WHERE consent = :consent"),
                {"raw": raw, "consent": artefact.name},
            )
        with pytest.raises(IntegrityError) as caught:
            world.consents.artefact(artefact.name)
        assert caught.value.code == code
