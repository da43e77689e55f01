"""Static files of a log: written once, continued after any interruption, and proof of their checkpoint."""

from __future__ import annotations

import shutil
from bisect import bisect_right
from dataclasses import replace

import pytest

from shuiqiao.base.durable import Disk
from shuiqiao.base.errors import IntegrityError, InvalidInput, ShuiqiaoError
from shuiqiao.ledger.log.tree import Frontier, leaf_hash, verify_inclusion
from shuiqiao.ledger.model import Block
from shuiqiao.ledger.tiles.paths import MAX_ENTRY_BYTES
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
