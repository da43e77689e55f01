"""Random histories of governance on the real state machine, against a model of a page.

The model knows votes, thresholds, sets, epochs and keys, and nothing of how the rooms do it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from members_world import KINDS, START_MS, World, signing
from shuiqiao.ledger.model import BlockContext
from shuiqiao.ledger.state.machine import Candidate
from shuiqiao.ledger.state.overlay import OverlayState, genesis_writes
from shuiqiao.ledger.state.state_map import MemoryState
from shuiqiao.members.action import HandOperator, SetGoverning, SetQuorum, SetWitnesses
from shuiqiao.members.model import MAX_ROTATIONS

NAMES = ("bank-east", "bank-north", "bank-west", "bureau", "regulator")
KEYS = 4
"""Signing keys a member may try to come by; the first is in the genesis."""


@dataclass
class Model:
    """The rules once more, as small as they go."""

    operator: str = "bureau"
    quorum: int = 0
    witnesses: frozenset = frozenset()
    governing: frozenset = frozenset(NAMES)
    number: int = 0
    key: dict = field(default_factory=lambda: dict.fromkeys(NAMES, 0))
    used: set = field(default_factory=lambda: {(name, 0) for name in NAMES})
    rotations: Counter = field(default_factory=Counter)
    suspended: set = field(default_factory=set)
    repeated: set = field(default_factory=set)
    proposals: list = field(default_factory=list)

    def sets(self):
        return self.operator, self.quorum, self.witnesses, self.governing

    def after(self, action):
        """The sets an action leads to, or None if it is not allowed."""
        operator, quorum, witnesses, governing = self.sets()
        match action:
            case SetQuorum():
                quorum = action.quorum_count
            case SetWitnesses():
                witnesses = frozenset(action.witnesses)
            case SetGoverning():
                governing = frozenset(action.governing)
            case HandOperator():
                operator, witnesses = action.member, witnesses - {action.member}
                if operator in self.suspended:
                    return None
        sound = quorum <= len(witnesses) and operator not in witnesses and governing
        changed = (operator, quorum, witnesses, governing)
        return changed if sound and changed != self.sets() else None

    def count(self, proposal):
        votes = {name: vote for name, vote in proposal["votes"].items() if name in self.governing}
        approve, reject, seats = sum(votes.values()), list(votes.values()).count(False), len(self.governing)
        if approve * 3 > seats * 2:
            after = self.after(proposal["action"])
            proposal["status"] = "void" if after is None else "approved"
            if after is not None:
                self.operator, self.quorum, self.witnesses, self.governing = after
                self.number += 1
        elif (seats - reject) * 3 <= seats * 2:
            proposal["status"] = "rejected"

    def propose(self, author, action):
        allowed = author in self.governing and self.after(action) is not None
        if allowed:
            self.proposals.append({"action": action, "votes": {author: True}, "status": "open"})
            self.count(self.proposals[-1])
        return allowed

    def vote(self, author, place, approve):
        proposal = self.proposals[place]
        may = author in self.governing and author not in proposal["votes"]
        if not may or proposal["status"] != "open":
            return False
        proposal["votes"][author] = approve
        self.count(proposal)
        return True

    def rotate(self, author, owner, number):
        key = (owner, number)
        # A history is shorter than 30 days.
        if author in self.suspended or key in self.used or self.rotations[author] == MAX_ROTATIONS:
            return False
        self.rotations[author] += 1
        self.used.add(key)
        self.key[author] = key
        self.number += author in self.governing | self.witnesses | {self.operator}
        return True

    def suspend(self, name):
        # One in three of the four that are no regulators.
        if name in self.repeated | {self.operator, "regulator"} or self.suspended:
            return False
        self.suspended.add(name)
        self.repeated.add(name)
        return True

    def reinstate(self, name):
        allowed = name in self.suspended
        self.suspended.discard(name)
        return allowed


MEMBERS = st.sampled_from(NAMES)
SETS = st.sets(MEMBERS, max_size=5).map(sorted)
ACTIONS = st.one_of(
    st.builds(SetQuorum, quorum_count=st.integers(0, 3)),
    st.builds(SetWitnesses, witnesses=SETS),
    st.builds(SetGoverning, governing=SETS),
    st.builds(HandOperator, member=MEMBERS),
)
STEPS = st.one_of(
    st.tuples(st.just("propose"), MEMBERS, ACTIONS),
    st.tuples(st.just("vote"), MEMBERS, st.integers(0, 3), st.booleans()),
    st.tuples(st.just("vote"), MEMBERS, st.integers(0, 1), st.just(True)),
    st.tuples(st.just("everybody"), ACTIONS),
    st.tuples(st.just("overtaken"), MEMBERS, ACTIONS),
    st.tuples(st.just("rotate"), MEMBERS, MEMBERS, st.integers(0, KEYS - 1)),
    st.tuples(st.just("suspend"), MEMBERS),
    st.tuples(st.just("reinstate"), MEMBERS),
)


class History:
    """The same steps on the machine and on the model."""

    def __init__(self, suite_name, *, governing):
        self.world = World(suite_name, governing=governing)
        self.model, self.ids = Model(governing=frozenset(governing)), []

    def take(self, step):
        act, *details = step
        getattr(self, act)(*details)
        self.compare()

    def propose(self, author, action):
        code, proposal = self.world.propose(action, author=author)
        assert (code is None) == self.model.propose(author, action), code
        if code is None:
            self.ids.append(proposal)

    def vote(self, author, back, approve):
        if self.ids:
            place = max(len(self.ids) - 1 - back, 0)
            code = self.world.vote(self.ids[place], author=author, approve=approve)
            assert (code is None) == self.model.vote(author, place, approve), code

    def everybody(self, action):
        known = len(self.ids)
        for author in NAMES:
            if len(self.ids) == known:
                self.propose(author, action)
        for author in NAMES:
            if len(self.ids) > known:
                self.vote(author, 0, True)
                self.compare()

    def overtaken(self, author, action):
        """The proposer is suspended in an emergency while all vote, itself too."""
        known = len(self.ids)
        self.propose(author, action)
        self.suspend(author)
        for voter in NAMES:
            if len(self.ids) > known:
                self.vote(voter, 0, True)
                self.compare()

    def rotate(self, author, owner, number):
        key = signing(owner if number == 0 else f"{owner} {number}", self.world.suite)
        code = self.world.rotate(
            author, key, keys=list({k.public_key: k for k in (self.world.keys[author], key)}.values())
        )
        if code is None:
            self.world.keys[author] = key
        assert (code is None) == self.model.rotate(author, owner, number), code

    def suspend(self, name):
        code = self.world.suspend_now(name)
        assert (code is None) == self.model.suspend(name), code

    def reinstate(self, name):
        code = self.world.reinstate(name, author="regulator")
        assert (code is None) == self.model.reinstate(name), code

    def key_of(self, name):
        owner = self.model.key[name] or (name, 0)
        return signing(owner[0] if owner[1] == 0 else f"{owner[0]} {owner[1]}", self.world.suite).public_key

    def compare(self):
        model = self.model
        assert self.world.epoch == {
            "number": model.number,
            "operator": model.operator,
            "operator_key": self.key_of(model.operator),
            "quorum": model.quorum,
            "witnesses": {name: self.key_of(name) for name in model.witnesses},
            "governing": {name: self.key_of(name) for name in model.governing},
        }
        assert [self.world.proposal(each).status for each in self.ids] == [each["status"] for each in model.proposals]


@pytest.mark.parametrize("suite_name", ["intl", "gm"])
@settings(max_examples=50, deadline=None)
@given(steps=st.lists(STEPS, max_size=18), governing=st.sampled_from([NAMES, NAMES[1:], NAMES[:3]]))
def test_a_history_goes_as_the_model_says_and_the_same_blocks_give_the_same_state(suite_name, steps, governing):
    history = History(suite_name, governing=governing)
    for step in steps:
        history.take(step)
    world = history.world
    used = {key for key in world.state.encoded() if key.startswith("members/key/")}
    assert len(used) == len(history.model.used), "one for each signing key ever held"
    assert replayed(world) == world.state.encoded()


def replayed(world):
    """The state of a node that was given the accepted blocks alone."""
    state, last_ms = MemoryState(genesis_writes(world.parameters)), START_MS
    for height, (time_ms, raws) in enumerate(world.blocks, 1):
        overlay = OverlayState(state)
        candidates = [Candidate(transaction=world.machine.decode(raw)) for raw in raws]
        ctx = BlockContext(height=height, time_ms=time_ms)
        world.machine.execute_block(candidates, overlay, ctx, previous_time_ms=last_ms, replay=Nothing())
        state.write(overlay.writes)
        last_ms = time_ms
    return state.encoded()


class Nothing:
    def expiry_hour(self, author, transaction_id):
        return None


def test_the_kinds_that_write_gates_are_these():
    assert sorted(kind.name for kind in KINDS if kind.room == "gate") == [
        "member.reinstate",
        "member.suspend",
        "oversight.freeze",
        "oversight.unfreeze",
    ]
