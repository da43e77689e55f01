from __future__ import annotations

from datetime import date

import pytest

from shuiqiao.base.errors import Conflict, Denied, InvalidInput
from shuiqiao.base.ids import MemberId, Uscc, owned_id
from shuiqiao.consent.model import FieldCode, Purpose
from shuiqiao.exchange.manifest import names_digest
from shuiqiao.exchange.model import AnswerStatus

BANK_A, BANK_B = MemberId("bank-a"), MemberId("bank-b")
TAXPAYER, NEIGHBOUR = Uscc("91440300MA5EXAMPL1"), Uscc("91440300MA5NEIGHB1")


def exchanged(world, consent, **changes):
    sent = world.asked(consent, **changes)
    return sent, world.banks[BANK_A].receive(sent.request, world.provider.answer(sent.message))


def test_the_bank_receives_exactly_the_granted_groups_of_the_taxpayer(world):
    """[EXCHANGE-11] [EXCHANGE-13] [EXCHANGE-14]"""
    _, received = exchanged(world, world.granted())
    issued, grades = (received.records.types[name].rows for name in ("invoice_issued@2", "tax_credit_grade@1"))
    assert issued.num_rows == 60
    assert {"counterparty_id", "counterparty_name"} & set(issued.schema.names) == set()
    assert {"issue_date", "amount_fen"} < set(issued.schema.names)
    assert {TAXPAYER} == set(issued.column("uscc").to_pylist())
    assert grades.column("grade").to_pylist() == ["A", "A"]
    assert sorted(grades.column("year").to_pylist()) == [2024, 2025]


def test_request_answer_and_acknowledgement_pair_up_on_the_ledger(world):
    """[EXCHANGE-1] [EXCHANGE-2] [EXCHANGE-3] [EXCHANGE-5]"""
    consent = world.granted()
    sent = world.asked(consent)
    entry = world.entry(sent.request)
    assert ("requested", consent, "bureau", "underwriting", "disclose") == tuple(
        entry[field] for field in ("status", "consent", "provider", "purpose", "mode")
    )
    assert world.suite.digest(sent.message) == entry["request_digest"]
    answer = world.provider.answer(sent.message)
    assert world.entry(sent.request)["status"] == "delivered"
    received = world.banks[BANK_A].receive(sent.request, answer)
    entry = world.entry(sent.request)
    assert entry["status"] == "acknowledged"
    assert world.suite.digest(received.manifest_bytes) == entry["manifest_digest"]


def test_the_manifest_counts_every_month_and_names_every_record(world):
    """[EXCHANGE-9] [EXCHANGE-12]"""
    sent, received = exchanged(world, world.granted())
    manifest = received.manifest
    months = {(cell.type, cell.month): cell.count for cell in manifest.cells}
    assert sum(count for (type_id, _), count in months.items() if type_id == "invoice_issued@2") == 60
    assert months["invoice_issued@2", "2024-01"] == 3
    assert {month: n for (kind, month), n in months.items() if kind == "tax_credit_grade@1"} == {
        "2024-12": 1,
        "2025-12": 1,
    }
    leaves = world.vault.live_leaves(
        uscc=TAXPAYER, type_id="invoice_issued@2", period_from=date(2024, 1, 1), period_to=date(2025, 12, 31)
    )
    assert names_digest(leaves, suite=world.suite) == manifest.types[0].names
    assert (TAXPAYER, sent.request) == (manifest.taxpayer, manifest.request)
    assert 0 < manifest.as_of_size <= world.ledger.checkpoint().size


def test_a_narrower_request_gets_a_narrower_answer(world):
    narrow = {"items": {"invoice_issued@2": ["core"]}, "period_from": date(2025, 3, 1), "period_to": date(2025, 4, 30)}
    _, received = exchanged(world, world.granted(), **narrow)
    rows = received.records.types["invoice_issued@2"].rows
    assert list(received.records.types) == ["invoice_issued@2"]
    assert "amount_fen" not in rows.schema.names
    assert all(date(2025, 3, 1) <= day <= date(2025, 4, 30) for day in rows.column("issue_date").to_pylist())
    assert rows.num_rows == sum(cell.count for cell in received.manifest.cells) == 5


def test_what_stands_until_superseded_is_in_scope_of_a_later_period(world):
    """[EXCHANGE-9] [EXCHANGE-14]: a registration of 2015 belongs to 2024."""
    items = {"registration@1": ["core"]}
    consent = world.granted(items=items)
    _, received = exchanged(world, consent, items=items)
    assert [date(2015, 6, 1)] == received.records.types["registration@1"].rows.column("registered_on").to_pylist()
    assert [(cell.type, cell.month, cell.count) for cell in received.manifest.cells] == [
        ("registration@1", "2015-06", 1)
    ]


def test_a_type_without_records_is_an_empty_answer_that_says_so(world):
    items = {"arrears@1": ["amounts", "core"]}
    _, received = exchanged(world, world.granted(items=items), items=items)
    assert received.records.record_count == 0
    assert received.manifest.cells == []
    assert names_digest([], suite=world.suite) == received.manifest.types[0].names


def test_a_retry_gets_the_same_bytes_and_one_ledger_entry(world):
    """[EXCHANGE-18]"""
    from shuiqiao.consent.model import Frequency, FrequencyUnit

    consent = world.granted(frequency=Frequency(count=1, unit=FrequencyUnit.MONTH))
    sent = world.asked(consent)
    before = len(world.raw_transactions())
    answers = {world.provider.answer(sent.message) for _ in range(3)}
    assert len(answers) == 1
    assert before + 1 == len(world.raw_transactions())
    first, second = (world.banks[BANK_A].receive(sent.request, *answers) for _ in range(2))
    assert first.manifest == second.manifest
    assert before + 2 == len(world.raw_transactions())


def test_an_acknowledged_answer_is_released_and_not_given_again(world):
    """[EXCHANGE-18]"""
    sent, _ = exchanged(world, world.granted())
    assert world.provider_store.asked(owned_id(BANK_A, sent.request)).answer is not None
    waiting = world.asked(world.granted())
    world.provider.answer(waiting.message)
    assert world.provider_store.asked(owned_id(BANK_A, sent.request)).answer is None
    assert world.provider_store.asked(owned_id(BANK_A, waiting.request)).answer is not None
    with pytest.raises(Conflict, match=r"^exchange\.request_closed.*acknowledged"):
        world.provider.answer(sent.message)


def test_an_answer_kept_before_a_crash_is_delivered_by_the_retry(world):
    """[EXCHANGE-18]: the crash comes after the answer was kept and before its entry was committed."""
    sent = world.asked(world.granted())

    class StopsBeforeDelivery:
        def __getattr__(self, name):
            return getattr(world.submitters["bureau"], name)

        def submit(self, kind, body, *, extra_keys=()):
            raise ConnectionAbortedError("the process is gone")

    crashing = world.provider_with(world.vault)
    crashing._submitter = StopsBeforeDelivery()
    with pytest.raises(ConnectionAbortedError):
        crashing.answer(sent.message)
    kept = world.provider_store.asked(owned_id(BANK_A, sent.request))
    assert (kept.outcome, world.entry(sent.request)["status"]) == (AnswerStatus.ANSWERING, "requested")
    answer = world.provider_with(world.vault).answer(sent.message)
    assert kept.answer == answer
    assert world.banks[BANK_A].receive(sent.request, answer).records.record_count == 62


def test_the_enterprise_reads_who_used_its_data_when_and_for_what(world):
    """[EXCHANGE-17]"""
    taxpayer = Uscc("91440300MA5ACCOUNT")
    enterprise = world.enterprise(40)
    consent = world.granted(enterprise, taxpayer=taxpayer)
    exchanged(world, consent)
    sent = world.asked(consent)
    world.consents.relay(enterprise.revoke(consent, now_ms=world.clock.now_ms()).raw)
    with pytest.raises(Denied):
        world.provider.answer(sent.message)
    answered, refused = sorted(world.provider.usage_account(taxpayer), key=lambda use: use.outcome)
    assert (BANK_A, Purpose.UNDERWRITING, consent) == (answered.recipient, answered.purpose, answered.consent)
    assert (answered.outcome, answered.field_code) == (AnswerStatus.DELIVERED, FieldCode.OK)
    assert answered.records == {"invoice_issued@2": 0, "tax_credit_grade@1": 0}
    assert (date(2024, 1, 1), date(2025, 12, 31)) == (answered.period_from, answered.period_to)
    assert (refused.outcome, refused.field_code, refused.records) == (AnswerStatus.REFUSED, FieldCode.INVALID, {})
    assert world.clock.now_ms() == refused.asked_ms
    assert [use for use in world.provider.usage_account(NEIGHBOUR) if use.consent == consent] == []


def test_nothing_of_request_or_answer_can_be_read_on_the_ledger(world):
    """[CONSENT-14] [EXCHANGE-6]: with data that could leak."""
    sent, received = exchanged(world, world.granted())
    rows = received.records.types["invoice_issued@2"].rows
    words = {TAXPAYER, "invoice_issued", rows.column("invoice_no")[0].as_py()}
    ledger = b"".join(
        raw for raw in world.raw_transactions() if world.submitters[BANK_A].decode(raw).kind != "anchor.commit"
    )
    assert {word for word in words if word.encode() in ledger} == set()
    assert TAXPAYER.encode() in received.manifest_bytes
    assert b"invoice_issued" in sent.message
    assert TAXPAYER.encode() not in world.provider_store.asked(owned_id(BANK_A, sent.request)).answer


def test_another_bank_cannot_open_the_answer(world):
    """[EXCHANGE-10]"""
    sent = world.asked(world.granted())
    answer = world.provider.answer(sent.message)
    with pytest.raises(InvalidInput, match=r"^exchange\.request_not_ours"):
        world.banks[BANK_B].receive(sent.request, answer)
