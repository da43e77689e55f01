"""Parties of a secure score that do what none does: a worker that babbles, a bank whose messages are not CHEETAH's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

from shuiqiao.base.worker_process import begin_worker
from shuiqiao.privacy.secure.channel import Frames, LinkCertificate, connect
from shuiqiao.privacy.secure.library import Party, context_over, load_library
from shuiqiao.privacy.secure.model import CONFIGURATION, SecureFunction, SecureOffer, SecureOutput

WARM = SecureFunction(indicators=2, cuts=1, output=SecureOutput.YES_NO)
BABBLE = {
    "length": b"\xff\xff\xff\xff",
    "no_cbor": b"\0\0\0\x02\xff\xff",
    "no_reply": b"\0\0\0\x03\x81\x01\x02",
    "unknown_code": b"\0\0\0\x0a\xa1\x64code\x63a.b",
    "half": b"\0\0\0\x10\xa1",
}


def babble(*_arguments: str) -> None:
    """Be a worker that says what the environment names, and ends."""
    _, sink = begin_worker()
    os.write(sink, BABBLE[os.environ["BABBLE"]])


class HostileBank:
    """A process that opens a link as a bank does, and spoils its messages after some."""

    def __init__(self, spoil: str, *, honest_frames: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__)), spoil, str(honest_frames)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        told = json.loads(self._process.stdout.readline())
        self.offer = SecureOffer(
            session=bytes(16), certificate=bytes.fromhex(told["certificate"]), address="", configuration=CONFIGURATION
        )

    def go(self, answer: SecureOffer) -> None:
        self._process.stdin.write(json.dumps({"at": answer.address, "certificate": answer.certificate.hex()}) + "\n")
        self._process.stdin.flush()

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


class SpoiledFrames:
    """Frames of which all are spoiled after some."""

    def __init__(self, frames: Frames, spoil: str, *, honest_frames: int) -> None:
        self._frames, self._spoil, self._honest = frames, spoil, honest_frames

    def send(self, key: str, data: bytes) -> None:
        self._honest -= 1
        if self._honest >= 0:
            self._frames.send(key, data)
        elif self._spoil == "noise":
            self._frames.send(key, os.urandom(len(data)))
        elif self._spoil == "cut":
            self._frames.send(key, data[: len(data) // 2])
        elif self._spoil == "empty":
            self._frames.send(key, b"")
        elif self._spoil == "longer":
            self._frames.send(key, data + os.urandom(100_000))

    def receive(self, key: str) -> bytes:
        return self._frames.receive(key)


def _play(spoil: str, honest_frames: int) -> None:
    certificate = LinkCertificate()
    sys.stdout.write(json.dumps({"certificate": certificate.der.hex()}) + "\n")
    sys.stdout.flush()
    told = json.loads(sys.stdin.readline())
    peer, (host, port) = bytes.fromhex(told["certificate"]), told["at"].rsplit(":", 1)
    library = load_library()
    frames = connect(host, int(port), certificate.context([peer], is_server=False), peer=peer, timeout_s=600.0)
    frames.begin(lambda: os._exit(0))
    frames.send("shuiqiao", sha256(bytes(16) + CONFIGURATION).digest())
    frames.receive("shuiqiao")
    spoiled = SpoiledFrames(frames, spoil, honest_frames=honest_frames)
    party = Party(library, context_over(library, {1: spoiled}, rank=0), rank=0)
    code = party.compiled(WARM.text, inputs=3)
    import numpy as np

    frames.send("shuiqiao", sha256(bytes(16) + WARM.digest + party.fingerprint(code)).digest())
    party.run(WARM, code, np.array([1, 2, 3], dtype=np.int64))
    sys.stdin.readline()


if __name__ == "__main__":
    _play(sys.argv[1], int(sys.argv[2]))
