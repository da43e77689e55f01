"""Members on machines of their own: one orders, others hand in, copy, witness and go on, over real HTTP [PEER-8]."""

from __future__ import annotations

import json
import signal
import time
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from structlog.testing import capture_logs

from patience import PATIENCE_S
from peers_world import BUREAU, LEAD_BANK, REGULATOR, PeerNetwork
from serving_world import at_its_socket, log_file
from shuiqiao.base.clock import SystemClock
from shuiqiao.base.errors import Unavailable
from shuiqiao.cli.doctor import _server
from shuiqiao.client import request_id
from shuiqiao.client.pages import PageQuery
from shuiqiao.ledger.receipts.verification import verify_receipt
from shuiqiao.members.contract import ENDPOINT, MemberEndpointBody
from shuiqiao.members.key_ring import MemberKeyRing
from shuiqiao.members.roster import endpoint_key
from shuiqiao.node.home.kinds import network_kinds
from shuiqiao.node.jobs.alarms import ALARMS, AlarmKind
from shuiqiao.node.jobs.duties import PROCESS_OPEN
from shuiqiao.node.jobs.service import duty_id
from shuiqiao.node.operations.oversight import list_standing_alarms
from shuiqiao.node.peers.message import Act
from shuiqiao.node.pending import pending_of
from tls_world import make_certificate


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


def until(look):
    deadline = time.monotonic() + PATIENCE_S
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


@dataclass
class ShiftedClock:
    """This machine's clock, wrong by some time."""

    ahead_ms: int

    def now_ms(self):
        return SystemClock().now_ms() + self.ahead_ms


def clock_alarms(running):
    """Have a node look for what is wrong; return which members' clocks it tells of, and how."""
    running.jobs.hasten(ALARMS)
    running.runner.wake()
    standing = list_standing_alarms(running.institution, PageQuery()).items
    return {each.about: each.says for each in standing if each.kind == AlarmKind.CLOCK}


def told_by_doctor(running):
    return {finding.what: (finding.code, finding.says) for finding in _server(running.institution.home)}


def test_a_clock_ten_minutes_ahead_is_told_on_both_sides_until_it_is_right(tmp_path):
    """[API-18]: by the member that is refused for it, and by the one that refuses."""
    network, clock = PeerNetwork(tmp_path, "intl"), ShiftedClock(600_000)
    with ExitStack() as stack:
        lines = stack.enter_context(capture_logs())
        bureau = stack.enter_context(network.running(BUREAU))
        bank = stack.enter_context(network.running(LEAD_BANK, clock=clock))
        for running, other, also in ((bank, BUREAU, {"following"}), (bureau, LEAD_BANK, set())):
            says = until(lambda at=running: clock_alarms(at))
            assert list(says) == [other]
            assert "s apart where 120 are allowed" in says[other]
            stack.enter_context(at_its_socket(running))
            told = told_by_doctor(running)
            assert told[f"clock beside {other}"][0] == "peer.clock_differs"
            assert {*told} == {"server", f"clock beside {other}", *also}
        code, says = told_by_doctor(bank)["following"]
        assert (code, says.startswith(f"waits for the writer {BUREAU}: ")) == ("node.writer_awaited", True)
        with pytest.raises(Unavailable):
            say_where(bank.institution, "https://bank-east.example:8700")
        [waiting], _ = pending_of(bank.institution)
        assert (waiting.code, waiting.reason[:20]) == ("", "waits for the writer")

        before = bank.job_of(duty_id(PROCESS_OPEN))
        clock.ahead_ms = 0
        until(lambda: bank.institution.waits_for() == "")
        until(lambda: not bank.institution.outbox.rows())
        until(lambda: bank.job_of(duty_id(PROCESS_OPEN)).finished_ms != before.finished_ms)
        for running in (bank, bureau):
            until(lambda at=running: clock_alarms(at) == {})
            assert [*told_by_doctor(running)] == ["server"]
    refused = [
        each for each in lines if each.get("code") == "peer.clock_differs" and each["event"] == "request.answered"
    ]
    assert {each["peer"] for each in refused} == {LEAD_BANK}
    assert {each["act"] for each in refused} <= set(map(str, Act))
    told = [(each["event"], each["peer"]) for each in lines if each["event"].startswith("ledger.waiting")]
    assert told[:2] == [("ledger.waiting_began", BUREAU), ("ledger.waiting_ended", BUREAU)]


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
                    # What could not be handed in while the writer was away is so without a restart.
                    until(lambda: not regulator.outbox.rows())
                    assert verified(bank, again.index).transaction.author == REGULATOR
                    # What each handed in while nobody answered arrives by itself.
                    bank.outbox.resend()
                    assert [row.refusal_code for row in bank.outbox.rows()] == []


def logged(home):
    lines = [json.loads(line) for line in log_file(home).read_text().splitlines() if line.endswith("}")]
    return {(line.get("request_id"), line.get("act"), line.get("peer")) for line in lines}


def test_a_follower_reaches_its_writer_over_tls_by_its_pin_and_by_no_other(tmp_path):
    """[API-2] [PEER-6]: the certificate stands in the writer's settings, the pin of its key in the followers'."""
    network = PeerNetwork(tmp_path, "intl")
    pin = make_certificate(network.home(BUREAU).folder)
    wrong = bytes([pin[0] ^ 1]) + pin[1:]
    address = network.url(BUREAU).replace("http:", "https:")
    network.change(BUREAU, tls_certificate="c.pem", tls_key="k.pem")
    network.change(LEAD_BANK, peers={BUREAU: f"{address}#{pin.hex()}"})
    network.change(REGULATOR, peers={BUREAU: f"{address}#{wrong.hex()}"})
    with network.process(BUREAU) as writer:
        assert writer.listening["listen"].startswith("https://")
        with network.here(LEAD_BANK) as bank:
            # What is handed in because of a request goes on under its id, so that the two logs can be put side by side.
            request = request_id.current.set("5a" * 16)
            placed = patiently(lambda: say_where(bank, "https://bank-east.example:8701"))
            request_id.current.reset(request)
            until(lambda: ("5a" * 16, "ledger.submit", LEAD_BANK) in logged(writer.home))
            assert bank.engine.last_block()[0] >= placed.height
            assert bank.waits_for() == ""
        with network.here(REGULATOR) as regulator:
            assert pin.hex() in until(regulator.waits_for)
            with pytest.raises(Unavailable, match=r"client\.pin_differs"):
                say_where(regulator, "https://regulator.example:8701")
            assert regulator.engine.last_block()[0] < placed.height
