"""Work that the ledger refused is seen in one place, and redone or abandoned by a person."""

from __future__ import annotations

import msgspec
import pytest

import consortium_world as worlds
from shuiqiao.base.clock import ManualClock
from shuiqiao.base.errors import Denied, InvalidInput, Unavailable
from shuiqiao.base.ids import new_id
from shuiqiao.ledger.transactions.submitter import DRAFT_VALIDITY_MS
from shuiqiao.lending.contract import DecisionRecordBody
from shuiqiao.lending.service import LendingService
from shuiqiao.lending.store import LendingStore
from shuiqiao.node.home_reader import read_home
from shuiqiao.node.pending import SETTLED, abandon, pending_at, pending_work, redo, settle


@pytest.fixture
def node(home):
    with worlds.open_solo(home, ManualClock(worlds.NOW_MS)) as institution:
        yield institution


def lose(node, kind, body):
    """Hand an act in over a way that loses it."""
    lossy = worlds.outbox_over(worlds.LossyEngine(node.engine, reaches_the_ledger=False), node)
    with pytest.raises(Unavailable):
        lossy.submit(kind, body)


def test_what_is_on_its_way_needs_nobody(node):
    lose(node, "anchor.commit", worlds.anchor_body(b"b" * 16))
    (work,) = pending_work(node)
    assert (work.kind, work.code) == ("anchor.commit", "")
    with pytest.raises(InvalidInput, match=r"^node\.pending_unclear"):
        abandon(node, work.id)
    node.outbox.resend()
    assert pending_work(node) == []


def test_who_only_looks_sends_nothing(home):
    clock = ManualClock(worlds.NOW_MS)
    with worlds.open_solo(home, clock) as node:
        lose(node, "anchor.commit", worlds.anchor_body(b"b" * 16))
    with read_home(home) as reader:
        (work,), settled = pending_at(reader)
    assert (work.kind, work.code, settled) == ("anchor.commit", "", [])
    with worlds.open_solo(home, clock) as node:
        assert pending_work(node) == []


def refused_twin(node, body):
    """An act that the ledger refuses, since the same business key came there by another transaction."""
    lose(node, "anchor.commit", worlds.anchor_body(b"b" * 16))
    node.engine.submit(node.outbox._sign("anchor.commit", body)).result()
    node.outbox.resend()
    (work,) = pending_work(node)
    return work


@pytest.mark.parametrize("is_expired", [False, True])
def test_what_the_ledger_has_by_another_transaction_settles_itself(node, is_expired):
    if is_expired:
        lose(node, "anchor.commit", worlds.anchor_body(b"b" * 16))
        node.engine.submit(node.outbox._sign("anchor.commit", worlds.anchor_body(b"b" * 16))).result()
        node.dependencies.clock.advance(DRAFT_VALIDITY_MS + 1)
        node.outbox.resend()
        (work,) = pending_work(node)
    else:
        work = refused_twin(node, worlds.anchor_body(b"b" * 16))
    assert work.code == "vault.batch_exists"
    (settled,) = settle(node)
    assert (settled.kind, settled.code, settled.reason) == ("anchor.commit", "", SETTLED)
    assert (pending_work(node), settle(node)) == ([], [])


def test_redoing_what_the_ledger_has_by_another_transaction_settles_it(node):
    work = refused_twin(node, worlds.anchor_body(b"b" * 16))
    size = node.engine.checkpoint().size
    assert (redo(node, work.id).code, pending_work(node)) == ("", [])
    assert node.engine.checkpoint().size == size


def test_an_act_that_was_refused_is_redone_once_it_may_be(node):
    """Another root under the same key is not the same: that stays for a person."""
    work = refused_twin(node, msgspec.structs.replace(worlds.anchor_body(b"b" * 16), root=b"?" * 32))
    assert settle(node) == []
    assert work.code == "vault.batch_exists"
    with pytest.raises(InvalidInput, match=r"^node\.pending_unclear"):
        redo(node, work.id[:3])
    abandon(node, work.id[:8])
    assert pending_work(node) == []


def lending_cut_off(bank):
    """The bank's lending over a way to the ledger that loses everything."""
    lossy = worlds.outbox_over(worlds.LossyEngine(bank.engine, reaches_the_ledger=False), bank)
    store = LendingStore(bank.database, cipher=bank.cipher)
    return LendingService(submitter=lossy, store=store, suite=bank.suite, entropy=bank.dependencies.entropy)


def acknowledged(world, *, tries=3):
    """An application that the bank took while the ledger was away, and tried again; its consent was paused since."""
    consent, away = world.consent(), lending_cut_off(world.bank)
    wanted = {"taxpayer": worlds.TAXPAYER, "consent": consent, "amount_fen": 30_000_000, "application": new_id()}
    for _ in range(tries):
        with pytest.raises(Unavailable):
            away.apply(worlds.INVOICE_LOAN, **wanted)
    world.bureau.consent_service.relay(world.enterprise.pause(consent, now_ms=world.clock.now_ms()).raw)
    world.bank.catch_up_with(world.bureau)
    return wanted


def closing_of(world, application):
    file = LendingStore(world.bank.database, cipher=world.bank.cipher).file(application)
    return file.status, file.timeline[-1].step, file.timeline[-1].code, "paused" in file.timeline[-1].cause


CLOSED = ("closed", "closed", "consent.paused", True)


def test_an_application_that_was_acknowledged_is_one_act_and_abandoning_it_closes_its_file(world):
    """[LENDING-10] [LEDGER-REPLAY-5]"""
    bank, wanted = world.bank, acknowledged(world)
    (row,) = bank.outbox.rows()
    assert bank.outbox.resend() == 0
    (work,) = pending_work(bank)
    assert (work.id, work.kind, work.code) == (row.leaf.hex(), "application.submit", "consent.paused")
    abandon(bank, work.id)
    assert (closing_of(world, wanted["application"]), pending_work(bank)) == (CLOSED, [])
    found = bank.lending.apply(worlds.INVOICE_LOAN, **wanted)
    assert (found.id, closing_of(world, wanted["application"]), pending_work(bank)) == (
        wanted["application"],
        CLOSED,
        [],
    )


@pytest.mark.parametrize("is_resent_first", [False, True])
@pytest.mark.parametrize("is_processed", [False, True])
def test_a_refusal_after_an_application_was_acknowledged_closes_its_file(world, is_processed, is_resent_first):
    bank, wanted = world.bank, acknowledged(world)
    if is_resent_first:
        assert bank.outbox.resend() == 0
    if is_processed:
        assert world.process(None).process(wanted["application"]).file.status == "closed"
    else:
        with pytest.raises(Denied, match=r"^consent\.paused"):
            bank.lending.apply(worlds.INVOICE_LOAN, **wanted)
    assert (closing_of(world, wanted["application"]), pending_work(bank)) == (CLOSED, [])
    assert wanted["application"] not in bank.application_store.open_applications()


def test_an_application_that_was_refused_at_once_is_not_on_file(world):
    consent = world.consent()
    world.bureau.consent_service.relay(world.enterprise.pause(consent, now_ms=world.clock.now_ms()).raw)
    world.bank.catch_up_with(world.bureau)
    before = world.bank.application_store.ids()
    with pytest.raises(Denied, match=r"^consent\.paused"):
        world.applied(consent)
    assert (world.bank.application_store.ids(), pending_work(world.bank)) == (before, [])


def test_what_earlier_releases_kept_twice_of_an_act_is_given_up_at_once(world):
    """Each attempt was a row of its own then."""
    bank, wanted = world.bank, acknowledged(world, tries=1)
    (row,) = bank.outbox.rows()
    body = bank.outbox.decode(row.raw).body
    cut_off = worlds.outbox_over(worlds.LossyEngine(bank.engine, reaches_the_ledger=False), bank)
    for _ in range(4):
        with pytest.raises(Unavailable):
            cut_off.relay(bank.outbox._sign("application.submit", body))
    bank.outbox.resend()
    assert [work.code for work in pending_work(bank)] == ["consent.paused"] * 5
    abandon(bank, pending_work(bank)[2].id)
    assert (closing_of(world, wanted["application"]), pending_work(bank)) == (CLOSED, [])


def test_giving_up_a_second_signature_of_an_act_keeps_what_was_noted_for_the_first(world):
    """An act that expired while this copy was behind is signed anew, and the ledger has it by the first signature."""
    bank, recorded = world.bank, world.decided()
    bodies = [bank.outbox.decode(raw).body for block in bank.engine.blocks(from_height=1) for raw in block.transactions]
    (body,) = [
        each
        for each in bodies
        if isinstance(each, DecisionRecordBody) and each.application == recorded.decision.application
    ]
    bank.outbox.flush()
    lose(bank, "decision.record", body)
    bank.outbox.resend()
    (work,) = pending_work(bank)
    assert work.code == "lending.decision_repeated"
    abandon(bank, work.id)
    assert pending_work(bank) == []
    store, application = LendingStore(bank.database, cipher=bank.cipher), recorded.decision.application
    assert store.sealed_openings()[application] == recorded.sealed_opening
    assert store.file(application).status == "approved"
