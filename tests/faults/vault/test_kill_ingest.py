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
from contextlib import suppress
from pathlib import Path

import pytest

from patience import PATIENCE_S
from shuiqiao.base.ids import system_entropy
from vault_world import VaultWorld, invoice, write_rows

PROGRAM = Path(__file__).resolve().parents[2] / "worlds" / "vault_world.py"
KILLS = 50
KILLS_PER_FILE = 5
MOST_ATTEMPTS = 400
FILES = 10
DEPTH = 7
RECORDS = 12_000
FIRMS = [f"9132010{number}" for number in range(4)]


class Children:
    """Ingests that run in children of one warm process, so that starting one costs little."""

    def __init__(self):
        self._server = subprocess.Popen(
            [sys.executable, str(PROGRAM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, folder, path):
        """Begin an ingest; return the child's process id."""
        print(folder, "intl", DEPTH, 0, path, file=self._server.stdin, flush=True)
        return int(self._server.stdout.readline())

    def exit_code(self):
        return int(self._server.stdout.readline())

    def close(self):
        self._server.stdin.close()
        self._server.wait(timeout=PATIENCE_S)
        self._server.stdout.close()


@pytest.fixture
def children():
    server = Children()
    yield server
    server.close()


def kill_again_and_again(children, folder, paths):
    """Kill ingests of one file after the other at random moments until KILLS are reached; return the exit codes.

    Each file is tried a few times, so that kills fall on new records, on pending batches and on re-reading alike; a
    child that was faster than its killer counts as ended, and the next one is given less time.
    """
    moments = random.Random(5)
    exits = Counter()
    most_s = 0.15
    for attempt in range(MOST_ATTEMPTS):
        if exits[-signal.SIGKILL] == KILLS:
            break
        process = children.start(folder, paths[attempt // KILLS_PER_FILE % len(paths)])
        time.sleep(moments.uniform(0.0, most_s))
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        code = children.exit_code()
        exits[code] += 1
        most_s *= 1.2 if code == -signal.SIGKILL else 0.6
    return exits


def records_of(world):
    """Every live record, proven against the ledger."""
    found = []
    for firm in FIRMS:
        verified = world.verify(world.disclose(firm), status_of=world.status_of)
        found += [tuple(row.values()) for row in verified.types["invoice_issued@2"].rows.to_pylist()]
    return sorted(found, key=str)


@pytest.fixture
def sources(tmp_path):
    # Every tenth row is a duplicate of an earlier one, every fiftieth breaks a rule.
    rows = [
        invoice(n - 5 if n % 10 == 7 else n, uscc=FIRMS[n % 4], **({"total_fen": 1} if n % 50 == 49 else {}))
        for n in range(RECORDS)
    ]
    share = RECORDS // FILES
    return [
        write_rows(tmp_path / f"source-{number}.parquet", "invoice_issued", rows[number * share : (number + 1) * share])
        for number in range(FILES)
    ]


@pytest.fixture
def uninterrupted(sources, tmp_path):
    world = VaultWorld(tmp_path / "uninterrupted", batch_depth=DEPTH)
    world.ingest(*sources)
    yield world
    world.close()


def test_an_ingest_killed_again_and_again_ends_as_one_that_was_not(sources, uninterrupted, tmp_path, children):
    # Holds [VAULT-STORE-2] [VAULT-STORE-3].
    folder = tmp_path / "killed"
    exits = kill_again_and_again(children, folder, sources)
    assert exits[-signal.SIGKILL] == KILLS
    assert set(exits) <= {-signal.SIGKILL, 0}
    world = VaultWorld(folder, batch_depth=DEPTH, entropy=system_entropy)
    try:
        world.ingest(*sources)
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
