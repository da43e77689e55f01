"""A relay between two peers that can be cut: how a network on one machine is partitioned.

A node dials its peer through a relay's port; the relay copies bytes both ways. While it is cut, open connections are
closed and new ones refused, as if the cable were out. Peers authenticate each other inside: no trust is put in it.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Final

_COPY_BYTES: Final = 256 * 1024
_CONNECT_TIMEOUT_S: Final = 3.0


class Relay:
    """Copies between connections to its own loopback port and one target port."""

    def __init__(self, *, target_port: int, port: int = 0) -> None:
        """port: where to listen, 0 for any that is free."""
        self._target = ("127.0.0.1", target_port)
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._is_cut = False
        threading.Thread(target=self._accept, name=f"relay-{self.port}", daemon=True).start()

    def cut(self) -> None:
        """Close what is open and refuse what comes."""
        with self._lock:
            self._is_cut = True
            open_now, self._open = self._open, set()
        for end in open_now:
            _shut(end)

    def heal(self) -> None:
        """Let connections through again."""
        with self._lock:
            self._is_cut = False

    def close(self) -> None:
        """Cut, and stop listening."""
        self.cut()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                # Closing the listener is how the thread is told to end.
                return
            threading.Thread(target=self._join, args=(near,), daemon=True).start()

    def _join(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(self._target, timeout=_CONNECT_TIMEOUT_S)
        except OSError:
            near.close()
            return
        far.settimeout(None)
        if not self._admit(near, far):
            near.close()
            far.close()
            return
        back = threading.Thread(target=_copy, args=(far, near), daemon=True)
        back.start()
        _copy(near, far)
        back.join()
        with self._lock:
            self._open -= {near, far}
        near.close()
        far.close()

    def _admit(self, *ends: socket.socket) -> bool:
        with self._lock:
            if not self._is_cut:
                self._open.update(ends)
            return not self._is_cut


def _copy(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(_COPY_BYTES):
            sink.sendall(data)
    except OSError:
        # One side went away or the relay was cut: both ends are shut below.
        pass
    _shut(source)
    _shut(sink)


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
