"""How many transactions a second the embedded ledger makes durable, and how long verifying one receipt takes.

Measured: an EmbeddedLedger on a real folder, signature-checking processes as many as cores, the load of ``ledger_load``
signed beforehand, a bounded window of submissions in flight, every future resolved (so: on the medium). Before and
after each run, on as many cores, the suite's verifying provider checks the very same signatures and does nothing else:
a run is compared with what the machine could do around it, as its speed may change within seconds. All figures are
medians over the runs, the ratio too. Latency is from ``submit`` to the resolved future, of every eighth submission
under this full load.

A receipt is verified, decoding included, against a genesis that is already loaded.
"""

from __future__ import annotations

import math
import os
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import closing
from functools import partial
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from shuiqiao.base.clock import SystemClock
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.engine.embedded import EmbeddedLedger
from shuiqiao.ledger.engine.port import EmbeddedSettings
from shuiqiao.ledger.model import Committed
from shuiqiao.ledger.receipts.verification import verify_receipt
from shuiqiao.ledger.transactions.transaction import decode_transaction, signature_message
from shuiqiao.sandbox.benchmarks.ledger_load import LoadNetwork, load_network, signed_transactions

DEFAULT_TRANSACTIONS: Final = 20_000
RUNS: Final = 5
IN_FLIGHT: Final = 3_000
"""Submissions without an answer at any moment: enough that signatures are checked while a block is made and flushed."""

RAW_SECONDS: Final = 1.5
_SEED = 3
_TIMED_EVERY = 8
_RAW_SAMPLE = 512
_SIGNING_BATCHES = 4
_START_DELAY_S = 1.0
_P99 = 0.99

Claim = tuple[bytes, bytes, bytes]


def run_ledger_bench(
    *,
    suite: str,
    transactions: int = DEFAULT_TRANSACTIONS,
    runs: int = RUNS,
    cores: int | None = None,
    folder: Path | None = None,
) -> dict[str, object]:
    """Return {"suite", "transactions", "tx_per_s", "raw_verify_per_s", "ratio", "p99_ms"}.

    suite: ``intl`` or ``gm``. transactions: per run. cores: processes to use, by default as many as this process may.
    folder: where the ledgers are written and removed again, by default the system's temporary folder.
    """
    cores = cores or len(os.sched_getaffinity(0))
    now_ms = SystemClock().now_ms()
    network = load_network(suite, genesis_time_ms=now_ms)
    tx_rates: list[float] = []
    raw_rates: list[float] = []
    waits_s: list[float] = []
    with ProcessPoolExecutor(max_workers=cores, mp_context=get_context("spawn")) as pool:
        raws = _sign(pool, suite=suite, transactions=transactions, now_ms=now_ms)
        claims = _claims(network, raws[:_RAW_SAMPLE])
        raw_rates.append(_raw_rate(pool, suite=suite, claims=claims, cores=cores))
        for _ in range(runs):
            rate, waits = _ledger_rate(network, raws, cores=cores, folder=folder)
            raw_rates.append(_raw_rate(pool, suite=suite, claims=claims, cores=cores))
            tx_rates.append(rate)
            waits_s += waits
    ratios = [rate / statistics.mean(around) for rate, around in zip(tx_rates, pairwise(raw_rates), strict=True)]
    return {
        "suite": suite,
        "transactions": transactions,
        "tx_per_s": round(statistics.median(tx_rates)),
        "raw_verify_per_s": round(statistics.median(raw_rates)),
        "ratio": round(statistics.median(ratios), 3),
        "p99_ms": round(1000 * sorted(waits_s)[math.ceil(_P99 * len(waits_s)) - 1], 1),
    }


def _sign(pool: ProcessPoolExecutor, *, suite: str, transactions: int, now_ms: int) -> list[bytes]:
    """Return the signed load, made in parts that do not depend on each other."""
    size = math.ceil(transactions / _SIGNING_BATCHES)
    parts = [
        pool.submit(_sign_part, suite=suite, count=size, seed=_SEED + number, now_ms=now_ms)
        for number in range(_SIGNING_BATCHES)
    ]
    return [raw for part in parts for raw in part.result()][:transactions]


def _sign_part(*, suite: str, count: int, seed: int, now_ms: int) -> list[bytes]:
    network = load_network(suite, genesis_time_ms=now_ms)
    return list(signed_transactions(network, count, seed=seed, now_ms=now_ms))


def _claims(network: LoadNetwork, raws: Sequence[bytes]) -> list[Claim]:
    """Return the (public key, message, signature) of transactions, as the ledger checks them."""
    claims: list[Claim] = []
    for raw in raws:
        tx = decode_transaction(raw, kinds=network.kinds, network=network.parameters.network, suite=network.suite)
        key = network.keys[tx.author].public_key
        claims += [(key, signature_message(tx, signature), signature.signature) for signature in tx.signatures]
    return claims


def _raw_rate(pool: ProcessPoolExecutor, *, suite: str, claims: Sequence[Claim], cores: int) -> float:
    """Return signatures per second of the suite's provider on all cores at once, with nothing around it."""
    start = time.monotonic() + _START_DELAY_S
    rates = [pool.submit(_verify_for_a_while, suite=suite, claims=claims, start=start) for _ in range(cores)]
    return sum(rate.result() for rate in rates)


def _verify_for_a_while(*, suite: str, claims: Sequence[Claim], start: float) -> float:
    provider = get_suite(suite)
    # All processes begin at one moment: the clock is the system's, the same in each.
    time.sleep(max(0.0, start - time.monotonic()))
    began = time.monotonic()
    checked = 0
    while time.monotonic() - began < RAW_SECONDS:
        provider.verify_signatures(claims)
        checked += len(claims)
    return checked / (time.monotonic() - began)


def _ledger_rate(
    network: LoadNetwork, raws: Sequence[bytes], *, cores: int, folder: Path | None
) -> tuple[float, list[float]]:
    """Return durable transactions per second, and the seconds each submitter waited."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="shuiqiao-bench-") as home:
        with _opened(network, Path(home), settings=EmbeddedSettings(verifier_processes=cores)) as ledger:
            _warm_up(ledger)
            return _submit_all(ledger, raws)


def _opened(network: LoadNetwork, folder: Path, *, settings: EmbeddedSettings) -> closing[EmbeddedLedger]:
    return closing(network.open_writer(folder, clock=SystemClock(), settings=settings))


def _warm_up(ledger: EmbeddedLedger) -> None:
    """Let the processes start: a node does that once, not with every transaction."""
    # What is no transaction is refused without them, so the ledger stays empty while they load.
    ledger.submit(b"").exception()
    time.sleep(_START_DELAY_S)


def _submit_all(ledger: EmbeddedLedger, raws: Sequence[bytes]) -> tuple[float, list[float]]:
    waits: list[float] = []
    futures: deque[Future[Committed]] = deque()
    began = time.monotonic()
    for number, raw in enumerate(raws):
        if number >= IN_FLIGHT:
            futures.popleft().result()
        future = ledger.submit(raw)
        if number % _TIMED_EVERY == 0:
            future.add_done_callback(partial(_note_wait, waits, time.monotonic()))
        futures.append(future)
    for future in futures:
        future.result()
    return len(raws) / (time.monotonic() - began), waits


def _note_wait(waits: list[float], submitted: float, _done: Future[Committed]) -> None:
    waits.append(time.monotonic() - submitted)


RECEIPT_TRANSACTIONS: Final = 2_000
RECEIPTS: Final = 200


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
        "verify_ms": {"p50": round(cuts[49], 3), "p99": round(cuts[98], 3)},
    }


def _receipts(network: LoadNetwork, folder: Path, *, now_ms: int) -> tuple[list[bytes], int]:
    """Write a ledger and return receipts spread over it, with the size of its log."""
    with _opened(network, folder, settings=EmbeddedSettings()) as ledger:
        futures = [
            ledger.submit(raw) for raw in signed_transactions(network, RECEIPT_TRANSACTIONS, seed=_SEED, now_ms=now_ms)
        ]
        indexes = [future.result().index for future in futures]
        step = len(indexes) // RECEIPTS
        return [ledger.receipt(index) for index in indexes[::step]], ledger.checkpoint().size


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
