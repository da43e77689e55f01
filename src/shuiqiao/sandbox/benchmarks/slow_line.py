"""A connection over which everything takes so much longer, half of it each way; and one question asked over it."""

from __future__ import annotations

import queue
import socket
import struct
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

DELAY_S: Final = 0.02
"""Added to each round trip."""

_PART_BYTES: Final = 65_536
_HEAD: Final = struct.Struct(">I")


class SlowLine:
    """One connection that is passed on, each part of it half of the delay later. passed: bytes there and back."""

    def __init__(self, target: str, listener: socket.socket) -> None:
        """target: where the connection leads. address: where it is taken."""
        self.address = f"127.0.0.1:{listener.getsockname()[1]}"
        self.passed = [0, 0]
        self._target, self._listener = target, listener

    def carry(self) -> None:
        """Carry one connection until both ends have ended it."""
        host, _, port = self._target.rpartition(":")
        near, _ = self._listener.accept()
        far = socket.create_connection((host, int(port)))
        threads = [
            threading.Thread(target=self._carry, args=(place, *ends), daemon=True)
            for place, ends in enumerate(((near, far), (far, near)))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        near.close()
        far.close()

    def _carry(self, place: int, source: socket.socket, target: socket.socket) -> None:
        waiting: queue.Queue[tuple[float, bytes]] = queue.Queue()

        def let_out() -> None:
            while (due := waiting.get())[1]:
                time.sleep(max(0.0, due[0] - time.monotonic()))
                with suppress(OSError):
                    target.sendall(due[1])
            with suppress(OSError):
                target.shutdown(socket.SHUT_WR)

        for each in (source, target):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        letting = threading.Thread(target=let_out, daemon=True)
        letting.start()
        with suppress(OSError):
            while part := source.recv(_PART_BYTES):
                self.passed[place] += len(part)
                waiting.put((time.monotonic() + DELAY_S / 2, part))
        waiting.put((0.0, b""))
        letting.join()


@contextmanager
def slow_line(target: str) -> Generator[SlowLine]:
    """Give a line to an address, for one connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        line = SlowLine(target, listener)
        threading.Thread(target=line.carry, daemon=True).start()
        yield line


def asked_slowly(question: bytes, answer: Callable[[bytes], bytes]) -> tuple[bytes, float]:
    """Return what answers a question over such a line, and how long that took in seconds.

    Raises what the answering side raises.
    """
    failed: list[BaseException] = []

    def serve(listener: socket.socket) -> None:
        end, _ = listener.accept()
        with end:
            try:
                _send(end, answer(_receive(end)))
            except BaseException as error:  # noqa: BLE001 - it is raised again where the answer is waited for
                failed.append(error)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = threading.Thread(target=serve, args=(listener,), daemon=True)
        serving.start()
        with slow_line(f"127.0.0.1:{listener.getsockname()[1]}") as line:
            host, _, port = line.address.rpartition(":")
            with socket.create_connection((host, int(port))) as near:
                began = time.perf_counter()
                _send(near, question)
                try:
                    found = _receive(near)
                except EOFError:
                    serving.join()
                    raise failed[0] from None
                return found, time.perf_counter() - began


def _send(end: socket.socket, data: bytes) -> None:
    end.sendall(_HEAD.pack(len(data)) + data)


def _receive(end: socket.socket) -> bytes:
    return _exactly(end, *_HEAD.unpack(_exactly(end, _HEAD.size)))


def _exactly(end: socket.socket, count: int) -> bytes:
    found = bytearray()
    while len(found) < count:
        part = end.recv(min(_PART_BYTES, count - len(found)))
        if not part:
            raise EOFError
        found += part
    return bytes(found)
