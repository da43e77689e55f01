"""A regulator reads a leakage account at a bureau over real HTTP, and nobody else does."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from consortium_world import TAXPAYER
from peers_world import Doors, PeerNetwork
from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.base.ids import MemberId, owned_id
from shuiqiao.client.resources.leakage import READ_LEAKAGE, LeakageQuestion
from shuiqiao.node.accounts.model import OWNER
from shuiqiao.node.operations.calling import Call
from shuiqiao.node.operations.leakage import read_leakage
from shuiqiao.node.operations.performing import perform
from shuiqiao.node.peers.account_link import SealedSide, account_at
from shuiqiao.node.peers.message import Act
from shuiqiao.privacy.statement import AccountStatement, encode_statement
from shuiqiao.sandbox.scenario.consortium import BUREAU, REGULATOR


@pytest.fixture(params=["intl", "gm"])
def doors(request, tmp_path):
    opened = Doors(tmp_path, request.param)
    with opened.stack:
        yield opened


@pytest.fixture
def told(doors):
    """Whom the bureau told of whom, its door open."""
    entries = []

    @contextmanager
    def told_of(member, taxpayer):
        entries.append((member, taxpayer))
        yield

    bureau = doors.world.bureau
    bureau.told_of = told_of
    # Made with the world, before there was a journal.
    bureau.__dict__.pop("peer_service", None)
    bank = doors.world.bank.member
    bureau.leakage.charge(TAXPAYER, recipient=bank, bits=12, reference=owned_id(bank, b"r" * 16))
    doors.open(bureau)
    return entries


def code_of(act, *arguments, **more):
    with pytest.raises(ShuiqiaoError) as refusal:
        act(*arguments, **more)
    return refusal.value.code


def test_a_regulator_reads_what_the_bureau_reads_and_stands_in_its_journal(doors, told):
    """[LEAK-9]"""
    bureau, regulator = doors.world.bureau, doors.world.regulator
    here = read_leakage(bureau, LeakageQuestion(taxpayer=TAXPAYER))
    there = read_leakage(regulator, LeakageQuestion(taxpayer=TAXPAYER, bureau=bureau.member))
    assert there == here
    assert [line.answers for line in there.lines] == [1]
    assert told == [(regulator.member, TAXPAYER)]
    nobody = read_leakage(regulator, LeakageQuestion(taxpayer="91440300MA5NOBODY1", bureau=bureau.member))
    assert (nobody.lines, nobody.budgets) == ((), ())


def test_both_journals_say_that_a_regulator_was_told_or_was_not(tmp_path):
    """[LEAK-9] [API-16]"""
    network, asked = PeerNetwork(tmp_path, "intl"), LeakageQuestion(taxpayer=TAXPAYER, bureau=BUREAU)

    def entries(running):
        return [(row["kind"], row["who"], row["outcome"]) for row in running.accounts.journal.rows(act="usage.read")]

    with network.running(BUREAU) as bureau, network.running(REGULATOR) as regulator:
        call = Call(institution=regulator.institution, accounts=regulator.accounts, caller=OWNER, past=regulator.past)
        assert perform(READ_LEAKAGE, asked, call=call).lines == ()
        assert entries(bureau) == [("member", REGULATOR, "done")]
        (row,) = bureau.accounts.journal.rows(subject=f"taxpayer/{TAXPAYER}")
        assert row["act"] == "usage.read"
        unknown = LeakageQuestion(taxpayer=TAXPAYER, bureau="nobody")
        assert code_of(perform, READ_LEAKAGE, unknown, call=call) == "members.unknown"
        assert entries(regulator) == [("owner", "owner", "members.unknown"), ("owner", "owner", "done")]


def side_of(institution):
    return SealedSide(member=institution.member, engine=institution.engine, suite=institution.suite)


def asked_by(institution, bureau, taxpayer=TAXPAYER):
    """What an institution gets that asks as a regulator does, whatever it is."""
    return account_at(
        bureau.member,
        taxpayer,
        client=institution.peer_client,
        side=side_of(institution),
        sealing_key=institution.keys.sealing,
    )


def test_no_bank_reads_an_account_of_a_bureau(doors, told):
    """[LEAK-9]"""
    bureau, bank = doors.world.bureau, doors.world.bank
    assert code_of(bank.account_at, bureau.member, TAXPAYER) == "node.role_wrong"
    assert code_of(asked_by, bank, bureau) == "members.role_wrong"
    assert told == []


def test_what_is_no_taxpayer_number_is_refused(doors, told):
    """[LEAK-9]"""
    bureau, regulator = doors.world.bureau, doors.world.regulator
    for taxpayer in ("", "9" * 33, "a/b", "税"):
        assert code_of(asked_by, regulator, bureau, taxpayer) == "peer.body_malformed"
    assert told == []


def test_a_bureau_that_is_not_there_or_has_no_journal_open_is_seen(doors):
    """[LEAK-9]"""
    bureau, regulator = doors.world.bureau, doors.world.regulator
    assert code_of(regulator.account_at, bureau.member, TAXPAYER) == "client.unreachable"
    doors.open(bureau)
    assert code_of(regulator.account_at, bureau.member, TAXPAYER) == "peer.act_not_served"
    assert code_of(regulator.account_at, MemberId("nobody"), TAXPAYER) == "members.unknown"


class LyingBureau:
    """A bureau that alters what it states, or has another member state it."""

    def __init__(self, bureau, regulator, changes=None, *, by=None):
        self.bureau, self.regulator = bureau, regulator
        self.by, self.changes = by or bureau, changes or {}

    def ask(self, _member, act, body, *, answer):
        suite, network = self.bureau.suite, self.bureau.parameters.network
        true = AccountStatement.of(
            self.bureau.leakage.of(TAXPAYER),
            bureau=self.bureau.member,
            regulator=self.regulator.member,
            question=suite.digest(body.sealed),
            taxpayer=TAXPAYER,
            made_ms=1,
        )
        assert act is Act.LEAKAGE
        stated = AccountStatement(**{name: getattr(true, name) for name in true.__struct_fields__} | self.changes)
        raw = encode_statement(stated, network=network, suite=suite, key=self.by.keys.signing)
        return answer(sealed=side_of(self.bureau).sealed(raw, act=Act.LEAKAGE, receiver=self.regulator.member))


def told_by(lying):
    """The code by which a regulator refuses what it is told."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(lying.regulator.__dict__, "peer_client", lying)
        return code_of(lying.regulator.account_at, lying.bureau.member, TAXPAYER)


def test_a_statement_to_another_question_is_refused(doors):
    """[LEAK-9]: an old statement that is sent again, or one of another taxpayer."""
    bureau, regulator = doors.world.bureau, doors.world.regulator
    others = (
        {"bureau": "other-bureau"},
        {"regulator": "other-regulator"},
        {"question": bytes(32)},
        {"taxpayer": "91440300MA5NOBODY1"},
    )
    for changes in others:
        assert told_by(LyingBureau(bureau, regulator, changes)) == "privacy.statement_differs"


def test_a_statement_that_the_bureau_did_not_sign_is_refused(doors):
    """[LEAK-9]"""
    bureau, bank, regulator = doors.world.bureau, doors.world.bank, doors.world.regulator
    assert told_by(LyingBureau(bureau, regulator, by=bank)) == "ledger.document_signers_wrong"
