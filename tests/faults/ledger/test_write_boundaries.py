"""kill -9 at every act of the ledger on its disk: not done yet, and done before anybody heard of it.

A process of its own dies at each write, flush, rename, cut and index commit of a run (``boundary_world``); then the
ledger is opened again. [STORE-8] [STORE-11] [STORE-16] [ABCI-14]
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import boundary_world
from boundary_world import BLOCKS, ApplicationRun, EmbeddedRun, lines_told
from patience import PATIENCE_S
from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.ledger.engine.embedded import EmbeddedLedger
from shuiqiao.ledger.replay.check import replay_ledger


def killed_runs(name: str, folder: Path) -> tuple[Path, list[Path]]:
    """Return the folder of a run that was not killed, and those of all that were."""
    command = [sys.executable, str(boundary_world.__file__), name, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    places = {
        when: sorted(folder.glob(f"{when}-*"), key=lambda place: int(place.name.split("-")[1]))
        for when in ("before", "after")
    }
    assert len(places["before"]) == len(places["after"]) > 40
    return places["after"][-1], [*places["before"][:-1], *places["after"][:-1]]


def roots_of(ledger: EmbeddedLedger) -> list[str]:
    """The root after each block."""
    sizes = [block.first_index + len(block.transactions) + 1 for block in ledger.blocks(from_height=1)]
    return [ledger._copy.root_at(size).hex() for size in sizes]


def stored(ledger: EmbeddedLedger) -> list[bytes]:
    return [raw for block in ledger.blocks(from_height=1) for raw in block.transactions]


def submitted_again(ledger: EmbeddedLedger, raws: Sequence[bytes]) -> list[str]:
    """Hand in transactions one after another; return the refusal of each, empty for an accepted one."""
    answers = [ledger.submit(raw).exception(timeout=PATIENCE_S) for raw in raws]
    return [answer.code if isinstance(answer, ShuiqiaoError) else str(answer or "") for answer in answers]


def test_an_embedded_ledger_killed_at_every_act_on_the_disk(tmp_path: Path) -> None:
    whole, killed = killed_runs("embedded", tmp_path)
    run = EmbeddedRun()
    ledger = run.open(whole / "ledger")
    roots, everything = roots_of(ledger), stored(ledger)
    ledger.close()
    assert (len(roots), everything) == (BLOCKS, run.raws)
    heights = set()
    for place in killed:
        told = lines_told(place)
        ledger = run.open(place / "ledger")
        height, _ = ledger.last_block()
        heights.add(height)
        # Nothing acknowledged is missing, at most the block in work is there too, and never a part of one.
        acknowledged = max((int(words[2]) for words in told if words[0] == "committed"), default=0)
        assert acknowledged <= height <= acknowledged + 1, place
        assert roots[:height] == roots_of(ledger), place
        assert all(roots[int(height) - 1] == root for word, height, root in told if word == "checkpoint")
        # Whoever got no answer sends the same bytes again: all of them are in the log, each once.
        count = len(stored(ledger))
        again = submitted_again(ledger, run.raws)
        assert ["ledger.tx_replayed"] * count + [""] * (len(everything) - count) == again, place
        assert everything == stored(ledger), place
        ledger.close()
        network = run.network
        replayed = replay_ledger(
            place / "ledger", parameters=network.parameters, kinds=network.kinds, key_ring=network.key_ring
        )
        assert () == replayed.problems, place
    assert set(range(BLOCKS + 1)) == heights


def test_an_application_killed_at_every_act_on_the_disk(tmp_path: Path) -> None:
    """[ABCI-14]: whatever CometBFT decided and was not told to be stored, it decides again, with the same result."""
    whole, killed = killed_runs("application", tmp_path)
    run = ApplicationRun()
    hashes = [words[2] for words in lines_told(whole)]
    assert len(hashes) == len(run.heights)
    heights = set()
    for place in killed:
        told = lines_told(place)
        application = run.open(place / "ledger")
        height = application.app_state.height
        heights.add(height)
        assert len(told) <= height <= len(told) + 1, place
        if height:
            assert hashes[height - 1] == application.app_state.app_hash.hex(), place
        assert hashes[-1] == run.finish(application), place
        application.close()
    assert set(range(len(hashes) + 1)) == heights
