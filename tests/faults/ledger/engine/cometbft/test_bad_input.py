"""Garbage at every door of a consortium while it works: refused with codes, and never a halt.

The ABCI socket, CometBFT's RPC, the transactions themselves, and the proposals of a validator that means ill. [ABCI-3]
[ABCI-4] [ABCI-12] [ABCI-16]
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import random
import socket

import pytest

from cometbft_world import AbciClient, ask_application, broadcast
from consensus_world import Consortium, Load, Roster, wait_until
from patience import PATIENCE_S
from shuiqiao.base.errors import InvalidInput, ShuiqiaoError
from shuiqiao.ledger.engine.cometbft.abci import messages as abci
from shuiqiao.ledger.engine.cometbft.abci.server import MAX_CONNECTIONS
from shuiqiao.ledger.engine.cometbft.abci.wire import MAX_FRAME_BYTES, encode_uvarint
from shuiqiao.ledger.engine.cometbft.comet.home import APP_SOCKET, RPC_SOCKET
from shuiqiao.ledger.engine.cometbft.comet.rpc import UnixConnection

NAMES = ("node0", "node1", "node2", "node3")


@pytest.fixture
def consortium(tmp_path):
    consortium = Consortium(tmp_path, Roster())
    consortium.start()
    yield consortium
    consortium.close()


def hostile_frames():
    """Bytes that end their connection, and the code that they end it with."""
    source = random.Random(7)
    block = abci.REQUESTS.encode(abci.RequestFinalizeBlock(txs=[b"t" * 40] * 3, height=1))
    cut = bytes(abci.REQUESTS.encode(abci.RequestQuery(data=b"d" * 30, path="/state")))
    inner = cut[1:]
    return [
        (encode_uvarint(MAX_FRAME_BYTES + 1), "ledger.abci_frame_too_long"),
        (encode_uvarint(1 << 62) + b"\x00" * 64, "ledger.abci_frame_too_long"),
        (b"\x80" * 11, "ledger.abci_malformed"),
        (b"\xff" * 9 + b"\x7f", "ledger.abci_malformed"),
        # A length inside that goes beyond its message, and a nesting that says more than there is.
        (encode_uvarint(len(inner) - 5) + inner[:-5], "ledger.abci_malformed"),
        (block[:2] + b"\xff" * (len(block) - 2), "ledger.abci_malformed"),
        # A call of no version, two calls in one message, none at all.
        (b"\x03\xfa\x7f\x00", "ledger.abci_call_unknown"),
        (b"\x04\x12\x00\x12\x00", "ledger.abci_malformed"),
        (b"\x00", "ledger.abci_malformed"),
        (b"\x02\x0b\x0c", "ledger.abci_malformed"),
        (b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello" * 4, "ledger.abci_malformed"),
        *[(b"\x7f" + source.randbytes(127) * 3, None) for _ in range(40)],
    ]


def test_hostile_frames_on_the_socket_of_a_working_validator(consortium):
    ledger = consortium.ledgers["node1"]
    load = Load(consortium.roster, [consortium.ledgers[name] for name in NAMES if name != "node1"], in_flight=8)
    address = consortium.network.home("node1") / APP_SOCKET
    codes = []
    for data, code in hostile_frames():
        known = len(ledger.faults)
        client = AbciClient(address)
        with contextlib.suppress(ConnectionError):
            client.socket.sendall(data)
            client.socket.shutdown(socket.SHUT_WR)
        assert client.is_closed()
        if code is not None:
            wait_until(lambda known=known: len(ledger.faults) > known)
            codes.append((ledger.faults[-1].code, code))
    assert [(code, code) for _, code in codes] == codes
    assert {fault.code for fault in ledger.faults} <= {
        "ledger.abci_malformed",
        "ledger.abci_frame_too_long",
        "ledger.abci_call_unknown",
    }
    # More connections than there may be, that send half a request and wait: the node's own four stay as they are.
    slow = [AbciClient(address) for _ in range(2 * MAX_CONNECTIONS)]
    for client in slow:
        with contextlib.suppress(ConnectionError):
            client.socket.sendall(abci.REQUESTS.encode(abci.RequestCheckTx(tx=b"x" * 200))[:100])
    load.go_on(20)
    # Its CometBFT may even be started anew beside them.
    node = consortium.network.nodes["node1"]
    node.kill()
    node.start()
    load.go_on(20)
    wait_until(lambda: not node_status(node).is_catching_up)
    load.stop()
    for client in slow:
        client.close()
    wait_until(lambda: len(consortium.app_hashes()) == 1)


def node_status(node):
    return node.wait_for_height(1, timeout_s=PATIENCE_S)


def post(path, body, *, headers=None):
    """Send a body to a node's RPC and return what it answers, an empty answer where it ends the connection."""
    connection = UnixConnection(path, timeout_s=PATIENCE_S)
    try:
        connection.request("POST", "/", body=body, headers=headers or {"Content-Type": "application/json"})
        return connection.getresponse().read()
    except (http.client.HTTPException, OSError):
        return b""
    finally:
        connection.close()


def test_garbage_on_the_rpc(consortium):
    roster = consortium.roster
    path = consortium.network.home("node2") / RPC_SOCKET
    rpc = consortium.network.nodes["node2"].rpc
    source = random.Random(8)

    # Bytes that are no transaction, in growing number; a transaction with a byte changed; one cut off.
    good = roster.note(1)
    for raw, code in [
        *[(source.randbytes(size), "ledger.tx_malformed") for size in (0, 1, 100, 10_000)],
        (b"\xd8\x62" + bytes(62_000), "ledger.tx_too_large"),
        (good[:-1] + bytes([good[-1] ^ 1]), "ledger.signature_invalid"),
        (good[:-1], "ledger.tx_malformed"),
        (good + b"\x00", "ledger.tx_malformed"),
    ]:
        found = broadcast(rpc, raw)
        assert (found["code"] != 0, found["codespace"]) == (True, code)
    # More than CometBFT itself takes: refused there, by its mempool and by the bound on a request.
    with pytest.raises(InvalidInput) as giant:
        broadcast(rpc, b"\xd8\x62" + bytes(90_000))
    assert giant.value.code == "ledger.rpc_refused"
    for size in (2 * 1024 * 1024, 20 * 1024 * 1024):
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "broadcast_tx_sync", "params": {"tx": "A" * size}})
        assert b'"code":0' not in post(path, body).replace(b" ", b"")
    # What is no JSON-RPC.
    for body in (b"{", b"\xff" * 1000, b"[" * 100_000, b'{"jsonrpc":"2.0","method":"no_such","id":1}', b"[]"):
        assert b'"result"' not in post(path, body)
    # Questions to the application.
    assert ask_application(rpc, "/nothing", b"\xff" * 100)["codespace"] == "ledger.query_unknown"
    for key in (b"", b"\xff\xfe", b"k" * 100_000, source.randbytes(600)):
        assert base64.b64decode(ask_application(rpc, "/state", key)["value"]) == b"\xf6"
    # After all this the node is there, and takes the one that is good.
    assert broadcast(rpc, good)["code"] == 0
    wait_until(lambda: all(each.state().get(f"note/entry/{1:032x}") for each in consortium.ledgers.values()))
    assert [ledger.faults for ledger in consortium.ledgers.values()] == [()] * 4


def results_everywhere(consortium, raws):
    """Return what each node's CometBFT says of transactions: (our code or empty, height), the same at all nodes."""
    told = []
    for name in NAMES:
        rpc = consortium.network.nodes[name].rpc
        found = {}
        for height in range(1, consortium.ledgers[name].application.app_state.height + 1):
            results = rpc.call("block_results", height=str(height))["txs_results"] or ()
            for raw, result in zip(rpc.block_transactions(height), results, strict=True):
                found[raw] = (result.get("codespace", ""), result["code"] == 0, height)
        told.append([found[raw] for raw in raws])
    assert all(each == told[0] for each in told)
    return told[0]


def refusals(futures):
    """The code of each refusal, empty for what was accepted."""
    errors = [future.exception(timeout=PATIENCE_S) for future in futures]
    return [error.code if isinstance(error, ShuiqiaoError) else str(error or "") for error in errors]


def test_conflicts_and_repeats_are_decided_once_and_alike_everywhere(consortium):
    roster, ledgers = consortium.roster, consortium.ledgers
    # Valid alone, the same business key: in one block, handed in at one node.
    rivals = [roster.note(7, author=name) for name in NAMES]
    found = refusals([ledgers["node0"].submit(raw) for raw in rivals])
    assert sorted(found) == ["", "note.repeated", "note.repeated", "note.repeated"]
    # Valid alone, the same author and id, other bodies.
    twins = [roster.note(number, tx_id=b"i" * 16) for number in range(20, 24)]
    found = refusals([ledgers["node0"].submit(raw) for raw in twins])
    assert sorted(found) == ["", "ledger.tx_replayed", "ledger.tx_replayed", "ledger.tx_replayed"]
    # The very same bytes at all four nodes at once: one leaf, and all four hear of the same one.
    same = roster.note(30)
    places = {future.result(timeout=PATIENCE_S) for future in [ledgers[name].submit(same) for name in NAMES]}
    assert len(places) == 1
    # The same id in other bytes at all four nodes at once.
    scattered = [roster.note(40 + number, tx_id=b"j" * 16) for number in range(4)]
    found = refusals([ledgers[name].submit(raw) for name, raw in zip(NAMES, scattered, strict=True)])
    assert sorted(found) == ["", "ledger.tx_replayed", "ledger.tx_replayed", "ledger.tx_replayed"]

    wait_until(lambda: len(consortium.app_hashes()) == 1)
    decided = results_everywhere(consortium, [same])
    assert [(code, is_accepted) for code, is_accepted, _ in decided] == [("", True)]
    stored = [raw for block in ledgers["node3"].blocks(from_height=1) for raw in block.transactions]
    assert len(stored) == len(set(stored)) == 4
    assert [sum(raw in stored for raw in group) for group in (rivals, twins, [same], scattered)] == [1, 1, 1, 1]


def spoilt_proposals(good):
    """What a proposer that means ill makes of the transactions that wait, one after another."""
    return [
        lambda txs: [*txs, b"\xff" * 1000],
        lambda _txs: [b"", b"\x00"],
        lambda txs: [*txs, good, good],
        lambda txs: [*txs, b"\xd8\x62" + bytes(200_000)],
        lambda _txs: [bytes([number]) * 60_000 for number in range(60)],
        # More than a block may have: its own CometBFT does not go along with that.
        lambda txs: [*txs, *[bytes([number]) * 60_000 for number in range(80)]],
    ]


def test_proposals_of_a_validator_that_means_ill_are_voted_down(consortium):
    roster, ledgers = consortium.roster, consortium.ledgers
    spoils = spoilt_proposals(roster.note(999))
    byzantine = ledgers["node3"].application
    prepare, proposed = byzantine.prepare_proposal, []

    def prepare_proposal(request):
        spoil = spoils[min(len(proposed), len(spoils) - 1)]
        proposed.append(spoil(list(prepare(request).txs)))
        return abci.ResponsePrepareProposal(txs=proposed[-1])

    ledgers["node3"]._server._answers[abci.RequestPrepareProposal] = prepare_proposal
    honest = [ledgers[name] for name in NAMES[:3]]
    sent = 0
    while len(proposed) < len(spoils) or sent < 6:
        # It proposes in its turn, within a few heights.
        assert sent < 60
        honest[sent % 3].submit(roster.note(sent)).result(timeout=PATIENCE_S)
        sent += 1
    for number in range(100, 104):
        honest[number % 3].submit(roster.note(number)).result(timeout=PATIENCE_S)
    wait_until(lambda: len(consortium.app_hashes(NAMES[:3])) == 1)
    stored = [raw for block in honest[0].blocks(from_height=1) for raw in block.transactions]
    assert len(stored) == sent + 4
    assert [ledger.faults for ledger in honest] == [()] * 3
    # No block that was decided holds any of it.
    rpc = consortium.network.nodes["node0"].rpc
    heights = range(1, honest[0].application.app_state.height + 1)
    assert [raw for height in heights for raw in rpc.block_transactions(height)] == stored
