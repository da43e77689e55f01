"""A hostile writer, as a process of its own beside the follower that takes it for the writer.

Started as ``python -m shuiqiao.sandbox.benchmarks.hostile_writer URL``, URL being the true writer's address for
members. It writes its own address, hands on what it is asked, and does with each answer what the newest line on its
standard input says: ``honest``, ``wrong_roots`` (blocks that lead to other roots than were signed) or ``endless_pages``
(a page that never ends). While it is hostile it answers every question for news at once: there is some.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Final

import msgspec

from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.client.http import HttpClient
from shuiqiao.node.peers import acts
from shuiqiao.node.peers.acts import decode_wire, encode_wire, max_answer_bytes
from shuiqiao.node.peers.asking import ANSWER_TYPE, MESSAGE_TYPE, PEER_PATH
from shuiqiao.node.peers.message import Act

HONEST: Final = "honest"
WRONG_ROOTS: Final = "wrong_roots"
ENDLESS_PAGES: Final = "endless_pages"

_PAGES: Final = frozenset({Act.BLOCKS, Act.FOLLOW})
_PIECE: Final = bytes(1 << 20)
_TIMEOUT_S: Final = 60.0


class HostileWriter:
    """What stands in the writer's place."""

    def __init__(self, writer: HttpClient) -> None:
        self._writer = writer
        self._heights = itertools.count(1 << 40)
        self.behaviour = HONEST

    def pieces(self, act: Act, message: bytes) -> Iterator[bytes]:
        """Return what is answered to a message; raises what the true writer refuses with."""
        if self.behaviour != HONEST and act is Act.NEWS:
            yield encode_wire(acts.Height(height=next(self._heights)))
        elif self.behaviour == ENDLESS_PAGES and act in _PAGES:
            while self.behaviour == ENDLESS_PAGES:
                yield _PIECE
        else:
            answer = self._asked(act, message)
            yield altered(act, answer) if self.behaviour == WRONG_ROOTS and act in _PAGES else answer

    def _asked(self, act: Act, message: bytes) -> bytes:
        return self._writer.request(
            "POST",
            f"{PEER_PATH}/{act}",
            content=message,
            content_type=MESSAGE_TYPE,
            accept=ANSWER_TYPE,
            max_bytes=max_answer_bytes(act),
            timeout_s=_TIMEOUT_S,
        ).body


def altered(act: Act, answer: bytes) -> bytes:
    """Return a page of blocks whose transactions are others than the signed root covers."""
    most = max_answer_bytes(act)
    if act is Act.FOLLOW:
        followed = decode_wire(answer, acts.Followed, max_bytes=most)
        return encode_wire(msgspec.structs.replace(followed, blocks=_others(followed.blocks)))
    return encode_wire(acts.BlockPage(blocks=_others(decode_wire(answer, acts.BlockPage, max_bytes=most).blocks)))


def _others(blocks: Sequence[acts.WireBlock]) -> list[acts.WireBlock]:
    return [
        msgspec.structs.replace(block, transactions=[raw[:-1] + bytes([raw[-1] ^ 1]) for raw in block.transactions])
        for block in blocks
    ]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hostile: HostileWriter

    def log_message(self, format: str, *_words: object) -> None:  # noqa: A002 - the name that it overrides
        """Say nothing."""

    def do_POST(self) -> None:
        """Answer a follower, in pieces for as long as it listens."""
        message = self.rfile.read(int(self.headers["Content-Length"]))
        self.close_connection = True
        with suppress(OSError, ShuiqiaoError):
            pieces = self.hostile.pieces(Act(self.path.rpartition("/")[2]), message)
            first = next(pieces)
            self.send_response(200)
            self.send_header("Content-Type", ANSWER_TYPE)
            self.send_header("Connection", "close")
            self.end_headers()
            for piece in itertools.chain([first], pieces):
                self.wfile.write(piece)


def run(writer_url: str) -> None:
    """Answer until standard input ends."""
    with HttpClient(writer_url) as writer:
        hostile = _Handler.hostile = HostileWriter(writer)
        server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        server.daemon_threads = True
        Thread(target=server.serve_forever, daemon=True).start()
        sys.stdout.write(f"http://127.0.0.1:{server.server_port}\n")
        sys.stdout.flush()
        for line in sys.stdin:
            hostile.behaviour = line.strip()
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    run(sys.argv[1])
