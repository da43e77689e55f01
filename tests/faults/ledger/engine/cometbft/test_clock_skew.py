"""Validators whose machines' clocks are wrong, CometBFT's own and the ledger's beside it: [ABCI-27].

The votes of two of four say a time that is not; CometBFT takes the median of them, so blocks have the time of the others.
"""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise

import pytest

from cometbft_world import skewed_program
from consensus_world import Consortium, Roster, ShiftedClock, wait_until
from patience import PATIENCE_S
from shuiqiao.base.clock import SystemClock
from shuiqiao.ledger.checkpoints.note import verify_note
from shuiqiao.ledger.engine.cometbft.comet.home import address_of
from shuiqiao.ledger.engine.cometbft.comet.process import NodeProcess

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
TOLERANCE_MS = 15_000
"""How far a block's time may be from the clock of who looks on, on a machine that is busy."""

AHEAD_MS, BEHIND_MS, FAR_MS = 10 * MINUTE_MS, -5 * MINUTE_MS, 30 * HOUR_MS


class SkewedWorld:
    """Four validators, some of whose clocks are wrong in CometBFT, and where asked in the ledger beside it."""

    def __init__(self, folder, skews_ms, *, with_ledger=()):
        # Who is behind would wait for a genesis of just now until its own clock has come to it.
        self.roster = Roster(genesis_ms=SystemClock().now_ms() - 10 * MINUTE_MS)
        self.consortium = Consortium(folder, self.roster, apart=list(with_ledger))
        for member in with_ledger:
            self.consortium.open(member, clock=ShiftedClock(skews_ms[member]))
        network = self.consortium.network
        for member, skew_ms in skews_ms.items():
            program = skewed_program(folder, skew=f"{skew_ms}ms")
            network.nodes[member] = NodeProcess(network.home(member), program=program)
        self.ledgers = self.consortium.ledgers
        self.skews_ms = skews_ms

    def refusal_of(self, member, raw):
        """What becomes of a transaction: nothing waits without an answer."""
        error = self.ledgers[member].submit(raw).exception(timeout=PATIENCE_S)
        return "" if error is None else error.code

    def vote_skews_ms(self):
        """How far each validator's votes for the last blocks were from their blocks, by member."""
        rpc = self.consortium.network.nodes["node0"].rpc
        members = {
            address_of(keys.validator_key).hex().upper(): member for member, keys in self.roster.comet_keys.items()
        }
        found = {}
        for height in range(2, rpc.status().height + 1):
            header = rpc.call("commit", height=str(height))["signed_header"]
            block_ms = moment_ms(header["header"]["time"])
            for signature in header["commit"]["signatures"]:
                if signature["signature"]:
                    member = members[signature["validator_address"]]
                    found.setdefault(member, []).append(moment_ms(signature["timestamp"]) - block_ms)
        return found

    def require_agreement(self, *, began_ms):
        """Return if all have the same blocks, whose times rise strictly and are those of the right clocks."""
        wait_until(lambda: len(self.consortium.app_hashes()) == 1, timeout_s=PATIENCE_S)
        blocks = list(self.ledgers["node0"].blocks(from_height=1))
        assert all(one.time_ms < other.time_ms for one, other in pairwise(blocks))
        assert began_ms - TOLERANCE_MS < blocks[1].time_ms
        assert blocks[-1].time_ms < SystemClock().now_ms() + TOLERANCE_MS
        for ledger in self.ledgers.values():
            # The same blocks have the same entries, in which the state roots stand.
            assert list(ledger.blocks(from_height=1)) == blocks
            note = ledger.checkpoint()
            assert verify_note(note.note, policy=self.roster.policy, suite=self.roster.suite) == note
            assert ledger.application.named == {}


def moment_ms(text):
    return int(datetime.fromisoformat(text).timestamp() * 1000)


@pytest.fixture
def open_world(tmp_path):
    found = []

    def open_one(skews_ms, **more):
        found.append(SkewedWorld(tmp_path, skews_ms, **more))
        return found[-1]

    yield open_one
    for world in found:
        world.consortium.close()


def test_one_ahead_and_one_behind_neither_stall_nor_bend_the_time(open_world):
    world = open_world({"node1": AHEAD_MS, "node2": BEHIND_MS})
    roster, names = world.roster, list(world.ledgers)
    began_ms = SystemClock().now_ms()
    world.consortium.start()
    for number in range(16):
        assert world.refusal_of(names[number % 4], roster.note(number, author=names[number % 4])) == ""
    # A short validity counts by block time, on whichever node it is handed in.
    for number, name in enumerate(names, 20):
        assert world.refusal_of(name, roster.note(number, valid_ms=2 * MINUTE_MS)) == ""
        assert world.refusal_of(name, roster.note(number + 20, valid_ms=-MINUTE_MS)) == "ledger.tx_expired"
    world.require_agreement(began_ms=began_ms)

    # The clocks were wrong indeed: so say the votes.
    skews = world.vote_skews_ms()
    assert min(skews["node1"]) > AHEAD_MS - TOLERANCE_MS
    assert max(skews["node0"] + skews["node3"]) < AHEAD_MS - TOLERANCE_MS
    # Who is behind votes for the time of the block before and a moment, which CometBFT asks of every vote.
    assert set(skews["node2"]) == {1}


def test_a_whole_machine_that_is_more_than_a_day_ahead_hinders_nobody(open_world):
    world = open_world({"node1": FAR_MS}, with_ledger=["node1"])
    roster = world.roster
    began_ms = SystemClock().now_ms()
    world.consortium.start()
    for number in range(12):
        assert world.refusal_of("node0", roster.note(number)) == ""
        # To that node it is long expired: it says so at once, and takes what the others decide all the same.
        assert world.refusal_of("node1", roster.note(number + 100)) == "ledger.tx_expired"
    # What is short to it is a day too long for all others, who let it into no mempool. It waits there until that node
    # proposes a block, which refuses it; meanwhile everything else goes on.
    too_long = roster.note(50, valid_ms=FAR_MS + HOUR_MS)
    assert world.refusal_of("node0", too_long) == "ledger.tx_valid_too_long"
    waiting = world.ledgers["node1"].submit(too_long)
    for number in range(200, 212):
        assert world.refusal_of("node0", roster.note(number)) == ""
    assert waiting.exception(timeout=PATIENCE_S).code == "ledger.tx_valid_too_long"
    world.require_agreement(began_ms=began_ms)
    assert world.ledgers["node1"].state().get(f"note/entry/{50:032x}") is None
    skews = world.vote_skews_ms()
    assert min(skews["node1"]) > FAR_MS - TOLERANCE_MS
