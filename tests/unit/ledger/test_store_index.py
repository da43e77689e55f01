"""The ledger's index as a file: cut short or damaged it is told so, and never ends the process."""

from __future__ import annotations

import os

import cbor2
import lmdb
import pytest

from shuiqiao.base.errors import IntegrityError
from shuiqiao.ledger.store.disk import PosixDisk
from shuiqiao.ledger.store.index import Index
from shuiqiao.ledger.store.index_reader import IndexReader
from shuiqiao.ledger.store.index_record import IndexUnreadable, decode_block, decode_epoch, decode_head
from shuiqiao.ledger.store.lmdb_file import require_whole

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


def test_a_file_that_holds_its_pages_is_whole(folder, tmp_path):  # [STORE-29]
    require_whole(folder)
    require_whole(tmp_path)
    (tmp_path / "data.mdb").touch()
    require_whole(tmp_path)


@pytest.mark.parametrize("kept", [100, 1_000, PAGE, PAGE + 100, 2 * PAGE, -PAGE, -1])
def test_a_file_cut_anywhere_is_not(folder, kept):  # [STORE-29]
    path = folder / "data.mdb"
    os.truncate(path, kept if kept > 0 else path.stat().st_size + kept)
    with pytest.raises(lmdb.Error):
        require_whole(folder)


@pytest.mark.parametrize("at", [16, 40, PAGE + 16])
def test_a_file_whose_meta_pages_are_none_is_not(folder, at):  # [STORE-29]
    data = bytearray((folder / "data.mdb").read_bytes())
    data[at : at + 4] = b"\xff\xff\xff\xff"
    (folder / "data.mdb").write_bytes(data)
    with pytest.raises(lmdb.Error):
        require_whole(folder)


@pytest.mark.parametrize("of", [IndexReader, lambda folder: Index(folder, map_bytes=1 << 26, disk=PosixDisk())])
def test_an_index_that_was_cut_is_not_opened(folder, of):  # [STORE-29]
    os.truncate(folder / "data.mdb", 20 * PAGE)
    with pytest.raises(IndexUnreadable, match="cut short"):
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
