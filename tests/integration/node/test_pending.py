"""Work that the ledger refused is seen in one place, and redone or abandoned by a person."""

from __future__ import annotations

import msgspec
import pytest

import consortium_world as worlds
from shuiqiao.base.clock import ManualClock
from shuiqiao.base.errors import InvalidInput, Unavailable
from shuiqiao.base.ids import owned_id
from shuiqiao.ledger.transactions.submitter import DRAFT_VALIDITY_MS
from shuiqiao.lending.contract import ApplicationSubmitBody, DecisionRecordBody
from shuiqiao.lending.model import Application
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


def test_an_application_that_was_refused_is_taken_back(node):
    """A bureau is no bank: what its lending service noted for an application goes with it."""
    consent = owned_id("bureau", bytes(16))
    application = Application(
        id=b"a" * 16, product="loan", taxpayer="91440300MA5EXAMPL1", consent=consent, amount_fen=1, submitted_ms=1
    )
    store = LendingStore(node.database, cipher=node.cipher)
    store.add_application(application, salt=bytes(32))
    body = ApplicationSubmitBody(application=b"a" * 16, consent=consent, commitment=bytes(32))
    lose(node, "application.submit", body)
    node.outbox.resend()
    (work,) = pending_work(node)
    assert work.code == "members.role_wrong"
    abandon(node, work.id)
    assert (store.applications(), pending_work(node)) == ([], [])


def test_giving_up_a_second_signature_of_an_act_keeps_what_was_noted_for_the_first(world):
    """An act that expired while this copy was behind is signed anew, and the ledger has it by the first signature."""
    bank, recorded = world.bank, world.decided()
    bodies = [bank.outbox.decode(raw).body for block in bank.engine.blocks(from_height=1) for raw in block.transactions]
    (body,) = [each for each in bodies if isinstance(each, DecisionRecordBody)]
    lose(bank, "decision.record", body)
    bank.outbox.resend()
    (work,) = pending_work(bank)
    assert work.code == "lending.decision_repeated"
    abandon(bank, work.id)
    assert pending_work(bank) == []
    assert LendingStore(bank.database, cipher=bank.cipher).sealed_openings() == {
        recorded.decision.application: recorded.sealed_opening
    }
    (row,) = LendingStore(bank.database, cipher=bank.cipher).applications()
    assert (row.application.id, row.status) == (recorded.decision.application, "approved")
