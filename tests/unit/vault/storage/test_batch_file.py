from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shuiqiao.base.errors import IntegrityError, Unavailable
from shuiqiao.base.ids import system_entropy
from shuiqiao.crypto.file_cipher import FileCipher
from shuiqiao.crypto.model import SuiteName
from shuiqiao.vault.model import ErasureReason
from shuiqiao.vault.storage.batch_file import (
    LEAVES_SUFFIX,
    PARQUET_SUFFIX,
    BatchFiles,
    BatchReader,
    ReadCache,
    file_state,
)
from shuiqiao.vault.tree import multiproof
from vault_world import CATALOGUE, EVER, invoice, write_rows

FIRM, OTHER = "91320101", "91320102"
BATCH = bytes(16)
SCHEMA = pa.schema([("name", pa.string()), ("amount", pa.int64())])


CIPHER = FileCipher(lambda: bytes(32), suite=SuiteName.INTL, entropy=system_entropy)


def in_folder(folder, cipher=CIPHER):
    return BatchFiles(folder=folder, cipher=cipher)


def table_of(first):
    numbers = range(first, first + 11)
    return pa.table({"name": [f"n{n}" for n in numbers], "other": list(numbers), "amount": list(numbers)})


@pytest.fixture
def path(tmp_path):
    path = tmp_path / (BATCH.hex() + PARQUET_SUFFIX)
    pq.write_table(table_of(0), path, row_group_size=4)
    return path


@pytest.mark.parametrize("max_bytes", [0, 1 << 20])
@pytest.mark.parametrize("indexes", [[0], [10], [3, 4], [0, 2, 9], [4, 5, 6, 7], list(range(11)), [1, 3, 4, 6, 8]])
def test_rows_of_any_row_groups_stand_in_the_order_asked_for(path, indexes, max_bytes):
    reader = BatchReader(in_folder(path.parent), max_bytes=max_bytes)
    expected = table_of(0).select(SCHEMA.names).take(indexes)
    for _ in range(2):  # read, and read again from what is kept
        found = reader.rows(BATCH, schema=SCHEMA, indexes=indexes)
        assert expected.to_pylist() == found.to_pylist()
        assert SCHEMA == found.schema
    assert expected.to_pylist() == in_folder(path.parent).read_rows(BATCH, SCHEMA.names, indexes).to_pylist()


def test_a_file_that_was_written_anew_is_read_anew(path):
    reader = BatchReader(in_folder(path.parent))
    assert reader.rows(BATCH, schema=SCHEMA, indexes=[0]).to_pylist() == [{"name": "n0", "amount": 0}]
    newer = path.with_name("newer")
    pq.write_table(table_of(50), newer, row_group_size=4)
    newer.replace(path)
    assert reader.rows(BATCH, schema=SCHEMA, indexes=[0]).to_pylist() == [{"name": "n50", "amount": 50}]


def test_a_file_that_went_away_is_missing_even_if_it_was_kept(path):
    reader = BatchReader(in_folder(path.parent))
    reader.rows(BATCH, schema=SCHEMA, indexes=[0])
    path.unlink()
    with pytest.raises(Unavailable, match=r"vault\.file_missing"):
        reader.rows(BATCH, schema=SCHEMA, indexes=[0])
    with pytest.raises(Unavailable, match=r"vault\.file_missing"):
        reader.leaves(BATCH, count=1, groups=["core"])


def test_what_is_kept_is_bounded_and_the_longest_unused_goes_first(path):
    state, kept = file_state(path), ReadCache(max_bytes=10)
    for what in ("a", "b"):
        kept.put(BATCH, what, state, what, size=4)
    assert kept.get(BATCH, "a", state) == "a"
    kept.put(BATCH, "c", state, "c", size=4)
    kept.put(BATCH, "too large", state, "x", size=11)
    assert [kept.get(BATCH, what, state) for what in ("a", "b", "c", "too large")] == ["a", None, "c", None]


def test_what_is_kept_goes_with_its_batch_and_with_its_file(path):
    state, kept = file_state(path), ReadCache(max_bytes=10)
    other = bytes([1]) * 16
    for batch in (BATCH, other):
        kept.put(batch, "a", state, "a", size=1)
    kept.forget(BATCH)
    assert [kept.get(batch, "a", state) for batch in (BATCH, other)] == [None, "a"]
    os.utime(path, ns=(0, 0))
    assert kept.get(other, "a", file_state(path)) is None
    assert kept.get(other, "a", state) is None  # it is not only passed over, it is gone


def size_of(batch, world):
    fact = world.batch_of(batch)
    return {"count": fact.count, "groups": CATALOGUE.get(fact.standard).group_ids}


@pytest.fixture
def world(open_world, tmp_path):
    world = open_world(batch_depth=4)
    rows = [invoice(number, uscc=(FIRM, OTHER)[number % 2]) for number in range(24)]
    world.ingest(write_rows(tmp_path / "a.parquet", "invoice_issued", rows))
    return world


def test_a_kept_leaves_file_gives_what_the_whole_file_gives(world):
    reader = BatchReader(world.vault._files)
    for batch in world.anchored_batches():
        file = reader.leaves(batch, **size_of(batch, world))
        assert file is reader.leaves(batch, **size_of(batch, world))
        count = file.header.count
        for indexes in ([0], list(range(count)), list(range(1, count, 3))):
            assert file.salts()[indexes].tolist() == file.salts_of(indexes).tolist()
            assert multiproof(file.tree(), indexes, count=count) == file.multiproof(indexes)
            for position in range(len(file.header.groups)):
                assert file.group(position).records(indexes) == file.group_records(position, indexes)


def test_ends_that_do_not_rise_are_damage_to_whom_they_concern(world, tmp_path):
    batch = world.anchored_batches()[0]
    source = world.vault._files.leaves(batch, **size_of(batch, world))
    group = source.group(0)
    ends = group.ends.copy()
    ends[1] = 2**31
    groups = [replace(group, ends=ends), *(source.group(position) for position in (1, 2))]
    written = in_folder(tmp_path, world.vault._files.cipher)
    written.write_leaves(source.header, tree=source.tree(), salts=source.salts().tobytes(), groups=groups)
    file = BatchReader(written).leaves(batch, **size_of(batch, world))
    assert file.group_records(0, [0]) == group.records([0])
    for index in (1, 2):
        with pytest.raises(IntegrityError, match=r"vault\.file_damaged"):
            file.group_records(0, [index])


def test_nothing_of_an_erased_record_is_kept(world):
    # Holds [VAULT-ERASE-1]: both files are open and decoded before, neither is mapped or told from after.
    assert world.disclose(FIRM).record_count == 12
    mapped = mapped_batches(world.folder)
    assert {batch.hex() for batch in world.anchored_batches()} <= mapped
    for batch in world.anchored_batches():
        leaves = world.vault.live_leaves(uscc=FIRM, type_id="invoice_issued", **EVER)
        indexes = [leaf.index for leaf in leaves if leaf.batch == batch]
        world.vault.erase(batch, indexes, reason=ErasureReason.TAXPAYER_REQUEST, anchor=world.anchor)
        assert batch.hex() not in mapped_batches(world.folder)
    assert world.disclose(FIRM).record_count == 0
    assert world.verify(world.disclose(OTHER), status_of=world.status_of).record_count == 12


def mapped_batches(folder):
    """Batches (in hex) of which this process has a file of a folder mapped, replaced files among them.

    All worlds draw the same ids: what another test's world left mapped, until it is collected, is named alike.
    """
    lines = Path("/proc/self/maps").read_text().splitlines()
    return {Path(line).name.partition(".")[0] for line in lines if f"{folder}/" in line and LEAVES_SUFFIX in line}


def broken_copies(whole):
    """Copies of a Parquet file that is damaged in one place each, and one that ends early."""
    for place in range(4, len(whole), 3):
        yield whole[:place] + bytes([whole[place] ^ 0x01]) + whole[place + 1 :]
    yield whole[: len(whole) // 2]


def both_readings(path):
    return (
        lambda: BatchReader(in_folder(path.parent)).rows(BATCH, schema=SCHEMA, indexes=[0, 10]),
        lambda: in_folder(path.parent).read_rows(BATCH, SCHEMA.names, [0, 10]),
    )


def outcome(read):
    try:
        return read().num_rows
    except IntegrityError as error:
        return error.code


def test_a_damaged_stored_parquet_is_called_damaged_while_answering(path):
    found = []
    whole = path.read_bytes()
    for damaged in broken_copies(whole):
        path.write_bytes(damaged)
        found += [outcome(read) for read in both_readings(path)]
    # Bytes that no reader looks at, and values that are others, are found by the digest when the vault is audited.
    assert set(found) == {2, "vault.file_damaged"}


def test_a_parquet_with_fewer_rows_than_the_index_has_is_damaged(path):
    pq.write_table(table_of(0).slice(0, 2), path)
    for read in both_readings(path):
        with pytest.raises(IntegrityError, match=r"vault\.file_damaged"):
            read()
