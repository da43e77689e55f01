"""What is signed once reaches the ledger once, whatever gets lost on the way."""

from __future__ import annotations

import pytest

import consortium_world as worlds
from shuiqiao.base.clock import ManualClock
from shuiqiao.base.errors import Conflict, Denied, Unavailable
from shuiqiao.ledger.transactions.submitter import DRAFT_VALIDITY_MS
from shuiqiao.ledger.transactions.transaction import TransactionDraft, sign_transaction
from shuiqiao.lending.contract import ApplicationSubmitBody
from shuiqiao.node.outbox import FORGET_BATCH, OutboxStore


@pytest.fixture
def clock():
    return ManualClock(worlds.NOW_MS)


@pytest.fixture
def node(home, clock):
    with worlds.open_solo(home, clock) as institution:
        yield institution


def lose(node, *, reaches_the_ledger, batch=b"b" * 16):
    """Submit an anchor over a lossy way and return the row that waits."""
    lossy = worlds.outbox_over(worlds.LossyEngine(node.engine, reaches_the_ledger=reaches_the_ledger), node)
    with pytest.raises(Unavailable):
        lossy.submit("anchor.commit", worlds.anchor_body(batch))
    (row,) = waiting(node)
    return row


def waiting(node):
    return OutboxStore(node.database).rows()


def on_ledger(node):
    return [raw for block in node.engine.blocks(from_height=1) for raw in block.transactions]


def test_what_is_acknowledged_is_forgotten(node):
    node.outbox.submit("anchor.commit", worlds.anchor_body(b"b" * 16))
    assert len(waiting(node)) == 1
    node.outbox.flush()
    assert waiting(node) == []
    assert len(on_ledger(node)) == 1


def test_many_are_forgotten_a_batch_at_a_time(node):
    for number in range(FORGET_BATCH):
        node.outbox.submit("anchor.commit", worlds.anchor_body(number.to_bytes(16, "big")))
    assert waiting(node) == []


def test_a_lost_acknowledgement_is_made_good_without_a_second_transaction(node):
    row = lose(node, reaches_the_ledger=True)
    assert on_ledger(node) == [row.raw]
    assert node.outbox.resend() == 1
    node.outbox.flush()
    assert waiting(node) == []
    assert on_ledger(node) == [row.raw]


def test_a_lost_transaction_is_sent_again_unchanged(node):
    row = lose(node, reaches_the_ledger=False)
    assert on_ledger(node) == []
    assert node.outbox.resend() == 1
    assert on_ledger(node) == [row.raw]


def test_opening_a_home_sends_what_waited(home, clock):
    with worlds.open_solo(home, clock) as node:
        row = lose(node, reaches_the_ledger=False)
    with worlds.open_solo(home, clock) as node:
        assert on_ledger(node) == [row.raw]
    with worlds.open_solo(home, clock) as node:
        assert waiting(node) == []


def test_an_expired_transaction_is_signed_anew_with_the_same_body(node, clock):
    row = lose(node, reaches_the_ledger=False)
    clock.advance(DRAFT_VALIDITY_MS)
    assert node.outbox.resend() == 1
    node.outbox.flush()
    (raw,) = on_ledger(node)
    old, new = node.outbox.decode(row.raw), node.outbox.decode(raw)
    assert new.body == old.body
    assert new.id != old.id
    assert new.valid_until_ms == clock.now_ms() + DRAFT_VALIDITY_MS
    assert waiting(node) == []


def test_an_expired_transaction_that_the_ledger_has_is_not_committed_twice(node, clock):
    row = lose(node, reaches_the_ledger=True)
    clock.advance(DRAFT_VALIDITY_MS * 3)
    assert node.outbox.resend() == 1
    node.outbox.flush()
    assert waiting(node) == []
    assert on_ledger(node) == [row.raw]


def test_the_new_signature_is_kept_before_the_old_one_is_forgotten(node, clock):
    row = lose(node, reaches_the_ledger=False)
    clock.advance(DRAFT_VALIDITY_MS)
    lossy = worlds.outbox_over(worlds.LossyEngine(node.engine, reaches_the_ledger=False), node)
    with pytest.raises(Unavailable):
        lossy.resend()
    lossy.flush()
    (kept,) = waiting(node)
    assert kept.leaf != row.leaf
    assert node.outbox.resend() == 1
    assert on_ledger(node) == [kept.raw]


def test_what_a_replaced_key_signed_is_signed_anew_by_the_new_one(home, clock):
    """[MEMBER-26]: no other member signed it, and the ledger takes the old key's signature no more."""
    with worlds.open_solo(home, clock) as node:
        lose(node, reaches_the_ledger=False)
        worlds.rotate(node)
    with worlds.open_solo(home, clock) as node:
        (row,) = waiting(node)
        assert row.refusal_code == "ledger.signature_missing"
        node.outbox.redo(row)
        assert "anchor.commit" in [node.outbox.decode(raw).kind for raw in on_ledger(node)]
        assert node.outbox.rows() == []


def test_what_others_signed_too_is_not_signed_anew(node, clock):
    """A consent that expired on the way is the enterprise's to sign again: it stays until somebody abandons it."""
    other = node.suite.signing_key_from_seed(b"o" * 32)
    lossy = worlds.outbox_over(worlds.LossyEngine(node.engine, reaches_the_ledger=False), node)
    with pytest.raises(Unavailable):
        lossy.submit("anchor.commit", worlds.anchor_body(b"b" * 16), extra_keys=[other])
    clock.advance(DRAFT_VALIDITY_MS)
    assert node.outbox.resend() == 0
    (row,) = node.outbox.rows()
    assert row.refusal_code == "node.outbox_foreign"
    with pytest.raises(Denied, match=r"^node\.outbox_foreign"):
        node.outbox.redo(row)
    node.outbox.abandon(row)
    assert node.outbox.rows() == []
    assert on_ledger(node) == []


def test_what_the_ledger_refuses_for_good_does_not_wait(node):
    body = ApplicationSubmitBody(application=bytes(16), consent="bureau/" + "00" * 16, commitment=bytes(32))
    with pytest.raises(Denied) as caught:
        node.outbox.submit("application.submit", body)
    assert caught.value.code == "members.role_wrong"
    node.outbox.submit("anchor.commit", worlds.anchor_body(b"b" * 16))
    with pytest.raises(Conflict):
        node.outbox.submit("anchor.commit", worlds.anchor_body(b"b" * 16))
    node.outbox.flush()
    assert waiting(node) == []


def test_what_is_refused_when_sent_again_stays_with_the_reason(node):
    lossy = worlds.outbox_over(worlds.LossyEngine(node.engine, reaches_the_ledger=False), node)
    body = ApplicationSubmitBody(application=bytes(16), consent="bureau/" + "00" * 16, commitment=bytes(32))
    with pytest.raises(Unavailable):
        lossy.submit("application.submit", body)
    for _ in range(2):
        assert node.outbox.resend() == 0
        (row,) = node.outbox.rows()
        assert (row.refusal_code, "tax_bureau" in row.refusal) == ("members.role_wrong", True)
    with pytest.raises(Denied, match=r"^members\.role_wrong"):
        node.outbox.redo(row)
    (again,) = node.outbox.rows()
    assert (again.refusal_code, again.leaf != row.leaf) == ("members.role_wrong", True)
    node.outbox.abandon(again)
    assert node.outbox.rows() == []
    assert on_ledger(node) == []


def test_a_conflict_is_no_success_unless_the_ledger_holds_these_very_bytes(node):
    """The id of what waits is taken by other bytes: what waits was refused, and says so."""
    row = lose(node, reaches_the_ledger=False)
    tx = node.outbox.decode(row.raw)
    draft = TransactionDraft(
        kind=tx.kind,
        version=tx.version,
        body=worlds.anchor_body(b"c" * 16),
        author=tx.author,
        valid_until_ms=tx.valid_until_ms,
        id=tx.id,
    )
    other = sign_transaction(draft, network=tx.network, suite=node.suite, keys=[node.keys.signing])
    node.engine.submit(other).result()
    engine = worlds.StandingEngine(node.engine)
    assert worlds.outbox_over(engine, node).resend() == 0
    (left,) = node.outbox.rows()
    assert (left.raw, left.refusal_code) == (row.raw, "ledger.tx_replayed")
    assert engine.waited == 1
    node.outbox.redo(left)
    assert node.outbox.rows() == []
    assert [node.outbox.decode(raw).body.batch for raw in on_ledger(node)] == [b"c" * 16, b"b" * 16]


def test_the_same_bytes_again_are_told_their_place_and_other_bytes_are_refused(node):
    """[API-9]: an enterprise repeats what it signed, since the answer to it was lost."""
    raw = node.outbox._sign("anchor.commit", worlds.anchor_body(b"b" * 16))
    placed = node.outbox.relay(raw)
    assert node.outbox.relay(raw) == placed
    tx = node.outbox.decode(raw)
    draft = TransactionDraft(
        kind=tx.kind,
        version=tx.version,
        body=worlds.anchor_body(b"c" * 16),
        author=tx.author,
        valid_until_ms=tx.valid_until_ms,
        id=tx.id,
    )
    with pytest.raises(Conflict, match=r"^ledger\.tx_replayed"):
        node.outbox.relay(sign_transaction(draft, network=tx.network, suite=node.suite, keys=[node.keys.signing]))
    assert on_ledger(node) == [raw]
    assert node.outbox.rows() == []


def test_a_business_key_that_is_taken_is_a_refusal(node):
    row = lose(node, reaches_the_ledger=False)
    node.engine.submit(node.outbox._sign("anchor.commit", worlds.anchor_body(b"b" * 16))).result()
    assert node.outbox.resend() == 0
    (left,) = node.outbox.rows()
    assert (left.raw, left.refusal_code) == (row.raw, "vault.batch_exists")


def test_bytes_that_this_copy_does_not_hold_yet_are_waited_for(node):
    """A follower that comes back is behind: the ledger says replayed before its own copy shows the block."""
    row = lose(node, reaches_the_ledger=True)
    behind = worlds.StandingEngine(node.engine, hidden=1)
    outbox = worlds.outbox_over(behind, node)
    assert outbox.resend() == 1
    assert behind.waited == 1
    assert outbox.rows() == []
    assert on_ledger(node) == [row.raw]


def test_the_same_statement_handed_in_twice_is_kept_once(node):
    row = lose(node, reaches_the_ledger=False)
    lossy = worlds.outbox_over(worlds.LossyEngine(node.engine, reaches_the_ledger=False), node)
    with pytest.raises(Unavailable):
        lossy.relay(row.raw)
    assert waiting(node) == [row]


@pytest.mark.parametrize("reaches_the_ledger", [False, True])
def test_an_act_that_is_handed_in_again_before_it_was_answered_is_one_act(node, reaches_the_ledger):
    """[LEDGER-REPLAY-5]"""
    row = lose(node, reaches_the_ledger=reaches_the_ledger)
    assert lose(node, reaches_the_ledger=False) == row
    placed = node.outbox.submit("anchor.commit", worlds.anchor_body(b"b" * 16))
    assert on_ledger(node) == [row.raw]
    assert (placed.height, node.outbox.rows()) == (node.engine.last_block()[0], [])


@pytest.mark.parametrize("why", ["expired", "refused", "replaced key"])
def test_what_waits_of_an_act_and_is_no_longer_good_is_signed_anew_in_its_place(home, clock, why):
    """[LEDGER-REPLAY-5]"""
    with worlds.open_solo(home, clock) as node:
        row = lose(node, reaches_the_ledger=False)
        if why == "expired":
            clock.advance(DRAFT_VALIDITY_MS)
        elif why == "refused":
            OutboxStore(node.database).refuse(row.leaf, Denied("consent.paused", "it was paused then"))
        else:
            with node.replacing_keys():
                worlds.rotate(node)
        node.outbox.submit("anchor.commit", worlds.anchor_body(b"b" * 16))
        assert [
            tx.body.batch for raw in on_ledger(node) if (tx := node.outbox.decode(raw)).kind == "anchor.commit"
        ] == [b"b" * 16]
        assert (node.outbox.rows(), row.raw in on_ledger(node)) == ([], False)


@pytest.mark.parametrize("suite", ["intl", "gm"])
def test_a_countersignature_is_made_once(tmp_path, clock, suite):
    """[LEDGER-REPLAY-5]: two signatures of SM2 differ, and so would two rows of one act."""
    with worlds.open_solo(worlds.solo_home(tmp_path / "home", suite), clock) as node:
        other = node.suite.signing_key_from_seed(b"o" * 32)
        draft = TransactionDraft(
            kind="anchor.commit",
            version=1,
            body=worlds.anchor_body(b"b" * 16),
            author=node.member,
            valid_until_ms=clock.now_ms() + 1000,
            id=b"i" * 16,
        )
        raw = sign_transaction(draft, network=node.parameters.network, suite=node.suite, keys=[other])
        lossy = worlds.outbox_over(worlds.LossyEngine(node.engine, reaches_the_ledger=False), node)
        for _ in range(2):
            with pytest.raises(Unavailable):
                lossy.countersign(raw)
        assert len(waiting(node)) == 1


def test_rows_are_sent_in_the_order_of_their_deadlines(node, clock):
    lossy = worlds.outbox_over(worlds.LossyEngine(node.engine, reaches_the_ledger=False), node)
    for number in (3, 1, 2):
        with pytest.raises(Unavailable):
            lossy.submit("anchor.commit", worlds.anchor_body(bytes([number]) * 16))
        clock.advance(1000)
    assert node.outbox.resend() == 3
    assert [node.outbox.decode(raw).body.batch[0] for raw in on_ledger(node)] == [3, 1, 2]
