"""What is told of one validator: a process that ended, a key that the ledger does not name."""

from __future__ import annotations

import sys
import threading

import pytest

from shuiqiao.node.localnet.process import RecordedProcess
from shuiqiao.node.localnet.status import CometStatus, node_status

SLEEP = [sys.executable, "-c", "import sys, time; print('a   word', flush=True); time.sleep(60)"]


def test_a_killed_process_is_missed(folder):
    process = RecordedProcess(folder.run, name="aa.ledger")
    process.start([sys.executable, "-c", "print('last   words')"])
    while process.pid is not None:
        threading.Event().wait(0.02)
    assert process.is_expected
    standing = node_status(
        "aa",
        ledger=process,
        comet=RecordedProcess(folder.run, name="aa.cometbft"),
        ask=dict,
        look=lambda: CometStatus(peers=0, is_catching_up=False),
        votes_with=None,
    )
    assert not standing.running
    assert [(each.code, each.message) for each in standing.trouble] == [
        ("node.ledger_down", "aa.ledger ended; last in its log: last words")
    ]
    process.kill()


@pytest.mark.parametrize(
    ("named", "votes_with", "codes"),
    [
        ("aa" * 32, b"\xaa" * 32, []),
        ("aa" * 32, b"\xbb" * 32, ["node.validator_key_differs"]),
        ("aa" * 32, None, ["node.validator_key_differs"]),
        # A newcomer that nobody admitted yet, and a node of an earlier version that does not say.
        ("", b"\xbb" * 32, []),
        (None, b"\xbb" * 32, []),
    ],
)
def test_a_validator_that_votes_with_another_key_than_the_ledger_names_is_told(named, votes_with, codes, folder):
    process = RecordedProcess(folder.run, name="aa.ledger")
    process.start(SLEEP)
    try:
        standing = node_status(
            "aa",
            ledger=process,
            comet=process,
            ask=lambda: {} if named is None else {"validator_key": named},
            look=lambda: CometStatus(peers=0, is_catching_up=False),
            votes_with=votes_with,
        )
    finally:
        process.ask_to_end()
        process.wait_ended()
    assert codes == [each.code for each in standing.trouble]
