"""Segment files: format, chaining, rotation, and the line between a torn tail and damage (docs/spec/ledger-store.md)."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest

from shuiqiao.base.durable import Disk
from shuiqiao.base.errors import IntegrityError, Unavailable
from shuiqiao.ledger.store.frame import (
    FRAME_HEAD_BYTES,
    MAX_FRAME_BODY_BYTES,
    SEGMENT_HEADER_BYTES,
    Broken,
    Damage,
    Frame,
    SegmentHeader,
    StoredFrame,
    decode_frame,
    decode_frame_head,
    decode_segment_header,
    encode_frame,
    encode_segment_header,
    locate_item,
)
from shuiqiao.ledger.store.recovery import recover
from shuiqiao.ledger.store.segments import SegmentFiles

NETWORK = bytes(range(32))
PREVIOUS = b"p" * 32
BLOCKS = [([b"one", b"two" * 50], b"entry-1"), ([b"x" * 300], b"entry-2"), ([b"", b"yy"], b"entry-3")]


class FailingDisk(Disk):
    """A real disk on which one named act fails from a moment on; ``kept`` bytes of a failed write stay."""

    def __init__(self) -> None:
        self.failing: dict[str, int] = {}
        self.kept = 0

    def _meet(self, act: str) -> None:
        if act in self.failing:
            raise OSError(self.failing[act], "injected")

    def append(self, descriptor: int, data: bytes) -> None:
        if "append" in self.failing:
            super().append(descriptor, data[: self.kept])
        self._meet("append")
        super().append(descriptor, data)

    def sync(self, descriptor: int) -> None:
        self._meet("sync")
        super().sync(descriptor)

    def truncate(self, descriptor: int, length: int) -> None:
        self._meet("truncate")
        super().truncate(descriptor, length)


def open_files(folder: Path, *, disk: Disk | None = None, max_segment_bytes: int = 1 << 20) -> SegmentFiles:
    folder.mkdir(exist_ok=True)
    return SegmentFiles(
        folder, network=NETWORK, hash_name="sha256", disk=disk or Disk(), max_segment_bytes=max_segment_bytes
    )


def reopen(folder: Path, *, acknowledged_size: int = 0) -> tuple[SegmentFiles, list[StoredFrame], int]:
    """Recover without an index; return the files, the frames found and how many bytes were cut."""
    files = open_files(folder)
    frames: list[StoredFrame] = []
    found = recover(files, head=None, acknowledged_size=acknowledged_size, hash_name="sha256", replay=frames.append)
    return files, frames, found.cut.removed_bytes if found.cut else 0


def write_blocks(folder: Path, *, max_segment_bytes: int = 1 << 20) -> list[StoredFrame]:
    files = open_files(folder, max_segment_bytes=max_segment_bytes)
    stored = [files.append(transactions, entry=entry) for transactions, entry in BLOCKS]
    files.close()
    return stored


def items(frames: list[StoredFrame]) -> list[tuple[list[bytes], bytes]]:
    return [(list(found.frame.transactions), found.frame.entry) for found in frames]


@pytest.mark.parametrize("hash_name", ["sha256", "sm3"])
def test_header_and_frame_round_trip(hash_name: str) -> None:
    """Sections 2 and 3 [STORE-5]."""
    header = encode_segment_header(
        network=NETWORK, first_height=7, first_index=90, previous=PREVIOUS, hash_name=hash_name
    )
    decoded = decode_segment_header(header, hash_name=hash_name)
    assert isinstance(decoded, SegmentHeader)
    assert (decoded.network, decoded.first_height, decoded.first_index, decoded.previous) == (NETWORK, 7, 90, PREVIOUS)
    data, digest = encode_frame(
        [b"a", b"", b"ccc"], entry=b"e", height=7, first_index=90, previous=PREVIOUS, hash_name=hash_name
    )
    frame = decode_frame(data, hash_name=hash_name)
    assert isinstance(frame, Frame)
    assert ((b"a", b"", b"ccc"), b"e", digest, len(data)) == (
        frame.transactions,
        frame.entry,
        frame.digest,
        frame.frame_bytes,
    )


def test_every_flipped_bit_of_header_and_frame_is_seen() -> None:
    """[STORE-6]."""
    header = encode_segment_header(
        network=NETWORK, first_height=1, first_index=0, previous=PREVIOUS, hash_name="sha256"
    )
    for bit in range(len(header) * 8):
        assert isinstance(decode_segment_header(flip(header, bit), hash_name="sha256"), Damage)
    data, _ = encode_frame([b"abc"], entry=b"e", height=1, first_index=0, previous=PREVIOUS, hash_name="sha256")
    for bit in range(len(data) * 8):
        assert isinstance(decode_frame(flip(data, bit), hash_name="sha256"), Damage)


def flip(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_a_head_beyond_the_limits_is_refused_before_anything_is_read() -> None:
    """[STORE-7]."""
    data, _ = encode_frame([b"abc"], entry=b"e", height=1, first_index=0, previous=PREVIOUS, hash_name="sha256")
    huge = data[:28] + (MAX_FRAME_BODY_BYTES + 1).to_bytes(4, "big") + data[32:]
    assert isinstance(decode_frame_head(huge), Damage)
    with pytest.raises(ValueError, match="beyond the format's limits"):
        encode_frame([b""] * 70_000, entry=b"", height=1, first_index=0, previous=PREVIOUS, hash_name="sha256")


def test_one_item_is_found_without_the_others() -> None:
    data, _ = encode_frame(
        [b"abc", b"defgh"], entry=b"entry", height=1, first_index=0, previous=PREVIOUS, hash_name="sha256"
    )
    spans = [locate_item(data, position=position) for position in range(3)]
    assert [data[start : start + length] for start, length in spans] == [b"abc", b"defgh", b"entry"]


def test_appended_blocks_are_read_again_across_segments(tmp_path: Path) -> None:
    """[STORE-2], [STORE-9]."""
    stored = write_blocks(tmp_path / "s", max_segment_bytes=400)
    files, frames, removed = reopen(tmp_path / "s")
    assert (files.segments(), removed) == ([1, 3], 0)
    assert items(frames) == BLOCKS
    assert stored[-1].frame.digest == files.tail.digest
    assert files.read_item(stored[-1].place, 1) == b"yy"
    assert files.read_item(stored[-1].place, 2) == b"entry-3"
    again = files.append([b"more"], entry=b"entry-4")
    assert (again.frame.height, again.frame.first_index) == (4, 8)
    assert [*BLOCKS, ([b"more"], b"entry-4")] == items(reopen(tmp_path / "s")[1])


def test_a_tail_torn_at_any_byte_of_the_last_frame_is_cut(tmp_path: Path) -> None:
    """[STORE-11], [STORE-12]."""
    stored = write_blocks(tmp_path / "s")
    last = stored[-1].place
    for kept in range(1, last.frame_bytes):
        copy = tmp_path / f"cut-{kept}"
        shutil.copytree(tmp_path / "s", copy)
        segment = copy / f"{1:020d}.segment"
        with segment.open("r+b") as file:
            file.truncate(last.offset + kept)
        _, frames, removed = reopen(copy)
        assert (BLOCKS[:2], kept) == (items(frames), removed)
        assert last.offset == segment.stat().st_size


def test_a_tail_whose_pages_were_not_all_written_is_cut(tmp_path: Path) -> None:
    """After a power cut a file may have its length and zeros where its last pages should be."""
    stored = write_blocks(tmp_path / "s")
    last = stored[-1].place
    for start in range(0, last.frame_bytes, 7):
        copy = tmp_path / f"hole-{start}"
        shutil.copytree(tmp_path / "s", copy)
        with (copy / f"{1:020d}.segment").open("r+b") as file:
            file.seek(last.offset + start)
            file.write(bytes(last.frame_bytes - start))
        assert BLOCKS[:2] == items(reopen(copy)[1])


def test_damage_before_the_last_frame_is_named_and_never_cut(tmp_path: Path) -> None:
    stored = write_blocks(tmp_path / "s")
    whole = (tmp_path / "s" / f"{1:020d}.segment").read_bytes()
    for at in range(stored[2].place.offset):
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        segment = copy / f"{1:020d}.segment"
        damaged = flip(whole, at * 8)
        segment.write_bytes(damaged)
        with pytest.raises(IntegrityError) as caught:
            reopen(copy)
        assert caught.value.code == "ledger.segment_damaged"
        assert str(segment) in caught.value.message
        assert damaged == segment.read_bytes()


def test_a_tail_under_a_signed_checkpoint_is_never_cut(tmp_path: Path) -> None:
    stored = write_blocks(tmp_path / "s")
    segment = tmp_path / "s" / f"{1:020d}.segment"
    with segment.open("r+b") as file:
        file.truncate(stored[-1].place.end - 1)
    with pytest.raises(IntegrityError) as caught:
        reopen(tmp_path / "s", acknowledged_size=8)
    assert caught.value.code == "ledger.segment_damaged"
    assert stored[-1].place.end - 1 == segment.stat().st_size
    assert BLOCKS[:2] == items(reopen(tmp_path / "s", acknowledged_size=5)[1])


def test_missing_blocks_under_a_signed_checkpoint_are_named(tmp_path: Path) -> None:
    stored = write_blocks(tmp_path / "s")
    with (tmp_path / "s" / f"{1:020d}.segment").open("r+b") as file:
        file.truncate(stored[-1].place.offset)
    with pytest.raises(IntegrityError) as caught:
        reopen(tmp_path / "s", acknowledged_size=8)
    assert caught.value.code == "ledger.segments_behind"


def test_a_segment_torn_inside_its_header_is_removed(tmp_path: Path) -> None:
    write_blocks(tmp_path / "s", max_segment_bytes=400)
    header = (tmp_path / "s" / f"{3:020d}.segment").read_bytes()[:SEGMENT_HEADER_BYTES]
    for kept in range(SEGMENT_HEADER_BYTES):
        copy = tmp_path / f"copy-{kept}"
        shutil.copytree(tmp_path / "s", copy)
        (copy / f"{3:020d}.segment").write_bytes(header[:kept])
        files, frames, _ = reopen(copy)
        assert ([1], BLOCKS[:2]) == (files.segments(), items(frames))
        files.append(*[BLOCKS[2][0]], entry=BLOCKS[2][1])
        assert items(reopen(copy)[1]) == BLOCKS


@pytest.mark.parametrize("number", [0, 1])
def test_a_first_frame_of_a_segment_torn_at_any_byte_is_cut(tmp_path: Path, number: int) -> None:
    """[STORE-11]: of the very first segment, and of the second, which begins with the third block."""
    write_blocks(tmp_path / "s", max_segment_bytes=400)
    segments = sorted((tmp_path / "s").glob("*.segment"))
    kept_blocks, last = (0, 2)[number], segments[number]
    whole = last.read_bytes()
    first = decode_frame_head(whole[SEGMENT_HEADER_BYTES:])
    assert not isinstance(first, Damage)
    for kept in range(1, first.frame_bytes):
        (part := tmp_path / f"part-{kept}").mkdir()
        for before in segments[:number]:
            shutil.copy(before, part)
        (part / last.name).write_bytes(whole[: SEGMENT_HEADER_BYTES + kept])
        files, frames, removed = reopen(part)
        assert (BLOCKS[:kept_blocks], kept) == (items(frames), removed)
        for transactions, entry in BLOCKS[kept_blocks:]:
            files.append(transactions, entry=entry)
        files.close()
        assert BLOCKS == items(reopen(part)[1])


def test_a_new_segment_without_a_frame_is_gone_on_with(tmp_path: Path) -> None:
    write_blocks(tmp_path / "s", max_segment_bytes=400)
    with (tmp_path / "s" / f"{3:020d}.segment").open("r+b") as file:
        file.truncate(SEGMENT_HEADER_BYTES)
    files, frames, _ = reopen(tmp_path / "s")
    assert BLOCKS[:2] == items(frames)
    files.append(BLOCKS[2][0], entry=BLOCKS[2][1])
    assert (files.segments(), items(reopen(tmp_path / "s")[1])) == ([1, 3], BLOCKS)


def test_a_swapped_or_foreign_segment_is_refused(tmp_path: Path) -> None:
    """[STORE-4]."""
    write_blocks(tmp_path / "s", max_segment_bytes=400)
    other = SegmentFiles(tmp_path / "o", network=bytes(32), hash_name="sha256", disk=Disk(), max_segment_bytes=400)
    (tmp_path / "o").mkdir()
    for transactions, entry in BLOCKS:
        other.append(transactions, entry=entry)
    other.close()
    shutil.copy(tmp_path / "o" / f"{3:020d}.segment", tmp_path / "s" / f"{3:020d}.segment")
    found = list(open_files(tmp_path / "s").scan(open_files(tmp_path / "s").tail))
    assert isinstance(found[-1], Broken)
    assert "belongs to network" in found[-1].reason
    with pytest.raises(IntegrityError):
        reopen(tmp_path / "s")


def test_a_full_disk_refuses_the_block_and_keeps_the_file_clean(tmp_path: Path) -> None:
    disk = FailingDisk()
    files = open_files(tmp_path / "s", disk=disk)
    files.append(*[BLOCKS[0][0]], entry=BLOCKS[0][1])
    length = files.segment_bytes(1)
    disk.failing, disk.kept = {"append": errno.ENOSPC}, FRAME_HEAD_BYTES + 5
    with pytest.raises(Unavailable) as caught:
        files.append(BLOCKS[1][0], entry=BLOCKS[1][1])
    assert ("ledger.disk_full", length) == (caught.value.code, files.segment_bytes(1))
    disk.failing = {}
    files.append(BLOCKS[1][0], entry=BLOCKS[1][1])
    assert BLOCKS[:2] == items(reopen(tmp_path / "s")[1])


def test_a_full_disk_while_a_segment_is_started_leaves_no_file(tmp_path: Path) -> None:
    disk = FailingDisk()
    files = open_files(tmp_path / "s", disk=disk)
    disk.failing, disk.kept = {"append": errno.ENOSPC}, 40
    with pytest.raises(Unavailable) as caught:
        files.append(BLOCKS[0][0], entry=BLOCKS[0][1])
    assert (caught.value.code, files.segments()) == ("ledger.disk_full", [])
    disk.failing = {}
    files.append(BLOCKS[0][0], entry=BLOCKS[0][1])
    assert BLOCKS[:1] == items(reopen(tmp_path / "s")[1])


@pytest.mark.parametrize("failing", [{"sync": errno.EIO}, {"append": errno.EIO, "truncate": errno.EIO}])
def test_a_failed_flush_is_not_taken_for_success(tmp_path: Path, failing: dict[str, int]) -> None:
    """[STORE-10]."""
    disk = FailingDisk()
    files = open_files(tmp_path / "s", disk=disk)
    files.append(BLOCKS[0][0], entry=BLOCKS[0][1])
    disk.failing, disk.kept = failing, 10
    with pytest.raises(Unavailable) as caught:
        files.append(BLOCKS[1][0], entry=BLOCKS[1][1])
    assert caught.value.code == "ledger.store_failed"
    files.close()
    assert BLOCKS[:1] == items(reopen(tmp_path / "s")[1])[:1]
