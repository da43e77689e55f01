"""[WITNESS-7]: the newest confirmed checkpoint is at hand while newer ones are signed, whoever is away for a while."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from consensus_world import wait_until
from patience import PATIENCE_S
from shuiqiao.base.errors import Unavailable
from shuiqiao.ledger.checkpoints.note import verify_note
from shuiqiao.ledger.engine.signing import CosigningQueue
from shuiqiao.ledger.receipts.making import MAX_LEAVES_BEHIND
from shuiqiao.ledger.witness.cosigning import CosignatureCollector
from witnessed_world import Switched

VIEW: Any = object()
"""What stands for the state behind a checkpoint: the queue hands it on and never looks into it."""


@contextmanager
def queue(log: Any, peers: Any, publish: Any = lambda _result: None) -> Iterator[CosigningQueue]:
    asks = CosignatureCollector(
        log.policy(), suite=log.suite, peers=peers, proofs=log.proof, timeout_s=PATIENCE_S, linger_s=0.0
    )
    opened = CosigningQueue(asks.collect, publish=publish, retry_s=0.02)
    try:
        yield opened
    finally:
        opened.close()


def test_offers_are_confirmed_and_handed_out(log):
    peers = [Switched(log.witness(member)) for member in ("first-bank", "regulator", "second-bank")]
    told: list[int] = []
    with queue(log, peers, publish=lambda result: told.append(result.checkpoint.size)) as opened:
        assert opened.newest() is None
        for size in (0, 5, 300):
            opened.offer(log.checkpoint(size), view=VIEW)
            confirmed = opened.wait_for(size, timeout_s=PATIENCE_S)
            checkpoint = confirmed.checkpoint
            assert size == checkpoint.size
            assert (checkpoint, VIEW) == (opened.newest(), confirmed.view)
            assert checkpoint == verify_note(checkpoint.note, policy=log.policy(), suite=log.suite)
        # What is covered already is not asked for again.
        opened.offer(log.checkpoint(100), view=VIEW)
        assert 300 == opened.wait_for(100, timeout_s=PATIENCE_S).checkpoint.size
    assert [0, 5, 300] == told


def test_it_waits_for_a_quorum_and_says_who_is_missing(intl_log):
    peers = [Switched(intl_log.witness(member)) for member in ("first-bank", "regulator", "second-bank")]
    with queue(intl_log, peers) as opened:
        opened.offer(intl_log.checkpoint(100), view=VIEW)
        opened.wait_for(100, timeout_s=PATIENCE_S)
        peers[0].is_away = peers[1].is_away = True
        opened.offer(intl_log.checkpoint(200), view=VIEW)
        with pytest.raises(Unavailable) as caught:
            opened.wait_for(200, timeout_s=0.2)
        assert caught.value.code == "ledger.quorum_not_reached"
        assert 100 == opened.wait_for(100, timeout_s=0.0).checkpoint.size
        # The writer does not wait for anybody.
        opened.offer(intl_log.checkpoint(300), view=VIEW)
        peers[1].is_away = False
        assert 300 == opened.wait_for(250, timeout_s=PATIENCE_S).checkpoint.size


class View:
    """A state that can be seen to be gone."""


def test_states_are_let_go_once_the_log_is_far_ahead_of_its_witnesses(intl_log):  # [STORE-27]
    peers = [Switched(intl_log.witness(member)) for member in ("first-bank", "regulator", "second-bank")]
    views = {size: View() for size in (5, 10, 10 + MAX_LEAVES_BEHIND, 11 + MAX_LEAVES_BEHIND)}
    refs = {size: weakref.ref(view) for size, view in views.items()}
    with queue(intl_log, peers) as opened:
        opened.offer(intl_log.checkpoint(10), view=views.pop(10))
        assert opened.wait_for(10, timeout_s=PATIENCE_S).view is refs[10]()
        peers[0].is_away = peers[1].is_away = True
        opened.require(intl_log.checkpoint(5), view=views.pop(5))
        # No witness is asked for these: the checkpoint that closes an epoch comes first.
        ahead = intl_log.checkpoint(20)
        for size in (10 + MAX_LEAVES_BEHIND, 11 + MAX_LEAVES_BEHIND):
            assert opened.wait_for(10, timeout_s=0).view is refs[10]()
            opened.offer(replace(ahead, size=size), view=views.pop(size))
        wait_until(lambda: [None, None, None] == [refs[size]() for size in sorted(refs)[:3]])
        assert opened.newest().size == 10
        with pytest.raises(Unavailable, match="quorum_not_reached"):
            opened.wait_for(10, timeout_s=0)


def test_a_listener_that_breaks_and_a_note_that_is_none_stop_nothing(intl_log):
    peers = [Switched(intl_log.witness(member)) for member in ("first-bank", "regulator")]

    def broken(_result: Any) -> None:
        raise ZeroDivisionError

    with queue(intl_log, peers, publish=broken) as opened:
        opened.offer(intl_log.checkpoint(100), view=VIEW)
        assert 100 == opened.wait_for(100, timeout_s=PATIENCE_S).checkpoint.size
        forged = intl_log.checkpoint(150)
        object.__setattr__(forged, "note", forged.note[:-1])
        opened.offer(forged, view=VIEW)
        with pytest.raises(Unavailable):
            opened.wait_for(150, timeout_s=0.1)
        opened.offer(intl_log.checkpoint(200), view=VIEW)
        assert 200 == opened.wait_for(200, timeout_s=PATIENCE_S).checkpoint.size


def test_closing_ends_the_waiting(intl_log):
    with queue(intl_log, []) as opened:
        opened.offer(intl_log.checkpoint(100), view=VIEW)
        opened.close()
        with pytest.raises(Unavailable, match="quorum_not_reached"):
            opened.wait_for(100, timeout_s=PATIENCE_S)
