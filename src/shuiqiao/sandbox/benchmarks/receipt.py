"""How long verifying one receipt takes, decoding included, against a genesis that is already loaded."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Final

from shuiqiao.base.clock import SystemClock
from shuiqiao.ledger.engine.embedded import EmbeddedLedger
from shuiqiao.ledger.engine.port import EmbeddedSettings
from shuiqiao.ledger.receipts.verification import verify_receipt
from shuiqiao.sandbox.benchmarks.ledger_load import LoadNetwork, load_network, signed_transactions

TRANSACTIONS: Final = 2_000
RECEIPTS: Final = 200
_SEED = 3
_P99 = 98


def run_receipt_bench(*, suite: str) -> dict[str, object]:
    """Return {"suite", "log_size", "receipt_bytes", "verify_ms": {"p50", "p99"}} over 200 receipts."""
    now_ms = SystemClock().now_ms()
    network = load_network(suite, genesis_time_ms=now_ms)
    with tempfile.TemporaryDirectory(prefix="shuiqiao-bench-") as folder:
        receipts, size = _receipts(network, Path(folder), now_ms=now_ms)
    milliseconds = [_verify(network, receipt) for receipt in receipts]
    cuts = statistics.quantiles(milliseconds, n=100, method="inclusive")
    return {
        "suite": suite,
        "log_size": size,
        "receipt_bytes": round(statistics.median(len(receipt) for receipt in receipts)),
        "verify_ms": {"p50": round(cuts[49], 3), "p99": round(cuts[_P99], 3)},
    }


def _receipts(network: LoadNetwork, folder: Path, *, now_ms: int) -> tuple[list[bytes], int]:
    """Write a ledger and return receipts spread over it, with the size of its log."""
    ledger = EmbeddedLedger.open(
        folder,
        parameters=network.parameters,
        kinds=network.kinds,
        key_ring=network.key_ring,
        clock=SystemClock(),
        operator_key=network.operator_key,
        settings=EmbeddedSettings(),
    )
    try:
        futures = [ledger.submit(raw) for raw in signed_transactions(network, TRANSACTIONS, seed=_SEED, now_ms=now_ms)]
        indexes = [future.result().index for future in futures]
        step = len(indexes) // RECEIPTS
        return [ledger.receipt(index) for index in indexes[::step]], ledger.checkpoint().size
    finally:
        ledger.close()


def _verify(network: LoadNetwork, receipt: bytes) -> float:
    """Return the milliseconds that verifying took."""
    began = time.perf_counter()
    verify_receipt(
        receipt,
        parameters=network.parameters,
        kinds=network.kinds,
        key_ring=network.key_ring,
        suite=network.suite,
    )
    return (time.perf_counter() - began) * 1000
