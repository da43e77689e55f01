"""Hostile peers, over real sockets: whoever lies, floods, drips or stops neither misleads nor stops an honest member."""

from __future__ import annotations

import dataclasses
import json
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from itertools import islice

import httpx2
import msgspec
import pytest

from hostile_peers import LyingProxy, SlowCallers, drip, flood, hang_up, page_of_the_web, post, redirect
from patience import PATIENCE_S
from peers_world import BUREAU, LEAD_BANK, REGULATOR, PeerNetwork
from shuiqiao.api.peer_routes import CHECKS_OF_ONE, QUICK
from shuiqiao.base.clock import ManualClock, SystemClock
from shuiqiao.base.errors import ShuiqiaoError, Unavailable
from shuiqiao.base.ids import system_entropy
from shuiqiao.crypto.suites import get_suite
from shuiqiao.members.contract import ENDPOINT, MemberEndpointBody
from shuiqiao.members.genesis import network_id
from shuiqiao.node.home.keys import load_keys, read_passphrase
from shuiqiao.node.home.settings import load_genesis
from shuiqiao.node.peers import acts, http_ledger
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
        found = signer_of(self.network.home(LEAD_BANK), LEAD_BANK)
        keys = found.keys if seed is None else (found.suite.signing_key_from_seed(seed),)
        return dataclasses.replace(found, network=network or found.network, keys=keys, clock=clock or found.clock)


def signer_of(home, member):
    """Sign in a member's name."""
    return MessageSigner(
        member=member,
        network=network_id(load_genesis(home.genesis)),
        suite=get_suite("intl"),
        keys=(load_keys(home, passphrase=read_passphrase(home.passphrase)).signing,),
        clock=SystemClock(),
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


def test_bodies_that_come_a_byte_at_a_time_keep_no_honest_member_waiting(attacked):
    """[PEER-5] [API-5]: requests that begin well and never end, more than there were connections for once."""
    slow = SlowCallers(attacked.port, count=600)
    try:
        slow.say(b"POST /peer/v1/ledger.checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        bank = attacked.bank(through_proxy=False)
        first = say(bank, 1)
        slow.say(b"a")
        assert say(bank, 2).height > first.height
    finally:
        slow.close()


class Gated:
    """A bureau in this process whose quick acts for one member, and whose checks of what a stranger sent, stand still.

    So it is seen what others may do meanwhile, however fast the machine is.
    """

    def __init__(self, folder) -> None:
        self.network = PeerNetwork(folder, "intl")
        self.stack = ExitStack()
        self.service = self.stack.enter_context(self.network.here(BUREAU)).peer_service
        self.port = self.network.ports[BUREAU]
        self.go_on = threading.Event()
        self.entered = threading.Semaphore(0)
        self.at_work = 0
        self.stack.callback(self.go_on.set)
        perform, receive = self.service.perform, self.service.receive
        self.service.perform = lambda message: self.held(message.sender == LEAD_BANK) or perform(message)
        self.service.receive = lambda act, raw: self.held(raw == STRANGE) or receive(act, raw)

    def held(self, is_held) -> None:
        if is_held:
            self.at_work += 1
            self.entered.release()
            assert self.go_on.wait(PATIENCE_S)

    def signed(self, member, act=Act.CHECKPOINT) -> bytes:
        return signer_of(self.network.home(member), member).sign(b"\xa0", act=act, receiver=BUREAU)


STRANGE = b"\xa0"


@pytest.fixture
def gated(tmp_path):
    opened = Gated(tmp_path)
    with opened.stack:
        yield opened


def sent_by_many(gated, bodies, *, address="127.0.0.1"):
    """Send each body on a connection of its own, all at one time; return how each was answered, once it is."""

    def send(body):
        transport = httpx2.HTTPTransport(local_address=address)
        with httpx2.Client(transport=transport, timeout=PATIENCE_S) as client:
            found = client.post(f"http://127.0.0.1:{gated.port}/peer/v1/{Act.CHECKPOINT}", content=body)
            if body == STRANGE:
                assert found.headers["connection"] == "close"
            return found.status_code, "" if found.status_code == 200 else found.json()["code"]

    pool = gated.stack.enter_context(ThreadPoolExecutor(max_workers=len(bodies)))
    return [pool.submit(send, body) for body in bodies]


def test_one_members_acts_fill_its_own_share_and_no_others(gated):
    """[PEER-5]: it has two quick acts at work and 32 that wait; what goes beyond is refused, and others go on."""
    count = QUICK.of_one + QUICK.waiting_of_one + 6
    flood = sent_by_many(gated, [gated.signed(LEAD_BANK) for _ in range(count)])
    for _ in range(QUICK.of_one):
        assert gated.entered.acquire(timeout=PATIENCE_S)
    for number in range(5):
        path = f"/peer/v1/{Act.CHECKPOINT}"
        assert post(gated.port, path, gated.signed(REGULATOR))[0] == 200, number
    refused = list(islice(as_completed(flood), 6))
    assert {each.result() for each in refused} == {(503, "peer.busy")}
    assert gated.at_work == QUICK.of_one
    gated.go_on.set()
    assert Counter(each.result()[0] for each in flood) == {200: count - 6, 503: 6}


def unread(gated, member):
    """Ask with a signed message and read nothing of the answer; return the connection."""
    body = gated.signed(member)
    caller = gated.stack.enter_context(socket.socket())
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    caller.connect(("127.0.0.1", gated.port))
    head = f"POST /peer/v1/{Act.CHECKPOINT} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
    caller.sendall(head.encode() + body)
    return caller


def test_answers_that_a_member_does_not_read_count_for_it_until_it_is_cut_off(gated):
    """[PEER-5]: so it cannot have a door keep as many answers in memory as it has connections."""
    gated.go_on.set()
    perform = gated.service.perform
    gated.service.perform = lambda message: perform(message) + bytes(16 << 20)
    callers = [unread(gated, LEAD_BANK) for _ in range(QUICK.of_one + 4)]
    for _ in range(QUICK.of_one):
        assert gated.entered.acquire(timeout=PATIENCE_S)
    status, _ = post(gated.port, f"/peer/v1/{Act.CHECKPOINT}", gated.signed(REGULATOR))
    assert (status, gated.at_work) == (200, QUICK.of_one)
    # Its share is free again once the first two were cut off, or closed.
    for caller in callers[: QUICK.of_one]:
        caller.close()
    for caller in callers[QUICK.of_one :]:
        assert gated.entered.acquire(timeout=PATIENCE_S)
        caller.close()


def test_what_strangers_send_is_checked_beside_what_members_send(gated):
    """[PEER-5]: a stranger's address has two checks at a time, so those of another address go on."""
    flood = sent_by_many(gated, [STRANGE] * 20, address="127.0.0.2")
    for _ in range(CHECKS_OF_ONE):
        assert gated.entered.acquire(timeout=PATIENCE_S)
    for number in range(5):
        assert post(gated.port, f"/peer/v1/{Act.CHECKPOINT}", gated.signed(REGULATOR))[0] == 200, number
    assert gated.at_work == CHECKS_OF_ONE
    gated.go_on.set()
    assert {each.result() for each in flood} == {(400, "ledger.document_malformed")}


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


def test_an_answer_that_drips_is_given_up_after_its_time(attacked, monkeypatch):
    """[PEER-5]"""
    # The question that waits for news has its time too, before which the bank sees no block.
    monkeypatch.setattr(acts, "MAX_NEWS_WAIT_MS", 1000)
    monkeypatch.setattr(http_ledger, "_NEWS_MARGIN_S", 1.0)
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
