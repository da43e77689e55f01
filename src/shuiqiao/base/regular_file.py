"""Opens files that a person named or that lie in a home: a pipe, a device or a socket there keeps nobody waiting.

Opening a pipe waits for its writer, and reading a terminal or a device may never end. So whatever is not a regular
file is refused, before anything of it is read [LEDGER-CBOR-5]. How much of a regular file is read, the caller bounds.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from shuiqiao.base.errors import InvalidInput


def read_regular(path: Path, *, max_bytes: int) -> bytes:
    """Return a file's bytes, of a longer one the first max_bytes + 1: whoever gets so many refuses it.

    Raises what ``open_regular`` raises.
    """
    with open_regular(path) as file:
        return file.read(max_bytes + 1)


def open_regular(path: Path) -> BinaryIO:
    """Return a file opened for reading.

    Raises InvalidInput ``base.file_special`` for what is no regular file, OSError for what cannot be opened.
    """
    return os.fdopen(open_descriptor(path, flags=os.O_RDONLY), "rb")


def open_descriptor(path: Path | str, *, flags: int, mode: int = 0o600) -> int:
    """Return the descriptor of a file, opened as ``os.open`` does. mode: of a file that the flags let it create.

    Raises InvalidInput ``base.file_special`` for what is no regular file, OSError for what cannot be opened.
    """
    # Without O_NONBLOCK the kernel waits here until somebody writes into a pipe; on regular files it does nothing.
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, mode)
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISREG(kind):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise InvalidInput(
        "base.file_special",
        f"{path} is no regular file but a pipe, a device or a terminal",
    )
