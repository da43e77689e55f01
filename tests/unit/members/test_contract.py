"""Who is a member, and what its role lets it do."""

from __future__ import annotations

import pytest

from shuiqiao.base.errors import Denied
from shuiqiao.base.ids import MemberId
from shuiqiao.ledger.state.overlay import genesis_writes
from shuiqiao.ledger.state.state_map import MemoryState
from shuiqiao.members.contract import KINDS
from shuiqiao.members.genesis import encode_genesis, network_parameters
from shuiqiao.members.key_ring import MemberKeyRing
from shuiqiao.members.model import Role
from shuiqiao.members.roster import member_record, require_role

STRANGER = MemberId("stranger")


@pytest.fixture
def state(genesis):
    return MemoryState(genesis_writes(network_parameters(encode_genesis(genesis))))


def test_a_member_has_the_keys_of_the_genesis(state, genesis):
    for member in genesis.members:
        assert MemberKeyRing().signing_key(state, member.id) == member.signing_key
        assert member_record(state, member.id)["seal"] == member.sealing_key


def test_a_stranger_has_none(state):
    for ask in (MemberKeyRing().signing_key, member_record, lambda *who: require_role(*who, Role.BANK)):
        with pytest.raises(Denied) as caught:
            ask(state, STRANGER)
        assert caught.value.code == "members.unknown"


@pytest.mark.parametrize("role", list(Role))
def test_an_act_is_for_the_roles_it_names(state, genesis, role):
    others = [other for other in Role if other is not role]
    member = next(member for member in genesis.members if member.role is role)
    require_role(state, member.id, role)
    require_role(state, member.id, *Role)
    with pytest.raises(Denied) as caught:
        require_role(state, member.id, *others)
    assert caught.value.code == "members.role_wrong"
    assert str(role) in caught.value.message
    assert all(str(other) in caught.value.message for other in others)


def test_every_kind_of_members_is_governance():
    assert [kind.name for kind in KINDS if not kind.governance] == []
