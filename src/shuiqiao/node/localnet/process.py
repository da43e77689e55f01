"""Processes of a network that live on after the command that started them, and how each is asked.

They are recorded by id in a folder (NET/run), with their output beside, and one command at a time starts and ends them.
A record holds the id and when the process began, so that another process that was given the same id later is never
taken for it. A process that ended and waits for its parent counts as ended. One that runs is asked over a Unix socket
in that folder, owner only: one line of JSON each way.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socketserver
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from shuiqiao.base.errors import Conflict, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.files import open_descriptor, open_regular, read_regular
from shuiqiao.base.unix_socket import connect_to, is_own_peer, listen_at

STOP_TIMEOUT_S = 15.0
"""How long a process may take to end when it is asked to, in seconds."""

START_TIMEOUT_S = 40.0
"""How long a process may take to answer after it was started, in seconds."""

WORKING_SHARE = 0.05
"""Of the time that it is given: a process that used so much processor time meanwhile goes on, on a slow machine too."""

MAX_WINDOWS = 15
"""How often a process that goes on is given the same time again before it counts as one that never answers."""

_POLL_S = 0.05
_TAIL_BYTES = 2_000
_ERROR_LINES = 3
"""A command that ends with an error says it on one of its last lines, and on the next one what to do about it."""

_PROC = Path("/proc")
_MAX_RECORD_BYTES = 1_000
_STATE_FIELD = 0
_BEGAN_FIELD = 19
_WORKED_FIELDS = slice(11, 13)
"""Of user and system, in clock ticks."""


class RecordedProcess:
    """One process of a network, running or not."""

    def __init__(self, folder: Path, *, name: str) -> None:
        """folder: where ``<name>.pid`` and ``<name>.log`` lie."""
        self.name = name
        self.log = folder / f"{name}.log"
        self._record = folder / f"{name}.pid"

    @property
    def is_expected(self) -> bool:
        """Whether it was started and not stopped since: one that is expected and does not run ended by itself."""
        return self._record.exists()

    @property
    def pid(self) -> int | None:
        """The process id, None while it does not run."""
        try:
            record = json.loads(read_regular(self._record, max_bytes=_MAX_RECORD_BYTES))
            pid, began = int(record["pid"]), str(record["began"])
        except (OSError, InvalidInput, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return None
        return pid if began and _began(pid) == began else None

    def start(self, command: Sequence[str], *, environment: Mapping[str, str] | None = None) -> None:
        """Start a command detached from this process and its terminal, unless it runs.

        environment: what it finds there besides what this process does.
        """
        if self.pid is not None:
            return
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(self.log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        found = {**os.environ, **(environment or {})}
        pid = os.posix_spawn(command[0], list(command), found, file_actions=actions, setsid=True)
        self._record.write_text(json.dumps({"pid": pid, "began": _began(pid)}), encoding="utf-8")

    def ask_to_end(self) -> None:
        """Send SIGTERM if it runs."""
        self._send(signal.SIGTERM)

    def wait_ended(self, *, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Return once it has ended; one that does not within the time is killed."""
        end = time.monotonic() + timeout_s
        while self.pid is not None and time.monotonic() < end:
            time.sleep(_POLL_S)
        if self.pid is not None:
            self.kill()
        self._record.unlink(missing_ok=True)

    def kill(self) -> None:
        """End it at once, as a crash would (SIGKILL), and return once it is gone.

        Raises Unavailable ``node.process_unkillable``.
        """
        pid = self.pid
        self._send(signal.SIGKILL)
        end = time.monotonic() + STOP_TIMEOUT_S
        while self.pid is not None:
            if time.monotonic() > end:
                raise Unavailable("node.process_unkillable", f"{self.name} (process {pid}) is still there")
            time.sleep(_POLL_S)

    def _send(self, number: signal.Signals) -> None:
        pid = self.pid
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def wait_until(self, look: Callable[[], object], *, timeout_s: float = START_TIMEOUT_S) -> None:
        """Return once a look at what it does succeeds.

        timeout_s: without an answer or work on it; a process that goes on working is given as much again. Raises
        Unavailable ``node.process_ended``, ``node.process_too_slow``.
        """
        windows = MAX_WINDOWS
        end, worked_s = time.monotonic() + timeout_s, self.worked_s()
        while True:
            try:
                look()
            except ShuiqiaoError as error:
                is_late = time.monotonic() > end
                if is_late and windows > 1 and self.worked_s() - worked_s > timeout_s * WORKING_SHARE:
                    windows, is_late = windows - 1, False
                    end, worked_s = time.monotonic() + timeout_s, self.worked_s()
                self._require_hope(error, timeout_s=timeout_s, is_late=is_late)
                time.sleep(_POLL_S)
            else:
                return

    def worked_s(self) -> float:
        """Return the processor time that it used, in seconds; 0 where it does not run or the system does not say."""
        pid = self.pid
        fields = [] if pid is None else _stat_fields(pid)
        return sum(map(int, fields[_WORKED_FIELDS])) / os.sysconf("SC_CLK_TCK")

    def _require_hope(self, error: ShuiqiaoError, *, timeout_s: float, is_late: bool) -> None:
        if self.pid is None:
            raise Unavailable(
                "node.process_ended",
                f"{self.name} ended while it started: {self.last_words()}",
                next_step=f"read {self.log}",
            ) from error
        if is_late:
            raise Unavailable(
                "node.process_too_slow",
                f"{self.name} does not answer after {timeout_s:g} s: {error.message}",
                next_step=f"read {self.log}",
            ) from error

    def last_words(self) -> str:
        """Return the line of its output with which it ended, with single spaces, empty if there is none."""
        lines = last_lines(self.log, max_bytes=_TAIL_BYTES)[-_ERROR_LINES:]
        errors = [line for line in lines if line.startswith("error ")]
        return " ".join((errors or lines)[-1].split()) if lines else ""


@contextlib.contextmanager
def acting_alone(folder: Path) -> Generator[None]:
    """Keep other commands from starting and ending processes of a folder meanwhile.

    Raises Conflict ``node.network_busy``.
    """
    with os.fdopen(open_descriptor(folder / "lock", flags=os.O_RDWR | os.O_CREAT), "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Conflict(
                "node.network_busy",
                f"another command is starting or ending processes of {folder.parent}",
                next_step="wait until it is done",
            ) from error
        yield


def last_lines(path: Path, *, max_bytes: int) -> list[str]:
    """Return the lines in the last bytes of a file, none of one that cannot be read."""
    try:
        with open_regular(path) as file:
            file.seek(max(0, path.stat().st_size - max_bytes))
            return file.read().decode(errors="replace").splitlines()
    except (OSError, InvalidInput):
        return []


def _began(pid: int) -> str:
    """Return when a process began, in the system's own measure, empty if it has ended.

    LIMIT: without /proc (not Linux) any process of this id counts, whichever began it.
    """
    if not (_PROC / "self" / "stat").exists():
        return "unknown" if _is_there(pid) else ""
    fields = _stat_fields(pid)
    return "" if not fields or fields[_STATE_FIELD] in {"Z", "X"} else fields[_BEGAN_FIELD]


def _stat_fields(pid: int) -> list[str]:
    """Return what the system tells of a process, from its state on; empty where it has none or tells nothing."""
    try:
        return (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


MAX_LINE_BYTES = 1 << 20
"""Longest question or answer."""

TIMEOUT_S = 5.0
_BACKLOG = 8

Answer = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class ControlServer:
    """Answers one question at a time in a thread of its own."""

    def __init__(self, path: Path, *, answer: Answer) -> None:
        """Listen at a path; what a process that ended left there is replaced."""

        class Handler(socketserver.StreamRequestHandler):
            timeout = TIMEOUT_S

            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    self.wfile.write(_reply(self.rfile.readline(MAX_LINE_BYTES), answer))

        class Server(socketserver.UnixStreamServer):
            def get_request(self) -> tuple[Any, Any]:
                found, address = super().get_request()
                if not is_own_peer(found):
                    # The server goes on with the next one.
                    found.close()
                    raise PermissionError(f"a process of another user connected to {path}")
                return found, address

        self._path = path
        self._server = Server(str(path), Handler, bind_and_activate=False)
        self._server.socket.close()
        self._server.socket = listen_at(path, backlog=_BACKLOG)
        self._thread = threading.Thread(target=self._server.serve_forever, name="network-control", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._path.unlink(missing_ok=True)


def _reply(line: bytes, answer: Answer) -> bytes:
    try:
        question = json.loads(line)
        found = answer(question) if isinstance(question, dict) else {"error": {"message": "not a JSON object"}}
    except ShuiqiaoError as error:
        found = {"error": error.as_dict()}
    except (TypeError, ValueError, RecursionError) as error:
        found = {"error": {"message": str(error)}}
    return json.dumps(found).encode() + b"\n"


def ask_process(path: Path, question: Mapping[str, Any], *, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
    """Ask the process that listens at a path.

    Raises Unavailable ``node.control_unreachable`` or ``node.control_refused``, InvalidInput
    ``base.socket_path_long``.
    """
    try:
        with connect_to(path, timeout_s=timeout_s) as link:
            link.sendall(json.dumps(question).encode() + b"\n")
            with link.makefile("rb") as file:
                found = json.loads(file.readline(MAX_LINE_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise Unavailable(
            "node.control_unreachable",
            f"no process of the network answers at {path}: {error}",
            next_step="shuiqiao network status, then start",
            retry_after_s=1.0,
        ) from error
    if not isinstance(found, dict) or "error" in found:
        raise Unavailable("node.control_refused", f"the process at {path} refused: {found!r}")
    return found
