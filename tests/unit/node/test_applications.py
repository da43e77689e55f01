"""Which regulator a bank's decisions are sealed to."""

from __future__ import annotations

import pytest

from members_world import World
from shuiqiao.base.errors import Denied
from shuiqiao.members.action import Suspend
from shuiqiao.members.model import Role
from shuiqiao.node.applications import regulator_of

FIVE = ("bank-east", "bank-north", "bank-west", "bureau", "regulator")


def test_a_regulator_that_a_vote_put_in_the_place_of_another_gets_the_decisions():
    world = World("intl", governing=FIVE)
    assert regulator_of(world.state) == "regulator"
    world.pass_action(world.admission("regulator-two", role=Role.REGULATOR), voters=FIVE)
    with pytest.raises(Denied, match=r"^node\.regulator_unclear: this network has 2 regulators"):
        regulator_of(world.state)
    proposal = world.pass_action(Suspend(member="regulator"), voters=FIVE[:4])
    assert world.suspend_by_vote("regulator", proposal) is None
    assert regulator_of(world.state) == "regulator-two"
