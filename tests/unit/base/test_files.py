"""[LEDGER-CBOR-5]: a pipe or device under the name of a file keeps no command waiting."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.files import open_regular, read_regular


def test_a_regular_file_is_read_also_through_a_link(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    for name in ("file", "link"):
        with open_regular(tmp_path / name) as file:
            assert file.read() == b"content"


def test_a_pipe_without_a_writer_and_a_device_without_an_end_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name in ("pipe", "zero"):
        with pytest.raises(InvalidInput, match=rf"^base\.file_special: .*{name}"):
            open_regular(tmp_path / name)


def test_what_cannot_be_opened_is_the_systems_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "absent")
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        with pytest.raises(OSError, match="No such device"):
            open_regular(tmp_path / "socket")


def test_no_more_is_read_than_shows_that_a_file_is_too_long(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert [read_regular(path, max_bytes=most) for most in (5, 4, 0)] == [b"12345", b"12345", b"1"]
    os.truncate(path, 1 << 40)
    assert read_regular(path, max_bytes=9) == b"12345\x00\x00\x00\x00\x00"


def opened():
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


def test_nothing_stays_open_behind_a_refusal(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    before = opened()
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises((InvalidInput, OSError)):
            open_regular(path)
    assert opened() == before
