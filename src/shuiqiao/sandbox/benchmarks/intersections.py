"""How long two banks take to find their common items, beside the library called alone in the same run.

Ours is a run of two worker processes over a link that is open and warm, from two lists in the servers to the places in
one of them. The bare call is two processes with the library's own connections without TLS, on the same number of items
in files that are there already. Half of the items are common.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from shuiqiao.base.encoding import decode_json, encode_json
from shuiqiao.base.worker_process import WorkerProcess, begin_worker
from shuiqiao.privacy.secure.library import load_library
from shuiqiao.privacy.secure.psi_library import common_items
from shuiqiao.sandbox.benchmarks.secure_scores import free_ports, memory_mb
from shuiqiao.sandbox.secure_pair import BANK, BINDING, BUREAU, SecurePair

ITEMS: Final = 100_000
_MAX_LINE_BYTES: Final = 65_536


def intersection_figures(*, items: int = ITEMS) -> dict[str, object]:
    """Return {"psi_100k_s", "psi_100k_bare_s": seconds, "psi_items", "psi_memory_mb": most of a worker, by side}."""
    asked, other = ([sha256(str(first + each).encode()).digest() for each in range(items)] for first in (0, items // 2))
    with closing(SecurePair().open()) as pair, ThreadPoolExecutor(1) as pool:
        began = time.perf_counter()
        theirs = pool.submit(pair.bureau.intersect, BANK, other, binding=BINDING, theirs=items)
        found = pair.bank.intersect(BUREAU, asked, binding=BINDING)
        if theirs.result() or found != list(range(items // 2, items)):
            raise AssertionError("an intersection is not the plain one")
        taken = time.perf_counter() - began
        memory = memory_mb(pair)
    return {
        "psi_100k_s": round(taken, 2),
        "psi_100k_bare_s": _bare_s(items),
        "psi_items": items,
        "psi_memory_mb": {"asks": memory["bank"], "asked": memory["bureau"]},
    }


def _bare_s(items: int) -> float:
    """Return how long the library's own call took, seen by the process that asks."""
    ports = free_ports()
    workers = [WorkerProcess(run_bare_intersection, str(rank), str(items), *map(str, ports)) for rank in (0, 1)]
    try:
        with os.fdopen(workers[0].source, "rb") as told:
            found: int = decode_json(told.readline(_MAX_LINE_BYTES), max_bytes=_MAX_LINE_BYTES)["microseconds"]
            return round(found / 1e6, 2)
    finally:
        for worker in workers:
            worker.end()
            os.close(worker.sink)
        os.close(workers[1].source)


def run_bare_intersection(rank: str, items: str, *ports: str) -> None:
    """Be one of two parties without this house's link; the one that asks says how long a call took."""
    _, sink = begin_worker()
    library, count, place = load_library(), int(items), int(rank)
    description = library.link.Desc()
    description.id = "bare"
    for name, port in zip(("asks", "asked"), ports, strict=True):
        description.add_party(name, f"127.0.0.1:{port}")
    context = library.link.create_brpc(description, place)
    mine = [sha256(str(place * count // 2 + each).encode()).digest() for each in range(count)]
    # The first call loads the other library.
    for each in (mine[:2], mine):
        with TemporaryDirectory() as folder:
            began = time.perf_counter()
            common_items(context, each, rank=place, folder=Path(folder))
            taken = time.perf_counter() - began
    if place == 0:
        os.write(sink, encode_json({"microseconds": int(1e6 * taken)}) + b"\n")
        context.send(1, "done")
    else:
        context.recv(0)
    os._exit(0)
