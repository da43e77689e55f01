from __future__ import annotations

import pytest

from shuiqiao.base.clock import MS_PER_HOUR
from shuiqiao.base.errors import Conflict, Denied, InvalidInput, ShuiqiaoError
from shuiqiao.base.ids import MemberId, owned_id
from shuiqiao.consent.model import FieldCode, Mode, Purpose
from shuiqiao.exchange.contract import (
    ACKNOWLEDGE,
    DELIVER,
    DESTROY,
    REFUSE,
    REQUEST,
    AccessAcknowledgeBody,
    AccessDeliverBody,
    AccessDestroyBody,
    AccessRefuseBody,
    AccessRequestBody,
)

BUREAU, BANK_A, BANK_B, REGULATOR = (MemberId(name) for name in ("bureau", "bank-a", "bank-b", "regulator"))
DIGEST = b"\x07" * 32


def request(world, consent, *, author=BANK_A, **changes):
    fields = {
        "request": world.entropy(16),
        "consent": consent,
        "purpose": Purpose.UNDERWRITING,
        "mode": Mode.DISCLOSE,
        "request_digest": DIGEST,
    }
    body = AccessRequestBody(**(fields | changes))
    world.submitters[author].submit(REQUEST, body)
    return body.request


def deliver(world, request_id, *, author=BUREAU):
    body = AccessDeliverBody(request=owned_id(BANK_A, request_id), answer_digest=DIGEST, manifest_digest=DIGEST)
    return world.submitters[author].submit(DELIVER, body)


def acknowledge(world, request_id, *, author=BANK_A, digest=DIGEST):
    body = AccessAcknowledgeBody(request=request_id, answer_digest=digest)
    return world.submitters[author].submit(ACKNOWLEDGE, body)


def destroy(world, request_id, *, author=BANK_A, digest=DIGEST):
    return world.submitters[author].submit(DESTROY, AccessDestroyBody(request=request_id, answer_digest=digest))


def refuse(world, request_id, *, author=BUREAU, code=FieldCode.FAILED):
    return world.submitters[author].submit(
        REFUSE, AccessRefuseBody(request=owned_id(BANK_A, request_id), field_code=code)
    )


def code_of(act) -> str:
    with pytest.raises(ShuiqiaoError) as refusal:
        act()
    return refusal.value.code


def test_only_the_recipient_asks_and_only_for_the_purpose(world):
    """[EXCHANGE-1]"""
    consent = world.granted()
    assert code_of(lambda: request(world, consent, author=BANK_B)) == "consent.recipient_wrong"
    assert code_of(lambda: request(world, consent, author=REGULATOR)) == "members.role_wrong"
    assert code_of(lambda: request(world, consent, author=BUREAU)) == "members.role_wrong"
    assert code_of(lambda: request(world, consent, purpose=Purpose.ONE_TIME)) == "consent.purpose_wrong"
    assert code_of(lambda: request(world, owned_id(BUREAU, bytes(16)))) == "consent.unknown"


def test_a_consent_that_has_not_begun_is_refused(world):
    """[EXCHANGE-1] [CONSENT-12]"""
    consent = world.granted(valid_from_ms=world.clock.now_ms() + MS_PER_HOUR)
    assert code_of(lambda: request(world, consent)) == "consent.not_yet_valid"


def test_a_request_id_is_used_once(world):
    """[EXCHANGE-5]"""
    consent = world.granted()
    first = request(world, consent)
    with pytest.raises(Conflict, match=r"^exchange\.request_repeated"):
        request(world, consent, request=first)


def test_a_request_id_belongs_to_the_bank_that_asks(world):
    """[EXCHANGE-5]: another bank that uses the id first takes neither the entry nor the answer."""
    sent_by_b = world.granted(recipient=BANK_B)
    taken = world.entropy(16)
    request(world, sent_by_b, author=BANK_B, request=taken)
    request(world, world.granted(), request=taken)
    world.submitters[BUREAU].submit(
        REFUSE, AccessRefuseBody(request=owned_id(BANK_B, taken), field_code=FieldCode.FAILED)
    )
    deliver(world, taken)
    assert [world.entry(taken, bank=bank)["status"] for bank in (BANK_A, BANK_B)] == ["delivered", "refused"]
    assert code_of(lambda: acknowledge(world, taken, author=BANK_B)) == "exchange.step_invalid"


def test_only_the_provider_answers_or_refuses_and_only_the_bank_acknowledges(world):
    """[EXCHANGE-2] [EXCHANGE-3] [EXCHANGE-4]"""
    made = request(world, world.granted())
    assert code_of(lambda: deliver(world, made, author=BANK_A)) == "exchange.party_wrong"
    assert code_of(lambda: refuse(world, made, author=BANK_B)) == "exchange.party_wrong"
    deliver(world, made)
    assert code_of(lambda: acknowledge(world, made, author=BUREAU)) == "exchange.request_unknown"
    assert code_of(lambda: acknowledge(world, made, author=BANK_B)) == "exchange.request_unknown"


def test_an_acknowledgement_names_the_delivered_ciphertext(world):
    """[EXCHANGE-3]"""
    made = request(world, world.granted())
    deliver(world, made)
    with pytest.raises(InvalidInput, match=r"^exchange\.answer_digest_wrong"):
        acknowledge(world, made, digest=bytes(32))


def test_the_bank_that_asked_says_once_what_it_destroyed(world):
    """[EXCHANGE-23]: of what it received, acknowledged or not, and of nothing else; nothing follows it."""
    consent = world.granted()
    open_still, refused, taken_in, delivered = (request(world, consent) for _ in range(4))
    refuse(world, refused)
    for made in (taken_in, delivered):
        deliver(world, made)
    acknowledge(world, taken_in)
    for made in (open_still, refused):
        assert code_of(lambda made=made: destroy(world, made)) == "exchange.step_invalid"
    for made in (taken_in, delivered):
        assert code_of(lambda made=made: destroy(world, made, author=BANK_B)) == "exchange.request_unknown"
        assert code_of(lambda made=made: destroy(world, made, digest=bytes(32))) == "exchange.answer_digest_wrong"
        destroy(world, made)
        assert world.entry(made)["status"] == "destroyed"
        for act in (destroy, acknowledge, deliver, refuse):
            assert code_of(lambda act=act, made=made: act(world, made)) == "exchange.step_invalid"


def test_every_step_is_taken_once_and_in_order(world):
    """[EXCHANGE-5]"""
    consent = world.granted()
    first, second = request(world, consent), request(world, consent)
    assert code_of(lambda: acknowledge(world, first)) == "exchange.step_invalid"
    deliver(world, first)
    refuse(world, second)
    for act in (deliver, refuse):
        assert code_of(lambda act=act: act(world, first)) == "exchange.step_invalid"
        assert code_of(lambda act=act: act(world, second)) == "exchange.step_invalid"
    assert code_of(lambda: acknowledge(world, second)) == "exchange.step_invalid"
    acknowledge(world, first)
    assert code_of(lambda: acknowledge(world, first)) == "exchange.step_invalid"


def test_nothing_refers_to_a_request_that_is_not_there(world):
    """[EXCHANGE-5]"""
    for act in (deliver, acknowledge, refuse):
        with pytest.raises(Denied, match=r"^exchange\.request_unknown"):
            act(world, world.entropy(16))


def test_a_delivery_after_the_consent_was_revoked_is_refused(world):
    """[EXCHANGE-2]"""
    consent = world.granted()
    made = request(world, consent)
    world.consents.revoke_for_lost_key(consent)
    assert code_of(lambda: deliver(world, made)) == "consent.revoked"
    refuse(world, made, code=FieldCode.INVALID)
    assert world.entry(made)["status"] == "refused"


def test_a_refusal_cannot_say_ok(world):
    """[EXCHANGE-4]"""
    made = request(world, world.granted())
    assert code_of(lambda: refuse(world, made, code=FieldCode.OK)) == "exchange.field_code_wrong"
