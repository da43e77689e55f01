"""What five servers of a sandbox do over HTTP on this machine, the load client beside them.

Measured, each on homes made for this run: how fast a follower on another process copies what it missed, beside one that
has the writer in its own process; the memory of servers that have nothing to do, and whether it grows (``api_memory``);
how long readers of lists and receipts wait who think a second between two questions; what grants and decisions take
(``api_lending``); by how much hostile peers slow a member (``api_hostile``). A figure that was not measured is None.

All processes share the machine with the load client: a figure here is one of this machine and of everything on it.
"""

from __future__ import annotations

import itertools
import math
import random
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shuiqiao.base.clock import SystemClock
from shuiqiao.base.ids import system_entropy
from shuiqiao.base.progress import Progress, no_progress
from shuiqiao.client.http import HttpClient
from shuiqiao.client.operation import PREFIX
from shuiqiao.client.resources.ledger import EntryPage
from shuiqiao.crypto.model import SuiteName
from shuiqiao.ledger.engine.embedded import EmbeddedLedger
from shuiqiao.ledger.engine.follower import FollowerLedger
from shuiqiao.ledger.engine.port import FollowerSettings
from shuiqiao.ledger.model import Committed
from shuiqiao.members.key_ring import MemberKeyRing
from shuiqiao.node.home.keys import read_passphrase
from shuiqiao.node.institution import Institution
from shuiqiao.node.services import Dependencies
from shuiqiao.sandbox.benchmarks.api_hostile import (
    HostilePeers,
    await_copies,
    measure_hostile,
    unread_anchors,
    writer_for,
)
from shuiqiao.sandbox.benchmarks.api_lending import (
    LendingBench,
    LendingLoad,
    measure_in_one_process,
    measure_lending,
    write_invoices,
)
from shuiqiao.sandbox.benchmarks.api_memory import APPLICATIONS_PER_S, Watched, largest_mb, measure_growth
from shuiqiao.sandbox.benchmarks.hostile_load import signer_of
from shuiqiao.sandbox.scenario.consortium import BANKS, BUREAU
from shuiqiao.sandbox.servers.folder import SandboxFolder
from shuiqiao.sandbox.servers.logging_in import token_of
from shuiqiao.sandbox.servers.making import make_sandbox
from shuiqiao.sandbox.servers.parties import patiently
from shuiqiao.sandbox.servers.running import Sandbox

if TYPE_CHECKING:
    from shuiqiao.ledger.engine.port import LedgerPeer

IN_FLIGHT: Final = 2_000
"""Transactions without an answer while the writer's ledger is filled."""

TAXPAYERS: Final = 25
SETTLE_S: Final = 3.0
"""How long servers are left alone before their memory is read."""

THINKING_S: Final = 1.0
LONG_READERS: Final = 10
"""Readers while memory is watched."""

_P95: Final = 0.95
_PAGE: Final = 20
_RECEIPT_OF: Final = 2
"""Every so many questions of a reader is one for a receipt."""

_POLL_S: Final = 0.02
_SEED: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiBench:
    """What is measured.

    missed: transactions that a follower copies. readers, seconds: of the questions. minutes: for how long memory is
    watched under load, 0 for not at all. hostile: None for none.
    """

    suite: str
    missed: int = 20_000
    readers: int = 200
    seconds: float = 20.0
    minutes: float = 30.0
    load: LendingLoad = field(default_factory=LendingLoad)
    hostile: HostilePeers | None = field(default_factory=HostilePeers)
    folder: Path | None = None
    """Where the homes are made and removed again, None for the system's temporary folder."""


def run_api_bench(bench: ApiBench, *, progress: Progress = no_progress) -> dict[str, object]:
    """Return the figures, None for what was not measured.

    Raises what making and starting a sandbox raises.
    """
    with tempfile.TemporaryDirectory(dir=bench.folder, prefix="shuiqiao-bench-") as work:
        place = SandboxFolder(Path(work) / "sandbox")
        data = make_sandbox(
            place,
            suite=SuiteName(bench.suite),
            taxpayers=TAXPAYERS,
            seed=_SEED,
            clock=SystemClock(),
            entropy=system_entropy,
            progress=progress,
        )
        write_invoices(place.data / "tax", data, load=bench.load)
        sandbox = Sandbox(place)
        with ExitStack() as stack:
            stack.callback(sandbox.stop)
            sandbox.start(clock=SystemClock(), progress=progress)
            idle_mb = measure_idle(sandbox, progress=progress)
            sandbox.stop()
            rates = measure_followers(sandbox, missed=bench.missed, work=Path(work), progress=progress)
            sandbox.start(clock=SystemClock(), progress=progress)
            await_copies(sandbox)
            read_ms = measure_reading(sandbox, bench, progress=progress)
            with LendingBench.opened(sandbox, data, load=bench.load, progress=progress) as lending:
                lent = measure_lending(lending, progress=progress)
                memory = _memory(sandbox, lending, bench, progress=progress)
            slowed = None if bench.hostile is None else measure_hostile(sandbox, bench.hostile, progress=progress)
            sandbox.stop()
            here = measure_in_one_process(lending, progress=progress)
            return {
                "suite": bench.suite,
                "engine": sandbox.plan.engine,
                "servers": len(sandbox.servers),
                "decision_ms": {**lent.decision_ms, "one_process_p50": here},
                "grant_ms": lent.grant_ms,
                "read_ms": read_ms,
                "idle_rss_mb": idle_mb,
                "follower_tx_per_s": round(rates.over_http),
                "follower_ratio": round(rates.over_http / rates.in_process, 2),
                "rss_growth_mb_30min": round(max(each.growth for each in memory.values()), 1) if memory else None,
                "memory_mb": {member: each.as_json() for member, each in memory.items()} or None,
                "hostile_peer": slowed,
            }


def measure_idle(sandbox: Sandbox, *, progress: Progress = no_progress) -> float:
    """Return the memory of the largest of the servers, in megabytes, which took records in and have nothing to do."""
    progress("idle 空闲", 0, None)
    time.sleep(SETTLE_S)
    return round(largest_mb(sandbox), 1)


# What a follower missed


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyingRates:
    """Transactions a second that a follower copies."""

    in_process: float
    over_http: float


def measure_followers(sandbox: Sandbox, *, missed: int, work: Path, progress: Progress = no_progress) -> CopyingRates:
    """Fill the bureau's ledger and measure how fast a follower copies it; the bureau's server runs then.

    work: a folder for the copies.
    """
    place = sandbox.folder
    progress("fill the ledger 写入账本", 0, None)
    with _opened(place) as bureau:
        _fill(bureau, missed)
        height, writer = bureau.engine.last_block()[0], bureau.engine
        progress("copy in one process 本进程复制", 0, None)
        assert isinstance(writer, EmbeddedLedger), "the bureau writes"
        in_process = _copied(bureau, writer, height=height, folder=work / "in-process")
    sandbox.server(BUREAU).start()
    sandbox.server(BUREAU).wait_ready()
    progress("copy over HTTP 经网络复制", 0, None)
    over_http = _copied_over_http(place, bureau, height=height, folder=work / "over-http")
    return CopyingRates(in_process=in_process, over_http=over_http)


def _opened(place: SandboxFolder) -> Institution:
    around = Dependencies(clock=SystemClock(), entropy=system_entropy)
    return Institution.open(
        place.home(BUREAU), dependencies=around, passphrase=read_passphrase(place.home(BUREAU).passphrase)
    )


def _fill(bureau: Institution, count: int) -> None:
    """Put anchors of batches on the ledger that nobody has."""
    futures: deque[Future[Committed]] = deque()
    anchors = unread_anchors(signer_of(bureau.home))
    for raw in itertools.islice(anchors, count):
        if len(futures) >= IN_FLIGHT:
            futures.popleft().result()
        futures.append(bureau.engine.submit(raw))
    for future in futures:
        future.result()


def _copied_over_http(place: SandboxFolder, bureau: Institution, *, height: int, folder: Path) -> float:
    """Return transactions a second that a member copies from the bureau's server."""
    with writer_for(place.home(BANKS[0])) as writer:
        return _copied(bureau, writer, height=height, folder=folder)


def _copied(bureau: Institution, writer: LedgerPeer, *, height: int, folder: Path) -> float:
    """Return transactions a second that a follower copies from a writer into an empty folder."""
    began = time.monotonic()
    follower = FollowerLedger.open(
        folder,
        parameters=bureau.parameters,
        kinds=bureau.kinds,
        key_ring=MemberKeyRing(),
        clock=SystemClock(),
        writer=writer,
        settings=FollowerSettings(),
    )
    with closing(follower):
        while follower.last_block()[0] < height:
            time.sleep(_POLL_S)
        took_s = time.monotonic() - began
        return follower.checkpoint().size / took_s


# Servers with nothing to do, and with readers


def _memory(sandbox: Sandbox, lending: LendingBench, bench: ApiBench, *, progress: Progress) -> Mapping[str, Watched]:
    """Return the servers' memory while some read, and some apply one after the other; none where it is not watched."""
    if not bench.minutes:
        return {}

    def read(ending: threading.Event) -> None:
        _read_until(sandbox, ending, readers=LONG_READERS)

    def lend(ending: threading.Event) -> int:
        return lending.lend_until(ending, per_s=APPLICATIONS_PER_S)

    return measure_growth(sandbox, minutes=bench.minutes, loads=(read, lend), progress=progress)


def measure_reading(sandbox: Sandbox, bench: ApiBench, *, progress: Progress = no_progress) -> Mapping[str, object]:
    """Let readers ask for lists and receipts, at all institutions, with a second of thinking before each question."""
    progress("readers 读取", 0, None)
    ordered = sorted(_read_until(sandbox, threading.Event(), readers=bench.readers, seconds=bench.seconds))
    return {
        "p95": round(1000 * ordered[math.ceil(_P95 * len(ordered)) - 1], 1),
        "readers": bench.readers,
        "per_s": round(len(ordered) / bench.seconds),
    }


def _read_until(sandbox: Sandbox, ending: threading.Event, *, readers: int, seconds: float = math.inf) -> list[float]:
    """Let so many read for a time or until they are to end; return how long each question took, in seconds."""
    waits: list[float] = []
    with ExitStack() as stack:
        clients = [stack.enter_context(client) for client in _reading_clients(sandbox)]
        with ThreadPoolExecutor(max_workers=readers) as pool:
            done = [
                pool.submit(_read, clients[number % len(clients)], number, waits=waits, ending=ending)
                for number in range(readers)
            ]
            ending.wait(None if math.isinf(seconds) else seconds)
            ending.set()
            for each in done:
                each.result()
    return waits


def _reading_clients(sandbox: Sandbox) -> Iterator[HttpClient]:
    """Return a client of each institution, logged in as its operator, who may read the ledger."""
    for accounts in sandbox.folder.load_accounts():
        url = sandbox.url(accounts.member)
        with HttpClient(url) as door:
            token = token_of(door, accounts.with_role("operator"), clock=SystemClock())
        yield HttpClient(url, token=token)


def _read(client: HttpClient, number: int, *, waits: list[float], ending: threading.Event) -> None:
    source, listed, size = random.Random(number), list[int](), 1  # noqa: S311 - a repeatable load, no secret
    while not ending.wait(THINKING_S * 2 * source.random()):
        began = time.perf_counter()
        if listed and source.randrange(_RECEIPT_OF) == 0:
            # A receipt waits for the witnesses of a log that grows, for its reader too.
            patiently(partial(client.get, f"{PREFIX}/ledger/entries/{source.choice(listed)}/receipt", accept="*/*"))
        else:
            parameters: dict[str, str | int | bool] = {"limit": _PAGE, "cursor": str(source.randrange(size))}
            page = client.get(f"{PREFIX}/ledger/entries", parameters=parameters).read_as(EntryPage)
            listed = [entry.index for entry in page.items]
            size = max([size, *listed])
        waits.append(time.perf_counter() - began)
