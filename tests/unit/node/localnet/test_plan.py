"""The plan of a network: written and read back, and refused where it is none."""

from __future__ import annotations

import json

import pytest

from shuiqiao.base.errors import InvalidInput
from shuiqiao.node.localnet.plan import load_plan


def code_of(kind, act):
    with pytest.raises(kind) as caught:
        act()
    return caught.value.code


def test_a_plan_goes_there_and_back(folder, put_plan):
    assert put_plan("aa", "bb") == load_plan(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 1},
        {"network": "AB" * 32},
        {"engine": "paxos"},
        {"validators": [{"member": "../x", "p2p_port": 1}]},
        {"validators": [{"member": "xx", "p2p_port": 0}]},
        {"fee": 1},
    ],
)
def test_what_is_no_plan_is_refused(folder, change, put_plan):
    put_plan("aa")
    folder.plan.write_text(json.dumps(json.loads(folder.plan.read_bytes()) | change))
    assert code_of(InvalidInput, lambda: load_plan(folder)) == "node.network_invalid"
