"""The worker that checks signatures for an engine: jobs in, verdicts out.

``verifiers`` starts it. It loads the crypto room only and ends when its input does. The parent wrote what it reads:
lengths are trusted; keys, messages and signatures are not.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import BinaryIO, Final

from shuiqiao.base.worker_process import begin_worker
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


def main(suite: str) -> None:
    """Serve the suite of a name."""
    # Everything waits for the one thread that writes blocks: where cores are short, it goes first.
    os.nice(NICENESS)
    source, sink = begin_worker()
    # Where the engine is gone nobody reads the verdicts; what is left of them goes nowhere.
    with suppress(BrokenPipeError), open(source, "rb") as jobs, open(sink, "wb", buffering=0) as verdicts:  # noqa: PTH123
        serve(get_suite(suite), jobs, verdicts)
