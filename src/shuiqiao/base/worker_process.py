"""A worker: another process of this program that answers over a pipe; the process that started it ends it.

It loads what its main function needs and nothing of the process that started it, which it is no fork of: a fork of a
process with threads and open LMDB environments is not safe. It ends when its input does, so a parent that is killed
leaves none behind. What the messages are, and what the death of a worker means, is decided by the room that starts it.

    worker = WorkerProcess(run_worker, "sha256")
    os.write(worker.sink, message)
    worker.end()
"""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import shuiqiao

_PIPE_BYTES: Final = 1024 * 1024
_BEGIN: Final = "import sys; from {module} import {function}; {function}(*sys.argv[1:])"


class WorkerProcess:
    """One worker. sink: descriptor that it reads from. source: descriptor that it writes to; both are ours to close."""

    def __init__(self, main: Callable[..., None], *arguments: str) -> None:
        """Start it. main: a function of a module of this package, called there with the arguments."""
        begin = _BEGIN.format(module=main.__module__, function=main.__name__)
        their_source, self.sink = os.pipe()
        self.source, their_sink = os.pipe()
        try:
            # The command is this interpreter and a function of this package: nothing from outside.
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-P", "-c", begin, *arguments],
                stdin=their_source,
                stdout=their_sink,
                env=_environment(),
            )
        except BaseException:
            os.close(self.sink)
            os.close(self.source)
            raise
        finally:
            os.close(their_source)
            os.close(their_sink)
        for descriptor in (self.sink, self.source):
            _widen(descriptor)

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._process.pid

    def end(self) -> int:
        """End the worker, in the midst of its work if it has any; return its exit code, negative for a signal."""
        self._process.kill()
        return self._process.wait()

    def exit_code(self, *, timeout_s: float) -> int | None:
        """Return the exit code of a worker that is ending, None if it does not within the time."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None


def begin_worker() -> tuple[int, int]:
    """Return the descriptors to read from and write to, at the begin of a worker's main function.

    What a library prints goes to standard error from now on, where it spoils no message.
    """
    # An interrupt at the terminal reaches every process: the one that started this decides when it ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    source, sink = os.dup(sys.stdin.fileno()), os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), sys.stdin.fileno())
    return source, sink


def confine_worker(*, memory_bytes: int) -> None:
    """Hold a worker that opens what anybody may have made within limits, after it has loaded what it needs.

    memory_bytes: of its address space. It writes no file and leaves no image of its memory; ``allow_cpu`` gives it
    time. What it needs beyond that fails or ends it, and its parent says so of the file that it was reading.
    """
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def allow_cpu(seconds: int) -> None:
    """Give this worker so many seconds of processor time from now on; the system ends it after them."""
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (int(used) + 1 + seconds, hard))


def _widen(descriptor: int) -> None:
    """Make room in the pipe, so that sending seldom waits for the other end."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except (OSError, AttributeError):
        # The system's limit on pipe memory is reached, or there is no such call: sending then waits, nothing is lost.
        return


def _environment() -> dict[str, str]:
    """Let the worker find this very package, whatever made it importable here."""
    package = str(Path(shuiqiao.__file__).parent.parent)
    inherited = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": f"{package}{os.pathsep}{inherited}" if inherited else package}
