"""kill -9 of a writing process, again and again on one ledger: nothing acknowledged is lost, nothing half is seen."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from log_world import root_from_leaf_hashes
from shuiqiao.base.clock import SystemClock
from shuiqiao.ledger.engine.embedded import EmbeddedLedger
from shuiqiao.ledger.engine.port import EmbeddedSettings
from shuiqiao.ledger.log.tree import leaf_hash
from shuiqiao.ledger.replay.check import replay_ledger
from shuiqiao.sandbox.benchmarks.ledger_load import LoadNetwork, load_network

WRITER = Path(__file__).with_name("writer_process.py")
GENESIS_MS = 1_775_000_000_000
KILLS = {"intl": 40, "gm": 12}
MAP_BYTES = 1 << 28


def kill_while_writing(
    folder: Path, *, suite: str, seed: int, said: int, delay_s: float, processes: int
) -> list[tuple[int, int]]:
    """Run the writer, kill it some time after it said so much; return (index, height) of all it acknowledged."""
    command = [sys.executable, str(WRITER), str(folder), suite, str(seed), str(processes)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    first = [process.stdout.readline() for _ in range(said)]
    time.sleep(delay_s)
    process.kill()
    lines = [*first, *process.stdout.read().splitlines(keepends=True)]
    process.stdout.close()
    process.wait()
    whole = [line.split() for line in lines if line.endswith("\n")]
    return [(int(index), int(height)) for _, index, height in whole]


def open_ledger(network: LoadNetwork, folder: Path) -> EmbeddedLedger:
    return network.open_writer(
        folder,
        clock=SystemClock(),
        settings=EmbeddedSettings(is_clock_confirmed=True, map_bytes=MAP_BYTES, max_segment_bytes=60_000),
    )


def require_sound(network: LoadNetwork, folder: Path, acknowledged: set[tuple[int, int]]) -> None:
    ledger = open_ledger(network, folder)
    blocks = list(ledger.blocks(from_height=1))
    present = {
        (block.first_index + position, block.height) for block in blocks for position in range(len(block.transactions))
    }
    assert acknowledged <= present
    leaves = [leaf for block in blocks for leaf in (*block.transactions, block.entry)]
    hashes = [leaf_hash(leaf, hash_name=network.suite.hash_name) for leaf in leaves]
    checkpoint = ledger.checkpoint()
    assert len(leaves) == checkpoint.size
    assert root_from_leaf_hashes(hashes, hash_name=network.suite.hash_name) == checkpoint.root
    ledger.close()


@pytest.mark.parametrize("suite", ["intl", "gm"])
def test_kill_at_random_points_of_commit(tmp_path: Path, suite: str) -> None:
    """[STORE-8]."""
    network = load_network(suite, genesis_time_ms=GENESIS_MS)
    source = random.Random(2026)
    folder = tmp_path / "ledger"
    folder.mkdir()
    acknowledged: set[tuple[int, int]] = set()
    for number in range(KILLS[suite]):
        processes = 1 if number % 10 == 0 else 0
        said, delay_s = source.randint(0, 40), source.uniform(0.0, 0.02)
        acknowledged |= set(
            kill_while_writing(folder, suite=suite, seed=number, said=said, delay_s=delay_s, processes=processes)
        )
        if number % 7 == 3:
            # The index is derived: losing it as well must change nothing.
            shutil.rmtree(folder / "index.lmdb")
        require_sound(network, folder, acknowledged)
    assert len(acknowledged) > KILLS[suite]
    result = replay_ledger(folder, parameters=network.parameters, kinds=network.kinds, key_ring=network.key_ring)
    assert result.problems == ()
    assert result.transactions == result.signatures_verified
    assert result.transactions >= len(acknowledged)
