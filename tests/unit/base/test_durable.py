"""Files that a stopped machine leaves whole: bytes before names, and one name for one file."""

import errno
import os
import stat

import pytest

from shuiqiao.base.durable import DRAFT_SUFFIX, Disk, create_file, replace_file, write_file


class RecordingDisk(Disk):
    """Writes down what it is asked, and fails at one act."""

    def __init__(self, *, failing=""):
        self.acts = []
        self._failing = failing

    def _note(self, act):
        self.acts.append(act)
        if act == self._failing:
            raise OSError(errno.ENOSPC, "No space left on device")

    def append(self, descriptor, data):
        self._note("append")
        super().append(descriptor, data)

    def sync(self, descriptor):
        self._note("sync")
        super().sync(descriptor)

    def replace(self, draft, path):
        self._note("replace")
        super().replace(draft, path)

    def sync_folder(self, folder):
        self._note("sync_folder")
        super().sync_folder(folder)


def test_a_file_is_replaced_whole_and_leaves_nothing_beside_it(tmp_path):
    path, disk = tmp_path / "file", RecordingDisk()
    replace_file(path, b"one")
    replace_file(path, b"two", disk=disk)
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]
    assert disk.acts == ["append", "sync", "replace", "sync_folder"]


@pytest.mark.parametrize("act", ["append", "sync", "replace"])
def test_a_name_never_leads_to_bytes_that_were_not_flushed(tmp_path, act):
    path = tmp_path / "file"
    replace_file(path, b"one")
    with pytest.raises(OSError, match="No space") as caught:
        replace_file(path, b"two", disk=RecordingDisk(failing=act))
    assert path.read_bytes() == b"one"
    assert act == "replace" or caught.value.filename == str(path) + DRAFT_SUFFIX


@pytest.mark.parametrize(("mode", "expected"), [(0o600, 0o600), (0o644, 0o644), (None, 0o640)])
def test_a_mode_is_that_which_was_asked_or_what_the_umask_leaves(tmp_path, mode, expected):
    before = os.umask(0o027)
    try:
        replace_file(tmp_path / "file", b"one", mode=mode)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == expected


def test_a_new_file_takes_no_name_that_is_taken(tmp_path):
    path = tmp_path / "file"
    create_file(path, b"one", draft=tmp_path / "draft")
    for make in (
        lambda: create_file(path, b"two", draft=tmp_path / "draft"),
        lambda: write_file(path, [b"two"], is_new=True),
    ):
        with pytest.raises(FileExistsError):
            make()
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_written_part_by_part(tmp_path):
    write_file(tmp_path / "file", [b"one", memoryview(b"two"), bytearray(b"")])
    assert (tmp_path / "file").read_bytes() == b"onetwo"
