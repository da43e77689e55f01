"""Files are their owner's alone from the first byte, but those made to be handed out."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from shuiqiao.base.files import make_shared_folder, owner_only, share_file


@pytest.fixture(autouse=True)
def _usual_umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_made_behind_the_door_is_its_owners_alone_and_the_umask_comes_back(tmp_path):
    with owner_only():
        (tmp_path / "secret").write_text("a")
        (tmp_path / "room").mkdir()
    (tmp_path / "after").write_text("a")
    assert (mode(tmp_path / "secret"), mode(tmp_path / "room"), mode(tmp_path / "after")) == (0o600, 0o700, 0o644)


def test_what_is_shared_is_shared_behind_the_door_too(tmp_path):
    with owner_only():
        make_shared_folder(tmp_path / "a" / "b")
        (tmp_path / "a" / "b" / "file").write_text("a")
        share_file(tmp_path / "a" / "b" / "file")
    assert [mode(tmp_path / path) for path in ("a", "a/b", "a/b/file")] == [0o755, 0o755, 0o644]


def test_a_folder_that_is_there_keeps_its_mode(tmp_path):
    (tmp_path / "mine").mkdir(mode=0o700)
    make_shared_folder(tmp_path / "mine")
    assert mode(tmp_path / "mine") == 0o700


def test_a_pipe_that_something_is_written_to_keeps_its_mode(tmp_path):
    os.mkfifo(tmp_path / "pipe", 0o600)
    share_file(tmp_path / "pipe")
    assert mode(tmp_path / "pipe") == 0o600
