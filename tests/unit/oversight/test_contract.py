"""The regulator's freeze and everybody's alarm, on the real state machine."""

from __future__ import annotations

import msgspec
import pytest

import members_world
from kinds_world import no_events
from members_world import DAY_MS, DIGEST, World, signing
from shuiqiao.base.wire import Id
from shuiqiao.ledger.model import Kind
from shuiqiao.ledger.transactions.kinds import KindTable
from shuiqiao.members import contract as members
from shuiqiao.members.action import Unfreeze
from shuiqiao.members.model import FREEZE_PAUSE_MS, Role
from shuiqiao.oversight.contract import (
    ALARM,
    FREEZE,
    KINDS,
    UNFREEZE,
    AlarmSubject,
    OversightAlarmBody,
    OversightFreezeBody,
    OversightUnfreezeBody,
    alarm_key,
)


class NoteBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    note: Id


def allow(_tx, _state, _ctx):
    return None


NOTE = NoteBody(note=bytes(16))
BUSINESS = Kind(name="trial.note", room="trial", version=1, body=NoteBody, check=allow, apply=no_events)
"""What members do when they do not govern."""


@pytest.fixture(params=["intl", "gm"])
def world(request):
    return World(request.param, kinds=KindTable([*members.KINDS, *KINDS, BUSINESS]))


def freeze(world, *, days=1.0, author="regulator"):
    body = OversightFreezeBody(until_ms=world.time_ms + int(days * DAY_MS), reason_digest=DIGEST)
    return world.submit(FREEZE, body, author=author)


def unfreeze(world, *, author="regulator", which=None, proposal=None):
    gate = world.state.get("gate/network")
    body = OversightUnfreezeBody(freeze=which or (gate["freeze"] if gate else bytes(32)), proposal=proposal)
    return world.submit(UNFREEZE, body, author=author)


def raise_alarm(world, *, author="bank-east", alarm=b"a" * 16, accused="bureau", subject=AlarmSubject.FORK):
    body = OversightAlarmBody(alarm=alarm, subject=subject, accused=accused, evidence_digest=DIGEST)
    return world.submit(ALARM, body, author=author)


def test_a_regulator_stops_the_network_and_lets_it_go_on(world):
    # Holds [MEMBER-19] [MEMBER-20].
    assert freeze(world, author="bank-east") == "members.role_wrong"
    assert freeze(world) is None
    body = OversightFreezeBody(until_ms=world.time_ms - 1 + DAY_MS, reason_digest=DIGEST)
    assert world.state.get("gate/network") == {
        "freeze": world.digest(FREEZE, body, author="regulator"),
        "author": "regulator",
        "until_ms": world.time_ms - 1 + DAY_MS,
        "reason_digest": DIGEST,
    }
    assert world.submit("trial.note", NOTE, author="bank-east") == "ledger.network_frozen"
    assert freeze(world) == "oversight.already_frozen"
    assert unfreeze(world) is None
    assert world.submit("trial.note", NOTE, author="bank-east") is None
    assert unfreeze(world) == "oversight.not_frozen"


@pytest.mark.parametrize(
    ("length_ms", "code"),
    [
        (0, "oversight.freeze_too_long"),
        (1, None),
        (7 * DAY_MS, None),
        (7 * DAY_MS + 1, "oversight.freeze_too_long"),
    ],
)
def test_a_freeze_lasts_a_moment_to_a_week(world, length_ms, code):
    body = OversightFreezeBody(until_ms=world.time_ms + 1 + length_ms, reason_digest=DIGEST)
    assert world.submit(FREEZE, body, author="regulator") == code


def test_a_freeze_lasts_to_its_last_millisecond(world):
    assert freeze(world, days=2) is None
    world.wait(world.state.get("gate/network")["until_ms"] - 1 - world.time_ms)
    assert unfreeze(world, author="bank-east") == "oversight.freeze_lasts"
    assert unfreeze(world, author="bank-east") is None


def test_after_its_time_any_member_lifts_a_freeze_so_that_a_lost_key_stops_nobody_for_ever(world):
    assert freeze(world, days=2) is None
    assert unfreeze(world, author="bank-east") == "oversight.freeze_lasts"
    world.wait(2 * DAY_MS)
    assert world.submit("trial.note", NOTE, author="bank-east") == "ledger.network_frozen"
    assert unfreeze(world, author="bank-east") is None


def test_an_unfreeze_lifts_the_freeze_it_names_and_no_later_one(world):
    assert freeze(world) is None
    first = world.state.get("gate/network")["freeze"]
    assert unfreeze(world) is None
    world.wait(FREEZE_PAUSE_MS)
    assert freeze(world) is None
    assert unfreeze(world, which=first) == "oversight.freeze_superseded"
    # Nor does a vote on the earlier one.
    assert world.propose(Unfreeze(freeze=first))[0] == "oversight.freeze_superseded"


def test_a_regulator_does_not_freeze_again_and_again(world):
    # Holds [MEMBER-19].
    assert freeze(world) is None
    began_ms = world.time_ms
    assert unfreeze(world) is None
    assert freeze(world) == "oversight.freeze_repeated"
    world.wait(began_ms + FREEZE_PAUSE_MS - 2 - world.time_ms)
    assert freeze(world) == "oversight.freeze_repeated"
    assert freeze(world) is None


def test_the_misuse_of_one_regulators_key_leaves_another_its_freeze(monkeypatch):
    """[MEMBER-19]: the pause is the regulator's own."""
    monkeypatch.setitem(members_world.ROLES, "second-regulator", Role.REGULATOR)
    world = World("intl", kinds=KindTable([*members.KINDS, *KINDS, BUSINESS]), names=tuple(members_world.ROLES))
    assert freeze(world) is None
    assert unfreeze(world, author="second-regulator") is None
    assert freeze(world) == "oversight.freeze_repeated"
    assert freeze(world, author="second-regulator") is None


def test_members_lift_a_freeze_by_vote_and_replace_keys_meanwhile(world):
    # Holds [MEMBER-20] [LEDGER-GATE-1].
    assert freeze(world, days=7) is None
    gate = world.state.get("gate/network")
    assert world.rotate("bank-west", signing("bank-west later", world.suite)) is None
    _, proposal = world.propose(Unfreeze(freeze=gate["freeze"]))
    assert unfreeze(world, author="bank-east", proposal=proposal) == "members.not_approved"
    for voter in ("bank-east", "bank-north", "bank-west"):
        assert world.vote(proposal, author=voter) is None
    assert world.state.get("gate/network") == gate
    assert unfreeze(world, author="bank-east", proposal=proposal) is None
    assert world.state.get("gate/network") is None
    world.wait(FREEZE_PAUSE_MS)
    assert freeze(world) is None
    assert unfreeze(world, author="bank-east", proposal=proposal) == "members.act_differs"


def test_an_approval_to_lift_a_freeze_is_used_once(world):
    assert freeze(world) is None
    proposal = world.pass_action(Unfreeze(freeze=world.state.get("gate/network")["freeze"]))
    assert unfreeze(world, author="bank-east", proposal=proposal) is None
    assert world.state.get(f"gate/executed/{proposal.hex()}") is not None
    assert unfreeze(world, author="bank-east", proposal=proposal, which=bytes(32)) == "oversight.not_frozen"
    assert world.propose(Unfreeze(freeze=bytes(32)))[0] == "oversight.not_frozen"


def test_any_member_raises_an_alarm_once(world):
    # Holds [MEMBER-21].
    assert raise_alarm(world) is None
    assert world.state.get(alarm_key("bank-east", b"a" * 16)) == {
        "subject": "fork",
        "accused": "bureau",
        "evidence_digest": DIGEST,
        "height": world.height,
        "time_ms": world.time_ms,
    }
    assert [event.name for event in world.events] == ["oversight.alarm_raised"]
    assert raise_alarm(world) == "oversight.alarm_repeated"
    assert raise_alarm(world, author="bank-west") is None
    assert raise_alarm(world, alarm=b"b" * 16, accused="stranger") == "members.unknown"
    assert raise_alarm(world, alarm=b"b" * 16, accused=None, subject=AlarmSubject.FAULT) is None
    assert world.state.get(alarm_key("bank-east", b"b" * 16))["accused"] == ""


def test_a_stranger_raises_no_alarm_and_lifts_no_freeze(world):
    body = OversightAlarmBody(alarm=b"c" * 16, subject=AlarmSubject.FAULT, accused=None, evidence_digest=DIGEST)
    assert world.check(ALARM, body, author="stranger") == "members.unknown"
    assert world.check(ALARM, body, author="bank-east") is None
    assert freeze(world) is None
    lift = OversightUnfreezeBody(freeze=world.state.get("gate/network")["freeze"], proposal=None)
    world.wait(7 * DAY_MS)
    assert world.check(UNFREEZE, lift, author="stranger") == "members.unknown"
    assert world.check(UNFREEZE, lift, author="bank-east") is None


def test_a_freeze_keeps_no_alarm_back(world):
    assert freeze(world) is None
    assert raise_alarm(world) is None


def test_every_kind_of_oversight_is_governance():
    assert [kind.name for kind in KINDS if not kind.governance] == []
