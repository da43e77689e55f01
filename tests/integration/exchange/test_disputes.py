"""An enterprise disputes a record that a bank received; the bureau corrects it or says why it stands [EXCHANGE-25]."""

from __future__ import annotations

import pytest

import exchange_world as worlds
from exchange_world import BANK_A, BUREAU, NEIGHBOUR, TAXPAYER
from shuiqiao.base.errors import Conflict, Denied, IntegrityError, InvalidInput
from shuiqiao.consent.enterprise import EnterpriseKeys
from shuiqiao.exchange.dispute_statement import MAX_REASON_CHARS, DisputeBody, encode_dispute
from shuiqiao.exchange.disputes import Disputes, DisputeStatus


@pytest.fixture(params=["intl", "gm"])
def world(request, tmp_path):
    made = worlds.ExchangeWorld(tmp_path, request.param)
    yield made
    made.close()


@pytest.fixture
def disputes(world):
    def enrolment_key(taxpayer):
        found = world.consents._store.enrolment(taxpayer)
        return None if found is None else found.enrolment_key

    return Disputes(
        submitter=world.submitters[BUREAU],
        store=world.provider_store,
        suite=world.suite,
        enrolment_key=enrolment_key,
    )


def code_of(act):
    with pytest.raises((Denied, Conflict, InvalidInput, IntegrityError)) as caught:
        act()
    return caught.value.code


def signed(world, place, *, number=1, seed=1, **changes):
    key = EnterpriseKeys(bytes([seed]) * 32, suite=world.suite).enrolment_key(BUREAU, network=world.network)
    fields = {
        "dispute": bytes([number]) * 16,
        "bureau": BUREAU,
        "taxpayer": TAXPAYER,
        "batch": place.batch,
        "leaf": place.index,
        "reason": "此发票金额有误",
        "made_ms": world.clock.now_ms(),
    }
    return encode_dispute(DisputeBody(**(fields | changes)), network=world.network, suite=world.suite, key=key)


def given(world):
    """A record of the taxpayer that a bank received."""
    consent = world.granted()
    sent = world.asked(consent)
    world.banks[BANK_A].receive(sent.request, world.provider.answer(sent.message))
    leaves = world.vault.live_leaves(
        uscc=TAXPAYER,
        type_id="invoice_issued@2",
        period_from=world.wanted(consent).period_from,
        period_to=world.wanted(consent).period_to,
    )
    return leaves[0]


def test_a_dispute_is_taken_in_once_and_names_who_received_the_record(world, disputes):
    leaf = given(world)
    raw = signed(world, leaf)
    row = disputes.receive(raw)
    assert (row.status, row.reason) == ("open", "此发票金额有误")
    assert disputes.receive(raw) == row
    assert [bank for bank, _ in disputes.recipients(row)] == [BANK_A]
    assert disputes.open_disputes() == disputes.of_taxpayer(TAXPAYER) == [row]
    assert code_of(lambda: disputes.receive(signed(world, leaf, number=2))) == "exchange.dispute_open"


def test_only_the_taxpayer_disputes_and_only_what_was_given_of_its_own(world, disputes):
    leaf = given(world)
    assert code_of(lambda: disputes.receive(signed(world, leaf, seed=9)))
    assert code_of(lambda: disputes.receive(signed(world, leaf, taxpayer=NEIGHBOUR)))
    assert code_of(lambda: disputes.receive(signed(world, leaf, bureau="other-bureau"))) == "consent.provider_wrong"
    assert code_of(lambda: disputes.receive(signed(world, leaf, batch=bytes(16)))) == "exchange.record_not_given"
    assert code_of(lambda: disputes.receive(signed(world, leaf, leaf=60_000))) == "exchange.record_not_given"
    assert disputes.open_disputes() == []


def test_a_correction_is_what_the_ledger_shows_and_a_refusal_has_words(world, disputes):
    leaf = given(world)
    row = disputes.receive(signed(world, leaf))
    corrected = {"status": DisputeStatus.CORRECTED, "words": "已更正"}
    assert code_of(lambda: disputes.answer(row.dispute, **corrected)) == "exchange.record_uncorrected"
    assert code_of(lambda: disputes.answer(bytes(16), **corrected)) == "exchange.dispute_unknown"
    for words in ("", "x" * (MAX_REASON_CHARS + 1)):
        refused = code_of(lambda words=words: disputes.answer(row.dispute, status=DisputeStatus.REFUSED, words=words))
        assert refused == "exchange.dispute_answer_invalid"
    rows = [{**each, "status": "void"} for each in world._invoices() if each["uscc"] == TAXPAYER]
    path = worlds.write_csv(world.folder / "corrected.csv", rows)
    world.vault.amend(path, anchor=world.submitters[BUREAU], record_type=world.catalogue.get("invoice_issued"))
    answered = disputes.answer(row.dispute, **corrected)
    assert (answered.status, answered.words) == ("corrected", "已更正")
    assert code_of(lambda: disputes.answer(row.dispute, **corrected)) == "exchange.dispute_answered"
    assert disputes.open_disputes() == []
    assert BANK_A in {change.other for change in world.provider.changed_records()}
