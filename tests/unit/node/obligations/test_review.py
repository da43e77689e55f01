"""The list of rules: every check is there and asked for, and what has no check is said to have none."""

from __future__ import annotations

from shuiqiao.members.model import Role
from shuiqiao.node.obligations.checks import CHECKS
from shuiqiao.node.obligations.review import obligations


def test_each_check_is_asked_for_by_one_rule_and_each_rule_has_a_name_of_its_own():
    assert sorted(each.check for each in obligations() if each.check) == sorted(CHECKS)
    assert len({each.id for each in obligations()}) == len(obligations())


def test_every_kind_of_institution_is_bound_by_something_and_nothing_binds_nobody():
    assert all(each.roles for each in obligations())
    assert {role for each in obligations() for role in each.roles} == {*Role}


def test_every_rule_has_a_check():
    assert [each.id for each in obligations() if not each.check] == []
