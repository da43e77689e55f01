"""Files that a stopped machine leaves whole: bytes before names, and one name for one file."""

import errno
import os
import stat

import pytest

from shuiqiao.base.durable import (
    DRAFT_SUFFIX,
    Disk,
    link_file,
    move_into_place,
    new_file,
    replace_file,
    write_file,
)


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
    path.write_bytes(b"one")
    with pytest.raises(FileExistsError), new_file(path, draft=tmp_path / "draft"):
        pass
    with pytest.raises(FileExistsError):
        write_file(path, [b"two"], is_new=True)
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_takes_its_name_at_the_end_and_an_error_leaves_nothing(tmp_path):
    path = tmp_path / "file"
    with new_file(path, draft=tmp_path / "draft") as file:
        file.write(b"one")
        assert not path.exists()
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"one", 0o600)
    with pytest.raises(ZeroDivisionError), new_file(tmp_path / "other", draft=tmp_path / "draft"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_that_was_taken_meanwhile_is_kept(tmp_path):
    path = tmp_path / "file"
    with pytest.raises(FileExistsError), new_file(path, draft=tmp_path / "draft"):
        path.write_bytes(b"another's")
    assert path.read_bytes() == b"another's"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_and_a_folder_take_another_name_durably(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(b"one")
    (tmp_path / "empty").mkdir()
    disk = RecordingDisk()
    move_into_place(tmp_path / "folder", tmp_path / "empty", disk=disk)
    move_into_place(tmp_path / "empty" / "file", tmp_path / "file", disk=disk)
    assert disk.acts == ["replace", "sync_folder"] * 2
    link_file(tmp_path / "file", tmp_path / "also")
    assert (tmp_path / "file").samefile(tmp_path / "also")
    with pytest.raises(FileExistsError):
        link_file(tmp_path / "file", tmp_path / "also")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["also", "empty", "file"]


def test_a_file_is_written_part_by_part(tmp_path):
    write_file(tmp_path / "file", [b"one", memoryview(b"two"), bytearray(b"")])
    assert (tmp_path / "file").read_bytes() == b"onetwo"
