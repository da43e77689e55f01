"""How long an epoch of joint logistic training takes, beside the library's own loop in the same run.

Ours is three worker processes over our three connections, each step compared by all before it is taken. The bare loop
is three processes with the library's own connections without TLS, the same compiled function on as many numbers.
"""

from __future__ import annotations

import os
import socket
import statistics
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from shuiqiao.base.encoding import decode_json, encode_json
from shuiqiao.base.worker_process import WorkerProcess, begin_worker
from shuiqiao.privacy.secure.joint import BANK, BUREAU
from shuiqiao.privacy.secure.joint_library import JointParty
from shuiqiao.privacy.secure.library import load_library
from shuiqiao.privacy.secure.training_functions import logistic_step
from shuiqiao.sandbox.joint_trio import JointTrio

if TYPE_CHECKING:
    from collections.abc import Generator

    import numpy as np
    import numpy.typing as npt

    from shuiqiao.privacy.secure.joint import JointSession

ROWS: Final = 30_000
EPOCHS: Final = 5
_BANK_COLUMNS: Final = 13
_BUREAU_COLUMNS: Final = 10
_BATCH: Final = 4_096
_RATE: Final = 1.0
_PARTIES: Final = 3
_MAX_LINE_BYTES: Final = 65_536
_TRAINED: Final = ("wb", "wt", "c")
_WEIGHTS: Final = (("wb", (_BANK_COLUMNS,)), ("wt", (_BUREAU_COLUMNS,)), ("c", (1,)))


def joint_figures(*, rows: int = ROWS) -> dict[str, object]:
    """Return {"train_30k": {"aby3_s_per_epoch", "bare_s_per_epoch", "rows", "epochs", "memory_mb"}}.

    Medians of epochs over 30,000 rows of 13 and 10 columns, in batches of 4,096; the first epoch is not counted.
    memory_mb: most that a worker held, by party. Raises Unavailable ``privacy.extra_missing``.
    """
    ours, memory = _ours(rows)
    return {
        "train_30k": {
            "aby3_s_per_epoch": ours,
            "bare_s_per_epoch": _bare_s(rows),
            "rows": rows,
            "epochs": EPOCHS,
            "memory_mb": memory,
        }
    }


def _batches(rows: int) -> Generator[tuple[int, int, int]]:
    for number, first in enumerate(range(0, rows, _BATCH)):
        yield number, first, min(first + _BATCH, rows)


def _numbers(rows: int, owner: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return columns of one party and, at the bank, labels: numbers between -3 and 3, and 0 or 1."""
    import numpy as np

    random = np.random.default_rng(owner)
    wide = _BANK_COLUMNS if owner == BANK else _BUREAU_COLUMNS
    columns = random.normal(0, 1, (rows, wide)).clip(-3, 3)
    return columns, (columns.sum(axis=1) > random.normal(0, 2, rows)).astype(np.float64)


def _shared(rows: int, rank: int) -> Generator[tuple[str, int, tuple[int, ...], npt.NDArray[np.float64] | None]]:
    """Yield what is shared before the first epoch: name, owner, shape, and at the owner the numbers."""
    import numpy as np

    for owner, name in ((BANK, "xb"), (BUREAU, "xt")):
        columns, labels = _numbers(rows, owner)
        for number, first, last in _batches(rows):
            part = columns[first:last]
            yield f"{name}{number}", owner, part.shape, part if rank == owner else None
            if owner == BANK:
                yield f"y{number}", owner, (last - first,), labels[first:last] if rank == owner else None
    for name, shape in _WEIGHTS:
        yield name, BANK, shape, np.zeros(shape) if rank == BANK else None


def _inputs(number: int) -> list[str]:
    return [f"xb{number}", f"xt{number}", f"y{number}", *_TRAINED]


def _ours(rows: int) -> tuple[float, dict[str, int]]:
    functions = {
        last - first: logistic_step(rows=last - first, bank=_BANK_COLUMNS, bureau=_BUREAU_COLUMNS, rate=_RATE)
        for _, first, last in _batches(rows)
    }

    def party(session: JointSession) -> list[float]:
        for name, owner, shape, values in _shared(rows, session.rank):
            session.share(name, owner=owner, shape=shape, values=values)
        taken: list[float] = []
        for _ in range(EPOCHS + 1):
            began = time.perf_counter()
            for number, first, last in _batches(rows):
                session.run(functions[last - first], _inputs(number), _TRAINED)
            taken.append(time.perf_counter() - began)
        return taken

    with JointTrio().open() as trio:
        taken = trio.results(party)[BANK]
        memory = {
            name: _most_mb(each.worker_pid)
            for name, each in zip(("bank", "bureau", "third"), trio.parties, strict=True)
        }
    # The first epoch compiles.
    return round(statistics.median(taken[1:]), 3), memory


def _most_mb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def _bare_s(rows: int) -> float:
    """Return the median of the library's own loop, seen by the bank's process."""
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(_PARTIES)]
        ports = [str(each.getsockname()[1]) for each in listeners]
    workers = [WorkerProcess(run_bare_training, str(rank), str(rows), *ports) for rank in range(_PARTIES)]
    try:
        with os.fdopen(workers[0].source, "rb") as told:
            found: int = decode_json(told.readline(_MAX_LINE_BYTES), max_bytes=_MAX_LINE_BYTES)["microseconds"]
            return round(found / 1e6, 3)
    finally:
        for worker in workers:
            worker.end()
            os.close(worker.sink)
        for worker in workers[1:]:
            os.close(worker.source)


class _BareLine:
    """To another party over the library's own connection."""

    def __init__(self, context: Any, rank: int) -> None:
        self._context, self._rank = context, rank

    def send(self, key: str, data: bytes) -> None:
        """Send a frame; they come in order."""
        del key
        self._context.send(self._rank, data.hex())

    def receive(self, key: str) -> bytes:
        """Return the next frame."""
        del key
        return bytes.fromhex(self._context.recv(self._rank).decode())


def run_bare_training(rank: str, rows: str, *ports: str) -> None:
    """Be one of three parties without this house's links; the bank's says how long an epoch took."""
    _, sink = begin_worker()
    library, place, count = load_library(), int(rank), int(rows)
    description = library.link.Desc()
    description.id = "bare"
    for name, port in zip(("bank", "bureau", "third"), ports, strict=True):
        description.add_party(name, f"127.0.0.1:{port}")
    context: Any = library.link.create_brpc(description, place)
    others = [each for each in range(_PARTIES) if each != place]
    party = JointParty(library, context, {each: _BareLine(context, each) for each in others}, rank=place)
    for name, owner, shape, values in _shared(count, place):
        step = {"do": "share", "name": name, "owner": owner, "shape": shape}
        party.take(step, b"", b"" if values is None else values.astype("<f4").tobytes(), kind="<f4")
    taken: list[float] = []
    for _ in range(EPOCHS + 1):
        began = time.perf_counter()
        for number, first, last in _batches(count):
            function = logistic_step(rows=last - first, bank=_BANK_COLUMNS, bureau=_BUREAU_COLUMNS, rate=_RATE)
            step = {"do": "run", "inputs": _inputs(number), "outputs": _TRAINED, "done": ()}
            party.take(step, party.compiled(function.text, inputs=6), b"", kind="")
        taken.append(time.perf_counter() - began)
    if place == 0:
        os.write(sink, encode_json({"microseconds": int(1e6 * statistics.median(taken[1:]))}) + b"\n")
        for each in others:
            context.send(each, "done")
    else:
        context.recv(0)
    os._exit(0)
