"""[LEDGER-KIND-3] [MEMBER-13] on real engines: a version begins at its height, on every node alike or not at all."""

from __future__ import annotations

import shutil
from typing import Annotated

import msgspec
import pytest
from msgspec import Meta

from members_world import KINDS, START_MS, World
from patience import PATIENCE_S
from shuiqiao.base.clock import ManualClock
from shuiqiao.base.errors import InvalidInput, Unavailable
from shuiqiao.ledger.engine.embedded import EmbeddedLedger
from shuiqiao.ledger.engine.follower import FollowerLedger
from shuiqiao.ledger.engine.port import EmbeddedSettings, FollowerSettings
from shuiqiao.ledger.model import Kind
from shuiqiao.ledger.replay.check import replay_ledger
from shuiqiao.ledger.transactions.kinds import KindTable
from shuiqiao.ledger.transactions.transaction import TransactionDraft, sign_transaction
from shuiqiao.members.action import ActivateContract
from shuiqiao.members.contract import PROPOSE, VOTE, MemberProposeBody, MemberVoteBody
from shuiqiao.members.key_ring import MemberKeyRing

DAY_MS = 86_400_000
BEGINS = 8


class TrialBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the first version says."""

    note: Annotated[str, Meta(max_length=16)]


class TrialBodyWithIndex(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the second version says."""

    note: Annotated[str, Meta(max_length=16)]
    index: Annotated[int, Meta(ge=0, le=1000)]


def allow(_tx, _state, _ctx):
    return None


def write_first(tx, state, _ctx):
    state.put(f"trial/note/{tx.body.note}", {"version": 1})
    return ()


def write_second(tx, state, _ctx):
    state.put(f"trial/note/{tx.body.note}", {"version": 2, "index": tx.body.index})
    return ()


FIRST = Kind(name="trial.note", room="trial", version=1, body=TrialBody, check=allow, apply=write_first)
SECOND = Kind(name="trial.note", room="trial", version=2, body=TrialBodyWithIndex, check=allow, apply=write_second)
OLD = KindTable([*KINDS, FIRST])
NEW = KindTable([*KINDS, FIRST, SECOND])


class Network:
    """A writer, and transactions signed for it."""

    def __init__(self, folder, suite_name):
        self.folder = folder
        self.world = World(suite_name)
        self.clock = ManualClock(START_MS + 1000)
        self.writer = self.open_writer(folder / "writer", kinds=NEW)
        self.count = 0

    def open_writer(self, folder, *, kinds):
        return EmbeddedLedger.open(
            folder,
            parameters=self.world.parameters,
            kinds=kinds,
            key_ring=MemberKeyRing(),
            clock=self.clock,
            operator_key=self.world.keys["bureau"],
            settings=EmbeddedSettings(linger_ms=0, is_clock_confirmed=True),
        )

    def follower(self, name, *, kinds):
        return FollowerLedger.open(
            self.folder / name,
            parameters=self.world.parameters,
            kinds=kinds,
            key_ring=MemberKeyRing(),
            clock=self.clock,
            writer=self.writer,
            settings=FollowerSettings(poll_interval_s=60),
        )

    def submit(self, kind, body, *, author="bureau", version=1, writer=None):
        self.count += 1
        self.clock.advance(10)
        draft = TransactionDraft(
            kind=kind,
            version=version,
            body=body,
            author=author,
            valid_until_ms=self.clock.now_ms() + 60_000,
            id=self.count.to_bytes(16, "big"),
        )
        world = self.world
        raw = sign_transaction(draft, network=world.parameters.network, suite=world.suite, keys=[world.keys[author]])
        return (writer or self.writer).submit(raw).result(timeout=PATIENCE_S)

    def note(self, version, *, writer=None):
        note = f"note {self.count}"
        body = TrialBody(note=note) if version == 1 else TrialBodyWithIndex(note=note, index=7)
        return self.submit("trial.note", body, version=version, writer=writer)

    def refusal(self, version):
        with pytest.raises(InvalidInput) as caught:
            self.note(version)
        return caught.value.code

    def activate(self):
        """Four of five approve that version 2 counts from block BEGINS on: four blocks."""
        action = ActivateContract(kind="trial.note", version=2, height=BEGINS)
        deadline_ms = self.clock.now_ms() + DAY_MS
        body = MemberProposeBody(action=action, deadline_ms=deadline_ms)
        self.submit(PROPOSE, body)
        proposal = self.world.digest(PROPOSE, body, author="bureau")
        for author in ("bank-east", "bank-north", "bank-west"):
            self.submit(VOTE, MemberVoteBody(proposal=proposal, approve=True), author=author)

    def replay(self, *, kinds):
        blocks = self.writer.blocks(from_height=1)
        return replay_ledger(blocks, parameters=self.world.parameters, kinds=kinds, key_ring=MemberKeyRing())


@pytest.fixture(params=["intl", "gm"])
def network(request, tmp_path):
    made = Network(tmp_path, request.param)
    yield made
    made.writer.close()


def test_a_version_is_accepted_from_its_height_on_and_the_one_before_until_then(network):
    assert network.refusal(2) == "ledger.kind_version_inactive"
    network.activate()
    while network.writer.last_block()[0] < BEGINS - 1:
        assert network.refusal(2) == "ledger.kind_version_inactive"
        network.note(1)
    assert network.refusal(1) == "ledger.kind_version_inactive"
    assert network.note(2).height == BEGINS
    assert network.refusal(1) == "ledger.kind_version_inactive"

    follower = network.follower("follower", kinds=NEW)
    follower.sync()
    assert follower.checkpoint().root == network.writer.checkpoint().root
    follower.close()
    result = network.replay(kinds=NEW)
    assert (result.problems, result.root) == ((), network.writer.checkpoint().root)


def reach_and_pass(network):
    """Activate, fill the blocks up to the height, and write one of the second version."""
    network.activate()
    while network.writer.last_block()[0] < BEGINS - 1:
        network.note(1)
    network.note(2)


def test_a_program_without_the_version_follows_as_far_as_it_can_and_stops(network):
    reach_and_pass(network)
    old = network.follower("old", kinds=OLD)
    with pytest.raises(Unavailable, match=r"ledger\.version_missing.*version 2 of kind trial\.note.*block 8"):
        old.sync()
    assert old.last_block()[0] == BEGINS - 1
    assert old.alarm is None
    old.close()
    # The right program goes on where it stopped.
    renewed = network.follower("old", kinds=NEW)
    renewed.sync()
    assert renewed.checkpoint().root == network.writer.checkpoint().root
    renewed.close()


def test_an_audit_or_a_recovery_without_the_version_says_so(network):
    reach_and_pass(network)
    with pytest.raises(Unavailable, match=r"ledger\.version_missing"):
        network.replay(kinds=OLD)
    network.writer.close()
    copy = network.folder / "copy"
    shutil.copytree(network.folder / "writer", copy)
    shutil.rmtree(copy / "index.lmdb")
    with pytest.raises(Unavailable, match=r"ledger\.version_missing"):
        network.open_writer(copy, kinds=OLD)
    again = network.open_writer(copy, kinds=NEW)
    assert again.last_block()[0] == BEGINS
    again.close()


def test_a_writer_without_the_version_stops_before_the_block_and_loses_nothing(network):
    network.activate()
    while network.writer.last_block()[0] < BEGINS - 1:
        network.note(1)
    network.writer.close()
    old = network.open_writer(network.folder / "writer", kinds=OLD)
    with pytest.raises(Unavailable, match=r"ledger\.version_missing"):
        network.note(1, writer=old)
    assert old.last_block()[0] == BEGINS - 1
    old.close()
    network.writer = network.open_writer(network.folder / "writer", kinds=NEW)
    assert network.note(2).height == BEGINS
