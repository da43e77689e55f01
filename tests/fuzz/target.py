"""What the targets of all rooms share: a reader with its seeds, and what their seeds are made of."""

from __future__ import annotations

import json
import socket
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.base.unix_socket import listen_at
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.receipts.receipt import decode_receipt
from shuiqiao.members.genesis import network_parameters

VECTORS = Path(__file__).resolve().parent.parent / "vectors" / "ledger"
SUITE = get_suite("intl")
NETWORK = bytes(32)
KEY = SUITE.signing_key_from_seed(bytes(32))
FOLDER = Path(tempfile.mkdtemp(prefix="shuiqiao-fuzz-"))
"""Where bytes stand that are read by the name of a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A reader, and bytes to begin with. executions: changed bytes that the short form gives it."""

    read: Callable[[bytes], object]
    seeds: Callable[[], Sequence[bytes]]
    executions: int = 200


@cache
def vectors(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))


@cache
def receipts() -> list[bytes]:
    file = vectors("receipts_intl")
    return [bytes.fromhex(each["receipt"]) for each in [*file["valid"], *file["invalid"]]]


@cache
def whole_receipts() -> list[Any]:
    found = []
    for data in receipts():
        try:
            found.append(decode_receipt(data, hash_name="sha256"))
        except ShuiqiaoError:
            continue
    return found


@cache
def parameters() -> Any:
    return network_parameters(vectors("receipts_intl")["genesis"].encode())


CUT = b"\xff\xfe\xfd"
"""Stands between the parts of a block."""


def block_parts() -> list[bytes]:
    return [CUT.join([receipt.transaction, receipt.entry]) for receipt in whole_receipts()[:3]]


def transactions() -> list[bytes]:
    return sorted({receipt.transaction for receipt in whole_receipts()})


def notes() -> list[bytes]:
    return sorted({receipt.checkpoint for receipt in whole_receipts()})


def written(data: bytes, name: str) -> Path:
    path = FOLDER / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


class Answering:
    """A process that says the same to whoever connects, whatever it is asked."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.answer = b""
        self._listener = listen_at(path, backlog=8)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            link, _ = self._listener.accept()
            with link:
                self._say(link)

    def _say(self, link: socket.socket) -> None:
        try:
            link.sendall(self.answer)
            link.shutdown(socket.SHUT_WR)
            while link.recv(1 << 16):
                pass
        except OSError:
            return
