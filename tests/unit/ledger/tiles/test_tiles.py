"""[TILE-1] to [TILE-5]: static files that prove their checkpoint, written once, continued after any interruption."""

from __future__ import annotations

import shutil
from bisect import bisect_right
from dataclasses import replace
from pathlib import Path

import pytest

from shuiqiao.base.durable import Disk
from shuiqiao.base.errors import IntegrityError, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.ledger.log.tree import Frontier, inclusion_path, leaf_hash, verify_inclusion
from shuiqiao.ledger.model import Block
from shuiqiao.ledger.tiles.paths import ENTRIES, MAX_ENTRY_BYTES, TileId, hashes_at, levels_of, tiles_between
from shuiqiao.ledger.tiles.publishing import TileWriter, leaves_of_blocks
from shuiqiao.ledger.tiles.reader import FolderTiles, PublishedLog


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


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (TileId(level=0, index=0), "tile/0/000"),
        (TileId(level=0, index=999), "tile/0/999"),
        (TileId(level=1, index=1000), "tile/1/x001/000"),
        (TileId(level=2, index=1_234_067), "tile/2/x001/x234/067"),
        (TileId(level=6, index=1_000_000_000), "tile/6/x001/x000/x000/000"),
        (TileId(level=0, index=5, width=1), "tile/0/005.p/1"),
        (TileId(level=ENTRIES, index=1_234_067, width=255), "tile/entries/x001/x234/067.p/255"),
    ],
)
def test_paths_are_those_of_the_specification(tile, path):
    """[TILE-1]"""
    assert path == tile.path


def test_the_tiles_of_a_log_of_seventy_thousand():
    """The example of c2sp.org/tlog-tiles."""
    found = {level: [tile.width for tile in tiles_between(0, 70_000, level=level)] for level in levels_of(70_000)}
    assert {0: [256] * 273 + [112], 1: [256, 17], 2: [1]} == found
    assert {0: [256], 1: [1]} == {
        level: [tile.width for tile in tiles_between(0, 256, level=level)] for level in levels_of(256)
    }
    assert [] == list(levels_of(0))
    assert 7 == len(list(levels_of(2**53 - 1)))
    assert [] == list(tiles_between(300, 300, level=0))
    assert [] == list(tiles_between(300, 310, level=1))
    assert 1 == hashes_at(1, size=300)


@pytest.mark.parametrize("sizes", [(0,), (1,), (256,), (257,), (700,), (1, 2, 255, 256, 257, 511, 512, 700), (3, 3, 3)])
def test_what_is_published_proves_itself(log, tmp_path, sizes):
    """[TILE-2] [TILE-3] [TILE-5]"""
    for size in sizes:
        publish(log, tmp_path / "log", size)
    published, size = opened(log, tmp_path / "log"), sizes[-1]
    assert size == published.verify_all()
    assert log.leaves[:size] == list(published.entries())
    for index in {0, size // 3, size - 1} if size else ():
        assert log.leaves[index] == published.entry(index)
        verify_inclusion(
            leaf_hash=leaf_hash(log.leaves[index], hash_name=log.suite.hash_name),
            index=index,
            size=size,
            path=published.inclusion_proof(index),
            root=log.checkpoint(size).root,
            hash_name=log.suite.hash_name,
        )
    for old in {0, *sizes}:
        assert log.proof(old, size) == published.consistency_proof(log.checkpoint(old))
    for index in (-1, size):
        assert code_of(lambda index=index: published.entry(index)) == "ledger.index_unknown"
        assert code_of(lambda index=index: published.inclusion_proof(index)) == "ledger.index_unknown"


def test_exactly_the_needed_files_are_there(log, tmp_path):
    """[TILE-2]: partial copies go when the tile is full, those of its last widths stay until then."""
    folder = tmp_path / "log"
    for size in (100, 255):
        publish(log, folder, size)
    parts = {f"tile/{level}/000.p/{width}" for level in ("0", "entries") for width in (100, 255)}
    assert {"checkpoint", *parts} == files(folder)
    publish(log, folder, 256)
    full = {"checkpoint", "tile/0/000", "tile/entries/000", "tile/1/000.p/1"}
    assert full == files(folder)
    publish(log, folder, 700)
    assert {*full, "tile/1/000.p/2"} | {
        f"tile/{level}/{name}" for level in ("0", "entries") for name in ("000", "001", "002.p/188")
    } == files(folder)


def test_a_reader_of_an_older_checkpoint_falls_back_to_the_full_tile(log, tmp_path):
    folder = tmp_path / "log"
    publish(log, folder, 100)
    before = opened(log, folder)
    publish(log, folder, 700)
    assert 100 == before.verify_all()
    assert log.leaves[99] == before.entry(99)


def test_full_files_are_never_touched_again(log, tmp_path):
    """[TILE-3]"""
    folder = tmp_path / "log"
    publish(log, folder, 300)
    before = {path: (folder / path).stat().st_ino for path in ("tile/0/000", "tile/entries/000", "tile/1/000.p/1")}
    publish(log, folder, 700)
    assert before == {path: (folder / path).stat().st_ino for path in before if (folder / path).exists()} | {
        "tile/1/000.p/1": before["tile/1/000.p/1"]
    }


def test_another_history_is_not_published_over_the_first(log, tmp_path):
    """[TILE-3] [TILE-4]"""
    folder = tmp_path / "log"
    publish(log, folder, 300)
    other = log.forked(299)
    assert code_of(lambda: publish(other, folder, 300)) == "ledger.tile_contradicted"
    assert code_of(lambda: publish(other, folder, 700)) == "ledger.tile_contradicted"
    assert code_of(lambda: publish(log, folder, 299)) == "ledger.tile_checkpoint_older"
    wrong = replace(log.checkpoint(700), root=bytes(32))
    assert (
        code_of(lambda: writer(log, folder).publish(wrong, reader=log.reader, leaves=leaves_of(log)))
        == "ledger.tile_contradicted"
    )
    assert 300 == opened(log, folder).verify_all()
    # What a stranger put where a tile belongs is not overwritten either.
    (folder / "tile/0/001").write_bytes(b"another file")
    assert code_of(lambda: publish(log, folder, 700)) == "ledger.tile_contradicted"


def test_leaves_that_are_not_the_logs_are_not_published(log, tmp_path):
    folder = tmp_path / "log"
    cases = {
        "other": lambda start, end: [b"x", *log.leaves[start + 1 : end]],
        "fewer": lambda start, end: log.leaves[start : end - 1],
        "more": lambda start, end: log.leaves[start : end + 1],
    }
    for leaves in cases.values():
        with pytest.raises((IntegrityError, IndexError)):
            writer(log, folder).publish(log.checkpoint(300), reader=log.reader, leaves=leaves)
    assert not (folder / "checkpoint").exists()
    publish(log, folder, 300)


def test_an_entry_longer_than_its_length_field_is_refused(intl_log, tmp_path):
    intl_log.leaves = [bytes(MAX_ENTRY_BYTES), bytes(MAX_ENTRY_BYTES + 1)]
    publish(intl_log, tmp_path / "log", 1)
    assert intl_log.leaves[0] == opened(intl_log, tmp_path / "log").entry(0)
    with pytest.raises(InvalidInput, match="tile_entry_too_large"):
        publish(intl_log, tmp_path / "log", 2)


def test_empty_entries_are_entries(intl_log, tmp_path):
    intl_log.leaves = [b"", b"a", b""]
    publish(intl_log, tmp_path / "log", 3)
    assert [b"", b"a", b""] == list(opened(intl_log, tmp_path / "log").entries())
    assert 3 == opened(intl_log, tmp_path / "log").verify_all()


class Stop(Exception):
    """The process ends here."""


class DyingDisk(Disk):
    """Ends the writer at its n-th act, before or after that had its effect."""

    def __init__(self, number: int, *, after: bool) -> None:
        self.left = number
        self.after = after

    def _act(self, act):
        self.left -= 1
        if self.left == 0 and not self.after:
            raise Stop
        act()
        if self.left == 0:
            raise Stop

    def append(self, descriptor, data):
        self._act(lambda: super(DyingDisk, self).append(descriptor, data[: len(data) // 2] if self.left == 1 else data))

    def sync(self, descriptor):
        self._act(lambda: super(DyingDisk, self).sync(descriptor))

    def sync_folder(self, folder):
        self._act(lambda: super(DyingDisk, self).sync_folder(folder))


@pytest.mark.parametrize("after", [False, True])
def test_a_writer_that_ends_anywhere_is_continued(intl_log, tmp_path, after):
    """[TILE-4]: at every act on the disk, before and after it."""
    base = tmp_path / "base"
    publish(intl_log, base, 300)
    for number in range(1, 200):
        folder = tmp_path / f"log-{number}"
        shutil.copytree(base, folder)
        try:
            publish(intl_log, folder, 600, disk=DyingDisk(number, after=after))
        except Stop:
            # Whatever is there proves the checkpoint that is there.
            assert opened(intl_log, folder).verify_all() in {300, 600}
            publish(intl_log, folder, 700)
            assert intl_log.leaves == list(opened(intl_log, folder).entries())
            assert 700 == opened(intl_log, folder).verify_all()
        else:
            break
    assert 15 < number < 100


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


@pytest.mark.parametrize("counts", [[1], [3, 1, 250, 40, 1, 1, 299]])
def test_leaves_are_read_from_blocks(counts):
    blocks: list[Block] = []
    flat: list[bytes] = []
    for height, count in enumerate(counts, start=1):
        transactions = tuple(b"tx %d %d" % (height, number) for number in range(count))
        entry = b"entry %d" % height
        blocks.append(
            Block(height=height, time_ms=height, first_index=len(flat), transactions=transactions, entry=entry)
        )
        flat += [*transactions, entry]
    reads: list[int] = []

    def read(height):
        for block in blocks[height - 1 :]:
            reads.append(block.height)
            yield block

    starts = [block.first_index for block in blocks]
    leaves = leaves_of_blocks(read, height_of=lambda index: bisect_right(starts, index))
    for start in range(0, len(flat), 7):
        for end in (start, start + 1, len(flat)):
            assert flat[start:end] == list(leaves(start, end))
    reads.clear()
    list(leaves(0, 1))
    assert reads == [1]


def test_frontier_and_tiles_agree_on_the_root(log, tmp_path):
    publish(log, tmp_path / "log", 700)
    published = opened(log, tmp_path / "log")
    for size in (1, 255, 256, 511, 700):
        frontier = Frontier.from_reader(published, size=size, hash_name=log.suite.hash_name)
        assert log.checkpoint(size).root == frontier.root()


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


def test_files_of_another_log_are_left_alone(log, tmp_path):
    """[TILE-4]"""
    folder = tmp_path / "log"
    publish(log, folder, 300)
    before = {path: (folder / path).read_bytes() for path in files(folder)}
    foreign = replace(log.checkpoint(300), origin="example.com/another")
    act = lambda: writer(log, folder).publish(foreign, reader=log.reader, leaves=leaves_of(log))  # noqa: E731
    assert code_of(act) == "ledger.tile_foreign"
    assert before == {path: (folder / path).read_bytes() for path in files(folder)}


def test_two_do_not_publish_at_once(log, tmp_path):
    folder = tmp_path / "log"
    one, other = writer(log, folder), writer(log, folder)
    codes = []

    def leaves(start, end):
        codes.append(code_of(lambda: other.publish(log.checkpoint(300), reader=log.reader, leaves=leaves_of(log))))
        return log.leaves[start:end]

    # 300 leaves: two bundles, two tiles of level 0, one of level 1.
    assert one.publish(log.checkpoint(300), reader=log.reader, leaves=leaves) == 5
    assert codes == ["ledger.tile_busy"] * 2
    assert other.publish(log.checkpoint(300), reader=log.reader, leaves=leaves_of(log)) == 0
    assert {"checkpoint", *(path for path in files(folder) if path.startswith("tile/"))} == files(folder)
