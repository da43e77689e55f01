"""A process of another user at a socket of this one."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

from patience import PATIENCE_S

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def told_to_a_stranger(path: Path, question: bytes, *, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Ask a question as another user; return the beginning of the answer, nothing where the server closed first."""
    other = os.geteuid() + 1
    with monkeypatch.context() as patch, socket.socket(socket.AF_UNIX) as link:
        patch.setattr(os, "geteuid", lambda: other)
        link.settimeout(PATIENCE_S)
        link.connect(str(path))
        with contextlib.suppress(ConnectionError):
            link.sendall(question)
            return link.recv(64)
    return b""
