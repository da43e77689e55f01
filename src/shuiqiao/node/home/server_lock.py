"""Which process serves a home: one at a time, for as long as it lives.

``node.lock`` in the home is held by the operating system and says which process has it. Commands look at it before
they do anything, so nothing else of a server is loaded for it.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from shuiqiao.base.errors import Conflict, InvalidInput
from shuiqiao.base.files import open_descriptor

if TYPE_CHECKING:
    from shuiqiao.node.home.settings import Home

_MAX_PID_BYTES: Final = 20
_LOOK_S: Final = 0.01


class ServerLock:
    """The right to serve a home, from construction until ``release``."""

    def __init__(self, home: Home, *, next_step: str = "") -> None:
        """Take it; raises Conflict ``node.server_running`` while another process serves this home.

        next_step: what to do then, where this caller knows more than the error.
        """
        self._descriptor = open_descriptor(home.server_lock, flags=os.O_RDWR | os.O_CREAT)
        try:
            _lock(self._descriptor)
        except BlockingIOError as error:
            holder = _pid_in(self._descriptor)
            os.close(self._descriptor)
            raise _served(home, holder, next_step=next_step) from error
        except OSError:
            os.close(self._descriptor)
            raise
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Give it back."""
        os.close(self._descriptor)


def _lock(descriptor: int) -> None:
    """Lock for oneself alone; raises BlockingIOError while a server has the lock.

    Who looks whether there is one (``serving_process``) shares the lock for a moment, which is waited for: no command
    keeps a server from its start.
    """
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            time.sleep(_LOOK_S)
        else:
            return


def serving_process(home: Home) -> int | None:
    """Return the id of the process that serves a home, 0 where it has not written it yet, None where none does.

    A lock that cannot be looked at (no such home, no file, no such right) is no server's that this process could ask;
    what opens the home then says what is wrong with it, and the ledger has a lock of its own.
    """
    try:
        descriptor = open_descriptor(home.server_lock, flags=os.O_RDONLY)
    except (OSError, InvalidInput):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _pid_in(descriptor)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return None


def require_not_served(home: Home) -> None:
    """Return if no process serves a home, so that its ledger can be opened; raises Conflict ``node.server_running``."""
    pid = serving_process(home)
    if pid is not None:
        raise _served(home, pid)


@contextmanager
def not_served(home: Home, *, next_step: str) -> Generator[None]:
    """Let nobody serve a home while something is done inside that a running server would not learn of.

    Raises Conflict ``node.server_running`` while somebody does. next_step: what to do then.
    """
    lock = ServerLock(home, next_step=next_step)
    try:
        yield
    finally:
        lock.release()


def _served(home: Home, pid: int, *, next_step: str = "") -> Conflict:
    message = f"process {pid or 'unknown'} serves {home.folder} already"
    return Conflict("node.server_running", message, next_step=next_step)


def _pid_in(descriptor: int) -> int:
    found = os.pread(descriptor, _MAX_PID_BYTES, 0)
    return int(found) if found.isdigit() else 0
