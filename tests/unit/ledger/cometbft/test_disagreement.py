"""Whose checkpoint is not ours: one validator is named, so many that we are alone stop us; statements are compared.

[ABCI-22] [ABCI-23]
"""

from __future__ import annotations

import pytest

from consensus_world import Roster
from shuiqiao.base.errors import IntegrityError, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import MemberId
from shuiqiao.ledger.cosignature import sign_cosignature
from shuiqiao.ledger.engine.cometbft.disagreement import MAX_NAMED, Disagreement, own_statement
from shuiqiao.ledger.engine.cometbft.extensions import CosignatureDesk, Cosigner, tip_of
from shuiqiao.ledger.store.disk import PosixDisk

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
    return tip_of(size=size, root=root, policy=roster.policy)


def hear(court, roster, voter, *, error=INVALID, at=None):
    member = None if voter is None else MemberId(voter)
    return court.hear_vote(error, voter=member, words="at height 3", tip=at or tip(roster))


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


def test_a_statement_on_another_root_names_its_signer(court, roster):
    roots = {9: ROOT, 4: b"f" * 32}

    def judge(data):
        return court.hear_statement(data, tip=tip(roster), root_at=roots.__getitem__)

    assert judge(statement(roster))
    assert judge(statement(roster, size=4, root=roots[4]))
    # Of a log that is longer than ours nothing can be said.
    assert not judge(statement(roster, size=10, root=OTHER))
    assert court.named == {}
    assert judge(statement(roster, size=4, root=OTHER))
    assert list(court.named) == ["node5"]
    assert OTHER.hex() in court.named["node5"]


def test_what_is_no_statement_names_nobody(court, roster):
    good = statement(roster, root=OTHER)
    other_line = statement(roster, signer="node4", root=OTHER).split(b"\n\n")[1]
    stranger = Roster(validators=8)
    cases = {
        b"": "ledger.checkpoint_malformed",
        good + other_line: "ledger.statement_malformed",
        good.replace(b"shuiqiao/", b"shuiqiaa/", 1): "ledger.statement_malformed",
        good.replace(b"\n9\n", b"\n8\n"): "ledger.cosignature_invalid",
        statement(stranger, signer="node7", root=OTHER): "ledger.cosigner_unknown",
    }
    for data, code in cases.items():
        with pytest.raises(ShuiqiaoError) as raised:
            court.hear_statement(data, tip=tip(roster), root_at=lambda _size: ROOT)
        assert raised.value.code == code
    assert court.named == {}


def test_a_statement_is_signed_only_of_a_checkpoint_that_the_quorum_confirmed(roster, tmp_path):
    (tmp_path / "desk").mkdir()
    cosigner = Cosigner(member=MemberId("node0"), key=roster.keys[MemberId("node0")])
    desk = CosignatureDesk(
        tmp_path / "desk", suite=roster.suite, clock=FixedClock(), cosigner=cosigner, disk=PosixDisk()
    )
    at = tip(roster)
    desk.load(at)
    with pytest.raises(Unavailable) as pending:
        own_statement(desk, tip=at)
    assert pending.value.code == "ledger.statement_pending"
    for voter in ("node1", "node2", "node3", "node4", "node5"):
        desk.judge(statement(roster, signer=voter).split(b"\n\n")[1], member=MemberId(voter))
    court = Disagreement(roster.suite)
    assert court.hear_statement(own_statement(desk, tip=at), tip=at, root_at=lambda _size: ROOT)
    # It is another's checkpoint that was confirmed: of ours there is no word.
    with pytest.raises(Unavailable):
        own_statement(desk, tip=tip(roster, root=OTHER))
