"""Whose checkpoint is not ours: one validator is named, so many that we are alone stop us; statements are compared.

[ABCI-22] [ABCI-23]
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from consensus_world import KINDS, Roster, StateKeys
from log_world import LeafHashes
from shuiqiao.base.durable import Disk
from shuiqiao.base.errors import IntegrityError, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import MemberId
from shuiqiao.ledger.checkpoints.cosignature import sign_cosignature
from shuiqiao.ledger.engine.cometbft.consensus.disagreement import MAX_NAMED, Disagreement, own_statement, proof_beyond
from shuiqiao.ledger.engine.cometbft.consensus.extensions import Cosigner, Tip, VoteExtensions
from shuiqiao.ledger.log.tree import consistency_path, leaf_hashes, root_from_reader
from shuiqiao.ledger.state.machine import StateMachine
from shuiqiao.ledger.store.epochs import EpochTrail, StoredEpochs

INVALID = IntegrityError("ledger.cosignature_invalid", "it does not hold")
MALFORMED = IntegrityError("ledger.checkpoint_malformed", "no line")
ROOT, OTHER = b"r" * 32, b"o" * 32


class FixedClock:
    def now_ms(self) -> int:
        return 1_775_000_000_000


@pytest.fixture
def roster():
    return Roster(validators=7)


@pytest.fixture
def court(roster):
    return Disagreement(roster.suite)


def tip(roster, *, size=9, root=ROOT):
    return Tip(size=size, root=root, policy=roster.policy, view=None)


def hear(court, roster, voter, *, error=INVALID, at=None):
    member = None if voter is None else MemberId(voter)
    return court.judge_vote(error, voter=member, words="at height 3", tip=at or tip(roster))


def test_as_many_as_may_be_wrong_are_named_and_one_more_stops_us(court, roster):
    # Seven validators, a quorum of five: two may be wrong.
    assert [hear(court, roster, voter) for voter in ("node1", "node2", "node1")] == [None] * 3
    assert set(court.named) == {"node1", "node2"}
    stopped = hear(court, roster, "node3")
    assert stopped is not None
    assert stopped.code == "ledger.state_diverged"
    assert "node1, node2, node3 cosigned another checkpoint" in stopped.message
    # We accuse nobody of what is our own fault.
    assert court.named == {}


def test_only_cosignatures_of_voters_over_one_checkpoint_count_against_us(court, roster):
    for voter in ("node1", "node2"):
        hear(court, roster, voter)
    assert hear(court, roster, "node3", error=MALFORMED) is None
    assert hear(court, roster, None) is None
    assert hear(court, roster, "stranger") is None
    assert hear(court, roster, "node3", at=tip(roster, size=10)) is None
    assert set(court.named) == {"node1", "node2", "node3", "at height 3", "stranger"}


def test_the_newest_named_are_kept(court):
    for number in range(MAX_NAMED + 5):
        court.name(f"v{number}", "why")
    court.name("v10", "again")
    assert (len(court.named), next(iter(court.named)), list(court.named)[-1]) == (MAX_NAMED, "v5", "v10")


def statement(roster, *, signer="node5", size=9, root=ROOT):
    at = tip(roster, size=size, root=root)
    key = roster.keys[MemberId(signer)]
    name = roster.policy.witness_name(MemberId(signer))
    return at.text + b"\n" + sign_cosignature(at.text, name=name, key=key, suite=roster.suite, time_s=1_775_000_000)


class KnownRoots:
    """The part of a copy that is asked when a note is heard, over a few sizes."""

    def __init__(self, roster, roots):
        self.epochs = SimpleNamespace(trail=EpochTrail(roster.parameters, key_ring=StateKeys()))
        self.root_at = roots.__getitem__


def judge(court, roster, data, *, roots=None):
    copy = KnownRoots(roster, roots or {9: ROOT, 4: b"f" * 32})
    return court.judge_note(data, proof=(), tip=tip(roster), copy=copy)


def test_a_statement_on_another_root_names_its_signer(court, roster):
    assert judge(court, roster, statement(roster)) is None
    assert judge(court, roster, statement(roster, size=4, root=b"f" * 32)) is None
    # Of a log that is longer than ours nothing can be said.
    assert judge(court, roster, statement(roster, size=10, root=OTHER)) is None
    assert court.named == {}
    assert judge(court, roster, statement(roster, size=4, root=OTHER)) is None
    assert list(court.named) == ["node5"]
    assert OTHER.hex() in court.named["node5"]


def test_a_note_of_the_quorum_on_another_root_stops_us(court, roster):
    def joined(signers):
        lines = [statement(roster, signer=signer, size=4, root=OTHER).split(b"\n\n")[1] for signer in signers]
        return statement(roster, size=4, root=OTHER).split(b"\n\n")[0] + b"\n\n" + b"".join(lines)

    four, five = joined([f"node{number}" for number in range(4)]), joined([f"node{number}" for number in range(5)])
    assert judge(court, roster, four) is None
    assert len(court.named) == 4
    stopped = judge(court, roster, five)
    assert stopped is not None
    assert (stopped.code, court.named) == ("ledger.state_diverged", {})
    # The same lines five times are one validator's word.
    assert judge(court, roster, joined(["node1"]) + 4 * joined(["node1"]).split(b"\n\n")[1]) is None


@pytest.mark.parametrize("size", [1, 3, 4, 8, 9, 15])
def test_a_larger_note_of_the_quorum_shows_by_a_proof_that_ours_is_another(court, roster, size):
    name = roster.suite.hash_name
    hashes = LeafHashes(leaf_hashes([b"leaf %d" % number for number in range(20)], hash_name=name), hash_name=name)
    root = root_from_reader(hashes, size=20, hash_name=name)
    lines = [statement(roster, signer=f"node{n}", size=20, root=root).split(b"\n\n") for n in range(5)]
    note = lines[0][0] + b"\n\n" + b"".join(line for _, line in lines)

    class Log:
        """The part of a copy that proofs are made of."""

        def consistency_proof(self, *, old_size, new_size):
            return consistency_path(hashes, old_size=old_size, new_size=new_size, hash_name=name)

        def root_at(self, at):
            return root_from_reader(hashes, size=at, hash_name=name)

    proof = proof_beyond(Log(), size=size, new_size=20)

    def hear_with(own, given):
        at = tip(roster, size=size, root=own)
        return court.judge_note(note, proof=given, tip=at, copy=KnownRoots(roster, {size: own}))

    # The log's own beginning is no contradiction, and neither is a proof that leads elsewhere.
    assert hear_with(Log().root_at(size), proof) is None
    assert hear_with(OTHER, ()) is None
    assert hear_with(OTHER, (*proof[:-1], OTHER)) is None
    stopped = hear_with(OTHER, proof)
    assert stopped is not None
    assert stopped.code == "ledger.state_diverged"


def test_what_is_no_statement_names_nobody(court, roster):
    good = statement(roster, root=OTHER)
    cases = {
        b"": "ledger.checkpoint_malformed",
        good.replace(b"shuiqiao/", b"shuiqiaa/", 1): "ledger.checkpoint_foreign",
        good.replace(b"\n9\n", b"\n8\n"): "ledger.cosignature_invalid",
        statement(Roster(validators=8), signer="node7", root=OTHER): "ledger.cosigner_unknown",
    }
    for data, code in cases.items():
        with pytest.raises(ShuiqiaoError) as raised:
            judge(court, roster, data)
        assert raised.value.code == code
    assert court.named == {}


def test_a_statement_is_signed_only_of_a_checkpoint_that_the_quorum_confirmed(roster, tmp_path):
    (tmp_path / "extensions").mkdir()
    cosigner = Cosigner(member=MemberId("node0"), key=roster.keys[MemberId("node0")])
    machine = StateMachine(roster.parameters, kinds=KINDS, key_ring=StateKeys(), suite=roster.suite)
    epochs = StoredEpochs(tmp_path, machine=machine, disk=Disk())
    extensions = VoteExtensions(
        tmp_path / "extensions",
        suite=roster.suite,
        clock=FixedClock(),
        cosigner=cosigner,
        disk=Disk(),
        epochs=lambda: epochs,
    )
    at = tip(roster)
    extensions.load(at)
    with pytest.raises(Unavailable) as pending:
        own_statement(extensions, tip=at)
    assert pending.value.code == "ledger.statement_pending"
    for voter in ("node1", "node2", "node3", "node4", "node5"):
        extensions.judge(statement(roster, signer=voter).split(b"\n\n")[1], member=MemberId(voter))
    court = Disagreement(roster.suite)
    own = own_statement(extensions, tip=at)
    assert judge(court, roster, own) is None
    assert judge(court, roster, own, roots={9: OTHER}) is None
    assert list(court.named) == ["node0"]
    # It is another's checkpoint that was confirmed: of ours there is no word.
    with pytest.raises(Unavailable):
        own_statement(extensions, tip=tip(roster, root=OTHER))
