"""The regulator's freeze and everybody's alarm, on the real state machine."""

from __future__ import annotations

import pytest

from members_world import DAY_MS, DIGEST, World
from shuiqiao.members.contract import REGISTER_WITNESS, WitnessRegisterBody
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

OFFER = WitnessRegisterBody(endpoint="https://witness.example")


@pytest.fixture(params=["intl", "gm"])
def world(request):
    return World(request.param)


def freeze(world, *, days=1.0, author="regulator"):
    body = OversightFreezeBody(until_ms=world.time_ms + int(days * DAY_MS), reason_digest=DIGEST)
    return world.submit(FREEZE, body, author=author)


def unfreeze(world, *, author="regulator", which=None):
    gate = world.state.get("gate/network")
    body = OversightUnfreezeBody(freeze=which or (gate["freeze"] if gate else bytes(16)))
    return world.submit(UNFREEZE, body, author=author)


def raise_alarm(world, *, author="bank-east", alarm=b"a" * 16, accused="bureau", subject=AlarmSubject.FORK):
    body = OversightAlarmBody(alarm=alarm, subject=subject, accused=accused, evidence_digest=DIGEST)
    return world.submit(ALARM, body, author=author)


def test_a_regulator_stops_the_network_and_lets_it_go_on(world):
    # Holds [MEMBER-19] [MEMBER-20].
    assert freeze(world, author="bank-east") == "members.role_wrong"
    assert freeze(world) is None
    assert world.state.get("gate/network") == {
        "freeze": world.count.to_bytes(16, "big"),
        "author": "regulator",
        "until_ms": world.time_ms - 1 + DAY_MS,
        "reason_digest": DIGEST,
    }
    assert world.submit(REGISTER_WITNESS, OFFER, author="bank-east") == "ledger.network_frozen"
    assert freeze(world) == "oversight.already_frozen"
    assert unfreeze(world) is None
    assert world.submit(REGISTER_WITNESS, OFFER, author="bank-east") is None
    assert unfreeze(world) == "oversight.not_frozen"


@pytest.mark.parametrize(
    ("days", "code"), [(0, "oversight.freeze_too_long"), (30.1, "oversight.freeze_too_long"), (30, None)]
)
def test_a_freeze_has_an_end(world, days, code):
    assert freeze(world, days=days) == code


def test_after_its_time_any_member_lifts_a_freeze_so_that_a_lost_key_stops_nobody_for_ever(world):
    assert freeze(world, days=2) is None
    assert unfreeze(world, author="bank-east") == "oversight.freeze_lasts"
    world.wait(2 * DAY_MS)
    assert world.submit(REGISTER_WITNESS, OFFER, author="bank-east") == "ledger.network_frozen"
    assert unfreeze(world, author="bank-east") is None


def test_an_unfreeze_lifts_the_freeze_it_names_and_no_later_one(world):
    assert freeze(world) is None
    first = world.state.get("gate/network")["freeze"]
    assert unfreeze(world) is None
    assert freeze(world) is None
    assert unfreeze(world, which=first) == "oversight.freeze_superseded"


def test_any_member_raises_an_alarm_once(world):
    # Holds [MEMBER-21].
    assert raise_alarm(world) is None
    assert world.state.get(alarm_key(b"a" * 16)) == {
        "author": "bank-east",
        "subject": "fork",
        "accused": "bureau",
        "evidence_digest": DIGEST,
        "height": world.height,
        "time_ms": world.time_ms,
    }
    assert [event.name for event in world.events] == ["oversight.alarm_raised"]
    assert raise_alarm(world, author="bank-west") == "oversight.alarm_repeated"
    assert raise_alarm(world, alarm=b"b" * 16, accused="stranger") == "members.unknown"
    assert raise_alarm(world, alarm=b"b" * 16, accused=None, subject=AlarmSubject.FAULT) is None
    assert world.state.get(alarm_key(b"b" * 16))["accused"] == ""


def test_an_alarm_waits_for_the_end_of_a_freeze(world):
    assert freeze(world) is None
    assert raise_alarm(world) == "ledger.network_frozen"


def test_every_kind_of_oversight_is_governance():
    assert [kind.name for kind in KINDS if not kind.governance] == []
