"""[MEMBER-26]: a signing key is replaced at any moment of an exchange: what it rightly signed holds, and nothing new."""

from __future__ import annotations

import msgspec
import pytest

from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.base.errors import IntegrityError
from shuiqiao.base.ids import MemberId, Uscc
from shuiqiao.exchange.messages import decode_request, encode_request, seal_answer
from shuiqiao.exchange.model import AnswerContent

BUREAU, BANK_A = MemberId("bureau"), MemberId("bank-a")


@pytest.fixture(autouse=True)
def _another_month(world):
    """Rotations are few in 30 days [MEMBER-25], and so are answers under one consent."""
    yield
    world.clock.advance(31 * MS_PER_DAY)


@pytest.fixture
def sent(world):
    return world.asked(granted(world))


def granted(world, number=[1]):  # noqa: B006 - one enterprise a test
    number[0] += 1
    return world.granted(world.enterprise(100 + number[0]), taxpayer=Uscc(f"91440300MA5ROTAT{number[0]:02d}"))


@pytest.mark.parametrize("member", [BANK_A, BUREAU])
def test_what_a_bank_keeps_is_read_after_a_rotation(world, sent, member):
    received = world.banks[BANK_A].receive(sent.request, world.provider.answer(sent.message))
    world.rotate(member)
    assert world.banks[BANK_A].load(sent.request).manifest_bytes == received.manifest_bytes


def test_an_answer_on_its_way_is_read_after_its_provider_replaced_the_key(world, sent):
    answer = world.provider.answer(sent.message)
    world.rotate(BUREAU)
    assert world.provider.answer(sent.message) == answer
    assert world.banks[BANK_A].receive(sent.request, answer).request == sent.request
    assert world.entry(sent.request)["status"] == "acknowledged"


def test_a_request_on_its_way_is_answered_after_its_bank_replaced_the_key(world, sent):
    world.rotate(BANK_A)
    answer = world.provider.answer(sent.message)
    assert world.banks[BANK_A].receive(sent.request, answer).request == sent.request


def refused(act):
    with pytest.raises(IntegrityError, match=r"^ledger\.document_signers_wrong"):
        act()


def test_a_replaced_key_asks_for_nothing(world, sent):
    """Neither under an id of its own nor under that of a request which is on the ledger."""
    known = decode_request(sent.message, state=world.ledger.state(), network=world.network, suite=world.suite)
    stolen = world.rotate(BANK_A)
    for changes in ({"request": bytes(16)}, {"salt": bytes(32)}):
        message = msgspec.structs.replace(known, **changes)
        raw = encode_request(message, network=world.network, suite=world.suite, key=stolen)
        refused(lambda raw=raw: world.provider.answer(raw))
    assert world.entry(sent.request)["status"] == "requested"


def test_a_replaced_key_answers_nothing(world, sent):
    """Another answer than the one on the ledger: the provider's key of today is asked for."""
    world.provider.answer(sent.message)
    message = decode_request(sent.message, state=world.ledger.state(), network=world.network, suite=world.suite)
    stolen = world.rotate(BUREAU)
    other, _ = seal_answer(
        AnswerContent(manifest=b"", disclosure=b""),
        message=message,
        network=world.network,
        suite=world.suite,
        recipient_key=world.sealing[BANK_A].public_key,
        key=stolen,
    )
    refused(lambda: world.banks[BANK_A].receive(sent.request, other))
