"""What a member does for others: each act by its role, bounded for each sender, judged by the rooms themselves."""

from __future__ import annotations

import threading

import pytest

from consortium_world import BUREAU, NOW_MS, REGULATOR, ConsortiumWorld, anchor_body
from patience import PATIENCE_S
from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.base.ids import MemberId
from shuiqiao.ledger.witness.request import encode_request
from shuiqiao.members.contract import ENDPOINT, MemberEndpointBody
from shuiqiao.node.peers import acts
from shuiqiao.node.peers.acts import decode_wire, encode_wire, max_answer_bytes
from shuiqiao.node.peers.message import Act

BANK = MemberId("bank-east")
ANSWERS = {
    Act.SUBMIT: acts.Results,
    Act.BLOCKS: acts.BlockPage,
    Act.FOLLOW: acts.Followed,
    Act.CHECKPOINT: acts.SignedNote,
    Act.CONFIRMED: acts.SignedNote,
    Act.NEWEST_CONFIRMED: acts.SignedNote,
    Act.EPOCHS: acts.Sizes,
    Act.EPOCH_NOTE: acts.SignedNote,
    Act.CONSISTENCY: acts.Path,
    Act.NEWS: acts.Height,
    Act.WITNESSED_SIZE: acts.OfSize,
    Act.COSIGN: acts.Line,
    Act.ASK: acts.Answered,
    Act.ARTEFACT: acts.Nothing,
    Act.RELAY: acts.Placed,
    Act.OPENING: acts.Nothing,
    Act.OFFER: acts.Nothing,
    Act.LEAKAGE: acts.SealedAnswer,
    Act.SECURE_OPEN: acts.SecureOpened,
    Act.EVIDENCE: acts.EvidenceShown,
    Act.EXPOSURE: acts.ExposureStated,
    Act.MANIFEST: acts.ManifestOpened,
    Act.TRAIN: acts.TrainingSigned,
}


def test_every_act_has_its_answer_here():
    assert ANSWERS.keys() == {*Act}


@pytest.fixture(scope="module", params=["intl", "gm"])
def world(request, tmp_path_factory):
    opened = ConsortiumWorld(tmp_path_factory.mktemp("peers"), request.param)
    yield opened
    opened.close()


def handled(receiver, act, raw):
    service = receiver.peer_service
    return service.perform(service.receive(act, raw))


def ask(sender, receiver, act, body):
    """Ask as the sender's client does, without the network between."""
    data = body if isinstance(body, bytes) else encode_wire(body)
    raw = sender.peer_client._signer.sign(data, act=act, receiver=receiver.member)
    return decode_wire(handled(receiver, act.value, raw), ANSWERS[act], max_bytes=max_answer_bytes(act))


def code_of(act):
    with pytest.raises(ShuiqiaoError) as caught:
        act()
    return caught.value.code


def signed(institution, url):
    return institution.outbox._sign(ENDPOINT, MemberEndpointBody(url=url, pin=b""))


def submitted(*raws, from_height=0):
    return acts.Submitted(transactions=list(raws), from_height=from_height)


def test_the_block_of_a_transaction_comes_with_the_answer_where_it_is_asked_for(world, monkeypatch):
    """[PEER-8]"""
    bureau, bank = world.bureau, world.bank

    def brought(number, *, from_height):
        raw = signed(bank, f"https://brought{number}.example")
        found = ask(bank, bureau, Act.SUBMIT, submitted(raw, from_height=from_height))
        return found, [each.block() for each in found.blocks]

    found, blocks = brought(1, from_height=0)
    assert (blocks, found.note) == ([], b"")
    first = found.results[0].height
    found, blocks = brought(2, from_height=first)
    assert [each.height for each in blocks] == list(range(first, found.results[0].height + 1))
    assert blocks == list(bureau.engine.blocks(from_height=first))
    assert found.note == bureau.engine.checkpoint().note
    # As many as are few, whole ones; the note leads on to the others.
    monkeypatch.setattr(acts, "BROUGHT_BLOCKS", 1)
    found, blocks = brought(3, from_height=first)
    assert ([each.height for each in blocks], found.note) == ([first], bureau.engine.checkpoint().note)
    monkeypatch.setattr(acts, "BROUGHT_BYTES", 1)
    found, blocks = brought(4, from_height=first)
    assert (blocks, found.note) == ([], bureau.engine.checkpoint().note)


def test_transactions_are_ordered_each_by_itself(world):
    """[PEER-4]"""
    good, other = (signed(world.bank, f"https://east{number}.example") for number in range(2))
    found = ask(world.bank, world.bureau, Act.SUBMIT, submitted(good, b"no transaction", other))
    placed, refused, second = found.results
    assert placed.height <= second.height
    assert refused.as_error(place="writer").code in {"ledger.tx_malformed", "base.cbor_malformed"}
    again = ask(world.bank, world.bureau, Act.SUBMIT, submitted(good))
    assert again.results[0].as_error(place="writer").code == "ledger.tx_replayed"


def test_the_log_is_handed_out_as_the_engine_has_it(world):
    bureau, bank = world.bureau, world.bank
    height = bureau.engine.last_block()[0]
    whole = list(bureau.engine.blocks(from_height=1))
    page = ask(bank, bureau, Act.BLOCKS, acts.FromHeight(from_height=1)).blocks
    assert [each.block() for each in page] == whole[: len(page)]
    assert ask(bank, bureau, Act.BLOCKS, acts.FromHeight(from_height=height + 1)).blocks == []
    newest = bureau.engine.checkpoint()
    followed = ask(bank, bureau, Act.FOLLOW, acts.FromHeight(from_height=height))
    assert ([each.height for each in followed.blocks], followed.note) == ([height], newest.note)
    assert ask(bank, bureau, Act.CHECKPOINT, acts.Nothing()).note == newest.note
    assert ask(bank, bureau, Act.CONFIRMED, acts.Nothing()).note.startswith(newest.note.split(b"\n\n")[0])
    assert ask(bank, bureau, Act.NEWEST_CONFIRMED, acts.Nothing()).note
    assert ask(bank, bureau, Act.EPOCHS, acts.OfSize(size=0)).sizes == []
    path = bureau.engine.consistency_proof(old_size=1, new_size=newest.size)
    asked = acts.TwoSizes(old_size=1, new_size=newest.size)
    assert tuple(ask(bank, bureau, Act.CONSISTENCY, asked).path) == path
    beyond = acts.TwoSizes(old_size=1, new_size=2**53 - 1)
    assert code_of(lambda: ask(bank, bureau, Act.CONSISTENCY, beyond)) == "ledger.size_unknown"


def test_a_page_ends_with_its_bound(world, monkeypatch):
    monkeypatch.setattr(acts, "PAGE_BLOCKS", 2)
    world.bank.outbox.submit(ENDPOINT, MemberEndpointBody(url="https://page.example", pin=b""))
    assert len(ask(world.bank, world.bureau, Act.BLOCKS, acts.FromHeight(from_height=1)).blocks) == 2
    monkeypatch.setattr(acts, "PAGE_BYTES", 1)
    assert len(ask(world.bank, world.bureau, Act.BLOCKS, acts.FromHeight(from_height=1)).blocks) == 1


def test_news_come_with_the_block_and_no_later_than_the_time(world):
    height = world.bureau.engine.last_block()[0]
    asked = acts.AfterHeight(height=height, wait_ms=0)
    assert ask(world.bank, world.bureau, Act.NEWS, asked).height == height
    heard = []

    def listen():
        heard.append(ask(world.bank, world.bureau, Act.NEWS, acts.AfterHeight(height=height, wait_ms=25_000)).height)

    waiting = threading.Thread(target=listen)
    waiting.start()
    world.bureau.outbox.submit("anchor.commit", anchor_body(b"n" * 16))
    waiting.join(timeout=PATIENCE_S)
    assert heard == [height + 1]


def test_a_witness_answers_as_it_does_within_one_process(world):
    bank, bureau = world.bank, world.bureau
    checkpoint = bureau.engine.checkpoint()
    bank.catch_up_with(bureau)
    origin = bureau.parameters.origin
    size = ask(bureau, bank, Act.WITNESSED_SIZE, acts.OfOrigin(origin=origin)).size
    assert size == bank.witness.witnessed_size(origin)
    proof = bureau.engine.consistency_proof(old_size=size, new_size=checkpoint.size) if size else ()
    line = ask(bureau, bank, Act.COSIGN, encode_request(old_size=size, proof=proof, note=checkpoint.note)).line
    assert f"{origin}/{bank.member}".encode() in line
    stale = encode_request(old_size=size + 1, proof=proof, note=checkpoint.note)
    assert code_of(lambda: ask(bureau, bank, Act.COSIGN, stale)) == "ledger.witness_size_stale"
    assert code_of(lambda: ask(bureau, bank, Act.COSIGN, b"old x")) == "ledger.witness_request_malformed"


def test_what_another_role_does_is_not_done(world):
    """[PEER-3]"""
    not_served = {
        BUREAU: (Act.ARTEFACT, Act.OPENING, Act.WITNESSED_SIZE, Act.COSIGN, Act.EXPOSURE),
        BANK: (Act.SUBMIT, Act.BLOCKS, Act.NEWS, Act.ASK, Act.OPENING, Act.LEAKAGE, Act.MANIFEST, Act.TRAIN),
        REGULATOR: (
            Act.CHECKPOINT,
            Act.ASK,
            Act.ARTEFACT,
            Act.RELAY,
            Act.LEAKAGE,
            Act.SECURE_OPEN,
            Act.EVIDENCE,
            Act.EXPOSURE,
            Act.MANIFEST,
        ),
    }
    members = {each.member: each for each in world.consortium.members}
    for member, refused in not_served.items():
        for act in refused:
            sender = world.other_bank
            raw = sender.peer_client._signer.sign(b"\xa0", act=act, receiver=member)
            assert code_of(lambda raw=raw, act=act, member=member: handled(members[member], act.value, raw)) == (
                "peer.act_not_served"
            )
    raw = world.bank.peer_client._signer.sign(b"\xa0", act=Act.ASK, receiver=BUREAU)
    assert code_of(lambda: handled(world.bureau, "exchange.tell", raw)) == "peer.act_unknown"
    assert code_of(lambda: ask(world.bank, world.bureau, Act.BLOCKS, acts.Nothing())) == "peer.body_malformed"


def test_a_block_that_nobody_has_is_not_waited_for_without_end(world):
    """[PEER-10]"""
    asked = acts.Asked(message=b"request", height=2**53 - 1)
    assert code_of(lambda: ask(world.bank, world.bureau, Act.ASK, asked)) == "ledger.block_awaited"
    assert NOW_MS < world.clock.now_ms()
