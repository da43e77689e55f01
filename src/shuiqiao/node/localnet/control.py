"""How a running process of a network is asked: one line of JSON each way over a Unix socket in NET/run, owner only."""

from __future__ import annotations

import contextlib
import json
import socketserver
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from shuiqiao.base.errors import ShuiqiaoError, Unavailable
from shuiqiao.base.unix_socket import connect_to, is_own_peer, listen_at

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
