"""The process that the kill tests kill: writes a ledger and tells on standard output what was acknowledged.

Usage: writer_process.py FOLDER SUITE SEED VERIFIER_PROCESSES. Each line is flushed after the future resolved:
the transaction's position in the seeded stream, its leaf index and its block height.
"""

from __future__ import annotations

import sys
from collections import deque
from concurrent.futures import Future
from pathlib import Path

from shuiqiao.base.clock import SystemClock
from shuiqiao.ledger.engine.port import EmbeddedSettings
from shuiqiao.ledger.model import Committed
from shuiqiao.sandbox.benchmarks.ledger_load import load_network, signed_transactions

GENESIS_MS = 1_775_000_000_000
IN_FLIGHT = 24
MAP_BYTES = 1 << 28
MAX_SEGMENT_BYTES = 60_000


def main(folder: Path, suite: str, seed: int, verifier_processes: int) -> None:
    network = load_network(suite, genesis_time_ms=GENESIS_MS)
    clock = SystemClock()
    ledger = network.open_writer(
        folder,
        clock=clock,
        settings=EmbeddedSettings(
            is_clock_confirmed=True,
            map_bytes=MAP_BYTES,
            max_segment_bytes=MAX_SEGMENT_BYTES,
            max_block_transactions=16,
            verifier_processes=verifier_processes,
        ),
    )
    print("open", flush=True)  # noqa: T201 - this is the pipe to the test
    waiting: deque[tuple[int, Future[Committed]]] = deque()
    for number, raw in enumerate(signed_transactions(network, 1_000_000, seed=seed, now_ms=clock.now_ms())):
        waiting.append((number, ledger.submit(raw)))
        if len(waiting) >= IN_FLIGHT:
            position, future = waiting.popleft()
            done = future.result()
            print(position, raw_digest(done), flush=True)  # noqa: T201
        if number % 97 == 0:
            ledger.checkpoint()


def raw_digest(done: Committed) -> str:
    return f"{done.index} {done.height}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
