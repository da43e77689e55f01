"""Who was away when an epoch closed comes to hold the note that closed it, by itself: [ABCI-28], [ABCI-21]."""

from __future__ import annotations

import re

import pytest

from consensus_world import wait_until
from governed_world import GovernedRoster
from patience import PATIENCE_S
from shuiqiao.ledger.engine.cometbft.comet.home import state_sync_settings
from shuiqiao.ledger.engine.cometbft.comet.process import LOG_NAME

HERE = ["node0", "node1", "node2"]


@pytest.fixture
def roster():
    return GovernedRoster()


def close_epochs(consortium, *, quorums):
    """Close an epoch for each quorum, each with notes after it.

    Return the leaf of the last note, and CometBFT's height when the last epoch had closed.
    """
    roster, ledger = consortium.roster, consortium.ledgers["node0"]
    closed_by = 0
    for quorum in quorums:
        ledger.submit(roster.new_quorum(quorum)).result(timeout=PATIENCE_S)
        closed_by = ledger.application.app_state.height
        for number in range(3):
            place = ledger.submit(roster.note(1000 * roster.proposals + number)).result(timeout=PATIENCE_S)
    assert len(ledger.application.app_state.copy.epochs.trail.changes) == roster.proposals
    return place.index, closed_by


def heights(what, log):
    """The heights of which CometBFT's log says something."""
    return {int(height) for height in re.findall(rf"{what} .*\bheight=([0-9]+)", log)}


def wait_for_receipt(consortium, member, index):
    """Return a receipt of one node over all its epochs, verified from the genesis; another block may have to come."""
    ledger = consortium.ledgers[member]
    wait_until(lambda: ledger.last_block() == consortium.ledgers["node0"].last_block(), timeout_s=PATIENCE_S)
    consortium.ledgers["node0"].submit(consortium.roster.note(9)).result(timeout=PATIENCE_S)
    wait_until(lambda: ledger.last_block() == consortium.ledgers["node0"].last_block(), timeout_s=PATIENCE_S)
    return consortium.roster.verify(ledger.receipt(index))


def test_a_validator_that_was_stopped_gives_receipts_across_the_epochs(open_consortium):
    consortium = open_consortium()
    roster, ledgers, nodes = consortium.roster, consortium.ledgers, consortium.network.nodes
    consortium.start()
    before = ledgers["node0"].submit(roster.note(1)).result(timeout=PATIENCE_S)
    nodes["node3"].stop()
    ledgers["node3"].close()
    index, closed_by = close_epochs(consortium, quorums=[2, 3, 2])

    back = consortium.open("node3")
    epochs = back.application.app_state.copy.epochs
    assert epochs.missing_notes() == ()
    log = nodes["node3"].home / LOG_NAME
    before_log, missing_from = len(log.read_text(errors="replace")), back.application.app_state.height + 1
    nodes["node3"].start()
    wait_until(lambda: back.last_block() == ledgers["node0"].last_block(), timeout_s=PATIENCE_S)
    # It came back by the blocks, and met no vote for the block behind a closing one, which the note is made of.
    told = log.read_text(errors="replace")[before_log:]
    by_blocks = heights("finalized block", told) - heights("finalizing commit of block", told)
    assert set(range(missing_from, closed_by + 2)) <= by_blocks
    assert closed_by in heights("finalizing commit of block", (nodes["node0"].home / LOG_NAME).read_text())
    found = wait_for_receipt(consortium, "node3", index)
    assert found.transaction.kind == "note.write"
    sizes = [change.size for change in back.application.app_state.copy.epochs.trail.changes]
    assert len(sizes) == 3
    assert roster.verify(back.receipt(before.index)).transaction.author == "node0"
    # All hold the same bytes of what blocks carried, once the last of them has the last block.
    wait_until(lambda: len(consortium.app_hashes()) == 1)
    carried = {
        member: [(path.name, path.read_bytes()) for path in ledger.application.app_state.carried_notes.files()]
        for member, ledger in ledgers.items()
    }
    assert [int(name) for name, _ in carried["node3"]] == sizes
    assert all(each == carried["node3"] for each in carried.values())


def test_a_newcomer_by_snapshot_gives_receipts_across_the_epochs(open_consortium):
    consortium = open_consortium(snapshot_interval=4)
    roster, ledgers, network = consortium.roster, consortium.ledgers, consortium.network
    consortium.start(HERE)
    index, _ = close_epochs(consortium, quorums=[2, 3])
    for number in range(10):
        ledgers["node0"].submit(roster.note(number + 100)).result(timeout=PATIENCE_S)
    block_hash = network.nodes["node0"].rpc.block(2)["block_id"]["hash"]
    servers = [network.rpc_address("node0"), network.rpc_address("node1")]
    consortium.homes.write("node3", sync=state_sync_settings(rpc_servers=servers, height=2, block_hash=block_hash))
    network.start(["node3"])
    found = wait_for_receipt(consortium, "node3", index)
    assert found.transaction.kind == "note.write"
    joined = ledgers["node3"].application.app_state
    assert [path.read_bytes() for path in joined.carried_notes.files()] == [
        path.read_bytes() for path in ledgers["node0"].application.app_state.carried_notes.files()
    ]
    # It took a snapshot and not all blocks: CometBFT has none of the first heights there.
    assert int(network.nodes["node3"].rpc.call("status")["sync_info"]["earliest_block_height"]) > 2
