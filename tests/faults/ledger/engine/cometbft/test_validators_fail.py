"""What a consortium must survive: half of it down, a partition, a vote that does not hold, a newcomer by snapshot."""

from __future__ import annotations

import concurrent.futures

import pytest

from consensus_world import wait_until
from patience import PATIENCE_S
from shuiqiao.ledger.engine.cometbft.comet.home import state_sync_settings


def test_two_of_four_down_halts_loses_nothing_and_resumes(open_consortium):
    consortium = open_consortium()
    roster, ledgers, nodes = consortium.roster, consortium.ledgers, consortium.network.nodes
    consortium.start()
    ledgers["node0"].submit(roster.note(1)).result(timeout=PATIENCE_S)
    for name in ("node2", "node3"):
        nodes[name].kill()
    waiting = ledgers["node0"].submit(roster.note(2))
    with pytest.raises(concurrent.futures.TimeoutError):
        waiting.result(timeout=3)
    nodes["node2"].start()
    assert waiting.result(timeout=PATIENCE_S).height > 1
    # A partitioned node takes nothing in alone, and agrees again afterwards.
    nodes["node3"].start()
    wait_until(lambda: ledgers["node3"].last_block() == ledgers["node0"].last_block(), timeout_s=PATIENCE_S)
    consortium.network.partition(["node1"])
    lonely = ledgers["node1"].submit(roster.note(3))
    ledgers["node0"].submit(roster.note(4)).result(timeout=PATIENCE_S)
    assert not lonely.done()
    consortium.network.heal()
    lonely.result(timeout=PATIENCE_S)
    wait_until(lambda: len({ledger.application.app_state.app_hash for ledger in ledgers.values()}) == 1)


def test_a_validator_whose_cosignature_does_not_hold_is_outvoted_and_named(open_consortium):
    consortium = open_consortium()
    roster, ledgers = consortium.roster, consortium.ledgers
    # node3's application lies in its votes, and finds nothing wrong with what itself says.
    extensions = ledgers["node3"].application.extensions
    extensions.own_extension = lambda: b"not a cosignature"
    extensions.judge = lambda _extension, *, member: None
    consortium.start(["node0", "node1", "node2", "node3"])
    for number in range(5):
        ledgers["node0"].submit(roster.note(number)).result(timeout=PATIENCE_S)
    wait_until(lambda: any("node3" in ledgers[f"node{n}"].application.named for n in range(3)))
    size = ledgers["node0"].application.app_state.copy.head.size
    note = ledgers["node0"].application.extensions.wait_for(size, timeout_s=PATIENCE_S)
    assert note is not None
    assert note.size == size


def test_a_newcomer_joins_by_snapshot(open_consortium):  # [ABCI-21]
    consortium = open_consortium(snapshot_interval=4)
    roster, ledgers, network = consortium.roster, consortium.ledgers, consortium.network
    early = ["node0", "node1", "node2"]
    consortium.start(early)
    for number in range(10):
        ledgers["node0"].submit(roster.note(number)).result(timeout=PATIENCE_S)
    first = network.nodes["node0"]
    block_hash = first.rpc.block(2)["block_id"]["hash"]
    sync = state_sync_settings(
        rpc_servers=[network.rpc_address("node0"), network.rpc_address("node1")], height=2, block_hash=block_hash
    )
    consortium.homes.write("node3", sync=sync)
    network.start(["node3"])
    joined = ledgers["node3"]
    wait_until(lambda: joined.last_block() == ledgers["node0"].last_block(), timeout_s=PATIENCE_S)
    assert joined.application.app_state.app_hash == ledgers["node0"].application.app_state.app_hash
    assert joined.state().get(f"note/entry/{3:032x}") == ledgers["node0"].state().get(f"note/entry/{3:032x}")
    # It took a snapshot and not all blocks: CometBFT has none of the first heights there.
    assert int(network.nodes["node3"].rpc.call("status")["sync_info"]["earliest_block_height"]) > 2
