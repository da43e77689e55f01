"""Processes that live on after the command that started them: their records, and the sockets by which they are asked."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path

import pytest

from patience import PATIENCE_S
from shuiqiao.base.errors import Denied, Unavailable
from shuiqiao.node.localnet.process import ControlServer, RecordedProcess, ask_process
from stranger import told_to_a_stranger

RECORDS = [
    b"",
    b"\xff",
    b"[]",
    b"{}",
    b'{"pid":[],"began":"1"}',
    b'{"pid":"x","began":"1"}',
    b'{"pid":1e999,"began":"1"}',
    b"[" * 100_000,
    b"9" * 5000,
]


@pytest.mark.parametrize("record", RECORDS, ids=range(len(RECORDS)))
def test_a_record_that_cannot_be_read_is_of_no_process(record, tmp_path):
    (tmp_path / "node.pid").write_bytes(record)
    process = RecordedProcess(tmp_path, name="node")
    assert (process.pid, process.is_expected) == (None, True)


SLEEP = [sys.executable, "-c", "import sys, time; print('a   word', flush=True); time.sleep(60)"]


def code_of(kind, act):
    with pytest.raises(kind) as caught:
        act()
    return caught.value.code


def test_a_control_socket_answers_and_tells_errors(folder):
    def answer(question):
        if question["act"] == "no":
            raise Denied("node.role_wrong", "not you")
        return {"heard": question["act"]}

    path = folder.control("aa")
    with ControlServer(path, answer=answer):
        assert ask_process(path, {"act": "yes"}) == {"heard": "yes"}
        assert code_of(Unavailable, lambda: ask_process(path, {"act": "no"})) == "node.control_refused"
    assert code_of(Unavailable, lambda: ask_process(path, {"act": "yes"})) == "node.control_unreachable"


def test_a_control_socket_answers_no_stranger(folder, monkeypatch):
    path = folder.control("aa")
    heard = []
    with ControlServer(path, answer=lambda question: heard.append(question) or {}):
        assert told_to_a_stranger(path, b'{"act": "no"}\n', monkeypatch=monkeypatch) == b""
        assert ask_process(path, {"act": "yes"}) == {}
    assert heard == [{"act": "yes"}]


@pytest.mark.parametrize("line", [b"\xff\n", b"[1]\n", b"\n", b"{}" * 10 + b"\n", b"[" * 100_000 + b"\n"])
def test_a_control_socket_survives_garbage(folder, line):
    path = folder.control("aa")
    with ControlServer(path, answer=lambda question: {"keys": len(question)}):
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(PATIENCE_S)
            link.connect(str(path))
            link.sendall(line)
            assert "error" in json.loads(link.makefile().readline())
        assert ask_process(path, {"a": 1}) == {"keys": 1}


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="the way around long paths is Linux's")
def test_a_control_socket_may_lie_deep(tmp_path):
    deep = tmp_path / ("d" * 90) / ("e" * 90)
    deep.mkdir(parents=True)
    with ControlServer(deep / "aa.sock", answer=lambda _question: {"deep": True}):
        assert ask_process(deep / "aa.sock", {}) == {"deep": True}


def test_a_process_lives_on_until_it_is_asked_to_end(folder):
    process = RecordedProcess(folder.run, name="aa.ledger")
    assert (process.pid, process.is_expected) == (None, False)
    process.start(SLEEP)
    try:
        first = process.pid
        assert first is not None
        process.start(SLEEP)
        assert RecordedProcess(folder.run, name="aa.ledger").pid == first
    finally:
        process.ask_to_end()
        process.wait_ended()
    assert (process.pid, process.is_expected) == (None, False)


def test_another_process_of_the_same_id_is_not_taken_for_ours(folder):
    (folder.run / "aa.ledger.pid").write_text(json.dumps({"pid": os.getpid(), "began": "1"}))
    assert RecordedProcess(folder.run, name="aa.ledger").pid is None


BUSY = """
import pathlib, sys, time
while time.process_time() < 0.5:
    pass
pathlib.Path(sys.argv[1]).touch()
time.sleep(600)
"""


def test_a_process_that_goes_on_working_is_waited_for_beyond_its_time(tmp_path):
    process, worked, looks = RecordedProcess(tmp_path, name="node"), tmp_path / "worked", []

    def look():
        end = time.monotonic() + PATIENCE_S
        while not worked.exists() and time.monotonic() < end:
            time.sleep(0.01)
        looks.append(process.worked_s())
        if len(looks) < 2:
            raise Unavailable("node.process_ended", "not yet")

    process.start([sys.executable, "-c", BUSY, str(worked)])
    try:
        process.wait_until(look, timeout_s=0.01)
        assert looks[0] >= 0.4
    finally:
        process.kill()
    assert process.worked_s() == 0


def test_a_process_that_does_nothing_is_not_waited_for(tmp_path):
    process = RecordedProcess(tmp_path, name="node")
    process.start(SLEEP)

    def look():
        raise Unavailable("node.control_unreachable", "nobody answers")

    try:
        assert code_of(Unavailable, lambda: process.wait_until(look, timeout_s=0.05)) == "node.process_too_slow"
    finally:
        process.kill()
