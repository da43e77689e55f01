"""[MEMBER-26]: which of a member's keys makes a document its word."""

from __future__ import annotations

import msgspec
import pytest

from members_world import World, signing
from shuiqiao.base.errors import Denied, IntegrityError
from shuiqiao.base.ids import MemberId
from shuiqiao.ledger.transactions.document import decode_document, sign_document
from shuiqiao.members.roster import signing_key_named, verify_signed_by

BANK = MemberId("bank-west")


class Note(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    text: str


@pytest.fixture(params=["intl", "gm"])
def world(request):
    return World(request.param, governing=("bank-east", "bureau"))


def verify(world, *keys, is_recorded, member=BANK):
    terms = {"name": "test.note/1", "network": world.parameters.network, "suite": world.suite}
    raw = sign_document(Note("what was said"), keys=keys, **terms)
    document = decode_document(raw, Note, max_bytes=2048, **terms)
    verify_signed_by(document, member=member, state=world.state, suite=world.suite, is_recorded=is_recorded)


def refused(world, *keys, **terms):
    with pytest.raises(IntegrityError, match=r"^ledger\.document_signers_wrong"):
        verify(world, *keys, **terms)


def test_the_key_of_today_signs_anything_and_a_replaced_one_what_is_recorded(world):
    first, second, third = (signing(f"bank-west {number}", world.suite) for number in range(3))
    original = world.keys[BANK]
    for key in (first, second, third):
        assert world.rotate(BANK, key) is None
    for is_recorded in (True, False):
        verify(world, third, is_recorded=is_recorded)
    for former in (original, first, second):
        verify(world, former, is_recorded=True)
        refused(world, former, is_recorded=False)


@pytest.mark.parametrize("is_recorded", [True, False])
def test_a_key_of_nobody_or_of_another_member_does_not_sign(world, is_recorded):
    old = world.keys["bank-east"]
    assert world.rotate("bank-east", signing("bank-east 2", world.suite)) is None
    for key in (old, world.keys["bank-east"], signing("nobody", world.suite)):
        refused(world, key, is_recorded=is_recorded)


def test_a_replaced_key_signs_alone(world):
    old = world.keys[BANK]
    assert world.rotate(BANK, signing("bank-west 2", world.suite)) is None
    refused(world, old, world.keys[BANK], is_recorded=True)
    refused(world, old, signing("nobody", world.suite), is_recorded=True)


def test_a_stranger_signs_nothing(world):
    with pytest.raises(Denied, match=r"^members\.unknown"):
        verify(world, signing("nobody", world.suite), is_recorded=True, member=MemberId("bank-south"))


def test_a_key_is_found_by_its_id_while_in_use_and_after(world):
    old = world.keys[BANK]
    new = signing("bank-west 2", world.suite)
    assert signing_key_named(world.state, BANK, new.key_id) is None
    assert world.rotate(BANK, new) is None
    assert [signing_key_named(world.state, BANK, key.key_id) for key in (old, new)] == [old.public_key, new.public_key]
    assert signing_key_named(world.state, MemberId("bank-east"), old.key_id) is None
