"""Four real CometBFT validators on loopback over a small application of ours."""

from __future__ import annotations

import time

import pytest

from cometbft_world import Tally, ask_application, broadcast, comet_program, node_keys
from patience import PATIENCE_S
from shuiqiao.base.errors import InvalidInput
from shuiqiao.ledger.engine.cometbft.abci.server import AbciServer
from shuiqiao.ledger.engine.cometbft.comet.home import APP_SOCKET, Pace
from shuiqiao.ledger.engine.cometbft.comet.localnet import LocalHomes, LocalNetwork, LocalNode, LocalSettings

VALIDATORS = 4


@pytest.fixture
def world(tmp_path):
    nodes = [LocalNode(name=f"node{number}", keys=node_keys(number)) for number in range(VALIDATORS)]
    settings = LocalSettings(
        chain_id="tally",
        genesis_time_ms=time.time_ns() // 1_000_000 - 1000,
        pace=Pace(commit_ms=50, propose_ms=600, vote_ms=300),
    )
    homes = LocalHomes(tmp_path, nodes, settings=settings)
    network = LocalNetwork(homes.folders, program=comet_program(), mesh=homes.mesh)
    tallies = {name: Tally() for name in network.names}
    servers = [
        AbciServer(tally.answers, path=network.home(name) / APP_SOCKET, on_fault=tally.faults.append)
        for name, tally in tallies.items()
    ]
    yield network, tallies
    network.stop()
    for server in servers:
        server.close()


def wait_until(condition, *, timeout_s: float = PATIENCE_S) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it did not come to be in time"
        time.sleep(0.02)


def test_four_validators_agree_survive_a_kill_and_a_partition(world):
    network, tallies = world
    network.start()
    network.wait_for_height(1, timeout_s=PATIENCE_S)
    first, last = network.nodes["node0"], network.nodes["node3"]

    # Transactions handed to one node reach all in one order; what CheckTx refuses reaches none.
    assert broadcast(first.rpc, b"alpha")["code"] == 0
    assert (broadcast(first.rpc, b"bad")["code"], broadcast(first.rpc, b"bad2")["codespace"]) == (7, "tally")
    assert first.rpc.broadcast_many([b"batch %d" % n for n in range(20)]) == [None] * 20
    wait_until(lambda: all(len(tally.transactions) == 21 for tally in tallies.values()))
    assert len({tuple(tally.transactions) for tally in tallies.values()}) == 1

    # Votes carry extensions: each validator is asked about those of at least two others before it decides.
    assert [len(set(tally.extensions)) >= 2 for tally in tallies.values()] == [True] * VALIDATORS

    # What RPC says of a block is what the applications were given.
    heights = range(1, first.rpc.status().height + 1)
    assert [tx for height in heights for tx in first.rpc.block_transactions(height)] == tallies["node0"].transactions
    assert ask_application(first.rpc, "/", b"abc")["value"] == "Y2Jh"
    with pytest.raises(InvalidInput) as raised:
        first.rpc.block(10**6)
    assert raised.value.code == "ledger.rpc_refused"

    # One of four may be partitioned away; the others go on, and it catches up once it is back.
    network.partition(["node3"])
    assert broadcast(first.rpc, b"without node3")["code"] == 0
    wait_until(lambda: all(b"without node3" in tallies[f"node{n}"].transactions for n in range(3)))
    assert b"without node3" not in tallies["node3"].transactions
    network.heal()
    wait_until(lambda: b"without node3" in tallies["node3"].transactions)

    # One of four may be killed; it is back at the height of the others after a restart.
    last.kill()
    assert broadcast(first.rpc, b"while node3 is dead")["code"] == 0
    wait_until(lambda: b"while node3 is dead" in tallies["node0"].transactions)
    last.start()
    wait_until(lambda: tallies["node3"].transactions == tallies["node0"].transactions)
    assert [fault for tally in tallies.values() for fault in tally.faults] == []
