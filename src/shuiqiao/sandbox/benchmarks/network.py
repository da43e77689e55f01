"""How a consortium of four validators does on this machine, beside CometBFT's own kvstore under the same load.

The five numbers of JR/T 0193 (transaction and query throughput, synchronisation, deployment, growth) and the waits of
who hands in. Both networks have four validators on loopback with the same CometBFT settings; each of ours is two
processes, the application and its node. Transactions are those of ``ledger_load``, signed beforehand: every validator
checks every signature, executes, writes and flushes; the kvstore is given ``key=value`` of the same lengths by the same
generator. Windows of full load alternate between the two; rates are medians over them, taken from block headers alike,
from the first transaction handed in until the last one is decided. Waits are taken from the validators' journals.

A load is one stream of transactions for each node, in a file, for the load generator is another process. A stream's
transactions may depend on earlier ones of the same stream (an answer on its request), so it goes to one node, in order.
"""

from __future__ import annotations

import bisect
import math
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import msgspec

from shuiqiao.base.clock import SystemClock
from shuiqiao.base.errors import IntegrityError, Unavailable
from shuiqiao.base.progress import Progress
from shuiqiao.ledger.engine.cometbft.comet.home import state_sync_settings
from shuiqiao.ledger.engine.cometbft.comet.process import find_program
from shuiqiao.ledger.engine.cometbft.comet.rpc import RpcClient
from shuiqiao.ledger.engine.cometbft.mempool.bundle import transactions_in
from shuiqiao.sandbox.benchmarks.ledger_load import MEMBERS, load_network, signed_transactions
from shuiqiao.sandbox.benchmarks.network_cluster import KVSTORE, Cluster, LedgerCluster, wait_for
from shuiqiao.sandbox.benchmarks.network_load import LoadPlan, LoadReport, Sent, Stream
from shuiqiao.sandbox.benchmarks.network_validator import MARK_BYTES, Journal

ENGINE: Final = "cometbft"
DEFAULT_SECONDS: Final = 15.0
DEFAULT_MISSED: Final = 50_000
DEFAULT_WINDOWS: Final = 3
VERIFIER_PROCESSES: Final = 2
"""As many as cores: they only work while a node catches up."""

SNAPSHOT_HEIGHTS: Final = 4
EXPECTED_PER_S: Final = {"intl": 3_000, "gm": 1_500}
"""For how many transactions a second signed ones are at hand; a machine that does more shows so on its load."""

KVSTORE_PER_S: Final = 8_000
MEMPOOL_TRANSACTIONS: Final = 4_096
MEMPOOL_TRANSACTIONS_PER_S: Final = 256
"""How full a mempool is kept at full load: as many as we put into a block; less in windows of less than 16 seconds."""

_QUERY_PART: Final = 0.5
_DRAIN_TIMEOUT_S: Final = 300.0
_SYNC_TIMEOUT_S: Final = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkBench:
    """How much to measure: seconds of each window, windows of full load, transactions that a node misses."""

    suite: str
    seconds: float = DEFAULT_SECONDS
    windows: int = DEFAULT_WINDOWS
    missed: int = DEFAULT_MISSED
    folder: Path | None = None

    @property
    def mempool_transactions(self) -> int:
        """How many transactions a node's mempool may hold before its stream pauses at full load."""
        return min(MEMPOOL_TRANSACTIONS, round(self.seconds * MEMPOOL_TRANSACTIONS_PER_S))

    @property
    def _margin(self) -> int:
        """Transactions that a window may send beyond those that are decided in it: what all mempools may hold."""
        return len(MEMBERS) * self.mempool_transactions

    @property
    def window_transactions(self) -> int:
        """How many signed transactions are at hand for each window."""
        return round(self.seconds * EXPECTED_PER_S[self.suite]) + self._margin

    @property
    def peer_window_transactions(self) -> int:
        """How many pairs are at hand for each window of the kvstore."""
        return round(self.seconds * KVSTORE_PER_S) + self._margin


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """A run under way: both networks, their loads, and how far each stream is used."""

    bench: NetworkBench
    home: Path
    ours: LedgerCluster
    peer: Cluster
    progress: Progress
    load: Streams
    peer_load: Streams
    deploy_s: float


def run_network_bench(bench: NetworkBench, *, progress: Progress) -> dict[str, object]:
    """Return the figures of ``shuiqiao bench network``.

    Raises IntegrityError ``sandbox.bench_diverged`` if validators do not end with one root or the transactions do not
    add up, Unavailable ``ledger.cometbft_absent``, ``sandbox.bench_too_slow`` or ``sandbox.bench_not_taken``.
    """
    with _networks(bench, progress) as run:
        rates, peer_rates = _full_load(run)
        finality, receipts = _half_load(run, statistics.median(rates) / 2)
        progress("queries", 0, None)
        asked = run.ours.ask(MEMBERS[0], act="query", seconds=bench.seconds * _QUERY_PART)
        sync_rate = _catch_up(run)
        state_sync_s = _join_by_snapshot(run)
        growth = _agreed_growth(run)
        version = run.ours.comet.nodes[MEMBERS[0]].rpc.status().version
    rate, peer_rate = statistics.median(rates), statistics.median(peer_rates)
    return {
        "engine": ENGINE,
        "engine_version": version,
        "suite": bench.suite,
        "validators": len(MEMBERS),
        "tx_per_s": round(rate),
        "kvstore_tx_per_s": round(peer_rate),
        "ratio": round(statistics.median(a / b for a, b in zip(rates, peer_rates, strict=True)), 3),
        "finality_ms": finality,
        "receipt_ms": receipts,
        "query_per_s": round(asked["queries"] / asked["seconds"]),
        "sync_tx_per_s": round(sync_rate),
        "catch_up_ratio": round(sync_rate / rate, 2),
        "state_sync_s": round(state_sync_s, 1),
        "deploy_s": round(run.deploy_s, 1),
        "bytes_per_tx": round(growth),
    }


@contextmanager
def _networks(bench: NetworkBench, progress: Progress) -> Generator[_Run]:
    """Give both networks, running, with their loads signed."""
    program = find_program()
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=bench.folder, prefix="shuiqiao-bench-")))
        genesis_ms = SystemClock().now_ms()
        progress("signing", 0, None)
        wanted = (bench.windows + 1) * bench.window_transactions + bench.missed
        load = ledger_streams(home / "load", suite=bench.suite, count=wanted, now_ms=genesis_ms)
        peer_wanted = bench.windows * bench.peer_window_transactions
        peer_load = kvstore_streams(home / "kvstore-load", count=peer_wanted, like=load)
        progress("deploying", 0, None)
        began = time.monotonic()
        ours = LedgerCluster(
            home / "ours",
            program=program,
            suite=bench.suite,
            genesis_ms=genesis_ms,
            verifier_processes=VERIFIER_PROCESSES,
            snapshot_interval=SNAPSHOT_HEIGHTS,
        )
        stack.callback(ours.stop)
        ours.start()
        deploy_s = time.monotonic() - began
        peer = Cluster(home / "peer", program=program, suite=bench.suite, genesis_ms=genesis_ms, app=KVSTORE)
        stack.callback(peer.stop)
        peer.start()
        yield _Run(
            bench=bench,
            home=home,
            ours=ours,
            peer=peer,
            progress=progress,
            load=load,
            peer_load=peer_load,
            deploy_s=deploy_s,
        )


def _send(run: _Run, plan: LoadPlan) -> LoadReport:
    """Run the load generator in its own process."""
    plan_path, report_path = run.home / "plan.json", run.home / "report.json"
    plan_path.write_bytes(msgspec.json.encode(plan))
    # The command is this interpreter, a module of this package and files of ours: nothing from outside.
    subprocess.run(  # noqa: S603
        [sys.executable, "-m", "shuiqiao.sandbox.benchmarks.network_load", str(plan_path), str(report_path)],
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        check=True,
    )
    return msgspec.json.decode(report_path.read_bytes(), type=LoadReport)


def _full_load(run: _Run) -> tuple[list[float], list[float]]:
    """Return the rate of each window of full load, ours and the peer's in turn."""
    rates: list[float] = []
    peer_rates: list[float] = []
    for window in range(run.bench.windows):
        run.progress(f"full load {window + 1}", 0, None)
        rates.append(_window(run, run.ours, run.load, most=run.bench.window_transactions))
        run.progress(f"full load of kvstore {window + 1}", 0, None)
        peer_rates.append(_window(run, run.peer, run.peer_load, most=run.bench.peer_window_transactions))
    return rates, peer_rates


def _window(run: _Run, cluster: Cluster, load: Streams, *, most: int) -> float:
    rpc = cluster.comet.nodes[MEMBERS[0]].rpc
    before = rpc.status().height
    seconds = run.bench.seconds
    streams = load.streams(cluster.rpc_sockets(), most=most)
    most_waiting = run.bench.mempool_transactions
    plan = LoadPlan(streams=streams, seconds=seconds, is_bundled=load.is_bundled, mempool_transactions=most_waiting)
    report = _send(run, plan)
    load.use(report.counts())
    after = cluster.wait_drained(timeout_s=_DRAIN_TIMEOUT_S)
    counts = block_counts(rpc, after=before, up_to=after)
    sent = sum(report.counts())
    if sum(count for _, count in counts) != sent:
        raise _diverged(f"{sent} transactions were sent, {sum(count for _, count in counts)} stand in blocks")
    return sustained_rate(counts, began_s=report.began_unix_s)


def _half_load(run: _Run, rate: float) -> tuple[dict[str, float], dict[str, float]]:
    """Return the waits to the commit and to the note at a steady rate, each at the node that was handed to."""
    run.progress("half load", 0, None)
    height = int(run.ours.standing(MEMBERS[0])["blocks"])
    streams = run.load.streams(run.ours.rpc_sockets(), most=run.bench.window_transactions)
    plan = LoadPlan(streams=streams, rate=rate, seconds=run.bench.seconds, is_bundled=True)
    report = _send(run, plan)
    run.ours.wait_drained(timeout_s=_DRAIN_TIMEOUT_S)
    to_commit: list[float] = []
    to_note: list[float] = []
    for number, name in enumerate(MEMBERS):
        journal = _journal(run, name, from_height=height + 1)
        commits, notes = waits_s(report.sent[number], marks_of(run.load.paths[number]), journal)
        to_commit += commits
        to_note += notes
    run.load.use(report.counts())
    return quantiles_ms(to_commit), quantiles_ms(to_note)


def _journal(run: _Run, name: str, *, from_height: int) -> Journal:
    path = run.home / "journal"
    run.ours.ask(name, act="journal", path=str(path), from_height=from_height)
    return msgspec.msgpack.decode(path.read_bytes(), type=Journal)


def _catch_up(run: _Run) -> float:
    """Return how many transactions a second a validator takes in that missed many, from its first block to its last.

    What comes before is no rate: processes start, and CometBFT waits three seconds for peers, whatever was missed.
    """
    run.progress("missing blocks", 0, None)
    absent, others = MEMBERS[-1], MEMBERS[:-1]
    size = int(run.ours.standing(absent)["size"])
    run.ours.kill(absent)
    sockets = run.ours.rpc_sockets(others)
    streams = run.load.streams([*sockets, sockets[0]], most=run.bench.missed)
    plan = LoadPlan(streams=streams, is_bundled=True, mempool_transactions=MEMPOOL_TRANSACTIONS)
    report = _send(run, plan)
    run.load.use(report.counts())
    run.ours.wait_drained(names=others, timeout_s=_DRAIN_TIMEOUT_S)
    run.progress("catching up", 0, None)
    head = int(run.ours.standing(others[0])["size"])
    run.ours.start_application(absent)
    run.ours.comet.start([absent])
    began, first = _first_block(run, absent, after=size)
    _wait_level(run, absent)
    return (head - first) / (time.monotonic() - began)


def _first_block(run: _Run, name: str, *, after: int) -> tuple[float, int]:
    """Wait until a validator's ledger grows; return when it was seen to, and its size then."""
    found: list[tuple[float, int]] = []

    def is_growing() -> bool:
        size = int(run.ours.standing(name)["size"])
        found[:] = [(time.monotonic(), size)]
        return size > after

    wait_for(is_growing, timeout_s=_SYNC_TIMEOUT_S, what=f"{name} did not begin to catch up")
    return found[0]


def _wait_level(run: _Run, name: str) -> None:
    """Return once a validator's ledger is where the first one's is."""
    other = MEMBERS[0]

    def is_level() -> bool:
        return bool(run.ours.standing(name)["size"] == run.ours.standing(other)["size"])

    wait_for(is_level, timeout_s=_SYNC_TIMEOUT_S, what=f"{name} did not reach the head")


def _join_by_snapshot(run: _Run) -> float:
    """Return how many seconds a validator that has nothing any more needs to join by snapshot and reach the head."""
    run.progress("joining by snapshot", 0, None)
    name, others = MEMBERS[-1], MEMBERS[:-1]
    run.ours.kill(name)
    shutil.rmtree(run.ours.spec.ledger_folder(name))
    home = run.ours.comet.home(name)
    for folder in (home / "data").glob("*.db"):
        shutil.rmtree(folder)
    shutil.rmtree(home / "data" / "cs.wal", ignore_errors=True)
    block: Any = run.ours.comet.nodes[others[0]].rpc.block(_TRUSTED_HEIGHT)
    sync = state_sync_settings(
        rpc_servers=[run.ours.comet.rpc_address(each) for each in others[:2]],
        height=_TRUSTED_HEIGHT,
        block_hash=block["block_id"]["hash"],
    )
    run.ours.write_home(name, sync=sync)
    began = time.monotonic()
    run.ours.start_application(name)
    run.ours.comet.start([name])
    _wait_level(run, name)
    return time.monotonic() - began


_TRUSTED_HEIGHT: Final = 2


def _agreed_growth(run: _Run) -> float:
    """Return the bytes of a ledger folder for each transaction, having compared all validators."""
    run.progress("comparing", 0, None)
    standings = [run.ours.standing(name) for name in MEMBERS]
    if len({(each["size"], each["root"]) for each in standings}) != 1:
        raise _diverged(f"the validators stand at {[(each['size'], each['root'][:16]) for each in standings]}")
    accepted = int(standings[0]["size"]) - int(standings[0]["blocks"])
    if not 0 < accepted <= run.load.used:
        raise _diverged(f"{run.load.used} transactions were sent, {accepted} are in the log")
    run.progress(f"{accepted} of {run.load.used} transactions accepted", 0, None)
    return run.ours.ledger_bytes(MEMBERS[0]) / accepted


def _diverged(reason: str) -> IntegrityError:
    return IntegrityError("sandbox.bench_diverged", f"the network did not do what it was given: {reason}")


_METAS: Final = 20
"""Headers that one call of CometBFT's RPC gives."""

_P50, _P95 = 0.50, 0.95


def block_counts(rpc: RpcClient, *, after: int, up_to: int) -> list[tuple[float, int]]:
    """Return time (s) and number of transactions of the blocks at heights after < height <= up_to, in order.

    Transactions in bundles are counted on their own.
    """
    found: list[tuple[float, int]] = []
    for first in range(after + 1, up_to + 1, _METAS):
        last = min(up_to, first + _METAS - 1)
        metas = rpc.call("blockchain", minHeight=str(first), maxHeight=str(last))["block_metas"]
        for meta in reversed(metas):
            wholes = rpc.block_transactions(int(meta["header"]["height"])) if int(meta["num_txs"]) else ()
            found.append((_seconds(meta["header"]["time"]), sum(len(transactions_in(whole)) for whole in wholes)))
    return found


def _seconds(rfc3339: str) -> float:
    """Return a header's time; its nanoseconds are cut at the microseconds that datetime knows."""
    whole, _, fraction = rfc3339.removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{fraction or 0}")


def sustained_rate(counts: Sequence[tuple[float, int]], *, began_s: float) -> float:
    """Return transactions a second from the first that was handed in until all of them were decided.

    From empty mempools to empty ones, as a part of it would count transactions whose signatures were checked before. A
    header's time is that of the votes for the block before, and the last block is an empty one.
    """
    return sum(count for _, count in counts) / (counts[-1][0] - began_s)


def waits_s(sent: Sequence[Sent], marks: Sequence[bytes], journal: Journal) -> tuple[list[float], list[float]]:
    """Return the seconds to the commit, and to the note, of one stream's transactions at its node, from when each came.

    marks: those of the stream's transactions, from its beginning. Transactions that no block of the journal holds are
    left out; the caller compares the counts.
    """
    committed = {mark: block for block in journal.blocks for mark in block.marks}
    sizes = [size for size, _ in journal.notes]
    to_commit: list[float] = []
    to_note: list[float] = []
    for batch in sent:
        came_s = batch.at_s - batch.count * batch.every_s
        for mark in marks[batch.first : batch.first + batch.count]:
            came_s += batch.every_s
            block = committed.get(mark)
            if block is None:
                continue
            to_commit.append(block.committed_s - came_s)
            place = bisect.bisect_left(sizes, block.size)
            if place < len(sizes):
                to_note.append(journal.notes[place][1] - came_s)
    return to_commit, to_note


def quantiles_ms(waits: Sequence[float]) -> dict[str, float]:
    """Return {"p50", "p95"} in milliseconds, zeros for nothing."""
    ordered = sorted(waits)
    return {"p50": _quantile_ms(ordered, _P50), "p95": _quantile_ms(ordered, _P95)}


def _quantile_ms(ordered: Sequence[float], part: float) -> float:
    return round(1000 * ordered[math.ceil(part * len(ordered)) - 1], 1) if ordered else 0.0


_SEED: Final = 40


@dataclass(slots=True)
class Streams:
    """One stream for each node, in files, and how far each is used up. is_bundled: see ``LoadPlan``."""

    paths: Sequence[Path]
    each: int
    is_bundled: bool
    positions: list[int] = field(default_factory=lambda: [0] * len(MEMBERS))

    @property
    def used(self) -> int:
        """How many transactions were sent."""
        return sum(self.positions)

    def streams(self, sockets: Sequence[str], *, most: int) -> list[Stream]:
        """Return the next transactions of the streams for these nodes, so many altogether.

        Raises Unavailable ``sandbox.bench_load_spent`` where a stream has nothing left.
        """
        count = most // len(self.paths)
        left = [self.each - position for position in self.positions]
        if min(left) < 1:
            raise Unavailable(
                "sandbox.bench_load_spent",
                f"{min(left)} signed transactions are left in a stream of {self.each}",
                next_step="measure shorter windows",
            )
        return [
            Stream(rpc=rpc_socket, path=str(path), first=position, count=min(count, rest))
            for rpc_socket, path, position, rest in zip(sockets, self.paths, self.positions, left, strict=True)
        ]

    def use(self, counts: Sequence[int]) -> None:
        """Go on behind what was sent."""
        self.positions = [position + count for position, count in zip(self.positions, counts, strict=True)]


def ledger_streams(folder: Path, *, suite: str, count: int, now_ms: int) -> Streams:
    """Return signed transactions of mixed kinds, about so many in all, acceptable from now on for half a day."""
    folder.mkdir(parents=True)
    each = -(-count // len(MEMBERS))
    paths = [folder / str(number) for number in range(len(MEMBERS))]
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        parts = [
            pool.submit(_sign, path, suite=suite, count=each, seed=_SEED + number, now_ms=now_ms)
            for number, path in enumerate(paths)
        ]
        for part in parts:
            part.result()
    return Streams(paths=paths, each=each, is_bundled=True)


def _sign(path: Path, *, suite: str, count: int, seed: int, now_ms: int) -> None:
    network = load_network(suite, genesis_time_ms=now_ms)
    raws = list(signed_transactions(network, count, seed=seed, now_ms=now_ms))
    path.write_bytes(msgspec.msgpack.encode(raws))


def kvstore_streams(folder: Path, *, count: int, like: Streams) -> Streams:
    """Return ``key=value`` transactions, all different, of the lengths that the transactions of other streams have."""
    folder.mkdir(parents=True)
    each = -(-count // len(like.paths))
    paths = [folder / path.name for path in like.paths]
    for number, path in enumerate(paths):
        lengths = [len(raw) for raw in load_stream(like.paths[number])]
        raws = [_pair(number, place, length=lengths[place % len(lengths)]) for place in range(each)]
        path.write_bytes(msgspec.msgpack.encode(raws))
    return Streams(paths=paths, each=each, is_bundled=False)


def _pair(stream: int, place: int, *, length: int) -> bytes:
    key = b"%d-%d=" % (stream, place)
    return key.ljust(length, b"v")


def load_stream(path: Path) -> list[bytes]:
    """Return the transactions of a stream's file."""
    return msgspec.msgpack.decode(path.read_bytes(), type=list[bytes])


def marks_of(path: Path) -> list[bytes]:
    """Return what tells each transaction of a stream from all others, as journals have it."""
    return [raw[-MARK_BYTES:] for raw in load_stream(path)]
