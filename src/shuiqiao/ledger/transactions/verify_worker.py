"""The process that checks signatures for an engine: jobs in on standard input, verdicts out on standard output.

``verifiers`` starts it as ``python -m shuiqiao.ledger.transactions.verify_worker SUITE``. It depends on nothing of the
process that started it, loads the crypto room only, and ends when its input does. The parent wrote what it reads:
lengths are trusted; keys, messages and signatures are not.
"""

from __future__ import annotations

import os
import signal
import struct
import sys
from collections.abc import Sequence
from typing import BinaryIO, Final

from shuiqiao.crypto.model import CipherSuite
from shuiqiao.crypto.suites import get_suite

HEAD: Final = struct.Struct(">III")
"""Bytes that follow, ticket, number of jobs."""

JOB: Final = struct.Struct(">HHI")
"""Lengths of public key, signature and message."""

NICENESS: Final = 10
"""How far these processes step back behind the engine, by the measure of ``nice``."""

VERDICT_HEAD: Final = struct.Struct(">II")
"""Ticket, number of jobs; one byte per job follows, 1 where the signature holds."""


def judge(suite: CipherSuite, body: bytes, *, jobs: int) -> bytes:
    """Return one byte per job of an encoded chunk, 1 where the signature holds by the suite's verifying provider."""
    at = jobs * JOB.size
    items: list[tuple[bytes, bytes, bytes]] = []
    for key_bytes, signature_bytes, message_bytes in JOB.iter_unpack(body[:at]):
        signature_at = at + key_bytes
        message_at = signature_at + signature_bytes
        end = message_at + message_bytes
        items.append((body[at:signature_at], body[message_at:end], body[signature_at:message_at]))
        at = end
    return verdict_bytes(suite.verify_signatures(items))


def verdict_bytes(problems: Sequence[str | None]) -> bytes:
    """Return one byte per verified signature: 1 where there was no problem."""
    return bytes(problem is None for problem in problems)


def serve(suite: CipherSuite, source: BinaryIO, sink: BinaryIO) -> None:
    """Answer chunks until the input ends."""
    while len(head := source.read(HEAD.size)) == HEAD.size:
        length, ticket, jobs = HEAD.unpack(head)
        body = source.read(length)
        if len(body) < length:
            return
        sink.write(VERDICT_HEAD.pack(ticket, jobs) + judge(suite, body, jobs=jobs))
        sink.flush()


def main() -> None:
    """Serve the suite named on the command line."""
    # Everything waits for the one thread that writes blocks: where cores are short, it goes first.
    os.nice(NICENESS)
    # Ctrl-C reaches the whole process group; the engine decides when its workers end, by closing their input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        serve(get_suite(sys.argv[1]), sys.stdin.buffer, sys.stdout.buffer)
    except BrokenPipeError:
        # The engine is gone and nobody reads the verdicts; what Python still holds for them goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
