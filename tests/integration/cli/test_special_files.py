"""A pipe in the place of a file of a home: every command ends, with words, and none waits for somebody to write."""

from __future__ import annotations

import os
import shutil
import signal

import pytest

import consortium_world as worlds
from patience import PATIENCE_S
from shuiqiao.base.clock import SystemClock
from shuiqiao.node.home.settings import Home

COMMANDS = (
    ("log",),
    ("audit",),
    ("doctor",),
    ("doctor", "--replay"),
    ("record", "find", "--taxpayer", "91000000000000001A"),
    ("record", "changed"),
    ("pending", "list"),
    ("receipt", "0", "--out", "made.receipt"),
    ("backup", "create", "--to", "made.backup"),
    ("ingest", "more.csv"),
)


@pytest.fixture(autouse=True)
def _ends():
    """A command that hangs is interrupted, once patience has ended."""

    def interrupt(_number, _frame):
        pytest.fail("a command waits for somebody to write into the pipe")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def files_of(home):
    return sorted(path.relative_to(home) for path in home.rglob("*") if path.is_file())


def test_a_pipe_in_the_place_of_a_file_keeps_no_command_waiting(here, tmp_path, monkeypatch):  # [LEDGER-CBOR-5]
    monkeypatch.chdir(tmp_path)
    home = worlds.solo_home(tmp_path / "home", clock=SystemClock()).folder
    for number, name in enumerate(("records.csv", "more.csv")):
        (tmp_path / name).write_text(f"uscc,year,grade\n91000000000000001A,{2018 + number},A\n", encoding="utf-8")
    assert here("ingest", "records.csv", "--home", home).code == 0
    assert here("audit", "--home", home).code == 0
    files = files_of(home)
    assert {path.suffix for path in files} >= {".segment", ".leaves", ".parquet", ".mdb", ".db", ".json", ""}
    told = set()
    for file in files:
        for command in COMMANDS:
            copy = tmp_path / "copy"
            worlds.copy_home(Home(home), copy)
            (copy / file).unlink()
            os.mkfifo(copy / file)
            said = here(*command, "--home", copy)
            assert said.code in {0, 1, 3}, (file, command)
            assert "Traceback" not in said.err
            if "is no regular file but a pipe" in said.out + said.err:
                told.add(file)
            shutil.rmtree(copy)
            for made in tmp_path.glob("made.*"):
                made.unlink()
    assert {file.suffix for file in told} >= {".segment", ".leaves", ".parquet", ".mdb", ".json"}
