"""Bundles: one form or none, refused as a whole before a block and one by one in it."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import os
import signal
import threading
import time
import tracemalloc
import zlib

import cbor2
import pytest

from cometbft_world import UnixHttpServer
from consensus_world import KINDS, Roster, StateKeys, wait_until
from patience import PATIENCE_S
from shuiqiao.base.clock import SystemClock
from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor
from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.ids import MemberId
from shuiqiao.ledger.engine.cometbft import ledger as ledger_module
from shuiqiao.ledger.engine.cometbft.abci import messages as abci
from shuiqiao.ledger.engine.cometbft.abci.messages import Timestamp
from shuiqiao.ledger.engine.cometbft.comet.home import RPC_SOCKET
from shuiqiao.ledger.engine.cometbft.consensus import application as application_module
from shuiqiao.ledger.engine.cometbft.consensus.application import MAX_PROPOSED, LedgerApplication
from shuiqiao.ledger.engine.cometbft.consensus.extensions import Cosigner
from shuiqiao.ledger.engine.cometbft.mempool.bundle import (
    MAX_BUNDLE_BYTES,
    MAX_BUNDLED,
    encode_bundle,
    pause_after,
    split_bundles,
    transactions_in,
)
from shuiqiao.ledger.engine.cometbft.mempool.checking import GROUP, MIN_HANDED_ON
from shuiqiao.ledger.state.machine import StateMachine
from shuiqiao.ledger.transactions.verifiers import InlineVerifier, ProcessVerifier

START_S = int(time.time()) - 3600


@pytest.fixture
def roster():
    return Roster(genesis_ms=(START_S - 61) * 1000)


@pytest.fixture
def open_app(roster, tmp_path):
    opened = []

    def open_one(*, verifier=None, **more):
        application = LedgerApplication(
            tmp_path / f"{len(opened)}",
            machine=StateMachine(roster.parameters, kinds=KINDS, key_ring=StateKeys(), suite=roster.suite),
            verifier=verifier or InlineVerifier(roster.suite),
            clock=SystemClock(),
            policy_of=lambda _state: roster.policy,
            cosigner=Cosigner(member=MemberId("node0"), key=roster.keys[MemberId("node0")]),
            settings=roster.application_settings(**more),
        )
        opened.append(application)
        return application

    yield open_one
    for application in opened:
        application.close()


def forged(raw: bytes) -> bytes:
    return raw[:-1] + bytes((raw[-1] ^ 1,))


def finalize(application, *raws: bytes) -> abci.ResponseFinalizeBlock:
    height = application.app_state.height + 1
    return application.finalize_block(
        abci.RequestFinalizeBlock(txs=raws, height=height, time=Timestamp(seconds=START_S + height))
    )


def test_a_bundle_gives_back_what_was_put_in():  # [ABCI-24]
    raws = [b"\xd8one", b"\xd8" + bytes(300), b"\xd8three"]
    assert transactions_in(encode_bundle(raws)) == tuple(raws)
    # One transaction is no bundle, and travels as it is.
    assert (encode_bundle(raws[:1]), transactions_in(raws[0])) == (raws[0], (raws[0],))


@pytest.mark.parametrize("raws", [[], [b"a", b"a"], [b"%d" % n for n in range(MAX_BUNDLED + 1)]])
def test_what_is_no_bundle_is_not_made_one(raws):
    with pytest.raises(ValueError, match="transactions"):
        encode_bundle(raws)


def packed(data: bytes, **how) -> bytes:
    stream = zlib.compressobj(**how)
    return stream.compress(data) + stream.flush()


TWO = encode_cbor([b"a", b"b"])


@pytest.mark.parametrize("how", [{"level": level} for level in (0, 1, 6, 9)])
def test_however_a_bundle_is_packed_it_holds_the_same(how):  # [ABCI-24]
    assert transactions_in(packed(TWO, **how)) == (b"a", b"b")


@pytest.mark.parametrize(
    "data",
    [
        TWO,
        packed(TWO)[:-1],
        packed(TWO)[:-1] + b"\x00",
        packed(TWO) + b"\x00",
        packed(TWO)[2:-4],
        packed(TWO, wbits=9),
        packed(TWO, wbits=-15),
        packed(TWO, wbits=31),
        packed(TWO, zdict=b"ab"),
        packed(packed(TWO)),
        packed(bytes(2 * MAX_BUNDLE_BYTES)),
        packed(encode_cbor([bytes(MAX_BUNDLE_BYTES - 12), b"12345678"])),
        b"\x78",
        b"\x78\x9c" + b"\xff" * 60,
    ],
    ids=range(14),
)
def test_what_is_not_one_whole_stream_of_a_bundle_is_taken_for_a_transaction(data, roster, open_app):  # [ABCI-24]
    assert transactions_in(data) == (data,)
    assert open_app().process_proposal(abci.RequestProcessProposal(txs=[data])).status == abci.Verdict.REJECT


NESTED_KEYS = bytes.fromhex("789c5bb8100b48c00a0012fe1576")
"""43 bytes, packed into 14: 21 maps, each the key of the next. To compare them with their form took 3 s; each more doubles it."""


def test_a_bundle_of_maps_as_keys_is_refused_by_its_shape():  # [ABCI-24]
    with pytest.raises(InvalidInput) as caught:
        decode_cbor_strict(zlib.decompress(NESTED_KEYS), max_bytes=MAX_BUNDLE_BYTES)
    assert caught.value.code == "base.cbor_malformed"
    assert transactions_in(NESTED_KEYS) == (NESTED_KEYS,)


def test_a_stream_that_unpacks_to_a_thousand_times_its_bytes_is_unpacked_as_far_as_a_bundle_goes():  # [ABCI-24]
    bomb = packed(bytes(60 << 20))
    tracemalloc.start()
    assert transactions_in(bomb) == (bomb,)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(bomb) < 65_536
    assert peak < 4 * MAX_BUNDLE_BYTES


def test_a_bundle_of_the_most_bytes_is_one():  # [ABCI-24]
    raws = (bytes(MAX_BUNDLE_BYTES - 12), b"1234567")
    assert len(encode_cbor(list(raws))) == MAX_BUNDLE_BYTES
    assert transactions_in(encode_bundle(raws)) == raws


def test_a_bundle_that_cannot_be_packed_smaller_still_fits_the_mempool():  # [ABCI-24]
    raws = [hashlib.shake_256(bytes([number])).digest(504) for number in range(MAX_BUNDLED)]
    whole = encode_bundle(raws)
    assert 64_000 < sum(map(len, raws)) < len(whole) < 65_536
    assert transactions_in(whole) == tuple(raws)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        encode_cbor([]),
        encode_cbor([b"alone"]),
        encode_cbor([b"same", b"same"]),
        encode_cbor([b"bytes", "text"]),
        encode_cbor([b"bytes", [b"nested"]]),
        encode_cbor([b"%d" % n for n in range(MAX_BUNDLED + 1)]),
        encode_cbor([bytes(MAX_BUNDLE_BYTES // 2), bytes(MAX_BUNDLE_BYTES // 2 + 1)]),
        encode_cbor([b"a", b"b"]) + b"\x00",
        b"\x98\x02\x41a\x41b",
        b"\x9f\x41a\x41b\xff",
        b"\x82\x41a",
        b"\x9b" + b"\xff" * 8,
    ],
    ids=range(13),
)
def test_what_is_no_bundle_in_its_one_form_is_taken_for_a_transaction(data, roster, open_app):  # [ABCI-24]
    application = open_app()
    for whole in (data, packed(data)):
        assert transactions_in(whole) == (whole,)
        assert application.process_proposal(abci.RequestProcessProposal(txs=[whole])).status == abci.Verdict.REJECT
        [check] = application.mempool.check([abci.RequestCheckTx(tx=whole)])
        assert check.code == 1


def test_transactions_are_bundled_in_order_as_far_as_a_bundle_reaches():
    small = [b"%07d" % number for number in range(300)]
    assert [len(group) for group in split_bundles(small)] == [128, 128, 44]
    assert [raw for group in split_bundles([*small, small[0]]) for raw in group] == small
    large = [bytes([number]) * 30_000 for number in range(5)]
    assert [len(group) for group in split_bundles(large)] == [2, 2, 1]
    assert all(len(encode_bundle(group)) <= MAX_BUNDLE_BYTES for group in split_bundles(large))
    [alone] = split_bundles([bytes(70_000)])
    assert alone == [bytes(70_000)]


def test_a_proposal_holds_what_a_second_or_two_decide(roster, open_app):  # [ABCI-16]
    raws = [roster.note(number) for number in range(MAX_PROPOSED + 1)]
    proposal = open_app().prepare_proposal(abci.RequestPrepareProposal(txs=raws, max_tx_bytes=10**7))
    assert list(proposal.txs) == raws[:MAX_PROPOSED]
    bundles = [encode_bundle(raws[at : at + 100]) for at in range(0, 4_100, 100)]
    proposal = open_app().prepare_proposal(abci.RequestPrepareProposal(txs=bundles, max_tx_bytes=10**7))
    assert list(proposal.txs) == bundles[:40]


def test_packing_cannot_make_a_block_without_bounds(roster, open_app, monkeypatch):  # [ABCI-16]
    bundles = [encode_bundle([roster.note(number), roster.note(number + 1)]) for number in range(0, 6, 2)]
    unpacked = [sum(map(len, transactions_in(whole))) for whole in bundles]
    application = open_app()
    asked = abci.RequestPrepareProposal(txs=bundles, max_tx_bytes=10**7)
    for most, taken in [(sum(unpacked), 3), (sum(unpacked) - 1, 2), (sum(unpacked[:2]), 2)]:
        monkeypatch.setattr(application_module, "MAX_UNPACKED_BYTES", most)
        assert list(application.prepare_proposal(asked).txs) == bundles[:taken]
        status = application.process_proposal(abci.RequestProcessProposal(txs=bundles)).status
        assert (status == abci.Verdict.ACCEPT) == (taken == 3)
        # Whatever a correct proposer makes is accepted.
        made = abci.RequestProcessProposal(txs=bundles[:taken])
        assert application.process_proposal(made).status == abci.Verdict.ACCEPT


def test_a_block_has_room_for_so_much_work(roster, open_app, monkeypatch):  # [ABCI-16] [LEDGER-WORK-1]
    raws = [roster.note(number) for number in range(4)]
    bundles = [encode_bundle(raws[:2]), encode_bundle(raws[2:])]
    application = open_app()
    asked = abci.RequestPrepareProposal(txs=bundles, max_tx_bytes=10**7)
    for most, proposed in [(4 * 64, bundles), (4 * 64 - 1, bundles[:1]), (2 * 64 - 1, [])]:
        monkeypatch.setattr(application_module, "MAX_BLOCK_WORK", most)
        assert list(application.prepare_proposal(asked).txs) == proposed
        for txs in (bundles, proposed):
            status = application.process_proposal(abci.RequestProcessProposal(txs=txs)).status
            assert (status == abci.Verdict.ACCEPT) == (txs == proposed)


def test_a_transaction_stands_once_in_a_block_however_it_is_bundled(roster, open_app):  # [ABCI-16] [ABCI-25]
    raws = [roster.note(1), roster.note(2), roster.note(3)]
    one, turned = (encode_cbor(order) for order in (raws[:2], raws[1::-1]))
    spellings = [zlib.compress(form, level) for form in (one, turned) for level in (1, 9)]
    others = [raws[0], encode_bundle(raws[1:])]
    application = open_app()
    for wholes in (spellings, [spellings[0], *others], [*others, *spellings]):
        assert len(set(wholes)) == len(wholes)
        made = list(application.prepare_proposal(abci.RequestPrepareProposal(txs=wholes, max_tx_bytes=10**7)).txs)
        held = [raw for whole in made for raw in transactions_in(whole)]
        assert sorted(set(held)) == sorted(held)
        assert made[0] == wholes[0]
        for txs, verdict in ((made, abci.Verdict.ACCEPT), (wholes, abci.Verdict.REJECT)):
            assert application.process_proposal(abci.RequestProcessProposal(txs=txs)).status == verdict
    # What the block has no place for twice waits for a later one.
    proposal = abci.RequestPrepareProposal(txs=[spellings[0], raws[2]], max_tx_bytes=10**7)
    assert list(application.prepare_proposal(proposal).txs) == [spellings[0], raws[2]]


def test_a_bundle_waits_or_is_refused_as_a_whole_and_all_of_it_is_told(roster, open_app):  # [ABCI-25]
    application = open_app()
    good, other = roster.note(1), roster.note(2)
    broken = forged(roster.note(3))
    told = []
    application.mempool.on_refused(lambda raw, error: told.append((raw, error and error.code)))
    checks = application.mempool.check(
        [abci.RequestCheckTx(tx=encode_bundle(raws)) for raws in ([good, other], [roster.note(4), broken])]
    )
    assert [(check.code, check.codespace) for check in checks] == [(0, ""), (4, "ledger.signature_invalid")]
    assert [(raw == broken, code) for raw, code in told] == [(False, None), (True, "ledger.signature_invalid")]


def test_transactions_of_a_bundle_are_decided_one_by_one(roster, open_app):  # [ABCI-25]
    application, plain = open_app(), open_app()
    raws = [roster.note(1), roster.note(2), roster.note(1), roster.note(3)]
    bundles = [encode_bundle(raws[:2]), encode_bundle(raws[2:])]
    decided = []
    application.on_decided(decided.append)
    proposal = abci.RequestPrepareProposal(txs=[*bundles, bundles[0]], max_tx_bytes=10**6)
    assert list(application.prepare_proposal(proposal).txs) == bundles
    assert application.process_proposal(abci.RequestProcessProposal(txs=bundles)).status == abci.Verdict.ACCEPT
    found = finalize(application, *bundles)
    application.commit(abci.RequestCommit())
    # A bundle has the result of the first of its transactions that is refused.
    assert [(each.code, each.codespace) for each in found.tx_results] == [(0, ""), (3, "note.repeated")]
    [told] = decided
    assert [(raw, refusal and refusal.code) for raw, refusal in told.refusals] == [
        (raws[0], None),
        (raws[1], None),
        (raws[2], "note.repeated"),
        (raws[3], None),
    ]
    # The log knows nothing of bundles: the same transactions on their own give the same root.
    assert list(told.block.transactions) == [raws[0], raws[1], raws[3]]
    assert finalize(plain, *raws).app_hash == found.app_hash
    assert all(application.checker.cache.get(raw) is None for raw in raws)


def test_the_signatures_of_a_large_block_are_verified_elsewhere_with_the_same_result(roster, open_app):  # [ABCI-15]
    raws = [roster.note(number) for number in range(MIN_HANDED_ON)]
    raws[7] = forged(raws[7])
    verifier = ProcessVerifier(roster.suite, processes=1)
    inline, elsewhere = open_app(), open_app(verifier=verifier)
    found = finalize(elsewhere, *raws)
    assert found == finalize(inline, *raws)
    assert [number for number, each in enumerate(found.tx_results) if each.code] == [7]
    # What was only assumed is never remembered as proven.
    assert not any(elsewhere.checker.cache.get(raw) for raw in raws)


def met_for_the_first_time(roster):
    """A block of many groups: with a broken signature, junk, a repetition, and an answer to a note of its own."""
    raws = [roster.note(number) for number in range(6 * GROUP)]
    raws[7], raws[700], raws[800] = forged(raws[7]), b"junk", raws[3]
    raws[-20] = roster.answer(len(raws) - 30)
    return raws


def test_a_block_is_executed_while_it_is_verified_with_the_same_result(roster, open_app):  # [ABCI-15]
    raws = met_for_the_first_time(roster)
    verifier = ProcessVerifier(roster.suite, processes=2)
    streamed, known = open_app(verifier=verifier), open_app()
    known.recheck(raws)
    found = finalize(streamed, *raws)
    assert found == finalize(known, *raws)
    codes = {number: each.codespace for number, each in enumerate(found.tx_results) if each.code}
    assert codes == {7: "ledger.signature_invalid", 700: "ledger.tx_malformed", 800: "ledger.tx_replayed"}
    # Of what was executed as if all signatures held, nothing is left, neither in the block nor for the next one.
    for application in (streamed, known):
        application.commit(abci.RequestCommit())
    assert streamed.app_state.copy.head == known.app_state.copy.head
    # The note that was written as if its signature held is not there.
    again = roster.note(7)
    after = finalize(streamed, again)
    assert after == finalize(known, again)
    assert [0] == [each.code for each in after.tx_results]


def test_a_block_whose_verifiers_keep_dying_has_the_same_result(roster, open_app, monkeypatch):  # [ABCI-15]
    raws = met_for_the_first_time(roster)[: GROUP + 20]
    verifier = ProcessVerifier(roster.suite, processes=1)
    monkeypatch.setattr(verifier, "_suite_name", "unknown")
    os.kill(verifier._workers[0].process.pid, signal.SIGKILL)
    assert finalize(open_app(verifier=verifier), *raws) == finalize(open_app(), *raws)


@pytest.fixture
def node_rpc(tmp_path):
    """A CometBFT node that takes every transaction in, and the transactions."""
    taken: list[bytes] = []

    class Node(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            calls = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            taken.extend(base64.b64decode(call["params"]["tx"]) for call in calls)
            body = json.dumps([{"id": call["id"], "result": {}} for call in calls]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args):
            return

    server = UnixHttpServer(tmp_path / RPC_SOCKET, Node)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield tmp_path, taken
    server.shutdown()
    server.server_close()


def test_what_only_its_bundle_kept_out_is_handed_in_again(roster, tmp_path, node_rpc):  # [ABCI-25]
    comet, taken = node_rpc
    ledger = roster.open_ledger(tmp_path / "ledger", "node0", comet=comet)
    try:
        good, bad = roster.note(1), forged(roster.note(2))
        refused = ledger.submit(bad)
        assert refused.exception(timeout=PATIENCE_S).code == "ledger.signature_invalid"
        waiting = ledger.submit(good)
        wait_until(lambda: taken == [good])
        [check] = ledger.application.mempool.check([abci.RequestCheckTx(tx=encode_bundle([good, bad]))])
        assert check.codespace == "ledger.signature_invalid"
        wait_until(lambda: taken == [good, good])
        assert not waiting.done()
        # What nobody waits for here is not handed in again.
        ledger.application.mempool.check([abci.RequestCheckTx(tx=encode_bundle([roster.note(3), bad]))])
        finalize(ledger.application, good)
        ledger.application.commit(abci.RequestCommit())
        assert waiting.result(timeout=PATIENCE_S).height == 1
        assert taken == [good, good]
    finally:
        ledger.close()


def test_who_sends_much_gathers_and_who_sends_little_does_not_wait():
    assert [pause_after(count) for count in (0, 1, 3, 10, 128)] == [0.0, 0.02, 0.06, 0.2, 0.2]


def test_transactions_gather_into_a_bundle_until_it_is_full(roster, tmp_path, node_rpc, monkeypatch):
    monkeypatch.setattr(ledger_module, "pause_after", lambda count: 600.0 * count)
    comet, taken = node_rpc
    ledger = roster.open_ledger(tmp_path / "ledger", "node0", comet=comet)
    try:
        raws = [roster.note(number) for number in range(MAX_BUNDLED + 2)]
        futures = [ledger.submit(raws[0])]
        wait_until(lambda: taken == raws[:1])
        futures += [ledger.submit(raw) for raw in raws[1 : MAX_BUNDLED + 1]]
        wait_until(lambda: len(taken) == 2)
        assert transactions_in(taken[1]) == tuple(raws[1 : MAX_BUNDLED + 1])
        futures.append(ledger.submit(raws[-1]))
    finally:
        # Whoever still gathers when the ledger is closed is answered.
        ledger.close()
    assert {future.exception(timeout=PATIENCE_S).code for future in futures} == {"ledger.closed"}
    assert len(taken) == 2


def test_a_moment_without_memory_changes_neither_a_bundle_nor_a_block(roster, open_app, monkeypatch):
    """[LEDGER-SIGN-4]: what one node lacks must not be remembered of the bytes."""
    raws = [roster.note(1), roster.note(2)]
    whole = encode_bundle(raws)
    application = open_app()

    def fail(*_arguments, **_options):
        raise MemoryError

    class Unpacker:
        def decompress(self, *_arguments):
            raise zlib.error("Error -4 while decompressing data: out of memory")

    for place, name, stand_in in ((cbor2, "loads", fail), (zlib, "decompressobj", Unpacker)):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, stand_in)
            with pytest.raises(MemoryError):
                transactions_in(whole)
    assert transactions_in(whole) == tuple(raws)
    with monkeypatch.context() as patch:
        patch.setattr(cbor2, "loads", fail)
        with pytest.raises(MemoryError):
            application.checker.candidates(raws, application.app_state.copy.current)
    assert [each.code for each in finalize(application, whole).tx_results] == [0]
