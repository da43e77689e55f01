"""An act about what another node did waits for this home's own copy of the ledger, a bounded time, and says so."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from patience import PATIENCE_S
from shuiqiao.base.errors import Denied
from shuiqiao.node import governance


def frozen_by(state):
    found = governance.freeze_of(state)
    if found is None:
        raise Denied("node.not_frozen", "the network is not frozen")
    return found["author"]


def test_what_another_node_did_is_waited_for(world, tmp_path, monkeypatch):
    monkeypatch.setattr(governance, "COPY_WAIT_S", PATIENCE_S)
    reason = tmp_path / "reason.txt"
    reason.write_text("an exercise")
    looked = threading.Event()

    def find(state):
        try:
            return frozen_by(state)
        finally:
            looked.set()

    with ThreadPoolExecutor(max_workers=1) as pool:
        found = pool.submit(governance.look_up, world.bank, find)
        looked.wait()
        governance.freeze(
            world.regulator, days=1, reason_digest=governance.file_digest(reason, suite=world.regulator.suite)
        )
        assert found.result() == "regulator"
    governance.unfreeze(world.regulator)
    world.bank.catch_up_with(world.bureau)


def test_a_copy_that_was_waited_for_in_vain_says_how_far_it_is(world, monkeypatch):
    monkeypatch.setattr(governance, "COPY_WAIT_S", 0.2)
    height, _ = world.bank.engine.last_block()
    with pytest.raises(Denied) as caught:
        governance.unfreeze(world.bank)
    assert caught.value.code == "node.not_frozen"
    assert f"this home's copy of the ledger ends with block {height} of 20" in caught.value.message


def test_the_writer_is_never_behind_and_does_not_wait(world):
    with pytest.raises(Denied) as caught:
        governance.unfreeze(world.bureau)
    assert caught.value.message == "the network is not frozen"


def test_what_no_waiting_would_mend_is_said_at_once(world, monkeypatch):
    monkeypatch.setattr(governance, "COPY_WAIT_S", float("inf"))

    def find(_state):
        raise Denied("members.role_wrong", "not this one")

    with pytest.raises(Denied) as caught:
        governance.look_up(world.bank, find)
    assert caught.value.message == "not this one"
