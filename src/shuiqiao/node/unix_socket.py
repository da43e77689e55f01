"""Addresses of Unix sockets in folders whose paths are longer than a socket's address may be."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator
from pathlib import Path

from shuiqiao.base.errors import InvalidInput

MAX_SOCKET_PATH = 100
"""Unix socket paths end at 107 bytes on Linux, at 103 elsewhere."""


@contextlib.contextmanager
def socket_address(path: Path) -> Generator[str]:
    """Give an address of a socket that is short enough: where the path is not, it goes over the open folder.

    Raises InvalidInput ``node.network_path_long`` where the system has no such way.
    """
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        yield str(path)
        return
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        raise InvalidInput(
            "node.network_path_long",
            f"{path} has {len(os.fsencode(path))} bytes where a socket's path may have {MAX_SOCKET_PATH}",
            next_step="move the network to a folder nearer to the root",
        )
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield str(descriptors / str(descriptor) / path.name)
    finally:
        os.close(descriptor)
