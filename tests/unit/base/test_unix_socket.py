"""Sockets between processes of one user: the kernel says who is at the other end, whatever was closed since."""

from __future__ import annotations

import os
import socket
from contextlib import closing

import pytest

from shuiqiao.base.unix_socket import connect_to, is_own_peer, listen_at


@pytest.fixture
def stranger(monkeypatch):
    """Make the processes of this user look like another's."""
    other = os.geteuid() + 1
    return lambda: monkeypatch.setattr(os, "geteuid", lambda: other)


def test_a_connection_closed_in_the_backlog_keeps_its_user(tmp_path, stranger):  # [ABCI-29]
    with closing(listen_at(tmp_path / "s", backlog=32)) as listener:
        for _ in range(16):
            with connect_to(tmp_path / "s") as gone:
                gone.sendall(b"a block")
        waited = [listener.accept()[0] for _ in range(16)]
        assert all(map(is_own_peer, waited))
        stranger()
        assert not any(map(is_own_peer, waited))
        for each in waited:
            each.close()


def test_another_users_server_is_not_spoken_to(tmp_path, stranger):  # [ABCI-29]
    with closing(listen_at(tmp_path / "s", backlog=1)) as listener:
        stranger()
        with pytest.raises(PermissionError, match="another user"):
            connect_to(tmp_path / "s")
        listener.settimeout(5)
        with closing(listener.accept()[0]) as link:
            assert link.recv(1) == b""


@pytest.mark.parametrize("depth", [1, 3])
def test_a_path_may_be_longer_than_an_address(tmp_path, depth):
    path = tmp_path.joinpath(*["d" * 100] * depth) / "s"
    path.parent.mkdir(parents=True)
    with closing(listen_at(path, backlog=1)) as listener, closing(connect_to(path)) as near:
        near.sendall(b"x")
        with closing(listener.accept()[0]) as far:
            assert far.recv(1) == b"x"
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_an_ended_process_left_is_replaced(tmp_path):
    holder = socket.socket(socket.AF_UNIX)
    holder.bind(str(tmp_path / "s"))
    holder.close()
    with closing(listen_at(tmp_path / "s", backlog=1)), closing(connect_to(tmp_path / "s")) as link:
        assert is_own_peer(link)
