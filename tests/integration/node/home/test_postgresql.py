"""Every table of a node on a real PostgreSQL, started here in a temporary folder, beside SQLite: the same answers.

Skipped with the reason where PostgreSQL is not installed or cannot be started as an unprivileged user; in CI that is a
failure.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import date
from decimal import Decimal
from functools import partial

import pytest
from sqlalchemy import inspect

import consortium_world as worlds
from consent_world import a_charge, a_cipher
from shuiqiao.base.clock import MS_PER_DAY, ManualClock
from shuiqiao.base.errors import Conflict, Denied, Unavailable
from shuiqiao.base.ids import owned_id, system_entropy
from shuiqiao.consent.model import IdentityCheck
from shuiqiao.consent.store import ConsentStore, Enrolment, StoredArtefact
from shuiqiao.exchange.model import AnswerStatus
from shuiqiao.exchange.store import AskedRow, ProviderStore, ReceivedRow, RecipientStore
from shuiqiao.lending.file import PreparedDecision, Step, TimelineEntry
from shuiqiao.lending.model import ApplicantFile, Application, Decision, Outcome
from shuiqiao.lending.store import LendingStore, OpeningStore
from shuiqiao.node.auditing import audit_institution
from shuiqiao.node.home.database import open_database
from shuiqiao.node.institution import Institution
from shuiqiao.node.outbox import OutboxRow, OutboxStore
from shuiqiao.node.services import Dependencies

LATE_MS = 253_402_300_799_999
ID, OTHER = b"\x00" * 15 + b"\xff", b"\x01" * 16
NAME = owned_id("bureau", ID)
RAW = bytes(range(256)) * 300
CIPHER = a_cipher()
LONG_ENOUGH_S = 0.5
"""For an act that does not wait to be over; one that waits is waited for that long."""


def test_every_table_is_there_and_opening_again_changes_nothing(database, url):
    assert database.dialect.name == url.partition(":")[0]
    names = set(inspect(database).get_table_names())
    assert {"node_outbox", "consent_artefact", "exchange_asked", "lending_decision"} <= names
    again = open_database(url)
    assert set(inspect(again).get_table_names()) == names
    again.dispose()


def test_the_outbox(database):
    store = OutboxStore(database)
    rows = [
        OutboxRow(leaf=bytes([number]) * 32, kind="anchor.commit", valid_until_ms=LATE_MS - number, height=7, raw=RAW)
        for number in range(4)
    ]
    assert [store.add(row) for row in [*rows[:3], rows[0]]] == [True, True, True, False]
    assert store.rows() == rows[2::-1]
    store.remove([rows[0].leaf])
    store.replace([rows[2].leaf], rows[3])
    store.refuse(rows[1].leaf, Denied("members.role_wrong", "税务局"))
    assert store.rows() == [rows[3], replace(rows[1], refusal_code="members.role_wrong", refusal="税务局")]


def test_consents(database):
    store = ConsentStore(database, cipher=CIPHER)
    enrolment = Enrolment(
        taxpayer="91440300MA5EXAMPL1",
        enrolment_key=RAW[:65],
        identity_check=IdentityCheck(reference="核验-17", checked_ms=LATE_MS),
    )
    store.save_enrolment(enrolment)
    store.save_enrolment(enrolment)
    assert store.enrolment(enrolment.taxpayer) == enrolment
    assert store.enrolment("nobody") is None
    artefact = StoredArtefact(
        consent=NAME,
        taxpayer=enrolment.taxpayer,
        raw=RAW,
        endorsement=None,
        received_ms=LATE_MS,
        granted_index=None,
        renews=owned_id("bureau", bytes([11]) * 16),
    )
    store.save_artefact(artefact)
    store.save_artefact(artefact)
    assert store.artefact(NAME) == artefact
    with pytest.raises(Conflict) as caught:
        store.save_artefact(StoredArtefact(**{**as_fields(artefact), "raw": RAW[1:]}))
    assert caught.value.code == "consent.artefact_differs"
    store.mark_granted(NAME, index=2**40)
    assert store.artefact(NAME).granted_index == 2**40
    assert [kept.consent for kept in store.artefacts_of(enrolment.taxpayer)] == [NAME]
    assert [kept.consent for kept in store.renewals_of(artefact.renews, taxpayer=enrolment.taxpayer)] == [NAME]
    assert store.renewals_of(artefact.renews, taxpayer="nobody") == store.renewals_of(NAME, taxpayer="E1") == []


def as_fields(record):
    return {name: getattr(record, name) for name in record.__slots__}


def asked(request, *, answered_ms=LATE_MS - 5, outcome=AnswerStatus.ANSWERING, attempt=bytes(16)):
    return AskedRow(
        request=owned_id("bank-east", request),
        consent=NAME,
        taxpayer=None if outcome is AnswerStatus.REFUSED else "91440300MA5EXAMPL1",
        recipient="bank-a",
        purpose="underwriting",
        period_from=date(1, 1, 1),
        period_to=date(9999, 12, 31),
        message=RAW,
        attempt=attempt,
        asked_ms=answered_ms,
        outcome=outcome,
        field_code="00",
        answered_ms=answered_ms,
        counts={},
    )


def reserve(store, row, **places):
    store.reserve(row, charge=replace(a_charge(bytes(16), taxpayer=row.taxpayer), reference=row.request), **places)


def answered(row):
    return replace(row, counts={"invoice_issued@2": 2**33}, leaves=RAW, answer=RAW, answer_digest=bytes(32))


def at_most(allowed):
    """Refuse one answer more than allowed; what was answered before has its days and consent."""

    def verify(past):
        days = {(each.consent, each.answered_ms, each.period_from, each.period_to) for each in past}
        assert days <= {(NAME, LATE_MS - 5, date(1, 1, 1), date(9999, 12, 31))}
        if len(past) >= allowed:
            raise Denied("exchange.frequency_exceeded", f"{len(past)} of {allowed}")

    return verify


def test_places_are_counted_and_taken_as_one_act(database):
    """[EXCHANGE-19]: who asks while another is between counting and taking waits for it, in another process too."""
    first, second = ProviderStore(database, cipher=CIPHER), ProviderStore(database, cipher=CIPHER)
    rows = [replace(asked(bytes([0x70 + number]) * 16), recipient="bank-hasty") for number in range(2)]
    with ThreadPoolExecutor(max_workers=1) as pool:
        others = []

        def verify_while_another_asks(past):
            assert past == []
            others.append(pool.submit(reserve, second, rows[1], since_ms=0, verify=at_most(1)))
            wait(others, timeout=LONG_ENOUGH_S)

        reserve(first, rows[0], since_ms=0, verify=verify_while_another_asks)
        refused = others[0].exception()
    assert (type(refused), refused.code) == (Denied, "exchange.frequency_exceeded")
    assert second.asked(rows[1].request) is None
    first.release(rows[0])


def test_what_a_provider_was_asked(database):
    store = ProviderStore(database, cipher=CIPHER)
    places = {"since_ms": LATE_MS - 6, "verify": at_most(2)}
    for number in (1, 2):
        reserve(store, asked(bytes([number]) * 16), **places)
    with pytest.raises(Denied, match=r"^exchange\.frequency_exceeded"):
        reserve(store, asked(bytes([3]) * 16), **places)
    assert store.asked(owned_id("bank-east", bytes([3]) * 16)) is None
    store.release(asked(bytes([1]) * 16))
    reserve(store, asked(bytes([3]) * 16), **places)
    reserve(store, asked(bytes([3]) * 16), **places)
    reserve(store, asked(bytes([4]) * 16), since_ms=LATE_MS - 5, verify=at_most(1))
    store.release(asked(bytes([4]) * 16))
    later = asked(bytes([2]) * 16, attempt=b"later attempt 16")
    reserve(store, later, **places)
    for act in (partial(store.keep_answer, shown_millibits=7), store.mark_delivered):
        with pytest.raises(Unavailable, match=r"^exchange\.request_in_progress"):
            act(answered(asked(bytes([2]) * 16)))
    store.keep_answer(answered(later), shown_millibits=9)
    with pytest.raises(Unavailable, match=r"^exchange\.request_in_progress"):
        reserve(store, asked(bytes([2]) * 16), **places)
    store.mark_delivered(later)
    with pytest.raises(Unavailable, match=r"^exchange\.request_in_progress"):
        store.refuse(replace(later, outcome=AnswerStatus.REFUSED), attempt=later.attempt)
    kept = store.asked(owned_id("bank-east", bytes([2]) * 16))
    assert (kept.outcome, kept.counts, kept.answer, kept.message) == (
        AnswerStatus.DELIVERED,
        {"invoice_issued@2": 2**33},
        RAW,
        RAW,
    )
    assert {row.request[-1] for row in store.asked_of("91440300MA5EXAMPL1")} == {"2", "3"}
    store.refuse(asked(OTHER, outcome=AnswerStatus.REFUSED), attempt=bytes(16))
    assert store.asked(owned_id("bank-east", OTHER)).taxpayer is None
    store.drop_answer(owned_id("bank-east", bytes([2]) * 16))
    assert owned_id("bank-east", bytes([2]) * 16) not in store.kept_answers()


def test_what_a_bank_asked_received_and_destroyed(database):
    store = RecipientStore(database, cipher=CIPHER)
    store.save_request(ID, consent=NAME, message=RAW, made_ms=LATE_MS)
    store.mark_committed(ID, index=7)
    assert (store.request(ID).message, store.request(ID).index) == (RAW, 7)
    row = ReceivedRow(
        request=ID,
        consent=NAME,
        taxpayer="E1",
        manifest=RAW,
        disclosure=RAW * 2,
        received_ms=1,
        erase_after_ms=MS_PER_DAY,
    )
    for _ in range(2):
        store.save_received(row, charge=a_charge(ID))
    assert store.received(ID) == row
    assert store.erase_due(now_ms=MS_PER_DAY - 1) == []
    (erased,) = store.erase_due(now_ms=MS_PER_DAY)
    assert erased.bytes == len(RAW) * 3
    assert store.received(ID) is None
    assert store.is_erased(ID)
    assert store.erasures() == [erased]
    store.remove_request(ID)
    assert store.request(ID) is None


def decision(**changes):
    fields = {
        "application": ID,
        "outcome": Outcome.APPROVED,
        "points": 650,
        "default_probability": Decimal("0.010000"),
        "limit_fen": 10**17,
        "annual_rate": Decimal("0.0465"),
        "rules": (),
        "reasons": (),
        "grade": None,
        "industry": "C",
        "province": "44",
        "model_digest": bytes(32),
    }
    return Decision(**(fields | changes))


def test_applications_decisions_and_openings(database):
    store = LendingStore(database, cipher=CIPHER)
    application = Application(
        id=ID, product="税信贷", taxpayer="91440300MA5EXAMPL1", consent=NAME, amount_fen=10**17, submitted_ms=LATE_MS
    )
    kept = {"sealed_opening": RAW, "reasons_salt": bytes(32), "body": RAW}
    received = TimelineEntry(step=Step.RECEIVED, time_ms=LATE_MS)
    applicant = ApplicantFile(other_debt_fen=10**17, industry="C", province="44")
    store.add_application(application, salt=bytes(32), applicant=applicant, entries=[received])
    failed = TimelineEntry(step=Step.ANSWERED, time_ms=LATE_MS, code="exchange.vault_moving", cause="在变动")
    for _ in range(2):
        store.note(ID, received, failed)
    store.add_decision(PreparedDecision(decision=decision(), **kept))
    with pytest.raises(Conflict) as caught:
        store.add_decision(PreparedDecision(decision=decision(outcome=Outcome.REFUSED), **kept))
    assert caught.value.code == "lending.decision_on_file"
    file = store.file(ID)
    assert (file.application, file.applicant, file.status) == (application, applicant, "approved")
    assert file.timeline == (received, replace(failed, times=2))
    assert (file.decision.outcome, file.decision.limit_fen, file.decision.body) == (Outcome.APPROVED, 10**17, RAW)
    store.withdraw_decision(ID)
    assert store.file(ID).decision is None
    assert [(row.application, row.status) for row in store.applications()] == [(application, "submitted")]
    assert store.applications(after=store.applications()[0].place) == store.applications(status="closed") == []
    assert store.open_applications() == [ID]
    never_told = replace(application, id=b"o" * 16)
    store.add_application(never_told, salt=bytes(32), entries=[received])
    assert [store.withdraw_application(each) for each in (ID, never_told.id)] == [False, True]
    assert [row.application for row in store.applications()] == [application]
    store.add_decision(PreparedDecision(decision=decision(), **kept))
    assert store.sealed_openings() == {ID: RAW}
    openings = OpeningStore(database)
    openings.add(ID, bank="bank-east", sealed=RAW)
    openings.add(ID, bank="bank-east", sealed=RAW)
    assert openings.all() == {owned_id("bank-east", ID): RAW}


def test_a_whole_home_lives_on_postgresql(server, home, monkeypatch):
    monkeypatch.setenv("SHUIQIAO_DATABASE_URL", server.create("whole"))
    clock = ManualClock(worlds.NOW_MS)
    dependencies = Dependencies(clock=clock, entropy=system_entropy)
    with Institution.open(home, dependencies=dependencies) as node:
        assert node.database.dialect.name == "postgresql"
        lossy = type(node.outbox)(
            worlds.LossyEngine(node.engine, reaches_the_ledger=False),
            store=OutboxStore(node.database),
            member=node.member,
            key=node.keys.signing,
            kinds=node.kinds,
            suite=node.suite,
            clock=clock,
            entropy=system_entropy,
        )
        with pytest.raises(Unavailable):
            lossy.submit("anchor.commit", worlds.anchor_body(ID))
    with Institution.open(home, dependencies=dependencies) as node:
        node.outbox.flush()
        assert OutboxStore(node.database).rows() == []
        assert audit_institution(node).replayed == 1
    assert not home.database.exists()


def test_a_server_that_is_not_there_is_unavailable(tmp_path):
    with pytest.raises(Unavailable) as caught:
        open_database(f"postgresql+psycopg://user:secret@/none?host={tmp_path}")
    assert caught.value.code == "node.database_unavailable"
    assert "secret" not in str(caught.value)
