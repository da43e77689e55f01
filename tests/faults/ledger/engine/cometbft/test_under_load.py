"""A validator is killed, and another cut off, while transactions keep coming: nothing is lost, and all agree again."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from cometbft_world import comet_version
from consensus_world import KINDS, Consortium, Load, Roster, StateKeys, check_note, wait_until
from patience import PATIENCE_S
from shuiqiao.ledger.replay.check import replay_ledger
from shuiqiao.ledger.transactions.kinds import KindTable


def require_all_there(consortium, places):
    """Every answer names a place of its own, which holds at every validator that is open here."""
    assert len({place.index for place in places}) == len(places)
    wait_until(lambda: len(consortium.app_hashes()) == 1)
    for ledger in consortium.ledgers.values():
        found = {
            (block.first_index + position, block.height)
            for block in ledger.blocks(from_height=1)
            for position in range(len(block.transactions))
        }
        assert {(place.index, place.height) for place in places} <= found


def test_a_validator_killed_under_load_comes_back_with_nothing_lost(open_consortium):
    consortium = open_consortium(apart=["node3"])
    node = consortium.network.nodes["node3"]
    process = consortium.spawn("node3")
    consortium.start()
    load = Load(consortium.roster, [consortium.ledgers[name] for name in ("node0", "node1", "node2")])
    load.go_on(30)
    # Both of its processes die at once, in the middle of blocks; the others are asked for more all the while.
    process.kill()
    node.kill()
    load.go_on(80)
    blocks, _ = consortium.ledgers["node0"].last_block()
    process = consortium.spawn("node3")
    node.start()
    wait_until(lambda: process.standing()["blocks"] >= blocks, timeout_s=PATIENCE_S)
    load.go_on(20)
    places = load.stop()
    require_all_there(consortium, places)
    [app_hash] = consortium.app_hashes()
    wait_until(lambda: process.standing()["app_hash"] == app_hash.hex())
    process.kill()
    audited = replay_ledger(
        consortium.ledger_folder("node3"), parameters=consortium.roster.parameters, kinds=KINDS, key_ring=StateKeys()
    )
    assert (audited.problems, audited.transactions) == ((), len(places))


def test_a_validator_cut_off_under_load_rejoins_with_nothing_lost(open_consortium):
    consortium = open_consortium()
    consortium.start()
    # The one that is cut off is handed transactions too: these wait, and are decided once it is back.
    others = Load(consortium.roster, [consortium.ledgers[name] for name in ("node0", "node2", "node3")])
    others.go_on(30)
    consortium.network.partition(["node1"])
    before, _ = consortium.ledgers["node1"].last_block()
    lonely = [consortium.ledgers["node1"].submit(consortium.roster.note(number)) for number in range(10)]
    others.go_on(80)
    after, _ = consortium.ledgers["node1"].last_block()
    assert after <= before + 1
    assert not any(answer.done() for answer in lonely)
    consortium.network.heal()
    places = [answer.result(timeout=PATIENCE_S) for answer in lonely]
    others.go_on(20)
    places += others.stop()
    require_all_there(consortium, places)
    assert [tuple(ledger.application.named) for ledger in consortium.ledgers.values()] == [()] * 4


def kinds_that_wait(refused):
    """Return the kinds of the network, executed by a node that takes its time: until it has refused something."""

    def check_late(tx, state, ctx):
        refused.wait(PATIENCE_S)
        refused.clear()
        check_note(tx, state, ctx)

    return KindTable(replace(kind, check=check_late) if kind.name == "note.write" else kind for kind in KINDS)


@pytest.mark.skipif(
    comet_version().startswith("v0.38."), reason="a node of CometBFT 0.38 hears no peer while it executes a block"
)
def test_what_follows_from_a_block_does_not_wait_for_validators_that_were_late_to_commit_it(tmp_path):  # [ABCI-26]
    consortium = Consortium(tmp_path, Roster(), apart=["node1", "node2", "node3"])
    try:
        missed, late = [], []
        for name in ("node1", "node2", "node3"):
            refused = threading.Event()
            late.append(consortium.open(name, kinds=kinds_that_wait(refused)))
            late[-1].application.mempool.on_refused(
                lambda raw, _refusal, refused=refused: (missed.append(raw), refused.set()) is None
            )
        consortium.start()
        quick = consortium.ledgers["node0"]
        answers = []
        for number in range(6):
            quick.submit(consortium.roster.note(number)).result(timeout=PATIENCE_S)
            # Right here, and at the others no answer to anything yet; nothing else comes that would wake them.
            answers.append(consortium.roster.answer(number))
            quick.submit(answers[-1]).result(timeout=PATIENCE_S)
        assert set(answers) <= set(missed)
        wait_until(lambda: len(consortium.app_hashes()) == 1)
        assert [len(ledger.application.mempool.check_deferred()) for ledger in late] == [0, 0, 0]
    finally:
        consortium.close()
