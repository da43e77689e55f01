"""Members on machines of their own: one orders, others hand in, copy, witness and go on, over real HTTP [PEER-8]."""

from __future__ import annotations

import signal
import time

import pytest

from patience import PATIENCE_S
from peers_world import BUREAU, LEAD_BANK, REGULATOR, PeerNetwork
from shuiqiao.base.errors import Unavailable
from shuiqiao.ledger.receipts.verification import verify_receipt
from shuiqiao.members.contract import ENDPOINT, MemberEndpointBody
from shuiqiao.members.key_ring import MemberKeyRing
from shuiqiao.members.roster import endpoint_key
from shuiqiao.node.home.kinds import network_kinds


def verified(institution, index):
    """Return a receipt's content, verified by the genesis alone."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            receipt = institution.engine.receipt(index)
            break
        except Unavailable:
            # Its witnesses are being asked.
            assert time.monotonic() < deadline
            time.sleep(0.1)
    return verify_receipt(
        receipt,
        parameters=institution.parameters,
        kinds=network_kinds(),
        key_ring=MemberKeyRing(),
        suite=institution.suite,
    )


def say_where(institution, url):
    return institution.outbox.submit(ENDPOINT, MemberEndpointBody(url=url, pin=b""))


def patiently(act):
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return act()
        except Unavailable:
            assert time.monotonic() < deadline
            time.sleep(0.2)


@pytest.mark.parametrize("suite_name", ["intl", "gm"])
def test_members_hand_in_copy_and_witness_and_go_on_after_the_writer_was_killed(tmp_path, suite_name):
    """[PEER-9] [PEER-10]"""
    network = PeerNetwork(tmp_path, suite_name)
    # In any order: the bank starts while there is no writer.
    with network.here(LEAD_BANK) as bank:
        with pytest.raises(Unavailable, match=r"client\.unreachable"):
            say_where(bank, "https://bank-east.example:8700")
        assert bank.waits_for().startswith(f"waits for the writer {BUREAU}: ")
        with network.process(BUREAU) as writer:
            placed = patiently(lambda: say_where(bank, "https://bank-east.example:8701"))
            assert bank.engine.state().get(endpoint_key(LEAD_BANK))["url"].startswith("https://bank-east.example")
            assert bank.waits_for() == ""
            with network.here(REGULATOR) as regulator:
                # It starts late, and its witness makes the quorum.
                regulator.engine.wait_for_block(placed.height)
                assert regulator.engine.checkpoint() == bank.engine.checkpoint()
                found = verified(bank, placed.index)
                assert found.transaction.kind == ENDPOINT
                assert verified(regulator, placed.index).transaction.raw == found.transaction.raw
                writer.end(signal.SIGKILL)
                with pytest.raises(Unavailable):
                    say_where(regulator, "https://regulator.example:8700")
                with network.process(BUREAU):
                    again = patiently(lambda: say_where(regulator, "https://regulator.example:8701"))
                    bank.engine.wait_for_block(again.height)
                    assert bank.engine.state().get(endpoint_key(REGULATOR)) is not None
                    assert verified(bank, again.index).transaction.author == REGULATOR
                    # What each handed in while nobody answered arrives by itself.
                    bank.outbox.resend()
                    assert [row.refusal_code for row in bank.outbox.rows()] == []
