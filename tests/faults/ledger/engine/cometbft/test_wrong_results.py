"""One of four validators comes to another result: by a corrupted state it stops and says so, by malice it is named.

[ABCI-22] [ABCI-23]
"""

from __future__ import annotations

import subprocess
import sys

import pytest

import state_vandal
from consensus_world import NoteBody, PowerBody, check_nothing, set_power, wait_until, write_note
from patience import PATIENCE_S
from shuiqiao.base.errors import Conflict, IntegrityError, Unavailable
from shuiqiao.base.ids import MemberId
from shuiqiao.ledger.checkpoints.cosignature import sign_cosignature
from shuiqiao.ledger.checkpoints.note import verify_note
from shuiqiao.ledger.checkpoints.signed_note import decode_signed_note, encode_text
from shuiqiao.ledger.engine.cometbft.abci import messages as abci
from shuiqiao.ledger.engine.cometbft.consensus.disagreement import proof_beyond
from shuiqiao.ledger.model import Kind
from shuiqiao.ledger.transactions.kinds import KindTable

HONEST = ("node0", "node1", "node2")
LENIENT = KindTable(
    (
        Kind(name="note.write", room="note", version=1, body=NoteBody, check=check_nothing, apply=write_note),
        Kind(name="members.power", room="members", version=1, body=PowerBody, check=check_nothing, apply=set_power),
    )
)
"""The kinds of the network, but for the check that refuses a note that there is already."""


def corrupt(consortium, member, number):
    """Remove a note from a validator's state, from another process."""
    folder = consortium.ledger_folder(member) / "index.lmdb"
    command = [sys.executable, state_vandal.__file__, str(folder), f"note/entry/{number:032x}"]
    subprocess.run(command, check=True, timeout=PATIENCE_S)


def repeat(consortium, number):
    """Hand in a note that there is already: everybody with a sound state refuses it, in a block."""
    with pytest.raises(Conflict) as raised:
        consortium.ledgers["node0"].submit(consortium.roster.note(number)).result(timeout=PATIENCE_S)
    assert raised.value.code == "note.repeated"


def require_others_go_on(consortium, first):
    """Three validators decide, and confirm what they decided without the fourth."""
    roster, ledgers = consortium.roster, consortium.ledgers
    for number in range(first, first + 3):
        ledgers[HONEST[number % 3]].submit(roster.note(number)).result(timeout=PATIENCE_S)
    wait_until(lambda: len(consortium.app_hashes(HONEST)) == 1)
    size = ledgers["node0"].application.app_state.copy.head.size
    for name in HONEST:
        note = ledgers[name].application.extensions.wait_for(size, timeout_s=PATIENCE_S)
        assert verify_note(note.note, policy=roster.policy, suite=roster.suite).size == size
        signers = {line.name.rsplit("/")[-1] for line in decode_signed_note(note.note).lines}
        assert signers == set(HONEST)


def hear_confirmed(consortium, application):
    """Let a validator hear the newest note of the others, with what shows how their log begins."""
    other = consortium.ledgers["node0"]
    size = application.app_state.copy.head.size
    note = other.application.extensions.wait_for(size, timeout_s=PATIENCE_S)
    proof = proof_beyond(other.application.app_state.copy, size=min(size, note.size), new_size=note.size)
    application.judge_note(note.note, proof=proof)


def require_stopped(consortium, member, *, size):
    """A diverged validator has no vote any more, and says why once it hears what the others confirmed."""
    ledger, node = consortium.ledgers[member], consortium.network.nodes[member]
    wait_until(lambda: "wrong Block.Header.AppHash" in (node.home / "comet.log").read_text())
    # What it holds of its own is confirmed by nobody, nor does it sign it: its last word is from before.
    application = ledger.application
    assert application.app_state.copy.head.size > size
    assert application.extensions.note().size <= size
    with pytest.raises(Unavailable) as pending:
        application.statement()
    assert pending.value.code == "ledger.statement_pending"
    for name in HONEST:
        assert MemberId(member) not in consortium.ledgers[name].application.extensions._lines
    # Told of a note under the others' quorum it knows that it is wrong, and from then on it stops on every call.
    for act in (lambda: hear_confirmed(consortium, application), application.statement):
        with pytest.raises(IntegrityError) as diverged:
            act()
        assert diverged.value.code == "ledger.state_diverged"
        assert "node0, node1, node2 cosigned another checkpoint" in diverged.value.message
    with pytest.raises(IntegrityError):
        application.extend_vote(abci.RequestExtendVote())
    # The others agree among themselves, so it accuses none of them; nor does anybody accuse it, for it signed nothing.
    assert [ledger.application.named for ledger in consortium.ledgers.values()] == [{}] * 4


def test_a_state_corrupted_on_disk_signs_nothing_wrong_and_says_so(open_consortium):
    consortium = open_consortium()
    ledgers, nodes = consortium.ledgers, consortium.network.nodes
    consortium.start()
    for number in range(3):
        ledgers["node0"].submit(consortium.roster.note(number)).result(timeout=PATIENCE_S)
    wait_until(lambda: len(consortium.app_hashes()) == 1)
    hear_confirmed(consortium, ledgers["node3"].application)
    nodes["node3"].kill()
    ledgers["node3"].close()
    corrupt(consortium, "node3", 1)
    consortium.open("node3")
    nodes["node3"].start()
    wait_until(lambda: len(consortium.app_hashes()) == 1)
    size = ledgers["node0"].application.app_state.copy.head.size
    repeat(consortium, 1)
    require_others_go_on(consortium, 10)
    require_stopped(consortium, "node3", size=size)

    # The log is whole, though it is another: opening it again does not heal it, and it is told so again.
    nodes["node3"].kill()
    ledgers["node3"].close()
    with pytest.raises(IntegrityError) as raised:
        hear_confirmed(consortium, consortium.open("node3").application)
    assert raised.value.code == "ledger.state_diverged"


def test_a_state_corrupted_underneath_a_running_validator(open_consortium):
    consortium = open_consortium()
    ledgers = consortium.ledgers
    consortium.start()
    for number in range(3):
        ledgers["node0"].submit(consortium.roster.note(number)).result(timeout=PATIENCE_S)
    corrupt(consortium, "node3", 1)
    # The next block opens a new view of the state.
    ledgers["node0"].submit(consortium.roster.note(3)).result(timeout=PATIENCE_S)
    wait_until(lambda: len(consortium.app_hashes()) == 1)
    size = ledgers["node0"].application.app_state.copy.head.size
    repeat(consortium, 1)
    require_others_go_on(consortium, 10)
    require_stopped(consortium, "node3", size=size)


def byzantine_statement(ledger, roster, member):
    """What a validator signs that asks nobody whether its checkpoint is confirmed."""
    head = ledger.application.app_state.copy.head
    text = encode_text(origin=roster.parameters.origin, size=head.size, root=head.root)
    name = roster.policy.witness_name(MemberId(member))
    line = sign_cosignature(text, name=name, key=roster.keys[MemberId(member)], suite=roster.suite, time_s=1)
    return text + b"\n" + line


def test_a_validator_that_accepts_what_is_to_be_refused_is_outvoted_and_named(open_consortium):
    consortium = open_consortium(apart=["node3"])
    ledgers = consortium.ledgers
    byzantine = consortium.open("node3", kinds=LENIENT)
    # It takes every vote for a good one, so that nothing of ours stops it.
    byzantine.application.extensions.judge = lambda _extension, *, member: None
    consortium.start()
    ledgers["node0"].submit(consortium.roster.note(1)).result(timeout=PATIENCE_S)
    wait_until(lambda: len(consortium.app_hashes()) == 1)
    size = ledgers["node0"].application.app_state.copy.head.size
    repeat(consortium, 1)
    # Its block has one transaction more than that of the others, and nobody follows.
    wait_until(lambda: byzantine.application.app_state.copy.head.size > size)
    require_others_go_on(consortium, 10)
    assert byzantine.last_block()[0] == 2
    statement = byzantine_statement(byzantine, consortium.roster, "node3")
    for name in HONEST:
        application = ledgers[name].application
        for other in HONEST:
            application.judge_note(ledgers[other].application.statement())
        assert application.named == {}
        application.judge_note(statement)
        assert list(application.named) == ["node3"]
        assert byzantine.application.app_state.copy.head.root.hex() in application.named["node3"]


def test_a_validator_whose_vote_confirms_another_root_is_outvoted_and_named(open_consortium):
    consortium = open_consortium()
    roster, ledgers = consortium.roster, consortium.ledgers
    application = ledgers["node3"].application

    def wrong_statement():
        size = application.app_state.copy.head.size
        text = encode_text(origin=roster.parameters.origin, size=size, root=bytes(32))
        name = roster.policy.witness_name(MemberId("node3"))
        line = sign_cosignature(text, name=name, key=roster.keys[MemberId("node3")], suite=roster.suite, time_s=1)
        return text + b"\n" + line

    def wrong_extension():
        # Before the first block there is but one root.
        return wrong_statement().split(b"\n\n")[1] if application.app_state.copy.head.size else b""

    # It follows the others in everything, and cosigns a history of its own making: its key is good, the root is not.
    application.extensions.own_extension = wrong_extension
    # From v0.40 on CometBFT asks the application about its own extension too.
    application.extensions.judge = lambda _extension, *, member: None
    consortium.start()
    sent = 0
    while not (met := [name for name in HONEST if "node3" in ledgers[name].application.named]):
        # A vote that comes after the decision is not asked about: one of them meets it in time sooner or later.
        assert sent < 60
        ledgers[HONEST[sent % 3]].submit(roster.note(1000 + sent)).result(timeout=PATIENCE_S)
        sent += 1
    assert "ledger.cosignature_invalid" in ledgers[met[0]].application.named["node3"]
    # Whoever met none of its votes is told by what it signed.
    wait_until(lambda: len(consortium.app_hashes()) == 1)
    statement = wrong_statement()
    for name in HONEST:
        ledgers[name].application.judge_note(statement)
        assert bytes(32).hex() in ledgers[name].application.named["node3"]
    # One alone stops nobody.
    require_others_go_on(consortium, 10)
    assert [list(ledgers[name].application.named) for name in HONEST] == [["node3"]] * 3
