"""What a message between members must be: signed, to this member, for this act, now, by a member, once [PEER-1]."""

from __future__ import annotations

import pytest

from members_world import DAY_MS, DIGEST, signing
from peer_messages import RECEIVER, SENDER, MessageWorld
from shuiqiao.base.clock import ManualClock
from shuiqiao.base.errors import Conflict, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import MemberId, system_entropy
from shuiqiao.members import contract
from shuiqiao.members.action import Suspend
from shuiqiao.members.contract import ByVote, Emergency, MemberSuspendBody
from shuiqiao.node.peers.message import (
    MAX_CLOCK_MS,
    Act,
    MessageSigner,
    ReplayWindow,
    decode_act,
)


@pytest.fixture(params=["intl", "gm"])
def world(request):
    return MessageWorld(request.param)


def code_of(world, raw, **more):
    try:
        world.take(raw, **more)
    except ShuiqiaoError as error:
        return error.code
    return None


def test_a_message_in_order_is_taken_in_once(world):
    signer = MessageSigner(
        member=SENDER,
        network=world.parameters.network,
        suite=world.suite,
        keys=(world.keys[SENDER],),
        clock=world.clock,
        entropy=system_entropy,
    )
    raw = signer.sign(b"body", act=Act.BLOCKS, receiver=RECEIVER)
    found = world.take(raw, act=Act.BLOCKS)
    assert (found.sender, found.receiver, found.act, found.body) == (SENDER, RECEIVER, "ledger.blocks", b"body")
    assert code_of(world, raw, act=Act.BLOCKS) == "peer.replayed"
    assert code_of(world, signer.sign(b"body", act=Act.BLOCKS, receiver=RECEIVER), act=Act.BLOCKS) is None


def test_the_checks_come_in_one_order(world):
    """[PEER-2]: of all that is wrong with a message the first in the order is what it is refused for."""
    stranger = signing("stranger", world.suite)
    seen = world.message()
    world.take(seen)
    nonce = world.sent.to_bytes(16, "big")
    suspend(world, SENDER)
    faults = [
        ("peer.message_too_large", {"body": b"x" * 70_000}),
        ("ledger.document_malformed", {}),
        ("ledger.document_network_wrong", {"network": bytes(32)}),
        ("peer.receiver_wrong", {"receiver": "bank-east"}),
        ("peer.act_differs", {"act": "ledger.blocks"}),
        ("peer.clock_differs", {"made_ms": world.clock.now_ms() + MAX_CLOCK_MS + 1}),
        ("peer.sender_unknown", {"sender": "stranger"}),
        ("peer.sender_suspended", {}),
        ("ledger.document_signers_wrong", {"key": stranger}),
        ("peer.replayed", {"nonce": nonce}),
    ]
    for place, (code, _) in enumerate(faults):
        left = [found for _, found in faults[place:]]
        raw = world.message(**{name: value for found in left for name, value in found.items()})
        if code == "ledger.document_malformed":
            raw = b"\x00" + raw
        if code == "ledger.document_signers_wrong":
            reinstate(world, SENDER)
        assert code_of(world, raw) == code


def suspend(world, member):
    proposal = world.pass_action(Suspend(member=member), voters=("bureau", "bank-east", "bank-north", "regulator"))
    body = MemberSuspendBody(member=member, ground=ByVote(proposal=proposal))
    assert world.submit(contract.SUSPEND, body, author="bureau") is None


def reinstate(world, member):
    world.state.write({f"gate/member/{member}": None})


def test_a_member_suspended_by_vote_asks_for_nothing_and_one_for_a_time_keeps_its_vote(world):
    """[MEMBER-4]: a vote that the writer does not take in is a vote that is lost."""
    body = MemberSuspendBody(member=SENDER, ground=Emergency(until_ms=world.time_ms + DAY_MS, evidence_digest=DIGEST))
    assert world.submit(contract.SUSPEND, body, author="regulator") is None
    assert code_of(world, world.message(act="ledger.submit"), act=Act.SUBMIT) is None
    for act in (Act.ASK, Act.ARTEFACT, Act.RELAY, Act.OPENING, Act.COSIGN, Act.WITNESSED_SIZE):
        assert code_of(world, world.message(act=act.value), act=act) == "peer.sender_suspended"
    suspend(world, SENDER)
    for act in Act:
        assert code_of(world, world.message(act=act.value), act=act) == "peer.sender_suspended"


def test_a_clock_that_is_off_is_told_with_both_times(world):
    for off in (-MAX_CLOCK_MS, MAX_CLOCK_MS):
        assert code_of(world, world.message(made_ms=world.clock.now_ms() + off)) is None
    with pytest.raises(
        ShuiqiaoError, match=r"peer\.clock_differs: bank-west made the message at 2026.*, at bureau it is 2026"
    ):
        world.take(world.message(made_ms=world.clock.now_ms() - MAX_CLOCK_MS - 1))


def test_a_signature_counts_by_todays_key_alone(world):
    old, new = world.keys[SENDER], signing("new", world.suite)
    world.rotate(SENDER, new)
    world.keys[SENDER] = new
    assert code_of(world, world.message(key=old)) == "ledger.document_signers_wrong"
    assert code_of(world, world.message()) is None


@pytest.mark.parametrize("act", list(Act))
def test_the_longest_body_of_an_act_fits_and_a_byte_more_than_a_message_may_have_does_not(act):
    world = MessageWorld("gm")
    body_bytes = act.max_message_bytes - 1_024
    assert code_of(world, world.message(act=act.value, body=b"x" * body_bytes), act=act) is None
    too_long = world.message(act=act.value)
    too_long += b"x" * (act.max_message_bytes + 1 - len(too_long))
    assert code_of(world, too_long, act=act) == "peer.message_too_large"


def test_what_nobody_asks_is_named():
    assert decode_act("exchange.ask") is Act.ASK
    with pytest.raises(ShuiqiaoError, match=r"peer\.act_unknown"):
        decode_act("../exchange.ask")


def test_a_window_is_bounded_for_each_sender_and_forgets_what_does_not_count_any_more():
    clock = ManualClock(1_775_000_000_000)
    window = ReplayWindow(now_ms=clock.now_ms, max_nonces=3)
    one, other = MemberId("bank-west"), MemberId("bank-east")
    for number in range(3):
        window.add(one, bytes([number] * 16), made_ms=clock.now_ms())
    with pytest.raises(Unavailable, match=r"peer\.busy"):
        window.add(one, b"x" * 16, made_ms=clock.now_ms())
    window.add(other, b"x" * 16, made_ms=clock.now_ms())
    with pytest.raises(Conflict, match=r"peer\.replayed"):
        window.add(one, bytes(16), made_ms=clock.now_ms())
    clock.advance(2 * MAX_CLOCK_MS)
    window.add(one, b"y" * 16, made_ms=clock.now_ms())
