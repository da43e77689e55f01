"""Hostile peers, over real sockets: whoever lies, floods, drips or stops neither misleads nor stops an honest member."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack

import msgspec
import pytest

from hostile_peers import LyingProxy, SlowCallers, drip, flood, hang_up, page_of_the_web, post, redirect
from patience import PATIENCE_S
from peers_world import BUREAU, LEAD_BANK, PeerNetwork
from shuiqiao.base.clock import ManualClock, SystemClock
from shuiqiao.base.errors import ShuiqiaoError, Unavailable
from shuiqiao.base.ids import system_entropy
from shuiqiao.crypto.suites import get_suite
from shuiqiao.members.contract import ENDPOINT, MemberEndpointBody
from shuiqiao.members.genesis import network_id
from shuiqiao.node.home.keys import load_keys, read_passphrase
from shuiqiao.node.home.settings import load_genesis
from shuiqiao.node.peers import acts
from shuiqiao.node.peers.acts import decode_wire, encode_wire
from shuiqiao.node.peers.message import Act, MessageSigner


class Attacked:
    """A writer in a process of its own, a bank here, and between them whoever the test puts there."""

    def __init__(self, folder) -> None:
        self.network = PeerNetwork(folder, "intl")
        self.stack = ExitStack()
        self.writer = self.stack.enter_context(self.network.process(BUREAU))
        self.port = self.network.ports[BUREAU]
        self.proxy = LyingProxy(self.network.url(BUREAU))
        self.stack.callback(self.proxy.close)

    def bank(self, *, through_proxy: bool):
        url = self.proxy.url if through_proxy else self.network.url(BUREAU)
        self.network.change(LEAD_BANK, peers={BUREAU: url})
        return self.stack.enter_context(self.network.here(LEAD_BANK))

    def signer(self, *, network=None, clock=None, seed=None):
        """Sign in the bank's name, as whoever got a network or a clock wrong would."""
        home = self.network.home(LEAD_BANK)
        suite = get_suite("intl")
        key = load_keys(home, passphrase=read_passphrase(home.passphrase)).signing
        return MessageSigner(
            member=LEAD_BANK,
            network=network or network_id(load_genesis(home.genesis)),
            suite=suite,
            keys=(key if seed is None else suite.signing_key_from_seed(seed),),
            clock=clock or SystemClock(),
            entropy=system_entropy,
        )


@pytest.fixture
def attacked(tmp_path):
    opened = Attacked(tmp_path)
    with opened.stack:
        yield opened


def say(bank, number):
    url = f"https://bank-east{number}.example"
    return bank.outbox.submit(ENDPOINT, MemberEndpointBody(url=url, pin=b""))


def patiently(act):
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return act()
        except Unavailable:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def code_of(answer):
    status, body = answer
    assert 400 <= status < 504
    return json.loads(body)["code"]


def test_a_writers_door_refuses_hostile_messages_and_goes_on(attacked):
    """[PEER-2] [PEER-5]"""
    signer = attacked.signer()
    path = f"/peer/v1/{Act.CHECKPOINT}"

    def sign(**more):
        return attacked.signer(**more).sign(b"\xa0", act=Act.CHECKPOINT, receiver=BUREAU)

    good = sign()
    assert post(attacked.port, path, good)[0] == 200
    now_ms = SystemClock().now_ms()
    assert code_of(post(attacked.port, path, good)) == "peer.replayed"
    assert code_of(post(attacked.port, path, sign(network=bytes(32)))) == "ledger.document_network_wrong"
    assert code_of(post(attacked.port, path, sign(seed=bytes(32)))) == "ledger.document_signers_wrong"
    assert code_of(post(attacked.port, path, sign(clock=ManualClock(now_ms - 600_000)))) == "peer.clock_differs"
    assert code_of(post(attacked.port, f"/peer/v1/{Act.NEWEST_CONFIRMED}", sign())) == "peer.act_differs"
    assert code_of(post(attacked.port, path, b"")) == "ledger.document_malformed"
    assert code_of(post(attacked.port, path, good[:-1])) in {"base.cbor_malformed", "ledger.document_malformed"}
    broken = bytearray(sign())
    broken[-1] ^= 1
    assert code_of(post(attacked.port, path, bytes(broken))) == "crypto.signature_invalid"
    assert code_of(post(attacked.port, path, bytes(200_000))) == "api.body_too_large"
    assert code_of(post(attacked.port, path, bytes(70_000))) in {"api.body_too_large", "peer.message_too_large"}
    assert code_of(post(attacked.port, "/peer/v1/ledger.everything", good)) == "peer.act_unknown"
    wrong = signer.sign(encode_wire(acts.OfSize(size=1)), act=Act.BLOCKS, receiver=BUREAU)
    assert code_of(post(attacked.port, f"/peer/v1/{Act.BLOCKS}", wrong)) == "peer.body_malformed"
    # All the same, an honest member is served.
    bank = attacked.bank(through_proxy=False)
    assert say(bank, 1).height > 0


def test_callers_that_never_end_their_requests_do_not_keep_an_honest_member_out(attacked):
    """[PEER-5]: 900 connections, more than the door holds at a time, each with a request that goes on and on."""
    bank = attacked.bank(through_proxy=False)
    first = patiently(lambda: say(bank, 1))
    slow = SlowCallers(attacked.port, count=900)
    try:
        slow.say(b"POST /peer/v1/ledger.checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nX-")
        for number in range(2, 6):
            slow.say(b"a")
            placed = patiently(lambda number=number: say(bank, number))
            assert placed.height > first.height
    finally:
        slow.close()
    assert patiently(lambda: say(bank, 9)).height > first.height


@pytest.mark.parametrize("behave", [redirect, hang_up, page_of_the_web, flood], ids=lambda each: each.__name__)
def test_a_writer_that_answers_anything_else_is_not_there_and_the_follower_goes_on_once_it_is(attacked, behave):
    """[PEER-5]"""
    bank = attacked.bank(through_proxy=True)
    first = patiently(lambda: say(bank, 1))
    attacked.proxy.behave = behave
    with pytest.raises(Unavailable):
        say(bank, 2)
    with pytest.raises(ShuiqiaoError) as caught:
        bank.engine.sync()
    assert isinstance(caught.value, Unavailable)
    assert bank.engine.last_block()[0] == first.height
    attacked.proxy.behave = lambda _handler, _act: False
    assert patiently(lambda: say(bank, 3)).height > first.height
    assert bank.engine.alarm is None


def test_an_answer_that_drips_is_given_up_after_its_time(attacked):
    """[PEER-5]"""
    bank = attacked.bank(through_proxy=True)
    attacked.proxy.behave = drip
    with pytest.raises(Unavailable, match=r"client\.timed_out"):
        bank.peer_client.ask(BUREAU, Act.CHECKPOINT, acts.Nothing(), answer=acts.SignedNote, timeout_s=1.0)
    attacked.proxy.behave = lambda _handler, _act: False
    assert patiently(lambda: say(bank, 1)).height > 0


def altered_blocks(change):
    def alter(act, answer):
        form = {Act.BLOCKS: acts.BlockPage, Act.FOLLOW: acts.Followed}.get(act)
        if form is None:
            return answer
        page = decode_wire(answer, form, max_bytes=acts.max_answer_bytes(act))
        return encode_wire(msgspec.structs.replace(page, blocks=[change(block) for block in page.blocks]))

    return alter


def changed_transaction(block):
    raw = bytearray(block.transactions[0])
    raw[-1] ^= 1
    return acts.WireBlock(
        height=block.height,
        time_ms=block.time_ms,
        first_index=block.first_index,
        transactions=[bytes(raw)],
        entry=block.entry,
    )


def later_height(block):
    return acts.WireBlock(
        height=block.height + 1,
        time_ms=block.time_ms,
        first_index=block.first_index,
        transactions=block.transactions,
        entry=block.entry,
    )


class OldNotes:
    """Answers with the first checkpoint that it saw, again and again."""

    def __init__(self) -> None:
        self.first = None

    def __call__(self, act, answer):
        if act != Act.FOLLOW:
            return answer
        self.first = self.first or answer
        return self.first


def wrong_proof(act, answer):
    return encode_wire(acts.Path(path=[bytes(32)])) if act == Act.CONSISTENCY else answer


@pytest.mark.parametrize(
    "lie",
    [
        altered_blocks(changed_transaction),
        altered_blocks(later_height),
        lambda act, answer: b"\xa0" if act in {Act.BLOCKS, Act.FOLLOW} else answer,
        lambda act, answer: answer[:-1],
        lambda act, answer: encode_wire(acts.Followed(blocks=[], note=b"note")) if act == Act.FOLLOW else answer,
    ],
    ids=["transaction", "height", "no-page", "cut", "no-note"],
)
def test_what_is_altered_between_writer_and_follower_is_never_committed_and_accuses_nobody(attacked, lie):
    """[PEER-12]"""
    other = attacked.stack.enter_context(attacked.network.here("regulator"))
    patiently(lambda: other.outbox.submit(ENDPOINT, MemberEndpointBody(url="https://regulator.example", pin=b"")))
    bank = attacked.bank(through_proxy=True)
    first = patiently(lambda: say(bank, 1))
    attacked.proxy.alter = lie
    ahead = other.outbox.submit(ENDPOINT, MemberEndpointBody(url="https://regulator2.example", pin=b""))
    with pytest.raises(Unavailable):
        bank.engine.sync()
    assert bank.engine.last_block()[0] == first.height
    assert bank.engine.alarm is None
    attacked.proxy.alter = lambda _act, answer: answer
    patiently(lambda: bank.engine.wait_for_block(ahead.height))
    assert list(bank.engine.blocks(from_height=1)) == list(other.engine.blocks(from_height=1))[: ahead.height]


def test_an_old_note_and_a_wrong_proof_accuse_nobody(attacked):
    """[PEER-12]"""
    bank = attacked.bank(through_proxy=True)
    old = OldNotes()
    patiently(lambda: say(bank, 1))
    attacked.proxy.alter = old
    bank.engine.sync()
    attacked.proxy.alter = lambda _act, answer: answer
    newest = patiently(lambda: say(bank, 2))
    attacked.proxy.alter = old
    with pytest.raises(Unavailable, match=r"ledger\.writer_unproven"):
        bank.engine.sync()
    attacked.proxy.alter = wrong_proof
    patiently(lambda: say(bank, 3))
    assert bank.engine.last_block()[0] > newest.height
    assert bank.engine.alarm is None
