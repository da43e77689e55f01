"""A validator that is lost, said in words, restored from a backup taken while it ran, and back without signing.

The same four validators: two die and ``doctor`` says why nothing goes on; one loses its home and comes back from its
backup; its ledger is compared with the one of the backup. Bounded in time; absent CometBFT it is skipped.
"""

from __future__ import annotations

import json
import shutil
import time
import tomllib

import pytest

from cometbft_world import comet_program
from network_world import four_validators, submit_alarm
from patience import PATIENCE_S
from shuiqiao.node.localnet.network import Network

LOST = "bank-2"


class Consortium:
    """A network's folder, its processes, and the command over its homes."""

    def __init__(self, folder, *, here, program):
        self.folder = four_validators(folder)
        self._here = here
        self._program = program
        self.network = Network(self.folder)

    def start(self, *members):
        self.network.start(members, program=self._program)

    def backup(self, command, *arguments):
        done = self._here("backup", command, *arguments, "--json")
        assert done.code == 0, (done.out, done.err)
        return done

    def doctor(self, member, *arguments):
        done = self._here("doctor", "--home", self.folder.home(member).folder, *arguments, "--json")
        assert done.code == (0 if done.json["ok"] else 1)
        return done.json["findings"]

    def submit(self, member):
        submit_alarm(self.folder, member)

    def until_blocks(self, blocks):
        """Wait until all validators that run have a number of our blocks, and the quorum of their note."""
        end = time.monotonic() + PATIENCE_S
        while True:
            nodes = [node for node in self.network.status().nodes if node.running]
            if {(node.blocks, node.note_size == node.size) for node in nodes} == {(blocks, True)}:
                return [node.node for node in nodes]
            assert time.monotonic() < end, nodes
            time.sleep(0.3)


@pytest.fixture
def consortium(here, tmp_path):
    made = Consortium(tmp_path / "net", here=here, program=comet_program())
    yield made
    made.network.stop()


def codes(findings):
    return [finding["code"] for finding in findings if not finding["ok"]]


def says(findings, what):
    return [finding["says"] for finding in findings if finding["what"] == what]


def test_a_lost_validator_is_explained_restored_and_follows(consortium, tmp_path):
    consortium.start()
    for number in (1, 2):
        consortium.submit("bureau")
        consortium.until_blocks(number)

    # While it runs: asked beside it, and backed up.
    well = consortium.doctor(LOST)
    assert codes(well) == []
    assert "4 of 4 validators answer, 3 are needed" in says(well, "quorum")
    made = consortium.backup("create", "--home", consortium.folder.home(LOST).folder, "--to", tmp_path / "b.tar")
    assert (made.json["height"], made.json["validator"]) == (2, True)

    # Two of four die: nothing goes on, and the words say why.
    consortium.network.kill(LOST)
    consortium.network.kill("regulator")
    halted = consortium.doctor("bureau")
    assert codes(halted) == ["node.quorum_lost"]
    [words] = says(halted, "quorum")
    assert words.startswith("2 of 4 validators answer (bureau, bank-1) and 3 are needed")
    assert "down: regulator, bank-2" in words
    assert codes(consortium.doctor(LOST)) == ["node.ledger_down", "node.quorum_lost"]
    consortium.start("regulator")
    consortium.submit("bureau")
    consortium.until_blocks(3)

    # The home is gone. It is made again, takes every block from its peers, and signs nothing.
    home = consortium.folder.home(LOST)
    shutil.rmtree(home.folder)
    restored = consortium.backup(
        "restore", "--from", tmp_path / "b.tar", "--home", home.folder, "--genesis", consortium.folder.genesis
    )
    assert restored.json["signs"] is False
    # Who restores it sees whom it will talk to [ABCI-30].
    address = tomllib.loads((home.cometbft / "config" / "config.toml").read_text())["p2p"]["laddr"]
    assert f"listens for peers at {address} and dials nobody: see that these are yours" in restored.err
    assert "written anew without" not in restored.err
    assert not home.ledger.exists()
    consortium.start(LOST)
    consortium.submit("bureau")
    assert len(consortium.until_blocks(4)) == 4
    back = consortium.doctor(LOST, "--against", home.folder / "ledger.restored")
    assert codes(back) == []
    assert len(says(back, "signing")) == 1
    against = says(back, "against ledger.restored")
    assert "this one is ahead by 2 blocks, 4 leaves" in against[0]
    assert against[1].endswith("at height 2")
    state = json.loads((home.cometbft / "data" / "priv_validator_state.json").read_text())
    assert (state["height"], "signature" in state) == (str(2**63 - 1), False)
