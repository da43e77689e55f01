"""What is told of one validator: a server that ended, a key that the ledger does not name."""

from __future__ import annotations

import sys
import threading

import pytest

from shuiqiao.base.errors import Unavailable
from shuiqiao.client.resources.validator import NodeTrouble, ValidatorStanding
from shuiqiao.node.localnet.process import RecordedProcess
from shuiqiao.node.localnet.status import CometStatus, node_status

SLEEP = [sys.executable, "-c", "import sys, time; print('a   word', flush=True); time.sleep(60)"]
WELL = {**ValidatorStanding.model_config["json_schema_extra"]["examples"][0], "validator_key": ""}


def standing(**changed):
    return ValidatorStanding(**{**WELL, **changed})


def look_at(server, *, told, votes_with=None):
    return node_status(
        "aa",
        server=server,
        ask=lambda: told,
        look=lambda: CometStatus(peers=2, is_catching_up=False),
        votes_with=votes_with,
    )


@pytest.fixture
def server(folder):
    """A process that runs."""
    process = RecordedProcess(folder.run, name="aa")
    process.start(SLEEP)
    yield process
    process.ask_to_end()
    process.wait_ended()


def test_a_server_that_ended_is_missed(folder):
    process = RecordedProcess(folder.run, name="aa")
    process.start([sys.executable, "-c", "print('error node.x: last   words')"])
    while process.pid is not None:
        threading.Event().wait(0.02)
    assert process.is_expected
    found = look_at(process, told=standing())
    assert not found.running
    assert [(each.code, each.message) for each in found.trouble] == [
        ("node.ledger_down", "the server of aa ended; its last words: error node.x: last words")
    ]
    process.kill()


def test_a_node_that_ended_is_told_with_its_reason(server):
    ended = NodeTrouble(code="ledger.node_ended", message="it ended with code 1")
    found = look_at(server, told=standing(is_node_running=False, node_ended=ended))
    assert (found.running, found.peers, found.size) == (False, 0, WELL["size"])
    [trouble] = found.trouble
    assert (trouble.code, trouble.message.endswith("it ended with code 1")) == ("node.cometbft_down", True)


def test_a_server_that_does_not_answer_is_told(server):
    def ask():
        raise Unavailable("client.unreachable", "nobody there")

    found = node_status("aa", server=server, ask=ask, look=dict, votes_with=None)
    assert (found.running, [each.code for each in found.trouble]) == (False, ["client.unreachable"])


@pytest.mark.parametrize(
    ("named", "votes_with", "codes"),
    [
        ("aa" * 32, b"\xaa" * 32, []),
        ("aa" * 32, b"\xbb" * 32, ["node.validator_key_differs"]),
        ("aa" * 32, None, ["node.validator_key_differs"]),
        # A newcomer that nobody admitted yet.
        ("", b"\xbb" * 32, []),
    ],
)
def test_a_validator_that_votes_with_another_key_than_the_ledger_names_is_told(named, votes_with, codes, server):
    found = look_at(server, told=standing(validator_key=named), votes_with=votes_with)
    assert (found.running, found.peers) == (True, 2)
    assert codes == [each.code for each in found.trouble]
