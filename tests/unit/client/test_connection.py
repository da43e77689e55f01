"""Connections of the client, as far as a socket alone shows it."""

from __future__ import annotations

import fcntl
import resource
import socket

import pytest

from shuiqiao.client.connection import Connections, Stream

HIGH = 1_500
"""Above the descriptors that ``select`` knows."""


@pytest.fixture
def many_descriptors():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], 2 * HIGH), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("many_descriptors")
def test_a_process_with_many_open_files_sees_whether_a_connection_has_something_to_read():
    near, far = socket.socketpair()
    with near, far, socket.socket(fileno=fcntl.fcntl(near.fileno(), fcntl.F_DUPFD, HIGH)) as high:
        stream = Stream(high, connections=Connections(unix_socket=None, pin=None, may_connect=None))
        assert not stream.get_extra_info("is_readable")
        far.sendall(b"x")
        assert stream.get_extra_info("is_readable")
