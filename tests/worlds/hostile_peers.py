"""Peers that lie, flood, drip and stop: a proxy that alters what a writer answers, and callers that mean no good."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2

from shuiqiao.node.peers.asking import ANSWER_TYPE

Alter = Callable[[str, bytes], bytes]
"""Return what is answered to an act in the place of what the writer answered."""


class LyingProxy:
    """Stands where a follower takes the writer to be; ``alter`` and ``behave`` say what it does with each act."""

    def __init__(self, writer_url: str) -> None:
        self.writer_url = writer_url
        self.alter: Alter = lambda _act, answer: answer
        self.behave: Callable[[BaseHTTPRequestHandler, str], bool] = lambda _handler, _act: False
        self.asked: list[str] = []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_words: object) -> None:
                """Say nothing."""

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                act = self.path.rpartition("/")[2]
                proxy.asked.append(act)
                if proxy.behave(self, act):
                    self.close_connection = True
                    return
                with contextlib.suppress(OSError, httpx2.HTTPError):
                    self._forward(act, body)

            def _forward(self, act: str, body: bytes) -> None:
                headers = {"Content-Type": self.headers["Content-Type"]}
                found = httpx2.post(f"{proxy.writer_url}{self.path}", content=body, headers=headers, timeout=60)
                answer = found.content
                if found.status_code == 200:
                    answer = proxy.alter(act, answer)
                self.send_response(found.status_code)
                self.send_header("Content-Type", found.headers["Content-Type"])
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()


def drip(handler: BaseHTTPRequestHandler, _act: str) -> bool:
    """Answer a byte a while, for ever."""
    handler.send_response(200)
    handler.send_header("Content-Type", ANSWER_TYPE)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    with contextlib.suppress(OSError):
        while True:
            handler.wfile.write(b"\xa0")
            handler.wfile.flush()
            time.sleep(0.2)


def flood(handler: BaseHTTPRequestHandler, _act: str) -> bool:
    """Answer without end."""
    handler.send_response(200)
    handler.send_header("Content-Type", ANSWER_TYPE)
    handler.send_header("Connection", "close")
    handler.end_headers()
    with contextlib.suppress(OSError):
        while True:
            handler.wfile.write(bytes(1 << 20))


def redirect(handler: BaseHTTPRequestHandler, _act: str) -> bool:
    """Send the caller elsewhere."""
    handler.send_response(307)
    handler.send_header("Location", "http://127.0.0.1:1/")
    handler.send_header("Content-Length", "0")
    handler.end_headers()
    return True


def hang_up(_handler: BaseHTTPRequestHandler, _act: str) -> bool:
    """Answer nothing."""
    return True


def page_of_the_web(handler: BaseHTTPRequestHandler, _act: str) -> bool:
    """Answer as some other server would."""
    body = b"<html>" + b"x" * 10_000
    handler.send_response(200)
    handler.send_header("Content-Type", "text/html")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
    return True


class SlowCallers:
    """Connections that each begin a request and never end it."""

    def __init__(self, port: int, *, count: int) -> None:
        self.open: list[socket.socket] = []
        for _ in range(count):
            link = socket.socket()
            link.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                link.connect(("127.0.0.1", port))
            self.open.append(link)

    def say(self, data: bytes) -> None:
        """Send a little more on each."""
        for link in self.open:
            with contextlib.suppress(OSError):
                link.send(data)

    def close(self) -> None:
        """Go away."""
        for link in self.open:
            link.close()


def post(port: int, path: str, body: bytes, *, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    """Return status and body of a raw request."""
    sent = {"Content-Type": "application/cose", **(headers or {})}
    found = httpx2.post(f"http://127.0.0.1:{port}{path}", content=body, headers=sent, timeout=60)
    return found.status_code, found.content
