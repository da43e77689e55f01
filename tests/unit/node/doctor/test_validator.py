"""What a look at a validator is told as: from what its processes, its peers and its log say."""

from __future__ import annotations

import pytest

from shuiqiao.node.doctor.validator import explain_log, explain_others, explain_own
from shuiqiao.node.localnet.status import NodeStatus, Trouble

NAMES = ("bureau", "bank-1", "regulator", "bank-2")


def standings(**changed):
    """Four validators that are well, but for what is changed of some (by name, with _ for -)."""
    well = {"running": True, "height": 9, "blocks": 3, "size": 6, "root": "aa", "note_size": 6, "peers": 3}
    return [NodeStatus(node=name, **{**well, **changed.get(name.replace("-", "_"), {})}) for name in NAMES]


def codes(findings):
    return [finding.code for finding in findings if not finding.ok]


def test_four_that_are_well():
    nodes = standings()
    assert codes(explain_others(nodes[0], nodes)) == []
    assert codes(explain_own(nodes[0])) == []


@pytest.mark.parametrize("down", [2, 3, 4])
def test_fewer_than_a_quorum_are_counted_and_named(down):
    nodes = standings(**{name.replace("-", "_"): {"running": False, "root": ""} for name in NAMES[4 - down :]})
    [lost] = [finding for finding in explain_others(nodes[0], nodes) if not finding.ok]
    assert lost.code == "node.quorum_lost"
    assert lost.says.startswith(f"{4 - down} of 4 validators answer")
    assert lost.says.endswith(f"down: {', '.join(NAMES[4 - down :])}")
    assert str(4 - down) in lost.says_zh


def test_one_peer_is_enough_for_a_node_that_keeps_up_and_none_or_falling_behind_is_not():
    for own, expected in (
        ({"peers": 1}, []),
        ({"peers": 0}, ["node.peers_few"]),
        ({"peers": 1, "height": 8}, ["node.peers_few"]),
    ):
        nodes = standings(bureau=own)
        assert codes(explain_others(nodes[0], nodes)) == expected
    halves = standings(**{name.replace("-", "_"): {"peers": 1} for name in NAMES})
    assert codes(explain_others(halves[0], halves)) == ["node.peers_few"]


def test_two_roots_at_one_size_are_named_with_both():
    nodes = standings(bank_2={"root": "bb"})
    [parted] = [finding for finding in explain_others(nodes[3], nodes) if not finding.ok]
    assert (parted.code, "bb" in parted.says, "aa" in parted.says) == ("node.root_disagrees", True, True)
    other_size = standings(bank_2={"root": "bb", "size": 8})
    assert codes(explain_others(other_size[3], other_size)) == []


def test_what_ended_is_told_with_its_last_words():
    trouble = (Trouble(code="node.ledger_down", message="bureau ended; last in its log: error node.x: no space"),)
    nodes = standings(bureau={"running": False, "trouble": trouble})
    [told] = explain_own(nodes[0])
    assert (told.ok, told.code, told.says) == (False, "node.ledger_down", trouble[0].message)


START = 'I[2026-11-21] service start module=proxy msg="Starting multiAppConn service" impl=multiAppConn'
REPLAYED = "panic: state.AppHash does not match AppHash after replay. Got 7741, expected ."
WRONG = "E[2026-11-21] prevote step: wrong Block.Header.AppHash. Expected 3A58, got 7741 module=consensus"
FAILURE = 'E[2026-11-21] CONSENSUS FAILURE!!! module=consensus err="no space left on device"'


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([START, "I[2026-11-21] Timed out module=consensus"], []),
        ([START, WRONG], ["node.app_hash_differs"]),
        ([START, REPLAYED, "goroutine 1 [running]:"], ["node.app_hash_differs"]),
        ([START, FAILURE], ["node.consensus_failed"]),
        ([START, FAILURE, START, "I[2026-11-21] executed block"], []),
        ([], []),
    ],
)
def test_what_cometbft_said_since_its_last_start(tmp_path, lines, expected):
    path = tmp_path / "comet.log"
    path.write_text("".join(f"{line}\n" for line in lines))
    assert codes(explain_log(path)) == expected
    assert codes(explain_log(tmp_path / "absent.log")) == []


def test_only_the_end_of_a_long_log_is_read(tmp_path):
    path = tmp_path / "comet.log"
    path.write_bytes(f"{FAILURE}\n".encode() + b"x" * 120 + b"\n" * (1 << 21))
    assert codes(explain_log(path)) == []
