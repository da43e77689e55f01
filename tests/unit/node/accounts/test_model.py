"""Roles are a closed list by least privilege, and no role makes and checks one act by itself."""

from __future__ import annotations

import pytest

from shuiqiao.base.errors import Denied, InvalidInput
from shuiqiao.members.model import Role
from shuiqiao.node.accounts.model import (
    ENTERPRISE_ROLE,
    OWNER,
    ActName,
    Permission,
    Principal,
    PrincipalKind,
    act_rules,
    check_permissions,
    make_permissions,
    permission_words,
    permissions_of,
    require_roles,
    roles_of,
)

GIVEN = {
    ("tax_bureau", "administrator"): "jobs.read users.manage users.read",
    ("tax_bureau", "operator"): "jobs.manage jobs.read keys.rotate ledger.read",
    ("tax_bureau", "governance_officer"): "ledger.read members.propose oversight.unfreeze",
    ("tax_bureau", "governance_supervisor"): "keys.check ledger.read members.check oversight.check",
    (
        "tax_bureau",
        "internal_auditor",
    ): "audits.run jobs.read journal.read ledger.read oversight.read registers.read requests.read users.read",
    ("tax_bureau", "data_officer"): "erasures.make ingest.read ingest.write jobs.read ledger.read",
    (
        "tax_bureau",
        "service_officer",
    ): "consents.read consents.write disputes.write enrolments.read enrolments.write ledger.read records.read requests.read",
    ("tax_bureau", "data_supervisor"): "erasures.check ingest.read ledger.read",
    ("tax_bureau", "enterprise"): "own.read own.write",
    ("bank", "administrator"): "jobs.read users.manage users.read",
    ("bank", "operator"): "jobs.manage jobs.read keys.rotate ledger.read",
    ("bank", "governance_officer"): "ledger.read members.propose oversight.unfreeze",
    ("bank", "governance_supervisor"): "keys.check ledger.read members.check oversight.check",
    (
        "bank",
        "internal_auditor",
    ): "audits.run jobs.read journal.read ledger.read oversight.read registers.read requests.read users.read",
    (
        "bank",
        "relationship_manager",
    ): "applications.read applications.write consents.read consents.write ledger.read products.read requests.read requests.write",
    (
        "bank",
        "credit_officer",
    ): "applications.read consents.read decisions.make ledger.read models.read products.read requests.read",
    (
        "bank",
        "credit_supervisor",
    ): "applications.read consents.read decisions.check ledger.read models.read products.read requests.read",
    ("bank", "product_officer"): "ledger.read models.make models.read models.retire products.make products.read",
    ("bank", "product_supervisor"): "ledger.read models.approve models.read products.check products.read",
    ("bank", "enterprise"): "own.read own.write",
    ("regulator", "administrator"): "jobs.read users.manage users.read",
    ("regulator", "operator"): "jobs.manage jobs.read keys.rotate ledger.read",
    ("regulator", "governance_officer"): "ledger.read members.propose oversight.unfreeze",
    ("regulator", "governance_supervisor"): "keys.check ledger.read members.check oversight.check",
    (
        "regulator",
        "internal_auditor",
    ): "audits.run jobs.read journal.read ledger.read oversight.read registers.read requests.read users.read",
    (
        "regulator",
        "oversight_officer",
    ): "audits.run ledger.read models.read models.retire oversight.freeze oversight.publish oversight.read oversight.unfreeze requests.read",
    ("tax_bureau", "data_protection_officer"): "ledger.read registers.read registers.write",
    ("bank", "data_protection_officer"): "ledger.read registers.read registers.write",
    ("regulator", "data_protection_officer"): "ledger.read registers.read registers.write",
    ("tax_bureau", "model_reviewer"): "ledger.read models.make models.read models.retire models.review",
    ("tax_bureau", "model_supervisor"): "ledger.read models.approve models.read",
}
"""What each role may do, written down a second time: whoever gives one more to a role changes it here too."""


def every_role():
    return [(kind, role) for kind in Role for role in roles_of(kind).values()]


def test_every_permission_has_words_and_is_given_to_somebody():
    assert set(permission_words()) == set(Permission)
    assert set().union(*(role.permissions for _, role in every_role())) == set(Permission)


def test_each_role_is_given_what_the_table_says_and_nothing_else():
    given = {(str(kind), role.name): sorted(map(str, role.permissions)) for kind, role in every_role()}
    assert given == {role: sorted(permissions.split()) for role, permissions in GIVEN.items()}


def test_every_act_has_a_maker_and_a_checker_who_are_not_one_role():
    assert set(act_rules()) == set(ActName)
    for rule in act_rules().values():
        assert rule.make != rule.check
        for kind, role in every_role():
            assert not {rule.make, rule.check} <= role.permissions, (kind, role.name, rule.name)


def test_no_role_checks_one_act_and_makes_another():
    assert [
        role.name
        for _, role in every_role()
        if role.permissions & check_permissions() and role.permissions & make_permissions()
    ] == []


@pytest.mark.parametrize("kind", Role)
def test_every_act_that_an_institution_can_make_can_be_checked_there(kind):
    given = permissions_of(roles_of(kind), institution=kind)
    for rule in act_rules().values():
        assert rule.make not in given or rule.check in given
        # Freezing is the regulator's alone, and letting a model run a bureau's; those who check them check more.
        assert rule.check not in given or rule.make in given or rule.name in {ActName.FREEZE, ActName.APPROVE_RUN}


def test_records_are_read_by_one_role_of_the_bureau_alone():
    assert [(kind, role.name) for kind, role in every_role() if Permission.RECORDS_READ in role.permissions] == [
        (Role.TAX_BUREAU, "service_officer")
    ]


def test_only_an_enterprise_has_what_is_its_own():
    own = {Permission.OWN_READ, Permission.OWN_WRITE}
    assert {role.name for _, role in every_role() if role.permissions & own} == {ENTERPRISE_ROLE}
    assert permissions_of([ENTERPRISE_ROLE], institution=Role.BANK) == own
    assert permissions_of([ENTERPRISE_ROLE], institution=Role.REGULATOR) == frozenset()


def test_roles_are_taken_each_once_and_sorted():
    taken = require_roles(["operator", "internal_auditor", "operator"], institution=Role.BANK, kind=PrincipalKind.USER)
    assert taken == ("internal_auditor", "operator")


@pytest.mark.parametrize("roles", [[], ["king"], ["data_officer"], [ENTERPRISE_ROLE], [*roles_of(Role.BANK)]])
def test_a_role_that_nobody_may_hold_there_is_refused(roles):
    with pytest.raises(InvalidInput, match=r"^node\.role_unknown"):
        require_roles(roles, institution=Role.BANK, kind=PrincipalKind.USER)


@pytest.mark.parametrize("other", ["governance_officer", "governance_supervisor", "operator", "credit_officer"])
def test_who_manages_users_makes_and_checks_nothing(other):
    with pytest.raises(Denied, match=r"^node\.roles_conflict"):
        require_roles(["administrator", other], institution=Role.BANK, kind=PrincipalKind.USER)
    require_roles(["administrator", "internal_auditor"], institution=Role.BANK, kind=PrincipalKind.USER)


@pytest.mark.parametrize("role", ["administrator", "governance_supervisor", "credit_supervisor"])
def test_a_program_manages_nobody_and_checks_nothing(role):
    with pytest.raises(Denied, match=r"^node\.roles_conflict"):
        require_roles([role], institution=Role.BANK, kind=PrincipalKind.MACHINE)
    require_roles(["relationship_manager", "credit_officer"], institution=Role.BANK, kind=PrincipalKind.MACHINE)


def test_a_role_of_an_earlier_release_may_do_nothing():
    assert permissions_of(["of_then", "operator"], institution=Role.BANK) == roles_of(Role.BANK)["operator"].permissions


def test_a_principal_may_what_it_was_given():
    principal = Principal(
        kind=PrincipalKind.USER,
        id="00",
        name="chen",
        person="00",
        permissions=frozenset({Permission.LEDGER_READ}),
    )
    principal.require(Permission.LEDGER_READ)
    assert principal.may(Permission.LEDGER_READ)
    assert not principal.may(Permission.JOURNAL_READ)
    with pytest.raises(Denied, match=r"^node\.permission_missing: chen has not the permission journal\.read"):
        principal.require(Permission.JOURNAL_READ)


def test_the_owner_has_no_permission():
    assert [each for each in Permission if OWNER.may(each)] == []
