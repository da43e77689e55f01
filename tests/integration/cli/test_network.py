"""A consortium by the command line: four validators from nothing, one killed and back, one cut off and healed, stopped.

Bounded in time; absent CometBFT it is skipped with the reason.
"""

from __future__ import annotations

import json
import time
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

import state_vandal
from cometbft_world import nodes_in
from network_world import submit_alarm
from patience import PATIENCE_S
from shuiqiao.base.errors import next_step_of
from shuiqiao.node.localnet.plan import NetworkFolder

VALIDATORS = ["bureau", "bank-1", "regulator", "bank-2"]


class Consortium:
    """A network's folder, and the command over it."""

    def __init__(self, folder, *, run_network):
        self.folder = NetworkFolder(folder)
        self.run = partial(run_network, folder)

    def call(self, command, *arguments):
        done = self.run(command, *arguments)
        assert done.code == 0, (done.out, done.err)
        return done.json

    def status(self):
        """What the status says, also where it exits with 1 because validators disagree or none runs."""
        done = self.run("status")
        is_well = done.json["agrees"] and any(node["running"] for node in done.json["nodes"])
        assert done.code == (0 if is_well else 1), (done.out, done.err)
        return done.json

    def submit(self, member, *, through, alarm=None):
        return submit_alarm(self.folder, member, through=through, alarm=alarm)

    def until(self, condition):
        end = time.monotonic() + PATIENCE_S
        while not condition(status := self.status()):
            assert time.monotonic() < end, status
            time.sleep(0.3)
        return status

    def until_blocks(self, blocks, *, on=VALIDATORS):
        """Wait until the named validators have a number of our blocks under one root, and their notes with them."""

        def is_there(status):
            nodes = [node for node in status["nodes"] if node["node"] in on]
            standing = {(node["blocks"], node["note_size"] == node["size"], node["root"]) for node in nodes}
            return {(count, noted) for count, noted, _ in standing} == {(blocks, True)} and len(standing) == 1

        return self.until(is_there)


@pytest.fixture
def consortium(run_network, tmp_path):
    made = Consortium(tmp_path / "net", run_network=run_network)
    yield made
    if made.folder.plan.exists():
        made.call("stop")


def running(status):
    return [node["node"] for node in status["nodes"] if node["running"]]


def process_ids(folder):
    return [json.loads(path.read_text())["pid"] for path in folder.run.glob("*.pid")]


def test_four_institutions_from_nothing_to_a_consortium_that_survives(consortium, shuiqiao):
    made = consortium.call("init", "--validators", "4")
    assert made["validators"] == VALIDATORS
    assert consortium.call("start")["running"] == VALIDATORS

    consortium.submit("bank-1", through="bank-1")
    status = consortium.until_blocks(1)
    assert status["agrees"]
    assert running(status) == VALIDATORS
    assert [node["size"] for node in status["nodes"]] == [2, 2, 2, 2]
    assert all(len(node["cosigners"]) >= 3 for node in status["nodes"])
    assert [node["trouble"] for node in status["nodes"]] == [[], [], [], []]

    consortium.call("kill", "bank-2")
    others = [name for name in VALIDATORS if name != "bank-2"]
    consortium.submit("regulator", through="bureau")
    status = consortium.until_blocks(2, on=others)
    assert running(status) == others
    [killed] = [node for node in status["nodes"] if node["node"] == "bank-2"]
    assert [each["code"] for each in killed["trouble"]] == ["node.ledger_down"]
    # The node does not outlive the server that started it.
    assert len(nodes_in(consortium.folder.folder)) == len(others)
    step = next_step_of("node.ledger_down")
    assert killed["trouble"][0]["next_step_zh"] == step.zh
    for lang, words in (("en", f"  next: {step.en}"), ("zh", f"  下一步: {step.zh}")):
        shown = shuiqiao("--lang", lang, "network", "status", "--folder", consortium.folder.folder).out.splitlines()
        assert words in {below for line, below in pairwise(shown) if "TROUBLE 问题  bank-2: node.ledger_down" in line}

    consortium.call("start", "bank-2")
    assert running(consortium.until_blocks(2)) == VALIDATORS

    assert len(consortium.call("partition", "regulator")["cut"]) == 3
    consortium.submit("bureau", through="bureau")
    behind = consortium.until_blocks(3, on=["bureau", "bank-1", "bank-2"])
    assert [node["blocks"] for node in behind["nodes"] if node["node"] == "regulator"] == [2]
    assert consortium.call("heal") == {"cut": []}
    consortium.until_blocks(3)

    ids = process_ids(consortium.folder)
    assert len(ids) == len(VALIDATORS) + 1
    assert consortium.call("stop")["stopped"] == VALIDATORS
    assert running(consortium.status()) == []
    assert list(consortium.folder.run.glob("*.pid")) == []
    for member in VALIDATORS:
        audited = shuiqiao("audit", "--home", consortium.folder.home(member).folder, "--json")
        assert (audited.code, audited.json["replayed"], audited.json["problems"]) == (0, 3, [])
    assert [each for each in ids if Path(f"/proc/{each}/cmdline").is_file() and command_of(each)] == []
    assert nodes_in(consortium.folder.folder) == []


def command_of(process_id):
    """The command line of a process, empty for one that ended and waits for its parent."""
    return Path(f"/proc/{process_id}/cmdline").read_bytes()


def test_a_validator_whose_state_was_altered_is_told_by_the_status(consortium):
    """[ABCI-22]: the others go on, it stops, and whoever asks learns which one it is and why."""
    consortium.call("init", "--validators", "4")
    consortium.call("start")
    alarm = consortium.submit("bank-1", through="bank-1")
    consortium.until_blocks(1)
    index = consortium.folder.home("regulator").ledger / "index.lmdb"
    state_vandal.remove(str(index), f"oversight/alarm/bank-1/{alarm.hex()}")
    # A ledger reads the state of its last block, and so sees the change behind the next one.
    consortium.submit("bureau", through="bureau")
    consortium.until_blocks(2)
    # Everybody else refuses what is there already, and then goes on.
    consortium.submit("bank-1", through="bank-1", alarm=alarm)
    consortium.submit("bank-2", through="bank-2")
    others = [name for name in VALIDATORS if name != "regulator"]
    consortium.until_blocks(3, on=others)

    def is_told(status):
        [node] = [node for node in status["nodes"] if node["node"] == "regulator"]
        return "ledger.state_diverged" in [each["code"] for each in node["trouble"]]

    status = consortium.until(is_told)
    sound = [node for node in status["nodes"] if node["node"] in others]
    assert len({node["root"] for node in sound}) == 1
    assert ["ledger.state_diverged" in str(node["trouble"]) for node in sound] == [False, False, False]
