"""The ledger's rules for status lists, each with who or what breaks it; a block a transaction on the real machine."""

from __future__ import annotations

import pytest

from members_world import ROLES, SECOND_BUREAU, World
from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.ids import owned_id
from shuiqiao.ledger.transactions.kinds import KindTable
from shuiqiao.members import contract as members
from shuiqiao.privacy.credentials.contract import (
    KINDS,
    MAX_ACCUMULATOR_BYTES,
    MAX_REVOKED,
    REGISTRY,
    STATUS,
    CredentialRegistryBody,
    CredentialStatusBody,
)
from shuiqiao.privacy.credentials.model import LIST_SIZE, find_bits, find_registry, is_set

TABLE = KindTable([*members.KINDS, *KINDS])
BUREAU, BANK = "bureau", "bank-east"
LIST = b"l" * 16
NAME = owned_id(BUREAU, LIST)


@pytest.fixture(params=["intl", "gm"])
def world(request):
    return World(request.param, names=(*ROLES, SECOND_BUREAU), kinds=TABLE)


@pytest.fixture
def act(world):
    def done(*revoked, author=BUREAU, status_list=LIST):
        """None, or the code that refused it."""
        body = CredentialStatusBody(status_list=status_list, revoked=list(revoked))
        return world.block(world.sign(STATUS, body, author=author))[0]

    return done


def test_a_bureau_opens_a_list_once_and_nobody_else_does(world, act):
    """[CREDENTIAL-6]"""
    assert act(author=BANK) == "members.role_wrong"
    assert find_bits(world.state, NAME) is None
    assert act() is None
    assert find_bits(world.state, NAME) == bytes(LIST_SIZE // 8)
    assert act() == "privacy.status_repeated"
    assert act(author=SECOND_BUREAU) is None, "an id belongs to its author"


def test_what_is_revoked_stays_so(world, act):
    """[CREDENTIAL-6]"""
    assert act(3) == "privacy.status_unknown"
    assert act() is None
    assert act(0, 3, LIST_SIZE - 1) is None
    bits = find_bits(world.state, NAME)
    assert [place for place in range(LIST_SIZE) if is_set(bits, place)] == [0, 3, LIST_SIZE - 1]
    assert act(3) == "privacy.status_repeated"
    assert act(4, 3) == "privacy.status_uneven"
    assert act(4, 4) == "privacy.status_uneven"
    assert act(4) is None
    assert is_set(find_bits(world.state, NAME), 4)
    assert act(3, author=SECOND_BUREAU) == "privacy.status_unknown"


@pytest.mark.parametrize("revoked", [[LIST_SIZE], [-1], list(range(MAX_REVOKED + 1))])
def test_places_beyond_a_list_and_too_many_of_them_are_no_body(act, revoked):
    """[CREDENTIAL-6]"""
    assert act() is None
    with pytest.raises(InvalidInput, match=r"ledger\.body_invalid"):
        act(*revoked)


@pytest.fixture
def publish(world):
    def done(*revoked, author=BUREAU, status_list=LIST, definition=b"d" * 32, accumulator=b"one"):
        """None, or the code that refused it."""
        body = CredentialRegistryBody(
            status_list=status_list, definition=definition, accumulator=accumulator, revoked=list(revoked)
        )
        return world.block(world.sign(REGISTRY, body, author=author))[0]

    return done


def test_a_bureau_publishes_a_definition_once_and_nobody_else_does(world, publish):
    """[CREDENTIAL-12]"""
    assert publish(author=BANK) == "members.role_wrong"
    assert find_registry(world.state, NAME) is None
    assert publish() is None
    found = find_registry(world.state, NAME)
    assert (found.definition, found.accumulator, found.revision) == (b"d" * 32, b"one", 1)
    assert publish(definition=b"e" * 32) == "privacy.status_repeated"
    assert publish(author=SECOND_BUREAU) is None, "an id belongs to its author"


def test_an_accumulator_changes_with_its_places_and_the_definition_never(world, publish):
    """[CREDENTIAL-12]"""
    assert publish(3) == "privacy.status_unknown"
    assert publish() is None
    assert publish(2, 3, accumulator=b"two") is None
    found = find_registry(world.state, NAME)
    assert (found.definition, found.accumulator, found.revision) == (b"d" * 32, b"two", 3)
    assert is_set(found.bits, 2)
    assert publish(4, definition=b"e" * 32) == "privacy.status_unknown"
    assert publish(3) == "privacy.status_repeated"
    assert publish(5, 4) == "privacy.status_uneven"
    assert find_registry(world.state, NAME) == found


def test_a_list_is_no_registry_and_a_registry_no_list(world, act, publish):
    """[CREDENTIAL-6] [CREDENTIAL-12]"""
    assert publish() is None
    assert act(3) == "privacy.status_unknown", "its accumulator would not follow"
    assert act() == "privacy.status_repeated"
    other = b"m" * 16
    assert act(status_list=other) is None
    assert publish(3, status_list=other) == "privacy.status_unknown"
    assert publish(status_list=other) == "privacy.status_repeated"
    assert find_registry(world.state, owned_id(BUREAU, other)) is None


@pytest.mark.parametrize("accumulator", [b"", bytes(MAX_ACCUMULATOR_BYTES + 1)])
def test_an_accumulator_has_a_size(publish, accumulator):
    """[CREDENTIAL-12]"""
    with pytest.raises(InvalidInput, match=r"ledger\.body_invalid"):
        publish(accumulator=accumulator)
