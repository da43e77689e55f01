"""The lock of a home that a server holds, as others see it: held, free, and no lock at all."""

from __future__ import annotations

import fcntl
import os
import threading

import pytest

from shuiqiao.base.errors import Conflict
from shuiqiao.node.home.server_lock import ServerLock, require_not_served, serving_process
from shuiqiao.node.home.settings import Home


def test_a_home_is_served_from_the_moment_its_lock_is_held(tmp_path):
    home = Home(tmp_path)
    home.server_lock.write_bytes(b"what an ended process left")
    with home.server_lock.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert serving_process(home) == 0
        with pytest.raises(Conflict, match=r"node\.server_running.*process unknown"):
            require_not_served(home)
        with pytest.raises(Conflict, match=r"node\.server_running"):
            ServerLock(home)
    assert serving_process(home) is None


def test_a_command_that_looks_keeps_no_server_from_its_start(tmp_path):
    home = Home(tmp_path)
    home.server_lock.touch()
    with home.server_lock.open("rb") as look:
        fcntl.flock(look, fcntl.LOCK_SH)
        ended = threading.Timer(0.2, lambda: fcntl.flock(look, fcntl.LOCK_UN))
        ended.start()
        lock = ServerLock(home)
        ended.join()
    assert serving_process(home) == os.getpid()
    lock.release()


def test_the_process_that_holds_the_lock_is_named(tmp_path):
    home = Home(tmp_path)
    lock = ServerLock(home)
    assert serving_process(home) == os.getpid()
    lock.release()
    require_not_served(home)


def test_what_is_no_lock_is_left_to_what_opens_the_home(tmp_path):
    file, folder, pipe = tmp_path / "file", tmp_path / "folder", tmp_path / "pipe"
    file.write_bytes(b"x")
    (folder / "node.lock").mkdir(parents=True)
    pipe.mkdir()
    os.mkfifo(pipe / "node.lock")
    for place in (file, folder, pipe, tmp_path / "absent", tmp_path / ("x" * 300)):
        assert serving_process(Home(place)) is None
