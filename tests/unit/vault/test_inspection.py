from __future__ import annotations

import random

import pytest

from shuiqiao.base.encoding import decode_cbor, encode_cbor
from shuiqiao.base.errors import IntegrityError
from shuiqiao.vault.model import ErasureReason, LeafRef
from shuiqiao.vault.storage.batch_file import CLEAR_MAGIC, LEAVES_SUFFIX, MAGIC, PARQUET_SUFFIX
from shuiqiao.vault.tree import level_sizes
from vault_world import invoice, leave_in_clear, write_rows


@pytest.fixture
def world(open_world, tmp_path):
    world = open_world()
    world.ingest(write_rows(tmp_path / "a.parquet", "invoice_issued", map(invoice, range(20))))
    return world


def files(world, suffix):
    return sorted((world.folder / "vault" / "batches").glob("*" + suffix))


@pytest.mark.parametrize("suffix", [LEAVES_SUFFIX, PARQUET_SUFFIX])
def test_any_flipped_byte_is_found_and_the_batch_named(world, suffix):
    # Holds [VAULT-CHECK-1] [VAULT-STORE-1].
    path = files(world, suffix)[1]
    whole = path.read_bytes()
    places = random.Random(7).sample(range(len(whole)), 120)
    missed = []
    for place in {0, len(whole) - 1, *places}:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :])
        found = world.problems()
        if not found or any(path.stem not in named for _, named in found):
            missed.append((place, found))
    assert missed == []
    path.write_bytes(whole)
    assert world.problems() == []


@pytest.mark.parametrize("suffix", [LEAVES_SUFFIX, PARQUET_SUFFIX])
def test_a_file_cut_short_or_gone_is_found(world, suffix):
    path = files(world, suffix)[0]
    whole = path.read_bytes()
    for size in (0, 5, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert any(path.stem in named for _, named in world.problems())
    path.unlink()
    assert any(path.stem in named for _, named in world.problems())
    path.mkdir()
    assert any(path.stem in named for _, named in world.problems())


def test_a_record_changed_in_both_files_is_still_not_the_anchored_one(world):
    # Whoever rewrites the bytes, the columns and their digest alike still has the root on the ledger against him.
    leave_in_clear(world.vault)
    path = files(world, LEAVES_SUFFIX)[0]
    data = path.read_bytes()
    at = data.index(b'"amount_fen":')
    digit = at + len(b'"amount_fen":')
    path.write_bytes(data[:digit] + (b"9" if data[digit : digit + 1] != b"9" else b"8") + data[digit + 1 :])
    assert {"vault.leaf_mismatch"} == {code for code, _ in world.problems()}


def test_an_erasure_that_the_ledger_was_not_told_is_found(world):
    batch = world.anchored_batches()[0]
    row = next(row for row in _rows(world) if row.id == batch)
    parquet = world.vault._eraser._destroy(row, [2])
    assert parquet != row.parquet
    assert "vault.erasure_untold" in {code for code, _ in world.problems()}


def _rows(world):
    with world.vault._index.read() as view:
        return list(view.batches())


def test_a_batch_that_the_ledger_has_not_or_otherwise_is_found(world):
    found = world.vault.verify_files(batch_of=lambda _: None)
    assert {"vault.batch_unanchored"} == {problem.code for problem in found.problems}
    assert (found.batches, found.records) == (0, 0)
    batches = iter(world.anchored_batches())
    swapped = {first: world.batch_of(second) for first, second in zip(batches, batches, strict=False)}
    found = world.vault.verify_files(batch_of=lambda batch: swapped.get(batch) or world.batch_of(batch))
    # Two full batches have equal counts: only their roots differ.
    assert [problem.code for problem in found.problems] == ["vault.anchor_differs"]


def test_what_holds_is_counted(world):
    found = world.vault.verify_files(batch_of=world.batch_of)
    assert (found.batches, found.records, found.problems) == (3, 20, ())


def test_a_file_of_no_batch_is_named_and_the_next_ingest_clears_it(world, tmp_path):
    stray = world.folder / "vault" / "batches" / ("ab" * 16 + LEAVES_SUFFIX)
    stray.write_bytes(b"half a batch")
    assert [("vault.file_unknown", stray.name)] == world.problems()
    world.ingest(tmp_path / "a.parquet")
    assert not stray.exists()


def test_batches_are_never_cleared_for_want_of_their_index(world, tmp_path):
    # Holds [VAULT-STORE-4].
    folder = world.folder / "vault" / "batches"
    for number in range(9):
        (folder / f"{number:032x}{LEAVES_SUFFIX}").write_bytes(b"not known")
    with pytest.raises(IntegrityError, match=r"vault\.index_incomplete"):
        world.ingest(tmp_path / "a.parquet")
    assert len(list(folder.iterdir())) == 15


def rewritten(path, magic, **changes):
    """Write a .leaves file anew with another header, and as long as that header says."""
    data = path.read_bytes()
    size = int.from_bytes(data[8:12], "little")
    fields = decode_cbor(data[12 : 12 + size]) | changes
    header = encode_cbor(fields)
    count, groups = fields["count"], len(fields["groups"])
    tree = sum(level_sizes(count)) * 32
    body = count * groups * 16 + 4 * count * len(fields["sizes"]) + sum(fields["sizes"])
    path.write_bytes(magic + len(header).to_bytes(4, "little") + header + bytes(tree + body))


@pytest.mark.parametrize("magic", [CLEAR_MAGIC, MAGIC])
@pytest.mark.parametrize(
    "changes",
    [{"count": 1}, {"count": 3}, {"groups": ["core"], "sizes": [0]}, {"groups": [], "sizes": []}, {"erased": [9]}],
    ids=str,
)
def test_a_leaves_file_of_fewer_records_or_groups_than_the_index_has_is_damaged(world, changes, magic):
    """[VAULT-STORE-1]: its own header decided how far it was read, and looking for damage ended in an IndexError."""
    path = files(world, LEAVES_SUFFIX)[0]
    rewritten(path, magic, **changes)
    assert ("vault.file_damaged", path.name) in world.problems()
    (batch,) = [batch for batch in world.anchored_batches() if batch.hex() == path.stem]
    for act in (
        lambda: world.vault.prove_record(LeafRef(batch, 1), groups=["core"]),
        lambda: world.vault.erase(batch, [1], reason=ErasureReason.TAXPAYER_REQUEST, anchor=world.anchor),
    ):
        with pytest.raises(IntegrityError, match=r"^vault\.file_damaged"):
            act()
