"""Reading a published log: any changed byte is found, and a log signed with stolen keys is told [LEDGER-RECEIPT-7]."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from shuiqiao.base.errors import IntegrityError, ShuiqiaoError, Unavailable
from shuiqiao.ledger.checkpoints.signed_note import read_checkpoint
from shuiqiao.ledger.log.tree import inclusion_path
from shuiqiao.ledger.tiles.publishing import TileWriter
from shuiqiao.ledger.tiles.reader import FolderTiles, PublishedLog, verify_pinned

SIZES = (0, 1, 3, 256, 300, 511, 512, 700)


def published(log, folder, *, size=700):
    folder.mkdir()
    TileWriter(folder, hash_name=log.suite.hash_name).publish(
        log.checkpoint(size), reader=log.reader, leaves=lambda start, end: log.leaves[start:end]
    )
    return FolderTiles(folder)


def refusal(log, checkpoint, pinned, tiles):
    with pytest.raises(ShuiqiaoError) as caught:
        verify_pinned(checkpoint, pinned=pinned, tiles=tiles, suite=log.suite)
    return caught.value.code


def test_checkpoints_of_one_history_agree_whichever_is_the_newer(log, tmp_path):
    tiles = published(log, tmp_path / "tiles")
    for first in SIZES:
        for second in SIZES:
            verify_pinned(log.checkpoint(first), pinned=log.checkpoint(second), tiles=tiles, suite=log.suite)


def test_another_history_is_told_whatever_the_files_say(log, tmp_path):
    fork = log.forked(100)
    for number, owner in enumerate((log, fork)):
        tiles = published(owner, tmp_path / f"tiles{number}")
        for mine, known in ((300, 511), (511, 300), (300, 300)):
            code = refusal(log, fork.checkpoint(mine), log.checkpoint(known), tiles)
            assert code == "ledger.pin_contradicted"
    # Before they parted they are one.
    verify_pinned(fork.checkpoint(90), pinned=log.checkpoint(90), tiles=None, suite=log.suite)


def test_what_cannot_be_shown_is_said(intl_log, tmp_path):
    log = intl_log
    tiles = published(log, tmp_path / "tiles", size=300)
    assert refusal(log, log.checkpoint(300), log.checkpoint(256), None) == "ledger.pin_unproven"
    assert refusal(log, log.checkpoint(512), log.checkpoint(256), tiles) == "ledger.tile_missing"
    assert refusal(log, log.checkpoint(300), log.checkpoint(256), FolderTiles(tmp_path)) == "ledger.tile_missing"
    foreign = replace(log.checkpoint(300), origin="shuiqiao/elsewhere")
    assert refusal(log, log.checkpoint(300), foreign, tiles) == "ledger.pin_foreign"
    with pytest.raises(ShuiqiaoError, match="checkpoint_malformed"):
        read_checkpoint(b"no note")
    assert log.checkpoint(300) == read_checkpoint(log.checkpoint(300).note)


def writer(log, folder, **more):
    folder.mkdir(exist_ok=True)
    return TileWriter(folder, hash_name=log.suite.hash_name, **more)


def publish(log, folder, size, **more):
    writer(log, folder, **more).publish(log.checkpoint(size), reader=log.reader, leaves=leaves_of(log))


def leaves_of(log):
    return lambda start, end: log.leaves[start:end]


def opened(log, folder):
    return PublishedLog.open(FolderTiles(folder), policy=log.policy(quorum=0), suite=log.suite)


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def code_of(act) -> str:
    with pytest.raises(ShuiqiaoError) as caught:
        act()
    return caught.value.code


def test_a_reader_of_an_older_checkpoint_falls_back_to_the_full_tile(log, tmp_path):
    folder = tmp_path / "log"
    publish(log, folder, 100)
    before = opened(log, folder)
    publish(log, folder, 700)
    assert 100 == before.verify_all()
    assert log.leaves[99] == before.entry(99)


def test_every_changed_byte_of_every_file_is_found(log, tmp_path):
    """[TILE-5]"""
    folder = tmp_path / "log"
    log.leaves = log.leaves[:300]
    publish(log, folder, 300)
    for name in sorted(files(folder)):
        path = folder / name
        data = path.read_bytes()
        step = max(1, len(data) // 25)
        for at in range(0, len(data), step):
            path.write_bytes(data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1 :])
            assert code_of(lambda: opened(log, folder).verify_all()).startswith("ledger."), (name, at)
        for other in (b"", data[:-1], data + b"\x00", data + data):
            path.write_bytes(other)
            assert code_of(lambda: opened(log, folder).verify_all()).startswith("ledger."), name
        path.unlink()
        assert code_of(lambda: opened(log, folder).verify_all()) == "ledger.tile_missing", name
        path.write_bytes(data)
    assert 300 == opened(log, folder).verify_all()


def test_a_proof_from_altered_tiles_is_not_handed_out(log, tmp_path):
    """[TILE-5]"""
    folder = tmp_path / "log"
    publish(log, folder, 700)
    other = tmp_path / "other"
    publish(log.forked(400), other, 700)
    for name in ("tile/0/001", "tile/1/000.p/2", "tile/0/002.p/188"):
        saved = (folder / name).read_bytes()
        (folder / name).write_bytes((other / name).read_bytes())
        # A proof that passes the altered file is refused, one that does not need it is the true one.
        refused: list[str] = []
        for at in (0, 256, 399, 699):
            try:
                path = opened(log, folder).inclusion_proof(at)
            except IntegrityError as error:
                refused.append(error.code)
            else:
                assert inclusion_path(log.reader, index=at, size=700, hash_name=log.suite.hash_name) == path
        assert {"ledger.inclusion_broken"} == set(refused), name
        (folder / name).write_bytes(saved)
    name = "tile/entries/001"
    (folder / name).write_bytes((other / name).read_bytes())
    assert code_of(lambda: opened(log, folder).entry(400)) == "ledger.inclusion_broken"
    assert log.leaves[399] == opened(log, folder).entry(399)


def test_a_checkpoint_without_its_quorum_opens_nothing(log, tmp_path):
    folder = tmp_path / "log"
    publish(log, folder, 300)
    with pytest.raises(IntegrityError, match="quorum_missing"):
        PublishedLog.open(FolderTiles(folder), policy=log.policy(quorum=1), suite=log.suite)
    with pytest.raises(Unavailable, match="tile_missing"):
        PublishedLog.open(FolderTiles(tmp_path / "nowhere"), policy=log.policy(), suite=log.suite)


def test_oversized_files_are_not_read_whole(intl_log, tmp_path):
    folder = tmp_path / "log"
    publish(intl_log, folder, 300)
    asked: list[tuple[str, int]] = []

    class Endless:
        def get(self, path, *, max_bytes):
            asked.append((path, max_bytes))
            if path == "checkpoint":
                return (folder / path).read_bytes()
            return bytes(max_bytes + 1)

    log = PublishedLog.open(Endless(), policy=intl_log.policy(quorum=0), suite=intl_log.suite)
    for act in (log.verify_all, lambda: log.inclusion_proof(0), lambda: log.entry(0)):
        assert code_of(act) == "ledger.tile_malformed"
    assert {"checkpoint": 16_384, "tile/0/000": 8192, "tile/entries/000": 256 * 65_537} == dict(asked)


def test_a_source_may_be_anything_with_get(log, tmp_path):
    publish(log, tmp_path / "log", 300)
    held = {name: (tmp_path / "log" / name).read_bytes() for name in files(tmp_path / "log")}

    class Held:
        def get(self, path, *, max_bytes):
            data = held.get(path)
            return None if data is None else data[: max_bytes + 1]

    assert 300 == PublishedLog.open(Held(), policy=log.policy(quorum=0), suite=log.suite).verify_all()
    folders: list[Path] = [tmp_path / "log" / "tile"]
    assert FolderTiles(tmp_path).get(folders[0].name, max_bytes=1) is None


def test_files_of_another_history_do_not_prove_this_checkpoint(log, tmp_path):
    """[TILE-5]: entries and tiles agree with each other, and not with what was signed."""
    publish(log, tmp_path / "log", 300)
    publish(log.forked(299), tmp_path / "other", 300)
    (tmp_path / "other" / "checkpoint").write_bytes((tmp_path / "log" / "checkpoint").read_bytes())
    assert code_of(lambda: opened(log, tmp_path / "other").verify_all()) == "ledger.tile_contradicted"
