"""Unix sockets between processes of one user: listening, connecting, and who is at the other end.

A loopback port is open to every user of a machine, and the kernel's table of ports says nothing certain of a connection
that was closed while it waited. A Unix socket proves its peer: the kernel keeps the credentials of the process that
connected (SO_PEERCRED), whatever that process does afterwards. What does not run as this very user is refused.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import struct
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

from shuiqiao.base.errors import InvalidInput

MAX_SOCKET_PATH: Final = 100
"""Unix socket paths end at 107 bytes on Linux, at 103 elsewhere."""

_CREDENTIALS: Final = struct.Struct("3i")
_TIMEVAL: Final = struct.Struct("ll")
_OWNER_ONLY: Final = 0o600


@contextlib.contextmanager
def socket_address(path: Path) -> Generator[str]:
    """Give an address of a socket that is short enough: where the path is not, it goes over the open folder.

    Raises InvalidInput ``base.socket_path_long`` where the system has no such way.
    """
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        yield str(path)
        return
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        raise InvalidInput(
            "base.socket_path_long",
            f"{path} has {len(os.fsencode(path))} bytes where a socket's path may have {MAX_SOCKET_PATH}",
        )
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield str(descriptors / str(descriptor) / path.name)
    finally:
        os.close(descriptor)


def listen_at(path: Path, *, backlog: int) -> socket.socket:
    """Return a socket that listens for its owner only: nobody can connect before its mode is set.

    What an ended process left at the path is replaced. Raises OSError, and what ``socket_address`` raises.
    """
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with socket_address(path) as address:
            listener.bind(address)
        path.chmod(_OWNER_ONLY)
        listener.listen(backlog)
    except BaseException:
        listener.close()
        raise
    return listener


def connect_to(path: Path, *, timeout_s: float | None = None) -> socket.socket:
    """Return a connection to the process of this user that listens at a path.

    Raises OSError, PermissionError where another user's process listens, and what ``socket_address`` raises.
    """
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if timeout_s is not None:
            # The kernel waits so long for room in the backlog; with Python's own timeout nothing would wait for it.
            link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _TIMEVAL.pack(math.ceil(timeout_s), 0))
        with socket_address(path) as address:
            link.connect(address)
        link.settimeout(timeout_s)
    except BaseException:
        link.close()
        raise
    if not is_own_peer(link):
        link.close()
        raise PermissionError(f"a process of another user listens at {path}")
    return link


def is_own_peer(link: socket.socket) -> bool:
    """Tell whether the process that connected, or listens, runs as this user; the kernel says it.

    LIMIT: a system without SO_PEERCRED (not Linux) does not say it; there the socket's mode and folder decide.
    """
    option: Any = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return True
    _, user, _ = _CREDENTIALS.unpack(link.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size))
    return bool(user == os.geteuid())
