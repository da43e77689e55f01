"""Small geneses of three members."""

from __future__ import annotations

import pytest

from shuiqiao.base.ids import MemberId
from shuiqiao.crypto.suites import get_suite
from shuiqiao.members.model import Genesis, Role
from shuiqiao.members.roster import Registration

GENESIS_MS = 1_775_000_000_000
ROLES = {"bureau": Role.TAX_BUREAU, "bank-east": Role.BANK, "regulator": Role.REGULATOR}


def keys_of(name, suite):
    return (
        suite.signing_key_from_seed(suite.digest(name.encode())),
        suite.sealing_key_from_seed(suite.digest(b"s" + name.encode())),
    )


def member(name, role, suite):
    signing, sealing = keys_of(name, suite)
    return Registration.in_genesis("trial", MemberId(name)).register(
        role=role,
        name=f"Example {name}",
        name_zh="示例机构",
        signing=signing,
        sealing_key=sealing.public_key,
    )


@pytest.fixture(scope="session", params=["intl", "gm"])
def suite(request):
    return get_suite(request.param)


@pytest.fixture(scope="session")
def genesis(suite):
    members = tuple(member(name, ROLES[name], suite) for name in sorted(ROLES))
    return Genesis(name="trial", suite=suite.name, writer=MemberId("bureau"), created_ms=GENESIS_MS, members=members)
