"""[VAULT-LIVE-3]: before a taxpayer's records are read for an answer, the index knows of them what the ledger knows."""

from __future__ import annotations

import pytest

from shuiqiao.base.errors import Unavailable
from shuiqiao.base.ids import Uscc
from shuiqiao.vault.contract import COMMIT, ERASE
from shuiqiao.vault.model import ErasureReason
from vault_world import EVER, grade, invoice, write_rows

FIRM, OTHER = Uscc("91320101"), Uscc("91320102")
GRADES = ["tax_credit_grade"]


class Stopped(Exception):
    """The process ended."""


class StopsAt:
    """A way to the ledger that ends at one kind, before or after the ledger took it."""

    def __init__(self, anchor, kind, *, after):
        self._anchor, self._kind, self._after = anchor, kind, after
        self.member = anchor.member

    def state(self):
        return self._anchor.state()

    def submit(self, kind, body):
        if kind != self._kind:
            return self._anchor.submit(kind, body)
        if self._after:
            self._anchor.submit(kind, body)
        raise Stopped


def take_in(world, folder, *grades, anchor=None, name="g"):
    return world.ingest(write_rows(folder / f"{name}.parquet", "tax_credit_grade", grades), anchor=anchor)


def shown(world, firm):
    rows = world.disclose(firm, {"tax_credit_grade": ["core"]}).types[0].rows
    return sorted(rows.column("grade").to_pylist())


def settle(world, firm, types=GRADES):
    before = world.vault.revision()
    world.vault.settle(uscc=firm, type_ids=types, anchor=world.anchor)
    return world.vault.revision() != before


@pytest.fixture
def world(open_world, tmp_path):
    """One batch of each firm's grades is anchored and noted."""
    made = open_world()
    take_in(made, tmp_path, grade(2023, "C", uscc=FIRM), grade(2023, "D", uscc=OTHER))
    return made


def test_a_vault_that_knows_all_is_left_alone(world):
    assert settle(world, FIRM) is False
    assert shown(world, FIRM) == ["C"]


def test_a_batch_that_is_anchored_and_not_noted_is_noted(world, tmp_path):
    with pytest.raises(Stopped):
        take_in(
            world, tmp_path, grade(2024, "A", uscc=FIRM), anchor=StopsAt(world.anchor, COMMIT, after=True), name="h"
        )
    assert shown(world, FIRM) == ["C"]
    assert settle(world, FIRM) is True
    assert shown(world, FIRM) == ["A", "C"]
    assert world.anchored_batches() == list(dict.fromkeys(world.anchored_batches()))


def test_a_batch_that_the_ledger_does_not_have_waits_for_the_next_ingest(world, tmp_path):
    with pytest.raises(Stopped):
        take_in(
            world, tmp_path, grade(2024, "A", uscc=FIRM), anchor=StopsAt(world.anchor, COMMIT, after=False), name="h"
        )
    assert settle(world, FIRM) is False
    assert (shown(world, FIRM), len(world.anchored_batches())) == (["C"], 1)


@pytest.mark.parametrize(
    ("firm", "types", "settled"),
    [
        (FIRM, GRADES, True),
        (FIRM, ["filing", "tax_credit_grade"], True),
        (OTHER, GRADES, False),
        (FIRM, ["invoice_issued"], False),
        ("91320109", GRADES, False),
    ],
    ids=["its own", "one of two types", "another firm", "another type", "nobody"],
)
def test_only_who_stands_in_the_batch_is_behind(world, tmp_path, firm, types, settled):
    path = write_rows(tmp_path / "i.parquet", "invoice_issued", [invoice(1, uscc=FIRM)])
    world.ingest(path)
    with pytest.raises(Stopped):
        take_in(
            world, tmp_path, grade(2024, "A", uscc=FIRM), anchor=StopsAt(world.anchor, COMMIT, after=True), name="h"
        )
    assert settle(world, Uscc(firm), types) is settled


@pytest.mark.parametrize("after", [False, True])
def test_an_erasure_that_was_not_told_holds_up_its_type_alone(world, tmp_path, after):
    """Who was erased is no longer known, so it may be anybody of the type."""
    world.ingest(write_rows(tmp_path / "i.parquet", "invoice_issued", [invoice(1, uscc=FIRM)]))
    (leaf,) = world.vault.live_leaves(uscc=FIRM, type_id="tax_credit_grade", **EVER)
    with pytest.raises(Stopped):
        world.vault.erase(
            leaf.batch,
            [leaf.index],
            reason=ErasureReason.LEGAL_ORDER,
            anchor=StopsAt(world.anchor, ERASE, after=after),
        )
    assert settle(world, OTHER, ["invoice_issued", "filing"]) is False
    assert settle(world, OTHER) is True
    assert world.status_of(leaf.batch, leaf.index) == "erased"
    assert settle(world, FIRM) is False


def test_while_an_ingest_has_the_batch_in_hand_it_says_so(world, tmp_path):
    told = []

    class Asks:
        member = world.anchor.member

        def state(self):
            return world.anchor.state()

        def submit(self, kind, body):
            committed = world.anchor.submit(kind, body)
            with pytest.raises(Unavailable, match=r"^vault\.busy"):
                settle(world, FIRM)
            told.append(settle(world, OTHER))
            return committed

    take_in(world, tmp_path, grade(2024, "A", uscc=FIRM), anchor=Asks(), name="h")
    assert told == [False]
    assert settle(world, FIRM) is False
    assert shown(world, FIRM) == ["A", "C"]
