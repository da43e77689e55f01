"""Gates: closed and opened by an approved proposal, or by a regulator alone for a short time."""

from __future__ import annotations

import pytest

from members_world import DAY_MS, DIGEST, ROLES, World
from shuiqiao.members.action import Reinstate, Suspend, Unfreeze
from shuiqiao.members.contract import (
    REGISTER_WITNESS,
    REINSTATE,
    SUSPEND,
    ByVote,
    MemberReinstateBody,
    MemberSuspendBody,
    WitnessRegisterBody,
)
from shuiqiao.members.gate import executed_key
from shuiqiao.members.model import MAX_EXECUTION_MS, Role
from shuiqiao.oversight.contract import FREEZE, OversightFreezeBody

OFFER = WitnessRegisterBody(endpoint="https://witness.example")
FIVE = ("bank-east", "bank-north", "bank-west", "bureau", "regulator")


@pytest.fixture(params=["intl", "gm"])
def world(request):
    return World(request.param, governing=FIVE)


def suspended(world, name="bank-west"):
    """Suspend by vote; return the suspension's id."""
    proposal = world.pass_action(Suspend(member=name), voters=("bureau", "bank-east", "bank-north", "regulator"))
    assert world.suspend_by_vote(name, proposal) is None
    return world.gate(name)["suspension"]


def test_an_approved_suspension_is_carried_out_by_a_second_transaction(world):
    # Holds [MEMBER-14].
    proposal = world.pass_action(Suspend(member="bank-west"), voters=("bureau", "bank-east", "bank-north", "regulator"))
    assert world.gate("bank-west") is None
    assert world.suspend_by_vote("bank-west", proposal, author="bank-north") is None
    body = MemberSuspendBody(member="bank-west", ground=ByVote(proposal=proposal))
    assert world.gate("bank-west") == {
        "suspension": world.digest(SUSPEND, body, author="bank-north"),
        "proposal": proposal,
        "since_ms": world.time_ms,
        "until_ms": 0,
    }
    assert world.propose(Suspend(member="bank-east"), author="bank-west")[0] == "ledger.member_suspended"
    assert world.suspend_by_vote("bank-west", proposal) == "members.already_executed"


def test_a_stranger_carries_nothing_out(world):
    voters = ("bureau", "bank-east", "bank-north", "regulator")
    approved = world.pass_action(Suspend(member="bank-west"), voters=voters)
    body = MemberSuspendBody(member="bank-west", ground=ByVote(proposal=approved))
    assert world.check(SUSPEND, body, author="stranger") == "members.unknown"
    assert world.check(SUSPEND, body, author="bank-east") is None


def test_only_the_act_that_was_approved_is_carried_out_and_not_for_ever(world):
    _, still_open = world.propose(Suspend(member="bank-west"))
    assert world.suspend_by_vote("bank-west", still_open) == "members.not_approved"
    assert world.suspend_by_vote("bank-west", bytes(32)) == "members.proposal_unknown"
    voters = ("bureau", "bank-east", "bank-north", "regulator")
    approved = world.pass_action(Suspend(member="bank-west"), voters=voters)
    assert world.suspend_by_vote("bank-east", approved) == "members.act_differs"
    world.wait(MAX_EXECUTION_MS)
    assert world.suspend_by_vote("bank-west", approved) == "members.approval_stale"


def test_a_reinstatement_lifts_the_suspension_it_names_and_no_later_one(world):
    first = suspended(world)
    voters = ("bureau", "bank-east", "bank-north", "regulator")
    approved = world.pass_action(Reinstate(member="bank-west", suspension=first), voters=voters)
    spare = world.pass_action(Reinstate(member="bank-west", suspension=first), voters=voters)
    assert world.reinstate("bank-west", proposal=approved, suspension_id=bytes(32)) == "members.suspension_superseded"
    assert world.reinstate("bank-west", proposal=approved) is None
    assert world.gate("bank-west") is None
    body = MemberReinstateBody(member="bank-west", suspension=first, ground=ByVote(proposal=approved))
    assert world.state.get(executed_key(approved)) == world.digest(REINSTATE, body, author="bureau")
    assert world.reinstate("bank-west", proposal=approved) == "members.not_suspended"
    assert suspended(world) != first
    assert world.reinstate("bank-west", proposal=spare) == "members.act_differs"
    assert world.reinstate("bank-west", proposal=spare, suspension_id=first) == "members.suspension_superseded"


def test_who_was_suspended_by_vote_is_reinstated_by_vote(world):
    suspended(world)
    assert world.reinstate("bank-west", author="regulator") == "members.suspended_by_vote"
    assert world.propose(Suspend(member="bank-west"))[0] == "members.already_suspended"
    assert world.suspend_now("bank-west") == "members.already_suspended"


def test_the_operator_and_the_last_regulator_are_not_suspended(world):
    # Holds [MEMBER-15].
    assert world.propose(Suspend(member="bureau"))[0] == "members.suspends_operator"
    assert world.suspend_now("bureau") == "members.suspends_operator"
    assert world.propose(Suspend(member="regulator"))[0] == "members.suspends_last_regulator"


def test_a_regulator_is_suspended_by_vote_where_another_remains(world):
    world.pass_action(world.admission("regulator-two", role=Role.REGULATOR), voters=FIVE)
    proposal = world.pass_action(Suspend(member="regulator"), voters=FIVE[:4])
    assert world.suspend_by_vote("regulator", proposal) is None
    assert world.propose(Suspend(member="regulator-two"))[0] == "members.suspends_last_regulator"


def test_the_rules_are_asked_again_when_it_is_carried_out(world):
    voters = ("bureau", "bank-east", "bank-north", "regulator")
    west, east = (world.pass_action(Suspend(member=name), voters=voters) for name in ("bank-west", "bank-east"))
    assert world.suspend_by_vote("bank-west", west) is None
    # Four of five seats decide; without a second one nothing could be decided any more.
    assert world.suspend_by_vote("bank-east", east) == "members.governing_deadlock"
    assert world.gate("bank-east") is None


def test_a_vote_may_outlast_an_emergency(world):
    assert world.suspend_now("bank-west") is None
    suspended(world)
    assert world.gate("bank-west")["until_ms"] == 0


def test_a_regulator_alone_suspends_for_a_short_time(world):
    # Holds [MEMBER-16].
    assert world.suspend_now("bank-west", author="bank-east") == "members.role_wrong"
    assert world.suspend_now("stranger") == "members.unknown"
    assert world.suspend_now("bank-west", days=0) == "members.emergency_too_long"
    assert world.suspend_now("bank-west", days=7.01) == "members.emergency_too_long"
    assert world.suspend_now("bank-west", days=7) is None
    assert world.gate("bank-west")["until_ms"] > world.time_ms
    assert world.suspend_now("bank-west") == "members.already_suspended"


@pytest.mark.parametrize(
    ("length_ms", "code"),
    [
        (0, "members.emergency_too_long"),
        (1, None),
        (7 * DAY_MS, None),
        (7 * DAY_MS + 1, "members.emergency_too_long"),
    ],
)
def test_an_emergency_lasts_a_moment_to_a_week(world, length_ms, code):
    assert world.suspend_now("bank-west", length_ms=length_ms) == code


def test_an_emergency_lasts_to_its_last_millisecond(world):
    # Holds [MEMBER-17].
    assert world.suspend_now("bank-west", days=2) is None
    world.wait(world.gate("bank-west")["until_ms"] - 1 - world.time_ms)
    assert world.reinstate("bank-west", author="bank-east") == "members.emergency_lasts"
    assert world.reinstate("bank-west", author="bank-east") is None


def test_an_approval_is_good_to_its_last_millisecond(world):
    # Holds [MEMBER-14].
    voters = ("bureau", "bank-east", "bank-north", "regulator")
    approved = world.pass_action(Suspend(member="bank-west"), voters=voters)
    world.wait(MAX_EXECUTION_MS - 1)
    assert world.time_ms + 1 == world.proposal(approved).closed_ms + MAX_EXECUTION_MS
    assert world.suspend_by_vote("bank-west", approved) is None


def test_regulators_do_not_silence_each_other(world):
    world.pass_action(world.admission("regulator-two", role=Role.REGULATOR), voters=FIVE)
    assert world.suspend_now("regulator-two") == "members.suspends_regulator"


def test_an_emergency_ends_by_anybody_after_its_time_and_by_a_regulator_before(world):
    # Holds [MEMBER-17].
    assert world.suspend_now("bank-west", days=2) is None
    assert world.reinstate("bank-west", author="bank-east") == "members.emergency_lasts"
    assert world.reinstate("bank-west", author="bank-west") == "ledger.member_suspended"
    world.wait(2 * DAY_MS)
    # Nobody opened the gate yet, so it is closed: the ledger asks no clock.
    assert world.submit(REGISTER_WITNESS, OFFER, author="bank-west") == "ledger.member_suspended"
    assert world.reinstate("bank-west", author="bank-east") is None
    assert world.suspend_now("bank-east", days=2) is None
    assert world.reinstate("bank-east", author="regulator") is None


def test_an_emergency_is_not_repeated_until_a_month_has_passed(world):
    assert world.suspend_now("bank-west", days=1) is None
    began_ms = world.time_ms
    assert world.reinstate("bank-west", author="regulator") is None
    assert world.suspend_now("bank-west", days=1) == "members.emergency_repeated"
    world.wait(began_ms + 30 * DAY_MS - 2 - world.time_ms)
    assert world.suspend_now("bank-west", days=1) == "members.emergency_repeated"
    assert world.suspend_now("bank-west", days=1) is None


def test_votes_and_suspensions_go_on_while_the_network_is_frozen(world):
    freeze = OversightFreezeBody(until_ms=world.time_ms + DAY_MS, reason_digest=DIGEST)
    assert world.submit(FREEZE, freeze, author="regulator") is None
    voters = ("bureau", "bank-east", "bank-north", "regulator")
    approved = world.pass_action(Suspend(member="bank-west"), voters=voters)
    assert world.suspend_by_vote("bank-west", approved) is None


def test_only_a_freeze_that_is_in_force_is_lifted(world):
    """By vote: whether another one may be, and by whom else, is oversight's."""
    assert world.propose(Unfreeze(freeze=bytes(32)))[0] == "oversight.not_frozen"
    freeze = OversightFreezeBody(until_ms=world.time_ms + DAY_MS, reason_digest=DIGEST)
    assert world.submit(FREEZE, freeze, author="regulator") is None
    in_force = world.state.get("gate/network")["freeze"]
    assert world.propose(Unfreeze(freeze=bytes(32)))[0] == "oversight.freeze_superseded"
    assert world.propose(Unfreeze(freeze=in_force))[0] is None


def test_an_approval_of_an_earlier_suspension_lifts_no_later_one(world):
    """Ids are unique per author only: two suspensions may have one id, and are two acts all the same [MEMBER-23]."""
    number = world.count
    assert world.suspend_now("bank-west", days=1) is None
    first = world.gate("bank-west")["suspension"]
    voters = ("bureau", "bank-east", "bank-north", "bank-west")
    approved = world.pass_action(Reinstate(member="bank-west", suspension=first), voters=voters)
    assert world.reinstate("bank-west", author="regulator") is None
    later = world.pass_action(Suspend(member="bank-west"), voters=("bureau", "bank-east", "bank-north", "regulator"))
    # The very id of the first suspension, by another author.
    world.count = number
    assert world.suspend_by_vote("bank-west", later, author="bank-north") is None
    world.count += 1000
    assert world.gate("bank-west")["suspension"] != first
    assert world.reinstate("bank-west", proposal=approved) == "members.act_differs"
    assert world.reinstate("bank-west", proposal=approved, suspension_id=first) == "members.suspension_superseded"


def test_a_regulator_suspends_few_at_a_time_and_silences_none(world):
    # Holds [MEMBER-16].
    assert world.suspend_now("bank-east", days=1) is None
    assert world.suspend_now("bank-north") == "members.emergency_too_many"
    assert world.suspend_now("bank-west") == "members.emergency_too_many"
    east = world.gate("bank-east")["suspension"]
    # With the votes of those who are suspended, and against the regulator's.
    lifted = world.pass_action(
        Reinstate(member="bank-east", suspension=east), voters=("bank-east", "bank-north", "bank-west", "bureau")
    )
    assert world.reinstate("bank-east", proposal=lifted) is None
    assert world.suspend_now("bank-north") is None


@pytest.mark.parametrize(("banks", "allowed"), [(1, 1), (4, 1), (5, 2), (7, 2), (8, 3)])
def test_one_in_three_may_be_suspended_in_an_emergency(banks, allowed):
    """The bureau counts too: of 1 + banks members that are no regulators."""
    names = [f"bank-{number}" for number in range(banks)]
    ROLES.update(dict.fromkeys(names, Role.BANK))
    try:
        world = World("intl", names=("bureau", "regulator", *names))
        outcomes = [world.suspend_now(name) for name in names]
    finally:
        for name in names:
            del ROLES[name]
    refused = ["members.emergency_too_many"] * (banks - allowed)
    assert [None] * min(allowed, banks) + refused == outcomes
