"""The ledger's bench and its load on real engines: exactly the promised figures, and a load that every rule accepts."""

from __future__ import annotations

from pathlib import Path

import pytest

from patience import PATIENCE_S
from shuiqiao.base.clock import ManualClock
from shuiqiao.ledger.engine.follower import FollowerLedger
from shuiqiao.ledger.engine.port import EmbeddedSettings, FollowerSettings
from shuiqiao.ledger.replay.check import replay_ledger
from shuiqiao.sandbox.benchmarks.ledger import run_ledger_bench
from shuiqiao.sandbox.benchmarks.ledger_load import load_network, signed_transactions

NOW_MS = 1_775_000_000_000
MAP_BYTES = 1 << 28


@pytest.mark.parametrize("suite", ["intl", "gm"])
def test_the_load_is_accepted_copied_and_replayed_to_one_root(tmp_path: Path, suite: str) -> None:
    network = load_network(suite, genesis_time_ms=NOW_MS)
    (tmp_path / "writer").mkdir()
    (tmp_path / "follower").mkdir()
    clock = ManualClock(NOW_MS + 1000)
    writer = network.open_writer(
        tmp_path / "writer",
        clock=clock,
        settings=EmbeddedSettings(map_bytes=MAP_BYTES, verifier_processes=2, max_segment_bytes=100_000),
    )
    follower = FollowerLedger.open(
        tmp_path / "follower",
        parameters=network.parameters,
        kinds=network.kinds,
        key_ring=network.key_ring,
        clock=clock,
        writer=writer,
        settings=FollowerSettings(map_bytes=MAP_BYTES, max_segment_bytes=40_000, max_batch_transactions=100),
    )
    raws = list(signed_transactions(network, 1_200, seed=1, now_ms=clock.now_ms()))
    done = [future.result(timeout=PATIENCE_S) for future in [writer.submit(raw) for raw in raws]]
    follower.sync()
    assert follower.checkpoint() == writer.checkpoint()
    assert follower.receipt(done[-1].index) == writer.receipt(done[-1].index)
    root = writer.checkpoint().root
    follower.close()
    writer.close()
    for name in ("writer", "follower"):
        result = replay_ledger(
            tmp_path / name,
            parameters=network.parameters,
            kinds=network.kinds,
            key_ring=network.key_ring,
            verifier_processes=1,
        )
        assert (result.transactions, result.signatures_verified, result.root, result.problems) == (
            1_200,
            1_200,
            root,
            (),
        )


def test_the_bench_gives_exactly_its_figures(tmp_path: Path) -> None:
    figures = run_ledger_bench(suite="intl", transactions=300, runs=1, cores=1, folder=tmp_path)
    assert list(figures) == ["suite", "transactions", "tx_per_s", "raw_verify_per_s", "ratio", "p99_ms"]
    assert (figures["suite"], figures["transactions"]) == ("intl", 300)
    for name in ("tx_per_s", "raw_verify_per_s", "ratio", "p99_ms"):
        value = figures[name]
        assert isinstance(value, int | float)
        assert value > 0
    assert list(tmp_path.iterdir()) == []
