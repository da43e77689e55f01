"""The socket of a running node serves the user whose node it is, and nobody else."""

from __future__ import annotations

from contextlib import closing

import pytest

import consortium_world as worlds
from patience import PATIENCE_S
from shuiqiao.base.clock import ManualClock
from shuiqiao.base.unix_socket import connect_to
from shuiqiao.node.peers import link_frames as link
from shuiqiao.node.peers.link_server import LedgerLink
from stranger import told_to_a_stranger


@pytest.fixture
def bureau(tmp_path):
    clock = ManualClock(worlds.NOW_MS)
    with worlds.open_solo(worlds.solo_home(tmp_path / "home", clock=clock), clock) as institution:
        yield institution


def test_a_stranger_is_told_nothing_and_changes_nothing(bureau, tmp_path, monkeypatch):
    path, reloads = tmp_path / "s", []
    before = bureau.engine.last_block()
    with LedgerLink(path, engine=bureau.engine, member="bureau", reload_keys=lambda: reloads.append(1)):
        for question in (link.Hello(1), link.ReloadKeys(1), link.Submit(1, b"mine"), link.AskHead(1)):
            assert told_to_a_stranger(path, link.encode_frame(question), monkeypatch=monkeypatch) == b""
        assert (reloads, bureau.engine.last_block()) == ([], before)
        with closing(connect_to(path, timeout_s=PATIENCE_S)) as own:
            own.sendall(link.encode_frame(link.ReloadKeys(1)) + link.encode_frame(link.Hello(2)))
            answers = {type(link.read_answer(own)) for _ in range(2)}
    assert (answers, reloads) == ({link.Done, link.Welcome}, [1])
