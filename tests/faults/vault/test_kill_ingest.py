"""An ingest is killed at random moments and run again until it ends: the vault and the ledger are then as if nothing
had happened: nothing acknowledged is lost, nothing half-written is visible, nothing is anchored twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from vault_world import VaultWorld, invoice, write_rows

PROGRAM = Path(__file__).resolve().parents[2] / "worlds" / "vault_world.py"
KILLS = 26
DEPTH = 7
RECORDS = 12_000
FIRMS = [f"9132010{number}" for number in range(4)]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Compiled modules are kept for the next child: starting it is most of its life."""
    cache = {"PYTHONPYCACHEPREFIX": str(tmp_path_factory.mktemp("compiled")), "PYTHONDONTWRITEBYTECODE": ""}
    return {**os.environ, **cache}


def start(folder, path, *, workers, environment):
    arguments = [sys.executable, str(PROGRAM), str(folder), "intl", str(DEPTH), str(workers), str(path)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    assert process.stdout.readline() == b"open\n"
    return process


def kill_until_done(folder, path, *, seed, workers, environment):
    """Kill an ingest after random times until KILLS are reached or it was faster; return how often it was killed."""
    moments = random.Random(seed)
    kills = 0
    while True:
        process = start(folder, path, workers=workers, environment=environment)
        if kills < KILLS:
            time.sleep(moments.uniform(0.0, 0.12))
            process.send_signal(signal.SIGKILL)
        code = process.wait(timeout=60)
        process.stdout.close()
        if code == 0:
            return kills
        assert code == -signal.SIGKILL
        kills += 1


def records_of(world):
    """Every live record, proven against the ledger."""
    found = []
    for firm in FIRMS:
        verified = world.verify(world.disclose(firm), status_of=world.status_of)
        found += [tuple(row.values()) for row in verified.types["invoice_issued@1"].rows.to_pylist()]
    return sorted(found, key=str)


@pytest.fixture
def source(tmp_path):
    # Every tenth row is a duplicate of an earlier one, every fiftieth breaks a rule.
    rows = [
        invoice(n - 5 if n % 10 == 7 else n, uscc=FIRMS[n % 4], **({"total_fen": 1} if n % 50 == 49 else {}))
        for n in range(RECORDS)
    ]
    return write_rows(tmp_path / "source.parquet", "invoice_issued", rows)


@pytest.fixture
def uninterrupted(source, tmp_path):
    world = VaultWorld(tmp_path / "uninterrupted", batch_depth=DEPTH)
    world.ingest(source)
    yield world
    world.close()


@pytest.mark.parametrize("workers", [0])
def test_an_ingest_killed_again_and_again_ends_as_one_that_was_not(
    source, uninterrupted, tmp_path, workers, environment
):
    # Holds [VAULT-STORE-2] [VAULT-STORE-3].
    folder = tmp_path / "killed"
    kills = kill_until_done(folder, source, seed=5, workers=workers, environment=environment)
    assert kills >= KILLS
    world = VaultWorld(folder, batch_depth=DEPTH)
    try:
        anchored = world.anchored_batches()
        assert {1} == set(Counter(anchored).values())
        counts = [world.batch_of(batch).count for batch in anchored]
        expected = records_of(uninterrupted)
        assert sum(counts) == len(expected)
        assert records_of(world) == expected
        assert world.problems() == []
        assert world.vault.recover(world.anchor) == 0
    finally:
        world.close()
