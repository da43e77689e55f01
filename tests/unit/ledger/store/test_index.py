"""The ledger's index as a file: cut short or damaged it is told so, and never ends the process."""

from __future__ import annotations

import os
import random
import struct

import cbor2
import lmdb
import pytest

from shuiqiao.base.durable import Disk
from shuiqiao.base.errors import IntegrityError
from shuiqiao.ledger.store.index import Index, IndexReader, decode_block, decode_epoch, decode_head
from shuiqiao.ledger.store.lmdb_file import IndexUnreadable, open_environment

PAGE = 4096


@pytest.fixture
def folder(tmp_path):
    """An environment of some hundred pages, with values that take pages of their own."""
    with lmdb.open(str(tmp_path / "env"), map_size=1 << 26, max_dbs=2) as env:
        for table in (b"a", b"b"):
            db = env.open_db(table)
            with env.begin(write=True) as writer:
                for number in range(300):
                    writer.put(b"%d" % number, bytes(number * 20), db=db)
    return tmp_path / "env"


def opened(folder, **options):
    """Open an environment and close it; return the number of its last page."""
    with open_environment(folder, max_dbs=4, map_size=1 << 26, **options) as environment:
        return environment.info()["last_pgno"]


def test_a_sound_file_is_opened(folder, tmp_path):  # [STORE-29]
    opened(folder, readonly=True)
    opened(folder)
    opened(tmp_path / "new")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "data.mdb").touch()
    opened(tmp_path / "empty")


def test_a_file_need_not_hold_a_last_page_that_was_never_used(tmp_path):  # [STORE-29]
    with lmdb.open(str(tmp_path), map_size=1 << 26, max_dbs=1) as env:
        db = env.open_db(b"a")
        for _ in range(2):
            with env.begin(write=True) as writer:
                writer.put(b"000", bytes(50), db=db)
        with env.begin(write=True) as writer:
            for number in range(300):
                writer.put(b"%03d" % number, bytes(50), db=db)
            for number in reversed(range(150, 300)):
                writer.delete(b"%03d" % number, db=db)
    assert (tmp_path / "data.mdb").stat().st_size <= opened(tmp_path) * PAGE


@pytest.mark.parametrize("seed", range(12))
def test_whatever_lmdb_writes_is_sound(tmp_path, seed):  # [STORE-29]
    source, held = random.Random(seed), []
    most, longest = source.choice([4, 30, 400]), source.choice([0, 60, 3_000, 20_000])
    with lmdb.open(str(tmp_path / "env"), map_size=1 << 28, max_dbs=4, sync=False) as env:
        tables = [env.open_db(name) for name in (b"a", b"b", b"c")]
        for _ in range(12):
            if source.random() < 0.3:
                # While it reads, pages that are let go are not used again.
                held.append(env.begin())
            with env.begin(write=True) as writer:
                for _ in range(source.randrange(1, 200)):
                    table, key = source.choice(tables), source.randbytes(source.randrange(1, most))
                    if source.random() < 0.6:
                        writer.put(key, source.randbytes(source.randrange(longest + 1)), db=table)
                        continue
                    with writer.cursor(db=table) as cursor:
                        cursor.set_range(key)
                        while source.random() < 0.9 and cursor.delete():
                            pass
                if source.random() < 0.05:
                    writer.drop(source.choice(tables), delete=False)
        for reader in held:
            reader.abort()
        (tmp_path / "copy").mkdir()
        env.copy(str(tmp_path / "copy"), compact=True)
    for folder in (tmp_path / "env", tmp_path / "copy"):
        opened(folder, readonly=True)


@pytest.mark.parametrize("kept", [100, 1_000, PAGE, PAGE + 100, 2 * PAGE, -20 * PAGE])
def test_a_file_cut_anywhere_is_not_opened(folder, kept):  # [STORE-29]
    path = folder / "data.mdb"
    os.truncate(path, kept if kept > 0 else path.stat().st_size + kept)
    with pytest.raises(lmdb.Error):
        opened(folder)


@pytest.mark.parametrize("at", [16, 40, 44, 45, PAGE + 16, PAGE + 41, PAGE + 44])
def test_a_file_whose_meta_pages_are_none_is_not_opened(folder, at):  # [STORE-29]
    data = bytearray((folder / "data.mdb").read_bytes())
    data[at : at + 4] = b"\xff\xff\xff\xff"
    (folder / "data.mdb").write_bytes(data)
    with pytest.raises(lmdb.Error):
        opened(folder)


@pytest.mark.parametrize(
    ("good", "bad", "words"),
    [
        (struct.pack("<HHHH", 48, 0, 2, 1) + b"b", struct.pack("<HHHH", 48, 0, 2, 1) + b"a", "the tables are"),
        (struct.pack("<HHQ", 0, 8, 3), struct.pack("<HHQ", 0, 8, 99), "lists of free pages are"),
    ],
    ids=["a table twice", "free pages of a time to come"],
)
def test_what_lmdb_would_write_wrong_is_not_opened(folder, good, bad, words):  # [STORE-29]
    data = (folder / "data.mdb").read_bytes()
    assert good in data
    (folder / "data.mdb").write_bytes(data.replace(good, bad))
    with pytest.raises(lmdb.CorruptedError, match=f"{words} out of order"):
        opened(folder)


@pytest.mark.parametrize("of", [IndexReader, lambda folder: Index(folder, map_bytes=1 << 26, disk=Disk())])
def test_an_index_that_was_cut_is_not_opened(folder, of):  # [STORE-29]
    os.truncate(folder / "data.mdb", 20 * PAGE)
    with pytest.raises(IndexUnreadable, match="it leads out of the file"):
        of(folder)


@pytest.mark.parametrize("read", [lambda data: decode_block(1, data), lambda data: decode_epoch(1, data)])
@pytest.mark.parametrize("data", [b"", b"\x00" * 7, b"\xa1", b"\xa1\x65epoch\x40", b"\xff" * 50])
def test_a_record_that_cannot_be_read_is_told_so(read, data):  # [STORE-29]
    with pytest.raises(IntegrityError) as raised:
        read(data)
    assert raised.value.code == "ledger.index_damaged"


def test_a_head_that_memory_is_missing_for_is_not_called_damaged(monkeypatch):
    def fail(*_arguments):
        raise MemoryError

    monkeypatch.setattr(cbor2, "loads", fail)
    with pytest.raises(MemoryError):
        decode_head(bytes(100))
