"""Proposing and voting: who may, when it passes, when it is over."""

from __future__ import annotations

import msgspec
import pytest

from members_world import DAY_MS, World, signing
from shuiqiao.ledger.transactions.kinds import expected_work
from shuiqiao.members.action import SetGoverning, SetQuorum, SetWitnesses, Suspend, action_state
from shuiqiao.members.contract import PROPOSE, MemberProposeBody, MemberVoteBody
from shuiqiao.members.epoch import is_majority
from shuiqiao.members.proposal import PROPOSALS_KEY, ProposalStatus, listed_proposals, read_proposal

FOUR = ("bank-east", "bank-north", "bank-west", "bureau")
WITNESSES = SetWitnesses(witnesses=["bank-east", "regulator"])


@pytest.fixture(params=["intl", "gm"])
def world(request):
    return World(request.param, governing=FOUR)


def test_more_than_two_thirds_of_the_governing_members_carry_an_action_out_in_that_very_transaction(world):
    # Holds [MEMBER-3] [MEMBER-6] [EPOCH-2].
    code, proposal = world.propose(WITNESSES)
    assert code is None
    assert world.vote(proposal, author="bank-east") is None
    assert (world.epoch["number"], world.proposal(proposal).status) == (0, "open")
    assert world.vote(proposal, author="bank-north") is None
    assert (world.epoch["number"], world.proposal(proposal).status) == (1, "approved")
    assert list(world.epoch["witnesses"]) == ["bank-east", "regulator"]
    assert world.proposal(proposal).closed_ms == world.time_ms
    assert [event.name for event in world.events] == ["member.voted", "member.proposal_closed"]


@pytest.mark.parametrize(
    ("governing", "needed"), [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (6, 5), (7, 5), (9, 7), (10, 7), (64, 43)]
)
def test_exactly_two_thirds_are_not_enough(governing, needed):
    assert is_majority(needed, governing=governing)
    assert not is_majority(needed - 1, governing=governing)


def test_one_governing_member_decides_by_proposing():
    world = World("intl", governing=["bureau"])
    code, proposal = world.propose(WITNESSES)
    assert (code, world.proposal(proposal).status, world.epoch["number"]) == (None, "approved", 1)


def test_the_state_tells_a_proposal_as_it_was_made(world):
    _, proposal = world.propose(WITNESSES, days=3)
    found = read_proposal(world.state, proposal)
    assert (found.action, found.proposer, found.votes) == (WITNESSES, "bureau", {"bureau": True})
    assert (found.status, found.closed_ms) == ("open", 0)
    assert world.proposal(proposal).action == action_state(WITNESSES)
    assert found.status_at(found.deadline_ms) is ProposalStatus.OPEN
    assert found.status_at(found.deadline_ms + 1) is ProposalStatus.EXPIRED


def test_only_governing_members_propose_and_vote(world):
    _, proposal = world.propose(WITNESSES)
    assert world.propose(WITNESSES, author="regulator")[0] == "members.not_governing"
    assert world.vote(proposal, author="regulator") == "members.not_governing"


def test_a_member_votes_once_and_does_not_change_its_mind(world):
    # Holds [MEMBER-4].
    _, proposal = world.propose(WITNESSES)
    assert world.vote(proposal, author="bureau", approve=False) == "members.vote_repeated"
    assert world.vote(proposal, author="bank-east", approve=False) is None
    assert world.vote(proposal, author="bank-east") == "members.vote_repeated"
    assert world.proposal(proposal).votes == {"bureau": True, "bank-east": False}


def test_a_proposal_that_can_no_longer_pass_is_closed(world):
    # Holds [MEMBER-5].
    _, proposal = world.propose(WITNESSES)
    assert world.vote(proposal, author="bank-east", approve=False) is None
    assert world.proposal(proposal).status == "open"
    assert world.vote(proposal, author="bank-west", approve=False) is None
    assert world.proposal(proposal).status == "rejected"
    assert world.vote(proposal, author="bank-north") == "members.proposal_closed"


def test_after_its_deadline_nobody_votes(world):
    _, proposal = world.propose(WITNESSES, days=1)
    world.wait(DAY_MS - 2)
    assert world.vote(proposal, author="bank-east") is None
    assert world.vote(proposal, author="bank-north") == "members.proposal_closed"
    assert world.epoch["number"] == 0


def test_an_approved_proposal_takes_no_more_votes(world):
    proposal = world.pass_action(WITNESSES, voters=FOUR[:3])
    assert world.vote(proposal, author="bureau", approve=False) == "members.proposal_closed"


def test_a_proposal_is_on_the_ledger_once_and_an_unknown_one_is_refused(world):
    deadline_ms = world.time_ms + DAY_MS
    assert world.propose(WITNESSES, deadline_ms=deadline_ms)[0] is None
    assert world.propose(WITNESSES, deadline_ms=deadline_ms)[0] == "members.proposal_repeated"
    assert world.propose(WITNESSES, deadline_ms=deadline_ms, author="bank-east")[0] is None
    assert world.vote(bytes(32), author="bank-east") == "members.proposal_unknown"


@pytest.mark.parametrize(
    ("ahead_ms", "code"),
    [
        (0, "members.deadline_invalid"),
        (1, None),
        (30 * DAY_MS, None),
        (30 * DAY_MS + 1, "members.deadline_invalid"),
    ],
)
def test_a_deadline_is_ahead_and_not_far_off(world, ahead_ms, code):
    assert world.propose(WITNESSES, deadline_ms=world.time_ms + 1 + ahead_ms)[0] == code


def test_votes_of_those_who_no_longer_govern_do_not_count(world):
    _, proposal = world.propose(WITNESSES, author="bank-west")
    assert world.vote(proposal, author="bank-north") is None
    world.pass_action(SetGoverning(governing=["bank-east", "bureau", "regulator"]), voters=FOUR[:3])
    assert world.vote(proposal, author="bank-east") is None
    assert (world.proposal(proposal).status, world.epoch["number"]) == ("open", 1)
    # Those who came to govern may vote on what was proposed before.
    assert world.vote(proposal, author="regulator") is None
    assert world.vote(proposal, author="bureau") is None
    assert (world.proposal(proposal).status, world.epoch["number"]) == ("approved", 2)


def suspend_by_vote(world, name, *, voters):
    assert world.suspend_by_vote(name, world.pass_action(Suspend(member=name), voters=voters)) is None


def test_a_suspension_by_vote_takes_away_the_vote_and_leaves_the_seat(world):
    _, proposal = world.propose(WITNESSES, author="bank-west")
    assert world.vote(proposal, author="bank-north") is None
    suspend_by_vote(world, "bank-west", voters=("bank-east", "bank-north", "bureau"))
    # Two of three that may vote approve, which is not more than two thirds of the four seats.
    assert world.vote(proposal, author="bank-east") is None
    assert world.proposal(proposal).status == "open"
    assert world.vote(proposal, author="bureau") is None
    assert world.proposal(proposal).status == "approved"


def test_who_is_suspended_by_vote_neither_proposes_nor_votes(world):
    _, proposal = world.propose(WITNESSES)
    suspend_by_vote(world, "bank-west", voters=("bank-east", "bank-north", "bureau"))
    assert world.vote(proposal, author="bank-west") == "ledger.member_suspended"
    assert world.propose(WITNESSES, author="bank-west")[0] == "ledger.member_suspended"


def test_a_regulator_alone_takes_away_nobodys_vote(world):
    # Holds [MEMBER-4] [LEDGER-GATE-1].
    _, proposal = world.propose(WITNESSES, author="bank-east")
    assert world.suspend_now("bank-west") is None
    assert world.vote(proposal, author="bank-west") is None
    assert world.vote(proposal, author="bureau") is None
    assert world.proposal(proposal).status == "approved"
    assert world.propose(SetWitnesses(witnesses=[]), author="bank-west")[0] is None
    key = signing("bank-west later", world.suite)
    assert world.rotate("bank-west", key) == "ledger.member_suspended"


def test_what_is_no_longer_allowed_when_it_passes_is_void_and_says_why(world):
    world.pass_action(SetWitnesses(witnesses=["bank-east", "regulator"]))
    _, quorum = world.propose(SetQuorum(quorum_count=2))
    world.pass_action(SetWitnesses(witnesses=["regulator"]))
    number = world.epoch["number"]
    assert [world.vote(quorum, author=name) for name in FOUR[:2]] == [None, None]
    told = world.proposal(quorum)
    assert (told.status, told.reason, world.epoch["number"]) == ("void", "members.quorum_too_high", number)


def test_several_changes_in_one_block_are_several_epochs(world):
    # Holds [EPOCH-4]: a verifier's next step may be more than one number ahead.
    made = [world.propose(SetWitnesses(witnesses=[name]))[1] for name in ("bank-east", "bank-west")]
    for proposal in made:
        assert world.vote(proposal, author="bank-east") is None
    bodies = [world.sign("member.vote", vote, author="bank-north") for vote in map(approval, made)]
    assert world.block(*bodies) == [None, None]
    assert (world.epoch["number"], list(world.epoch["witnesses"])) == (2, ["bank-west"])


def approval(proposal):
    return MemberVoteBody(proposal=proposal, approve=True)


def test_a_suspension_that_cannot_be_is_refused_when_it_is_proposed(world):
    assert world.propose(Suspend(member="bureau"))[0] == "members.suspends_operator"


def test_an_action_outside_the_closed_list_is_refused(world):
    body = MemberProposeBody(action=WITNESSES, deadline_ms=world.time_ms + 1000)
    raw = world.sign(PROPOSE, body, author="bureau")
    assert world.machine.decode(raw).body == body
    assert world.submit(PROPOSE, _with_action({"action": "mint", "member": "bureau"}), author="bureau") == (
        "ledger.body_invalid"
    )
    assert world.submit(PROPOSE, _with_action({"member": "bureau"}), author="bureau") == "ledger.body_invalid"


def _with_action(fields):
    loose = msgspec.defstruct("Loose", [("action", dict), ("deadline_ms", int)], frozen=True)
    return loose(action=fields, deadline_ms=1)


def test_the_newest_proposals_are_listed_and_those_that_are_over_leave_first(world):
    # Holds [MEMBER-22].
    made = [world.propose(WITNESSES)[1] for _ in range(64)]
    assert (made, len(made)) == (world.state.get(PROPOSALS_KEY), 64)
    for author in ("bank-east", "bank-north"):
        assert world.vote(made[5], author=author, approve=False) is None
    _, following = world.propose(WITNESSES)
    listed = [*made[:5], *made[6:], following]
    assert listed == world.state.get(PROPOSALS_KEY)
    assert [(each.id, each.status) for each in listed_proposals(world.state)] == [(each, "open") for each in listed]
    # A block holds as many as it has time for, whatever each of them asks of the list [LEDGER-WORK-1].
    body = MemberProposeBody(action=WITNESSES, deadline_ms=world.time_ms + DAY_MS)
    many = world.machine.decode(world.sign(PROPOSE, body, author="bureau"))
    assert expected_work(many) == 64 + 1024 + 2 * 8
    # All of them are open now: the oldest leaves, and can still be voted on.
    _, last = world.propose(WITNESSES)
    assert [*listed[1:], last] == world.state.get(PROPOSALS_KEY)
    assert world.vote(made[0], author="bank-east") is None
