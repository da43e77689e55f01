"""kill -9 of a witness and of a writer of static files, at every act on the disk and at random times.

[WITNESS-3]: what was given away is on record, so no second history is ever cosigned. [TILE-4]: the files prove the
checkpoint that is there.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import checkpoint_process
from patience import PATIENCE_S
from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.ledger.tiles.reader import FolderTiles, PublishedLog

PROCESS = Path(checkpoint_process.__file__)
KILLS = 8


def run(folder: Path, *words: str) -> tuple[int, list[str]]:
    """Return exit status (negative: killed) and the whole lines of one process."""
    done = subprocess.run(
        [sys.executable, str(PROCESS), str(folder), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode in {0, -9}, done.stderr
    return done.returncode, done.stdout.splitlines()


def run_and_kill(folder: Path, *words: str, said: int, delay_s: float) -> list[str]:
    """Kill a process some time after it said so many lines, which takes as long as it takes; return its whole lines."""
    process = subprocess.Popen([sys.executable, str(PROCESS), str(folder), *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    first = [process.stdout.readline() for _ in range(said)]
    time.sleep(delay_s)
    process.kill()
    lines = [*first, *process.stdout.read().splitlines(keepends=True)]
    process.stdout.close()
    process.wait()
    return [line.rstrip("\n") for line in lines if line.endswith("\n")]


def sizes(lines: list[str]) -> list[int]:
    return [int(line.split()[1]) for line in lines if line.startswith("given")]


def code_of(act: Any) -> str:
    try:
        act()
    except ShuiqiaoError as error:
        return error.code
    return ""


def require_one_history(folder: Path, *, given: int, scratch: Path) -> int:
    """Return the size on record, once it covers what was given and no other history gets a cosignature."""
    honest, forked = checkpoint_process.History("intl"), checkpoint_process.History("intl", forked=True)
    witness = honest.witness(folder)
    size: int = witness.witnessed_size(checkpoint_process.ORIGIN)
    witness.close()
    assert size >= given
    if size <= checkpoint_process.FORK_AT:
        return size
    shutil.copytree(folder / "witness", scratch / "witness")
    witness = honest.witness(scratch)
    for other in (size, size + 1):
        assert code_of(lambda other=other: forked.cosign(witness, other)) in {
            "ledger.fork_detected",
            "ledger.consistency_broken",
        }
    witness.close()
    shutil.rmtree(scratch / "witness")
    return size


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_witness_killed_at_every_act_on_the_disk(tmp_path: Path, when: str) -> None:
    """[WITNESS-3]"""
    honest = checkpoint_process.History("intl")
    (tmp_path / "scratch").mkdir()
    (base := tmp_path / "base").mkdir()
    witness = honest.witness(base)
    honest.cosign(witness, 100)
    witness.close()
    records: list[int] = []
    for number in range(1, 20):
        shutil.copytree(base, folder := tmp_path / f"step-{number}")
        status, lines = run(folder, "intl", "step", str(number), when)
        given = max(sizes(lines), default=100)
        records.append(require_one_history(folder, given=given, scratch=tmp_path / "scratch"))
        if status == 0:
            assert [200] == sizes(lines)
            break
    # Two flushes of folders on opening, then the record: its bytes, their flush, the folder's flush.
    assert (6, 200) == (number, records[-1])
    assert sorted(records) == records


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_witness_killed_while_it_stores_its_alarm(tmp_path: Path, when: str) -> None:
    """[WITNESS-6]: it either knows of the fork, or still holds to its history and will find it again."""
    honest = checkpoint_process.History("intl")
    (base := tmp_path / "base").mkdir()
    witness = honest.witness(base)
    honest.cosign(witness, 100)
    witness.close()
    for number in range(3, 20):
        shutil.copytree(base, folder := tmp_path / f"fork-{number}")
        status, lines = run(folder, "intl", "fork", str(number), when)
        assert [] == sizes(lines)
        again, _ = run(folder, "intl", "fork")
        witness = honest.witness(folder)
        assert (0, 100) == (again, witness.witnessed_size(checkpoint_process.ORIGIN))
        assert witness.alarm(checkpoint_process.ORIGIN) is not None
        assert witness.evidence(checkpoint_process.ORIGIN) is not None
        assert code_of(lambda witness=witness: honest.cosign(witness, 200)) == "ledger.fork_detected"
        witness.close()
        if status == 0:
            break
    assert ["refused ledger.fork_detected"] == lines
    assert 9 == number


@pytest.mark.parametrize("suite", ["intl", "gm"])
def test_a_witness_killed_at_random_times(tmp_path: Path, suite: str) -> None:
    """[WITNESS-3]"""
    source = random.Random(4)
    honest = checkpoint_process.History(suite)
    total = 0
    for _ in range(KILLS):
        lines = run_and_kill(tmp_path, suite, "cosign", said=source.randint(2, 20), delay_s=source.uniform(0.0, 0.005))
        given = sizes(lines)
        witness = honest.witness(tmp_path)
        assert witness.witnessed_size(checkpoint_process.ORIGIN) >= max(given, default=0)
        assert witness.alarm(checkpoint_process.ORIGIN) is None
        witness.close()
        assert sorted(given) == given
        total += len(given)
    assert total > KILLS


def verified(folder: Path, suite: str = "intl") -> int:
    history = checkpoint_process.History(suite)
    published = PublishedLog.open(FolderTiles(folder / "static"), policy=history.policy(), suite=history.suite)
    return published.verify_all()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_publisher_killed_at_acts_on_the_disk(tmp_path: Path, when: str) -> None:
    """[TILE-4]: every fourth act in processes; every one of them without, in the unit tests."""
    honest = checkpoint_process.History("intl")
    (base := tmp_path / "base").mkdir()
    honest.publish(base, 300)
    for number in range(1, 60, 4):
        shutil.copytree(base, folder := tmp_path / f"tiles-{number}")
        status, lines = run(folder, "intl", "tiles", str(number), when)
        assert verified(folder) == 600 if status == 0 else verified(folder) in {300, 600}
        assert verified(folder) >= max(sizes(lines), default=300)
        honest.publish(folder, 700)
        assert 700 == verified(folder)
        if status == 0:
            break
    assert 13 < number < 50


def test_a_publisher_killed_at_random_times(tmp_path: Path) -> None:
    """[TILE-4]"""
    source = random.Random(5)
    honest = checkpoint_process.History("intl")
    reached = 0
    for _ in range(KILLS):
        said = source.randint(1, 40)
        lines = run_and_kill(tmp_path, "intl", "publish", said=said, delay_s=source.uniform(0.0, 0.01))
        size = verified(tmp_path)
        assert size >= max(sizes(lines), default=0)
        reached = max(reached, size)
        # The next process starts at one leaf again, which is refused: carry on from where it was.
        honest.publish(tmp_path, size + 13)
        assert size + 13 == verified(tmp_path)
        shutil.rmtree(tmp_path / "static")
    assert reached > 1
