"""What crosses between institutions besides the ledger, over real HTTP: artefact, request, answer, relay, opening."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import pytest

from consortium_world import (
    INVOICE_LOAN,
    INVOICES,
    ITEMS,
    NAME,
    PERIOD,
    REGULATOR,
    TAXPAYER,
    LossyEngine,
    outbox_over,
)
from peers_world import Doors
from shuiqiao.base.errors import Denied, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.client.resources.consents import ConsentStatement
from shuiqiao.consent.service import ConsentFile, find_grant
from shuiqiao.consent.store import ConsentStore
from shuiqiao.exchange.model import DataRequest
from shuiqiao.node.operations import enterprises
from shuiqiao.node.peers.delivery import DeliveryStore
from shuiqiao.node.peers.exchange_link import artefact_body, opening_body
from shuiqiao.node.peers.message import Act


@pytest.fixture(params=["intl", "gm"])
def doors(request, tmp_path):
    opened = Doors(tmp_path, request.param)
    with opened.stack:
        yield opened


@contextmanager
def cut_off(bank):
    """Lose what a bank hands to the ledger."""
    file = bank.consent_file
    lossy = outbox_over(LossyEngine(bank.engine, reaches_the_ledger=False), bank)
    store = ConsentStore(bank.database, cipher=bank.cipher)
    bank.__dict__["consent_file"] = ConsentFile(submitter=lossy, store=store, suite=bank.suite)
    yield
    bank.__dict__["consent_file"] = file


def consent_kept_at_the_bureau(world):
    """A consent that is granted, and of which the bank has no artefact yet."""
    keep = world.bank.consent_file.receive
    handed = []
    world.bank.consent_file.receive = handed.append
    try:
        name = world.consent()
    finally:
        world.bank.consent_file.receive = keep
    return name, handed[0]


def test_an_artefact_a_request_a_relay_and_an_opening_cross_over_http(doors):
    """[PEER-7] [PEER-10] [PEER-11] [CONSENT-34]"""
    world = doors.world
    bureau, bank, regulator = world.bureau, world.bank, world.regulator
    doors.open(bureau)
    consent, artefact = consent_kept_at_the_bureau(world)
    wanted = DataRequest(consent=consent, items=ITEMS, period_from=PERIOD[0], period_to=PERIOD[1])

    # The artefact waits for a bank that is not there, in no form that a reader of the database understands.
    body = artefact_body(artefact, sender=bureau.member, bank=bank.member, engine=bureau.engine, suite=bureau.suite)
    bureau.deliveries.send(bank.member, Act.ARTEFACT, body)
    bureau.deliveries.deliver_due()
    (waiting,) = bureau.deliveries.waiting()
    assert (waiting.receiver, waiting.code) == (bank.member, "client.unreachable")
    assert TAXPAYER.encode() in artefact
    assert TAXPAYER.encode() not in body
    doors.open(bank)
    world.clock.advance(waiting.next_ms - world.clock.now_ms())
    bureau.deliveries.deliver_due()
    assert bureau.deliveries.waiting() == []
    assert bank.consent_file.artefact(consent).taxpayer == TAXPAYER

    # A request and its sealed answer, each copy of the ledger holding what the other side did.
    received = bank.recipient.obtain(wanted, provider=bank.provider_at(bureau.member))
    assert received.tables["invoice_issued"].num_rows == INVOICES
    assert [entry.recipient for entry in bureau.provider.usage_account(TAXPAYER)] == [bank.member]

    # What the enterprise signs, a bank hands on to the bureau where its own way to the ledger is closed; the bureau
    # answers nothing from then on.
    pause = world.enterprise.pause(consent, now_ms=world.clock.now_ms())
    with cut_off(bank):
        taken = enterprises.relay_statement(bank, ConsentStatement(transaction=pause.raw.hex()))
    assert (taken.index, taken.height, taken.time_ms) == (None, None, None)
    assert [row.raw for row in bank.outbox.rows()] == [pause.raw]
    bank.deliveries.deliver_due()
    assert find_grant(bureau.engine.state(), consent).status == "paused"
    bank.catch_up_with(bureau)
    with pytest.raises(Denied, match=r"consent\.paused"):
        bank.recipient.obtain(wanted, provider=bank.provider_at(bureau.member))

    # A decision's opening reaches the regulator once that is there.
    other = world.consent()
    application = world.applied(other)
    recorded = world.decide(application, world.assessment(world.evidence(other)))
    bank.deliveries.send(
        REGULATOR,
        Act.OPENING,
        opening_body(application.id, recorded.sealed_opening, engine=bank.engine),
    )
    bank.deliveries.deliver_due()
    assert [each.receiver for each in bank.deliveries.waiting()] == [REGULATOR]
    doors.open(regulator)
    world.clock.advance(bank.deliveries.waiting()[0].next_ms - world.clock.now_ms())
    bank.deliveries.deliver_due()
    assert bank.deliveries.waiting() == []
    assert list(regulator.openings.all().values()) == [recorded.sealed_opening]
    kept = DeliveryStore(bank.database).waiting() + DeliveryStore(bureau.database).waiting()
    assert kept == []
    assert NAME.encode() not in b"".join(world.transactions())


def test_a_provider_that_is_away_or_behind_is_asked_again_and_the_same_request_counts(doors):
    """[PEER-10]: the request is on the ledger before it is carried, so it can be carried again."""
    world = doors.world
    bureau, bank = world.bureau, world.bank
    consent = world.consent()
    sent = bank.recipient.request(DataRequest(consent=consent, items=ITEMS, period_from=PERIOD[0], period_to=PERIOD[1]))
    with pytest.raises(Unavailable):
        bank.provider_at(bureau.member).ask(sent.message)
    doors.open(bureau)
    first = bank.provider_at(bureau.member).ask(sent.message)
    assert bank.provider_at(bureau.member).ask(sent.message) == first
    assert bank.recipient.receive(sent.request, first).artefact.taxpayer == TAXPAYER


def test_what_is_sealed_to_one_member_is_nothing_at_another(doors):
    """[PEER-7]"""
    world = doors.world
    bureau, bank = world.bureau, world.bank
    doors.open(bank)
    _, artefact = consent_kept_at_the_bureau(world)
    wrong = artefact_body(artefact, sender=REGULATOR, bank=bank.member, engine=bureau.engine, suite=bureau.suite)
    bureau.deliveries.send(bank.member, Act.ARTEFACT, wrong)
    bureau.deliveries.deliver_due()
    (waiting,) = bureau.deliveries.waiting()
    assert waiting.code == "crypto.seal_broken"
    with pytest.raises(ShuiqiaoError):
        bank.consent_file.artefact(bureau.consent_service.artefacts_of(TAXPAYER)[0].name)


def test_a_consent_that_is_taken_in_reaches_its_bank_and_one_that_is_refused_does_not(doors):
    """[PEER-11]"""
    world = doors.world
    bureau, bank = world.bureau, world.bank
    doors.open(bank)
    receive = bureau.consent_service.receive
    submitted = []
    bureau.consent_service.receive = lambda submission: submitted.append(submission) or receive(submission)
    world.consent()
    del bureau.consent_service.receive
    (granted_before,) = submitted
    terms = world.terms(bank)
    # Another than the enterprise endorsed is refused, and so nothing is handed on.
    with pytest.raises(InvalidInput, match=r"^ledger\.document_malformed"):
        bureau.receive_consent(replace(granted_before, endorsement=bytes(64)))
    assert bureau.deliveries.waiting() == []
    # The same again, whose answer was lost, is handed on once more: the bank may not have it.
    again = bureau.receive_consent(granted_before)
    assert len(bureau.deliveries.waiting()) == 1
    bureau.deliveries.deliver_due()
    assert bank.consent_file.artefact(again.artefact.name).product == INVOICE_LOAN.id
    granted = bureau.receive_consent(world.enterprise.submission(terms, now_ms=world.clock.now_ms()))
    (waiting,) = bureau.deliveries.waiting()
    assert waiting.next_ms == world.clock.now_ms()
    bureau.deliveries.deliver_due()
    assert bureau.deliveries.waiting() == []
    assert bank.consent_file.artefact(granted.artefact.name).product == INVOICE_LOAN.id
