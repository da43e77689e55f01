"""What peers sent too early is looked at again after the next blocks [ABCI-26]."""

from __future__ import annotations

import time

import pytest

from shuiqiao.base.errors import Conflict, Denied, InvalidInput
from shuiqiao.ledger.engine.cometbft.abci import messages as abci
from shuiqiao.ledger.engine.cometbft.mempool.bundle import encode_bundle
from shuiqiao.ledger.engine.cometbft.mempool.connection import (
    DEFERRED_S,
    MAX_DEFERRED,
    MAX_DEFERRED_BYTES,
    MempoolConnection,
)


class Block:
    """A state that refuses what the test names, and a mempool connection over it."""

    def __init__(self):
        self.refusals = {}
        self.mempool = MempoolConnection(
            lambda raws: [self.refusals.get(raw) for raw in raws],
            work_of=lambda raws: None if any(raw.startswith(b"junk") for raw in raws) else 1,
        )

    def check(self, whole):
        [found] = self.mempool.check([abci.RequestCheckTx(tx=whole)])
        return found.codespace


@pytest.fixture
def early():
    return Denied("consent.unknown", "there is no such consent yet")


def test_what_the_next_block_makes_right_is_handed_in_again_once(early):
    block = Block()
    block.refusals[b"revoke"] = early
    assert block.check(b"revoke") == "consent.unknown"
    assert block.mempool.check_deferred() == []
    del block.refusals[b"revoke"]
    assert block.mempool.check_deferred() == [b"revoke"]
    assert block.mempool.check_deferred() == []


def test_a_bundle_is_kept_whole(early):
    block = Block()
    whole = encode_bundle([b"good", b"early"])
    block.refusals[b"early"] = early
    assert block.check(whole) == "consent.unknown"
    del block.refusals[b"early"]
    assert block.mempool.check_deferred() == [whole]


@pytest.mark.parametrize(
    ("raw", "refusal"),
    [
        (b"junk", InvalidInput("ledger.tx_malformed", "it is none")),
        (b"twice", Conflict("ledger.tx_replayed", "it was accepted")),
        (b"forged", Denied("ledger.signature_invalid", "it does not hold")),
    ],
)
def test_what_no_block_makes_right_is_not_kept(raw, refusal):
    block = Block()
    block.refusals[raw] = refusal
    block.check(raw)
    assert len(block.mempool.deferred) == 0


def test_what_became_a_replay_is_let_go(early):
    block = Block()
    block.refusals[b"early"] = early
    block.check(b"early")
    block.refusals[b"early"] = Conflict("ledger.tx_replayed", "another node's block held it")
    assert block.mempool.check_deferred() == []
    assert len(block.mempool.deferred) == 0


def test_who_was_told_of_the_refusal_here_is_not_surprised_later(early):
    block = Block()
    block.mempool.on_refused(lambda raw, _refusal: raw == b"ours")
    block.refusals = {b"ours": early, b"theirs": early}
    block.check(b"ours")
    block.check(b"theirs")
    block.refusals = {}
    assert block.mempool.check_deferred() == [b"theirs"]


def test_it_is_bounded_in_number_bytes_and_time(early, monkeypatch):
    def refuse(block, *wholes):
        block.refusals |= dict.fromkeys(wholes, early)
        for whole in wholes:
            assert block.check(whole) == "consent.unknown"

    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    many, large = Block(), Block()
    names = [b"%d" % number for number in range(MAX_DEFERRED + 3)]
    refuse(many, *names)
    assert many.mempool.deferred == names[3:]
    refuse(large, *(bytes([number]) * (MAX_DEFERRED_BYTES // 3) for number in range(5)))
    assert [whole[0] for whole in large.mempool.deferred] == [2, 3, 4]
    refuse(large, b"x" * (MAX_DEFERRED_BYTES + 1))
    assert len(large.mempool.deferred) == 3
    # Refused again later, they keep the time they had.
    now += DEFERRED_S / 2
    refuse(many, names[-1])
    assert len(many.mempool.deferred) == MAX_DEFERRED
    now += DEFERRED_S / 2
    assert many.mempool.deferred == []
