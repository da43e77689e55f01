"""How long secure scores take between two workers, beside the library called alone in the same run.

Both parties run on this machine, each by a worker process as between servers, over a link that is open and warm. The
bare call is the library without this house: two processes, its own connections without TLS, the same function on the
same numbers. The delay stands in the connection between the two workers, half of it each way.
"""

from __future__ import annotations

import os
import socket
import statistics
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from shuiqiao.base.encoding import decode_json, encode_json
from shuiqiao.base.worker_process import WorkerProcess, begin_worker
from shuiqiao.privacy.secure.library import Party, load_library
from shuiqiao.privacy.secure.model import MAX_ROWS, TAG_BYTES, SecureFunction, SecureOutput
from shuiqiao.sandbox.benchmarks.slow_line import slow_line
from shuiqiao.sandbox.secure_pair import BANK, BUREAU, SecurePair, random_rows

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

CALLS: Final = 60
_FEATURES: Final = 20
_BINS: Final = 5
_INDICATORS: Final = _FEATURES * _BINS
_DELAYED_CALLS: Final = 10
_MAX_LINE_BYTES: Final = 65_536
_ONE: Final = SecureFunction(indicators=_INDICATORS, cuts=0, output=SecureOutput.POINTS)


def secure_figures(*, rows: int) -> dict[str, dict[str, object]]:
    """Return figures by the names of ``bench privacy``, of points of 20 features with 5 bins each.

    one_applicant_ms: medians of ``secure`` and ``secure_bare``, warm. rows_100k: ``secure_s``, of 100,000 taxpayers in
    runs of 8,192. with_20ms_delay: ``secure_ms``. bytes: ``secure_sent`` by the bank in one run, ``secure_came``.
    memory_mb: most that a worker held, by party, for one applicant and for 100,000 rows.
    """
    one, many, memory = _linked(rows)
    delayed, sent, came = _delayed()
    return {
        "one_applicant_ms": {"secure": one, "secure_bare": _bare_ms()},
        "rows_100k": {"secure_s": many},
        "with_20ms_delay": {"secure_ms": delayed},
        "bytes": {"secure_sent": sent, "secure_came": came},
        "memory_mb": memory,
    }


def _linked(rows: int) -> tuple[float, float, dict[str, object]]:
    with closing(SecurePair().open()) as pair:
        one = _median_ms(pair, calls=CALLS)
        memory = {"one_applicant": memory_mb(pair)}
        weights, holds = _numbers(rows)
        began = time.perf_counter()
        for first in range(0, rows, MAX_ROWS):
            part = holds[first : first + MAX_ROWS]
            _run(pair, replace(_ONE, rows=len(part)), weights=weights, holds=part)
        return one, round(time.perf_counter() - began, 2), {**memory, "rows_100k": memory_mb(pair)}


def _delayed() -> tuple[float, int, int]:
    with closing(SecurePair()) as pair:
        answer = pair.bureau.accept(BANK, pair.bank.offer(BUREAU))
        with slow_line(answer.address) as line:
            pair.bank.connect(BUREAU, replace(answer, address=line.address))
            before = list(line.passed)
            taken = _median_ms(pair, calls=_DELAYED_CALLS)
            # One call more was made, which is not timed.
            sent, came = (
                (after - first) // (_DELAYED_CALLS + 1) for after, first in zip(line.passed, before, strict=True)
            )
    return taken, sent, came


def _median_ms(pair: SecurePair, *, calls: int) -> float:
    weights, holds = _numbers(1)
    taken: list[float] = []
    for _ in range(calls + 1):
        began = time.perf_counter()
        _run(pair, _ONE, weights=weights, holds=holds)
        taken.append(time.perf_counter() - began)
    # The first call compiles the function.
    return round(1000 * statistics.median(taken[1:]), 1)


def _run(
    pair: SecurePair, function: SecureFunction, *, weights: npt.NDArray[np.int64], holds: npt.NDArray[np.int64]
) -> None:
    if pair.outputs(function, weights, holds) != (holds @ weights).tolist():
        raise AssertionError("a secure score is not the plain one")


def _numbers(rows: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    import numpy as np

    random = np.random.default_rng(1)
    holds = random_rows(random, rows=rows, features=_FEATURES, bins=_BINS)
    return random.integers(-100, 100, _INDICATORS), holds


def memory_mb(pair: SecurePair) -> dict[str, int]:
    """Return the most that the one worker of each side held, in MB."""
    found: dict[str, int] = {}
    for name, pid in zip(("bank", "bureau"), pair.workers(), strict=True):
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        found[name] = int(status.partition("VmHWM:")[2].split()[0]) // 1024
    return found


def _bare_ms() -> float:
    """Return the median of the library's own call, seen by the bank's process."""
    ports = free_ports()
    workers = [WorkerProcess(run_bare, str(rank), *map(str, ports)) for rank in (0, 1)]
    try:
        with os.fdopen(workers[0].source, "rb") as told:
            found: float = decode_json(told.readline(_MAX_LINE_BYTES), max_bytes=_MAX_LINE_BYTES)["microseconds"] / 1000
            return found
    finally:
        for worker in workers:
            worker.end()
            os.close(worker.sink)
        os.close(workers[1].source)


def run_bare(rank: str, *ports: str) -> None:
    """Be one of two parties without this house's link; the bank's says how long a call took."""
    _, sink = begin_worker()
    library = load_library()
    description = library.link.Desc()
    description.id = "bare"
    for name, port in zip(("bank", "bureau"), ports, strict=True):
        description.add_party(name, f"127.0.0.1:{port}")
    context: Any = library.link.create_brpc(description, int(rank))
    party = Party(library, context, rank=int(rank))
    code = party.compiled(_ONE.text, inputs=2)
    weights, holds = _numbers(1)
    taken: list[float] = []
    for _ in range(CALLS + 1):
        began = time.perf_counter()
        kind, words = party.run(_ONE, code, (weights, holds.reshape(-1))[int(rank)])
        share = _ONE.share_of(kind, words, tag=bytes(TAG_BYTES))
        if int(rank):
            context.send(0, share.hex())
        else:
            _ONE.combine(share, bytes.fromhex(context.recv(1).decode()))
        taken.append(time.perf_counter() - began)
    if int(rank) == 0:
        os.write(sink, encode_json({"microseconds": int(1e6 * statistics.median(taken[1:]))}) + b"\n")
        context.send(1, "done")
    else:
        context.recv(0)
    os._exit(0)


def free_ports() -> list[int]:
    """Return two ports of this machine at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return [one.getsockname()[1], other.getsockname()[1]]
