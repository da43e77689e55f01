"""[EXCHANGE-7] [EXCHANGE-8]: every check of the provider refuses, with the field's code, on the ledger."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pytest

from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.base.errors import Conflict, Denied, IntegrityError, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import MemberId, split_owned_id
from shuiqiao.consent.model import FieldCode, Frequency, FrequencyUnit, Mode, Purpose, field_code
from shuiqiao.exchange.contract import REQUEST, AccessRequestBody
from shuiqiao.exchange.messages import encode_request
from shuiqiao.exchange.model import RequestMessage

BUREAU, BANK_A, BANK_B = (MemberId(name) for name in ("bureau", "bank-a", "bank-b"))


def message_with(world, consent, **changes):
    fields = {
        "request": world.entropy(16),
        "consent": split_owned_id(consent)[1],
        "sender": BANK_A,
        "receiver": BUREAU,
        "purpose": Purpose.UNDERWRITING,
        "mode": Mode.DISCLOSE,
        "items": {"invoice_issued@2": ["amounts", "core"]},
        "period_from": date(2024, 1, 1),
        "period_to": date(2025, 12, 31),
        "made_ms": world.clock.now_ms(),
        "salt": world.entropy(32),
    }
    return RequestMessage(**(fields | changes))


def on_ledger(world, message, *, signer=BANK_A, author=BANK_A, **changes):
    """Put a request on the ledger as a bank would that does not check itself first; returns the signed message."""
    raw = encode_request(message, network=world.network, suite=world.suite, key=world.signing[signer])
    fields = {
        "request": message.request,
        "consent": message.consent_name,
        "purpose": message.purpose,
        "mode": message.mode,
        "request_digest": world.suite.digest(raw),
    }
    world.submitters[author].submit(REQUEST, AccessRequestBody(**(fields | changes)))
    return raw


def refused(world, message, raw) -> ShuiqiaoError:
    with pytest.raises(Denied) as refusal:
        world.provider.answer(raw)
    assert world.entry(message.request)["status"] == "refused"
    assert str(field_code(refusal.value)) == world.provider_store.asked(message.name).field_code
    with pytest.raises(Conflict, match=r"^exchange\.request_closed.*refused"):
        world.provider.answer(raw)
    return refusal.value


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"items": {"invoice_issued@2": ["core", "counterparty"]}}, "consent.not_covered", FieldCode.FAILED),
        ({"items": {"filing@1": ["core"]}}, "consent.not_covered", FieldCode.FAILED),
        ({"period_from": date(2023, 12, 31)}, "consent.not_covered", FieldCode.FAILED),
        ({"period_to": date(2026, 1, 1)}, "consent.not_covered", FieldCode.FAILED),
        ({"mode": Mode.PROVE}, "consent.not_covered", FieldCode.FAILED),
    ],
    ids=["group", "type", "earlier", "later", "mode"],
)
def test_what_the_artefact_does_not_grant_is_refused(world, change, code, field):
    message = message_with(world, world.granted(), **change)
    error = refused(world, message, on_ledger(world, message))
    assert (code, field) == (error.code, field_code(error))


def test_the_bank_refuses_itself_before_it_asks_too_much(world):
    before = len(world.raw_transactions())
    consent = world.granted()
    with pytest.raises(Denied, match=r"^consent\.not_covered.*counterparty"):
        world.asked(consent, items={"invoice_issued@2": ["core", "counterparty"]})
    assert before + 1 == len(world.raw_transactions())


def test_a_mode_that_is_granted_and_not_offered_is_refused(world):
    message = message_with(world, world.granted(modes=(Mode.PROVE,)), mode=Mode.PROVE)
    assert refused(world, message, on_ledger(world, message)).code == "exchange.mode_unsupported"


def test_more_answers_than_the_frequency_allows_are_refused(world):
    consent = world.granted(frequency=Frequency(count=2, unit=FrequencyUnit.MONTH))
    for _ in range(2):
        world.provider.answer(world.asked(consent).message)
    message = message_with(world, consent)
    error = refused(world, message, on_ledger(world, message))
    assert (error.code, field_code(error)) == ("exchange.frequency_exceeded", FieldCode.CEILING_EXCEEDED)
    world.clock.advance(30 * MS_PER_DAY)
    assert len(world.provider.answer(world.asked(consent).message)) > 0


def test_refused_requests_take_no_place_in_the_frequency(world):
    consent = world.granted(frequency=Frequency(count=1, unit=FrequencyUnit.YEAR))
    message = message_with(world, consent, items={"filing@1": ["core"]})
    refused(world, message, on_ledger(world, message))
    assert len(world.provider.answer(world.asked(consent).message)) > 0


@pytest.mark.parametrize(("act", "code", "field"), [
    ("pause", "consent.paused", FieldCode.INVALID),
    ("revoke", "consent.revoked", FieldCode.INVALID),
    ("end", "consent.expired", FieldCode.EXPIRED),
])  # fmt: skip
def test_a_consent_that_ended_after_the_request_is_refused_by_the_provider(world, act, code, field):
    """[EXCHANGE-7] [CONSENT-12]"""
    enterprise = world.enterprise()
    consent = world.granted(enterprise)
    message = message_with(world, consent)
    raw = on_ledger(world, message)
    end(world, enterprise, consent, act)
    error = refused(world, message, raw)
    assert (code, field) == (error.code, field_code(error))


@pytest.mark.parametrize(("act", "code"), [
    ("pause", "consent.paused"), ("revoke", "consent.revoked"), ("end", "consent.expired"),
])  # fmt: skip
def test_a_consent_that_ended_is_refused_by_the_ledger(world, act, code):
    """[EXCHANGE-1]"""
    enterprise = world.enterprise()
    consent = world.granted(enterprise)
    end(world, enterprise, consent, act)
    with pytest.raises(Denied) as refusal:
        world.asked(consent)
    assert code == refusal.value.code


def end(world, enterprise, consent, act):
    if act == "end":
        world.clock.advance(61 * MS_PER_DAY)
        return
    world.consents.relay(getattr(enterprise, act)(consent, now_ms=world.clock.now_ms()).raw)


def test_a_consent_revoked_between_check_and_block_lets_nothing_out(world):
    """[EXCHANGE-2]: the answer is sealed and kept already, the ledger refuses its entry, so it never leaves."""
    enterprise = world.enterprise()
    consent = world.granted(enterprise)
    message = message_with(world, consent)
    raw = on_ledger(world, message)

    class RevokesWhileRead:
        def __getattr__(self, name):
            return getattr(world.vault, name)

        def disclose(self, **wanted):
            end(world, enterprise, consent, "revoke")
            return world.vault.disclose(**wanted)

    with pytest.raises(Denied, match=r"^consent\.revoked"):
        world.provider_with(RevokesWhileRead()).answer(raw)
    assert world.entry(message.request)["status"] == "refused"
    assert world.provider_store.asked(message.name).answer is None


def test_a_stricter_ceiling_holds_for_consents_that_were_granted_before(world, monkeypatch):
    """[EXCHANGE-7]"""
    from dataclasses import replace

    from shuiqiao.consent import ceilings

    message = message_with(world, world.granted())
    raw = on_ledger(world, message)
    stricter = replace(ceilings.CEILINGS[Purpose.UNDERWRITING], max_period_months=12)
    monkeypatch.setitem(ceilings.CEILINGS, Purpose.UNDERWRITING, stricter)
    error = refused(world, message, raw)
    assert (error.code, field_code(error)) == ("consent.ceiling_exceeded", FieldCode.CEILING_EXCEEDED)


def untouched(world, message):
    return world.entry(message.request)["status"] == "requested" and world.provider_store.asked(message.name) is None


def test_a_stranger_cannot_have_anothers_request_refused(world):
    """[EXCHANGE-8]: what is not signed or not paired leaves the entry as it is."""
    message = message_with(world, world.granted())
    raw = on_ledger(world, message)
    forged = bytearray(raw)
    forged[-1] ^= 1
    with pytest.raises(IntegrityError, match=r"^crypto\.signature_invalid"):
        world.provider.answer(bytes(forged))
    wider = message_with(world, message.consent_name, request=message.request, items={"filing@1": ["core"]})
    other = encode_request(wider, network=world.network, suite=world.suite, key=world.signing[BANK_A])
    with pytest.raises(Denied, match=r"^exchange\.request_unpaired.*request_digest"):
        world.provider.answer(other)
    by_b = message_with(world, message.consent_name, request=message.request, sender=BANK_B)
    raw_b = encode_request(by_b, network=world.network, suite=world.suite, key=world.signing[BANK_B])
    with pytest.raises(Denied, match=r"^exchange\.request_unknown"):
        world.provider.answer(raw_b)
    assert untouched(world, message)
    assert len(world.provider.answer(raw)) > 0


def test_a_message_signed_by_another_bank_than_it_names_is_refused(world):
    message = message_with(world, world.granted())
    raw = on_ledger(world, message, signer=BANK_B)
    with pytest.raises(IntegrityError, match=r"^ledger\.document_signers_wrong"):
        world.provider.answer(raw)
    assert untouched(world, message)


def test_a_request_without_a_ledger_entry_is_refused(world):
    """[EXCHANGE-5]"""
    message = message_with(world, world.granted())
    raw = encode_request(message, network=world.network, suite=world.suite, key=world.signing[BANK_A])
    with pytest.raises(Denied, match=r"^exchange\.request_unknown"):
        world.provider.answer(raw)


def test_a_message_without_core_or_with_a_reversed_period_is_malformed(world):
    """[EXCHANGE-6]"""
    consent = world.granted()
    for change, code in (
        ({"items": {"invoice_issued@2": ["amounts"]}}, "exchange.request_invalid"),
        ({"items": {"invoice_issued@2": ["core", "amounts"]}}, "exchange.request_invalid"),
        ({"period_to": date(2023, 1, 1)}, "consent.period_reversed"),
    ):
        with pytest.raises(InvalidInput) as refusal:
            on_ledger(world, message_with(world, consent, **change))
        assert code == refusal.value.code


@pytest.mark.parametrize("junk", [b"", b"\x00", b"\xd8\x62\x80", bytes(20_000)])
def test_junk_is_refused_with_a_code(world, junk):
    with pytest.raises(InvalidInput, match=r"^(base|ledger)\."):
        world.provider.answer(junk)


def test_banks_in_a_hurry_get_no_more_answers_than_allowed(world):
    """[EXCHANGE-7]: eight requests at once for three places."""
    consent = world.granted(frequency=Frequency(count=3, unit=FrequencyUnit.MONTH))
    messages = [world.asked(consent).message for _ in range(8)]
    with ThreadPoolExecutor(max_workers=8) as pool:
        outcomes = [pool.submit(world.provider.answer, message) for message in messages]
    codes = Counter(outcome.exception().code if outcome.exception() else "ok" for outcome in outcomes)
    assert codes == {"ok": 3, "exchange.frequency_exceeded": 5}


def test_one_request_sent_many_times_at_once_has_one_answer(world):
    """[EXCHANGE-18]"""
    sent = world.asked(world.granted())
    with ThreadPoolExecutor(max_workers=6) as pool:
        outcomes = [pool.submit(world.provider.answer, sent.message) for _ in range(6)]
    hasty = {outcome.exception().code for outcome in outcomes if outcome.exception()}
    assert hasty <= {"exchange.request_in_progress"}
    assert len({outcome.result() for outcome in outcomes if not outcome.exception()}) == 1


@pytest.mark.parametrize("failure", [IntegrityError("vault.file_damaged", "x"), OSError("disk")])
def test_a_vault_that_fails_is_no_refusal_and_takes_no_place(world, failure):
    """[EXCHANGE-8]: the request stays open and is answered once the vault is well again."""
    consent = world.granted(frequency=Frequency(count=1, unit=FrequencyUnit.YEAR))
    message = message_with(world, consent)
    raw = on_ledger(world, message)

    class Broken:
        def __getattr__(self, name):
            raise failure

    with pytest.raises(type(failure)):
        world.provider_with(Broken()).answer(raw)
    assert untouched(world, message)
    assert len(world.provider.answer(raw)) > 0


def test_a_vault_that_moves_under_the_reader_is_read_again(world):
    """[EXCHANGE-9]: counts, names and records are of one moment, or nothing is answered."""
    message = message_with(world, world.granted())
    raw = on_ledger(world, message)

    class Moving:
        def __init__(self, readings):
            self.readings = readings

        def __getattr__(self, name):
            return getattr(world.vault, name)

        def revision(self):
            return self.readings

        def live_leaves(self, **scope):
            self.readings -= 1
            leaves = world.vault.live_leaves(**scope)
            return leaves[:-1] if self.readings >= 0 and self.readings % 2 == 0 else leaves

    with pytest.raises(Unavailable, match=r"^exchange\.vault_moving.*each of 3 readings"):
        world.provider_with(Moving(1_000)).answer(raw)
    assert untouched(world, message)
    answer = world.provider_with(Moving(1)).answer(raw)
    assert len(answer) > 0
