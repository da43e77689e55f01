"""A web server of plain files on loopback, one that keeps what is posted to it, a line that loses or alters answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class _Files(SimpleHTTPRequestHandler):
    def log_message(self, *_words: Any) -> None:
        """Say nothing."""


@contextmanager
def served_files(folder: Path) -> Generator[str]:
    """Serve a folder inside; give the URL of it."""
    with _serving(partial(_Files, directory=str(folder))) as port:
        yield f"http://127.0.0.1:{port}"


@dataclass
class Inbox:
    """What was posted. refusals: how many posts are refused first."""

    url: str = ""
    refusals: int = 0
    bodies: list[bytes] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


@contextmanager
def inbox(*, refusals: int = 0) -> Generator[Inbox]:
    """Take posts inside."""
    found = Inbox(refusals=refusals)

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            is_refused, found.refusals = found.refusals > 0, max(0, found.refusals - 1)
            if not is_refused:
                found.bodies.append(body)
                found.paths.append(self.path)
            self.send_response(503 if is_refused else 204)
            self.end_headers()

        def log_message(self, *_words: Any) -> None:
            """Say nothing."""

    with _serving(Taking) as port:
        found.url = f"http://127.0.0.1:{port}/alarms/shuiqiao"
        yield found


@dataclass
class LossyLine:
    """A line to a server. loses: the answers to posts to a path that ends so are lost, none where it is empty.

    alters: what stands between makes of the answers to posts, by the end of the path.
    """

    url: str = ""
    loses: str = ""
    alters: dict[str, Callable[[bytes], bytes]] = field(default_factory=dict)


@contextmanager
def lossy_line(url: str) -> Generator[LossyLine]:
    """Hand requests on to a server inside."""
    line = LossyLine()

    class Handing(BaseHTTPRequestHandler):
        def hand_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            kept = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
            connection = HTTPConnection(url.removeprefix("http://"))
            connection.request(self.command, self.path, body=body, headers=kept)
            answer = connection.getresponse()
            data = answer.read()
            connection.close()
            if self.command == "POST" and line.loses and self.path.endswith(line.loses):
                self.close_connection = True
                return
            if self.command == "POST":
                for _, alter in filter(lambda each: self.path.endswith(each[0]), line.alters.items()):
                    data = alter(data)
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers["Content-Type"])
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            self.hand_on()

        def do_POST(self) -> None:
            self.hand_on()

        def log_message(self, *_words: Any) -> None:
            """Say nothing."""

    with _serving(Handing) as port:
        line.url = f"http://127.0.0.1:{port}"
        yield line


@contextmanager
def _serving(handler: Any) -> Generator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
