"""The vault's index as a file: cut short or damaged it is told so, and never ends the process."""

from __future__ import annotations

import os

import lmdb
import pytest

from shuiqiao.base.errors import IntegrityError, Unavailable
from shuiqiao.vault.storage.index import TABLES, BatchRow, RecordIndex, copy_index

ROW = BatchRow(
    number=1,
    id=bytes(16),
    standard="payment@1",
    count=1,
    period_from="2026-01-01",
    period_to="2026-01-31",
    root=bytes(32),
    parquet=bytes(32),
)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "index.lmdb"
    index = RecordIndex(path)
    with index.write() as writer:
        writer.put_batch(ROW)
        writer.put_records((b"%05d" % number, bytes(36)) for number in range(3_000))
    index.close()
    return path


def put(folder, table, key, value):
    with lmdb.open(str(folder), max_dbs=len(TABLES)) as env, env.begin(write=True) as writer:
        writer.put(key, value, db=env.open_db(table, txn=writer))


def read_all(view):
    return list(view.batches()), view.pending_batches(), view.pending_replacements()


@pytest.mark.parametrize("share", [0.9, 0.4, 0.001])
def test_an_index_that_was_cut_is_refused(folder, share):  # [STORE-29]
    os.truncate(folder / "data.mdb", int((folder / "data.mdb").stat().st_size * share))
    with pytest.raises(Unavailable) as raised:
        RecordIndex(folder)
    assert raised.value.code == "vault.index_unreadable"
    with pytest.raises(Unavailable, match=r"vault\.index_unreadable"):
        copy_index(folder.parent, folder.parent / "copy")


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [
        (b"batches", bytes((0, 0, 0, 1)), b"\xa1"),
        (b"batches", bytes((0, 0, 0, 1)), b"\xa1\x62id\x40"),
        (b"batches", b"1", b"\xa0"),
        (b"pending", b"1", b""),
        (b"replacing", b"1", b"2"),
    ],
)
def test_a_record_that_cannot_be_read_is_told_so(folder, table, key, value):  # [STORE-29]
    put(folder, table, key, value)
    index = RecordIndex(folder)
    with index.read() as view, pytest.raises(IntegrityError) as raised:
        read_all(view)
    index.close()
    assert raised.value.code == "vault.index_damaged"
