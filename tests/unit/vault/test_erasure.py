from __future__ import annotations

import pytest

from shuiqiao.base.errors import InvalidInput
from shuiqiao.vault.contract import ERASE
from shuiqiao.vault.model import ErasureReason, LeafRef, LeafStatus
from vault_world import EVER, grade, invoice, leave_in_clear, write_rows

FIRM, OTHER = "91320101", "91320102"
REASON = ErasureReason.TAXPAYER_REQUEST
WANTED = {"type_id": "invoice_issued", **EVER}


@pytest.fixture
def world(open_world, tmp_path):
    world = open_world()
    rows = [invoice(number, uscc=(FIRM, OTHER)[number % 2]) for number in range(16)]
    world.ingest(write_rows(tmp_path / "a.parquet", "invoice_issued", rows))
    return world


def stored_bytes(world):
    """What the batch files hold, decrypted."""
    leave_in_clear(world.vault)
    return b"".join(path.read_bytes() for path in sorted((world.folder / "vault" / "batches").iterdir()))


def erase_leaves(world, leaves, anchor=None):
    for batch in {leaf.batch for leaf in leaves}:
        indexes = [leaf.index for leaf in leaves if leaf.batch == batch]
        world.vault.erase(batch, indexes, reason=REASON, anchor=anchor or world.anchor)


def test_erased_records_leave_neither_bytes_nor_identity_and_the_rest_stays_provable(world):
    # Holds [VAULT-ERASE-1].
    needle = FIRM.encode()
    assert needle in stored_bytes(world)
    leaves = world.vault.live_leaves(uscc=FIRM, **WANTED)
    erase_leaves(world, leaves)
    assert needle not in stored_bytes(world)
    assert world.vault.live_leaves(uscc=FIRM, **WANTED) == []
    assert world.disclose(FIRM).record_count == 0
    assert {LeafStatus.ERASED} == {world.status_of(leaf.batch, leaf.index) for leaf in leaves}
    assert world.verify(world.disclose(OTHER), status_of=world.status_of).record_count == 8
    assert world.problems() == []
    with pytest.raises(InvalidInput, match=r"vault\.leaf_unknown"):
        world.vault.prove_record(leaves[0], groups=["core"])


def test_a_whole_batch_is_erased(world):
    batch = world.anchored_batches()[0]
    world.vault.erase(batch, [], reason=REASON, anchor=world.anchor)
    assert world.batch_of(batch).erased
    assert world.problems() == []
    left = world.disclose(FIRM).record_count + world.disclose(OTHER).record_count
    assert left == 8
    with pytest.raises(InvalidInput, match=r"vault\.leaf_unknown"):
        world.vault.erase(batch, [], reason=REASON, anchor=world.anchor)


def test_records_of_one_batch_are_erased_one_after_the_other(world):
    batch = world.anchored_batches()[0]
    world.vault.erase(batch, [1, 2], reason=REASON, anchor=world.anchor)
    world.vault.erase(batch, [0, 7], reason=REASON, anchor=world.anchor)
    assert world.problems() == []
    assert [index for index in range(8) if world.status_of(batch, index) is LeafStatus.ERASED] == [0, 1, 2, 7]


def test_an_erased_record_ingested_again_is_a_new_record(world, tmp_path):
    erase_leaves(world, world.vault.live_leaves(uscc=FIRM, **WANTED))
    report = world.ingest(tmp_path / "a.parquet")
    assert (report.records_ingested, report.duplicates_reported) == (8, 8)
    assert world.verify(world.disclose(FIRM), status_of=world.status_of).record_count == 8


def test_erasing_the_newer_version_does_not_bring_the_older_back(open_world, tmp_path):
    world = open_world(folder=tmp_path / "grades")
    world.ingest(write_rows(tmp_path / "g.parquet", "tax_credit_grade", [grade(2024, "C", uscc=FIRM)]))
    world.ingest(write_rows(tmp_path / "h.parquet", "tax_credit_grade", [grade(2024, "B", uscc=FIRM)]))
    erase_leaves(world, world.vault.live_leaves(uscc=FIRM, type_id="tax_credit_grade", **EVER))
    assert world.vault.count_live(uscc=FIRM, type_id="tax_credit_grade", **EVER) == {}


class Interrupted(Exception):
    pass


class Failing:
    """A way to the ledger that fails when an erasure is told, before or after the ledger took it."""

    def __init__(self, anchor, *, after):
        self._anchor, self._after = anchor, after
        self.member = anchor.member

    def state(self):
        return self._anchor.state()

    def submit(self, kind, body):
        assert kind == ERASE
        if self._after:
            self._anchor.submit(kind, body)
        raise Interrupted


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_an_erasure_begun_is_finished_by_the_next_act(world, after, whole):
    batch = world.anchored_batches()[0]
    indexes = [] if whole else [0, 3]
    with pytest.raises(Interrupted):
        world.vault.erase(batch, indexes, reason=REASON, anchor=Failing(world.anchor, after=after))
    shown = world.disclose(FIRM).record_count + world.disclose(OTHER).record_count
    assert shown == 16 - (len(indexes) or 8)
    world.vault.recover(world.anchor)
    assert world.status_of(batch, 0) is LeafStatus.ERASED
    assert world.problems() == []


@pytest.mark.parametrize(
    ("batch", "indexes", "code"),
    [(bytes(16), [], "vault.batch_unknown"), (None, [8], "vault.leaf_unknown"), (None, [-1], "vault.leaf_unknown")],
)
def test_what_is_not_there_cannot_be_erased(world, batch, indexes, code):
    with pytest.raises(InvalidInput) as refused:
        world.vault.erase(batch or world.anchored_batches()[0], indexes, reason=REASON, anchor=world.anchor)
    assert refused.value.code == code


def test_a_leaf_of_an_unknown_batch_cannot_be_proven(world):
    with pytest.raises(InvalidInput, match=r"vault\.batch_unknown"):
        world.vault.prove_record(LeafRef(batch=bytes(16), index=0), groups=["core"])
