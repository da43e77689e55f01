"""What one applicant costs in the modes of one question and one answer: bytes, the wait with a delay, memory.

A bank asks a bureau over a line with a delay, both real institutions in this process: from the request to the sealed
answer, its ledger entries included. Memory is the most that a process holds which does one party's part and no more.
"""

from __future__ import annotations

import os
import statistics
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from shuiqiao.base.errors import Unavailable
from shuiqiao.base.worker_process import WorkerProcess, begin_worker
from shuiqiao.sandbox.benchmarks.slow_line import asked_slowly
from shuiqiao.sandbox.crossing import open_stage
from shuiqiao.sandbox.scenario.enterprises import BureauLink
from shuiqiao.sandbox.scenario.modes import AT_SOURCE, BLIND, PROVE

if TYPE_CHECKING:
    from collections.abc import Callable

    from shuiqiao.node.institution import Institution
    from shuiqiao.sandbox.crossing import Stage

_MAX_LINE_BYTES: Final = 64


class _DelayedLink:
    """The way to a bureau over a line with a delay."""

    def __init__(self, bank: Institution, bureau: Institution) -> None:
        self._link = BureauLink(bank, bureau)
        self.question, self.answer, self.taken_s = b"", b"", 0.0

    def ask(self, message: bytes) -> bytes:
        """Return the bureau's answer."""
        self.question = message
        self.answer, self.taken_s = asked_slowly(message, self._link.ask)
        return self.answer


def asked_figures() -> dict[str, dict[str, object]]:
    """Return {"bytes": {mode_sent, mode_came}, "with_20ms_delay": {mode_ms}} of the modes whose extra is there.

    sent: to the bureau, of a credential nothing. came: to the bank. ms: medians over three banks.
    """
    sizes, delayed = dict[str, object](), dict[str, object]()
    with TemporaryDirectory() as folder, open_stage(Path(folder)) as stage:
        for mode in (AT_SOURCE, BLIND):
            try:
                links = [_asked(stage, mode, bank) for bank in stage.consortium.banks.values()]
            except Unavailable:
                continue
            sizes |= {f"{mode}_sent": len(links[0].question), f"{mode}_came": len(links[0].answer)}
            delayed[f"{mode}_ms"] = round(1_000 * statistics.median(link.taken_s for link in links), 1)
        shown, *_ = stage.applicant.use(PROVE, next(iter(stage.consortium.banks.values()))).shown
        sizes["prove_came"] = len(shown)
    return {"bytes": sizes, "with_20ms_delay": delayed}


def _asked(stage: Stage, mode: str, bank: Institution) -> _DelayedLink:
    link = _DelayedLink(bank, stage.consortium.bureau)
    stage.applicant.use(mode, bank, link=link)
    return link


def memory_mb(part: Callable[..., None], *arguments: str) -> int:
    """Return the most memory in MB that a process held which did a part of the work.

    part: a function of a module, which calls ``tell_memory``.
    """
    worker = WorkerProcess(part, *arguments)
    try:
        with os.fdopen(worker.source, "rb") as told:
            return int(told.readline(_MAX_LINE_BYTES))
    finally:
        worker.end()
        os.close(worker.sink)


def tell_memory(act: Callable[[], object]) -> None:
    """Be the worker that does a part, and tell what it held."""
    _, sink = begin_worker()
    act()
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    os.write(sink, b"%d\n" % (int(status.partition("VmHWM:")[2].split()[0]) // 1024))
    os._exit(0)
