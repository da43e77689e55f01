"""Starting and stopping a network: names, engines and homes that cannot be started, and two commands at once."""

from __future__ import annotations

import pytest

from shuiqiao.base.errors import Conflict, InvalidInput, Unavailable
from shuiqiao.node.localnet.network import Network
from shuiqiao.node.localnet.process import acting_alone


def code_of(kind, act):
    with pytest.raises(kind) as caught:
        act()
    return caught.value.code


def test_a_folder_without_a_plan_is_no_network(folder):
    assert code_of(Unavailable, lambda: Network(folder)) == "node.network_missing"


def test_names_and_engines_that_cannot_be_started_are_refused(folder, tmp_path, put_plan):
    put_plan("aa")
    network = Network(folder)
    assert code_of(InvalidInput, lambda: network.start(["zz"], program=tmp_path)) == "node.validator_unknown"
    assert code_of(InvalidInput, lambda: network.kill("zz")) == "node.validator_unknown"
    put_plan(engine="embedded")
    assert code_of(InvalidInput, lambda: Network(folder).start((), program=tmp_path)) == "node.network_not_started"


def test_two_commands_do_not_start_and_end_at_once(folder, put_plan):
    put_plan("aa")
    with acting_alone(folder.run):
        assert code_of(Conflict, lambda: Network(folder).stop()) == "node.network_busy"
    Network(folder).stop()


def test_a_home_that_cannot_be_opened_is_told_with_its_code(folder, put_plan):
    put_plan("aa")
    network = Network(folder)
    try:
        assert code_of(Unavailable, lambda: network.start((), program=folder.folder)) == "node.process_ended"
        [node] = network.status().nodes
    finally:
        network.stop()
    assert [each.code for each in node.trouble] == ["node.ledger_down"]
    assert "node.home_missing" in node.trouble[0].message
    assert network.status().nodes[0].trouble == ()
