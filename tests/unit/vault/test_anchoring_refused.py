"""Batches that the ledger refuses: everything else goes on, and a person redoes or abandons them [VAULT-STORE-6]."""

from __future__ import annotations

import pytest

from shuiqiao.base.errors import Conflict, Denied, IntegrityError, InvalidInput, Unavailable
from shuiqiao.vault.contract import AMEND, COMMIT, ERASE, AnchorCommitBody
from shuiqiao.vault.model import ErasureReason
from vault_world import OTHER_BUREAU, grade, invoice, write_rows

FIRM = "91320100MA1000000A"


class Interfering:
    """A way to the ledger on which something happens just before a submission of a kind reaches it."""

    def __init__(self, anchor, *, kind=COMMIT, act):
        self.member, self.state = anchor.member, anchor.state
        self._anchor, self._kind, self._act = anchor, kind, act

    def submit(self, kind, body):
        if kind == self._kind:
            self._act(body)
        return self._anchor.submit(kind, body)


def taken_by(submitter):
    """Anchor the same id with another root first."""
    return lambda body: submitter.submit(COMMIT, AnchorCommitBody(**{**fields(body), "root": b"?" * 32}))


def fields(body):
    return {name: getattr(body, name) for name in body.__struct_fields__}


def rows(path, *numbers):
    return write_rows(path, "invoice_issued", [invoice(number, uscc=FIRM) for number in numbers])


def refused_batch(world, tmp_path):
    """A pending batch whose id this bureau itself used for another root, as a restored home does."""
    with pytest.raises(IntegrityError, match=r"^vault\.anchor_differs"):
        world.ingest(
            rows(tmp_path / "first.parquet", 1, 2), anchor=Interfering(world.anchor, act=taken_by(world.anchor))
        )
    (row,) = world.vault.pending()
    assert (row.count, row.refusal_code) == (2, "vault.anchor_differs")
    return row.batch


def test_another_bureau_that_takes_the_id_first_stops_nothing(open_world, tmp_path):
    """[VAULT-ANCHOR-2]: the worked example: front-run with another root, then ingest, recover and erase go on."""
    world = open_world()
    anchor = Interfering(world.anchor, act=taken_by(world.submitter(OTHER_BUREAU)))
    assert world.ingest(rows(tmp_path / "first.parquet", 1, 2), anchor=anchor).anchors == 1
    assert world.vault.pending() == []
    assert world.vault.recover(world.anchor) == 0
    (batch,) = set(world.anchored_batches())
    world.vault.erase(batch, [0], reason=ErasureReason.LEGAL_ORDER, anchor=world.anchor)
    assert world.disclose(FIRM).types[0].rows.num_rows == 1
    assert world.problems() == []


def test_a_batch_that_is_refused_for_good_stops_no_other(open_world, tmp_path):
    world = open_world()
    batch = refused_batch(world, tmp_path)
    report = world.ingest(rows(tmp_path / "second.parquet", 3))
    assert (report.records_ingested, report.anchors) == (1, 1)
    assert world.vault.recover(world.anchor) == 0
    second = world.anchored_batches()[-1]
    world.vault.erase(second, [], reason=ErasureReason.LEGAL_ORDER, anchor=world.anchor)
    assert world.disclose(FIRM).types[0].rows.num_rows == 0
    assert [row.batch for row in world.vault.pending()] == [batch]
    assert world.vault.settle(uscc=FIRM, type_ids=["invoice_issued"], anchor=world.anchor) is None
    with pytest.raises(InvalidInput, match=r"^vault\.batch_pending"):
        world.vault.erase(batch, [0], reason=ErasureReason.LEGAL_ORDER, anchor=world.anchor)


def test_a_refused_batch_is_told_under_a_new_id(open_world, tmp_path):
    world = open_world()
    batch = refused_batch(world, tmp_path)
    new = world.vault.redo(batch, anchor=world.anchor)
    assert new != batch
    assert world.anchored_batches()[-1] == new
    assert world.vault.pending() == []
    assert world.verify(world.disclose(FIRM)).record_count == 2
    assert world.problems() == []
    assert world.ingest(tmp_path / "first.parquet").duplicates_reported == 2
    with pytest.raises(InvalidInput, match=r"^vault\.batch_not_pending"):
        world.vault.redo(new, anchor=world.anchor)


def test_a_refused_batch_is_given_up_and_its_rows_may_come_again(open_world, tmp_path):
    world = open_world()
    world.vault.abandon(refused_batch(world, tmp_path), anchor=world.anchor)
    assert world.vault.pending() == []
    assert world.disclose(FIRM).types[0].rows.num_rows == 0
    assert world.ingest(tmp_path / "first.parquet").records_ingested == 2
    assert world.verify(world.disclose(FIRM)).record_count == 2
    assert world.problems() == []


def test_a_batch_that_reached_the_ledger_after_all_is_neither_given_up_nor_told_again(open_world, tmp_path):
    """What refused it was a copy that was behind: giving it up would destroy what the ledger says is held."""
    world = open_world()

    def behind(body):
        world.anchor.submit(COMMIT, body)
        raise Denied("vault.batch_exists", "there")

    with pytest.raises(Denied, match=r"^vault\.batch_exists"):
        world.ingest(rows(tmp_path / "first.parquet", 1, 2), anchor=Interfering(world.anchor, act=behind))
    (row,) = world.vault.pending()
    assert row.refusal_code == "vault.batch_exists"
    for act in (world.vault.abandon, world.vault.redo):
        with pytest.raises(InvalidInput, match=r"^vault\.batch_not_pending"):
            act(row.batch, anchor=world.anchor)
    assert world.vault.recover(world.anchor) == 1
    assert world.verify(world.disclose(FIRM)).record_count == 2
    assert world.problems() == []


def test_what_is_only_unavailable_is_no_refusal(open_world, tmp_path):
    world = open_world()

    def away(_body):
        raise Unavailable("ledger.commit_late", "no answer")

    with pytest.raises(Unavailable):
        world.ingest(rows(tmp_path / "first.parquet", 1), anchor=Interfering(world.anchor, act=away))
    assert [row.refusal_code for row in world.vault.pending()] == [""]
    assert world.vault.recover(world.anchor) == 1


def test_an_erasure_that_the_ledger_refuses_is_said_and_stops_nothing(open_world, tmp_path):
    world = open_world()
    world.ingest(rows(tmp_path / "first.parquet", 1, 2))
    (batch,) = world.anchored_batches()

    def frozen(_body):
        raise Denied("ledger.network_frozen", "frozen")

    anchor = Interfering(world.anchor, kind=ERASE, act=frozen)
    with pytest.raises(Denied, match=r"^ledger\.network_frozen"):
        world.vault.erase(batch, [0], reason=ErasureReason.LEGAL_ORDER, anchor=anchor)
    assert world.ingest(rows(tmp_path / "second.parquet", 3), anchor=anchor).records_ingested == 1
    with pytest.raises(Conflict, match=r"^vault\.erasure_pending"):
        world.vault.erase(batch, [1], reason=ErasureReason.LEGAL_ORDER, anchor=anchor)
    world.vault.recover(world.anchor)
    assert world.status_of(batch, 0).value == "erased"
    assert world.problems() == []


class Frozen:
    """A way to the ledger that refuses a kind."""

    def __init__(self, anchor, kind):
        self.member, self.state, self._anchor, self._kind = anchor.member, anchor.state, anchor, kind

    def submit(self, kind, body):
        if kind == self._kind:
            raise Denied("ledger.network_frozen", "frozen")
        return self._anchor.submit(kind, body)


def grades(path, letter):
    return write_rows(path, "tax_credit_grade", [grade(2024, letter, uscc=FIRM)])


@pytest.fixture
def amended_twice(open_world, tmp_path):
    """A record whose second version was refused as its successor, and that has a third by now."""
    world = open_world()
    frozen = Frozen(world.anchor, AMEND)
    world.ingest(grades(tmp_path / "c.parquet", "C"))
    with pytest.raises(Denied, match=r"^ledger\.network_frozen"):
        world.ingest(grades(tmp_path / "b.parquet", "B"), anchor=frozen)
    (refused,) = world.vault.refused_amendments()
    assert (refused.count, refused.refusal_code) == (1, "ledger.network_frozen")
    world.ingest(grades(tmp_path / "a.parquet", "A"), anchor=frozen)
    return world, refused.batch


def shown(world):
    rows = world.disclose(FIRM, {"tax_credit_grade": ["core"]}).types[0].rows
    return rows.column("grade").to_pylist()


def statuses(world):
    return [str(world.status_of(batch, 0)) for batch in world.anchored_batches()]


def test_a_version_whose_older_one_is_refused_waits_behind_it(amended_twice):
    """Told out of order it would make the refusal one for good: what is superseded itself supersedes nothing."""
    world, second = amended_twice
    assert (shown(world), statuses(world)) == (["C"], ["live", "live", "live"])
    world.vault.recover(world.anchor)
    assert world.vault.refused_amendments() == []
    assert (shown(world), statuses(world)) == (["A"], ["superseded", "superseded", "live"])
    with pytest.raises(InvalidInput, match=r"^vault\.batch_not_pending"):
        world.vault.redo_amendment(second, anchor=world.anchor)


def test_a_version_that_is_given_up_is_erased_and_its_successor_takes_its_place(amended_twice):
    world, second = amended_twice
    world.vault.abandon_amendment(second, anchor=Frozen(world.anchor, AMEND))
    assert world.vault.refused_amendments() == []
    world.vault.recover(world.anchor)
    assert (shown(world), statuses(world)) == (["A"], ["superseded", "erased", "live"])
    assert world.problems() == []
