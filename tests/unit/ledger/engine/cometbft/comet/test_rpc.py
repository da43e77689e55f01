"""The RPC client against answers that are right, wrong, endless and absent."""

from __future__ import annotations

import http.server
import json
import os
import threading
from typing import ClassVar

import pytest

from cometbft_world import UnixHttpServer
from patience import PATIENCE_S
from shuiqiao.base.errors import IntegrityError, InvalidInput, Unavailable
from shuiqiao.ledger.engine.cometbft.comet import rpc as rpc_module
from shuiqiao.ledger.engine.cometbft.comet.rpc import RpcClient


@pytest.fixture
def node(tmp_path):
    """A node that answers with what a test puts into ``answers``, and keeps what it was asked."""

    class Node(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        answers: ClassVar[list] = []
        asked: ClassVar[list] = []

        def do_POST(self):
            Node.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            found = Node.answers.pop(0)
            status, body = found if isinstance(found, tuple) else (200, json.dumps(found).encode())
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args):
            return

    server = UnixHttpServer(tmp_path / "rpc.sock", Node)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client = RpcClient(tmp_path / "rpc.sock", timeout_s=PATIENCE_S)
    yield Node, client
    client.close()
    server.shutdown()
    server.server_close()


ASKED = {
    "status": lambda client: client.status(),
    "validators": lambda client: client.validator_keys(),
    "net_info": lambda client: client.peer_count(),
    "block": lambda client: client.block_transactions(1),
}
SHAPES = [None, [], {}, "text", 7, {"n_peers": "many"}, {"block": {"data": []}}, {"validators": [{}]}]


@pytest.mark.parametrize("method", ASKED)
@pytest.mark.parametrize("result", SHAPES, ids=map(str, SHAPES))
def test_an_answer_of_another_shape_is_called_that(method, result, node):
    handler, client = node
    handler.answers = [{"id": 0, "result": result}]
    with pytest.raises(IntegrityError, match=rf"^ledger\.rpc_malformed: .*{method} lacks or misspells"):
        ASKED[method](client)


@pytest.mark.parametrize("number", [b"1e999", b"Infinity", b"NaN"])
def test_a_number_that_is_not_finite_is_called_that(number, node):
    handler, client = node
    handler.answers = [(200, b'{"id":0,"result":{"n_peers":%s}}' % number)]
    with pytest.raises(IntegrityError, match=r"^ledger\.rpc_malformed: .*net_info lacks or misspells"):
        client.peer_count()


@pytest.mark.parametrize("answers", [[{"id": []}], [{"id": {}}, {"id": 1}], []])
def test_a_batch_answered_by_none_is_called_that(answers, node):
    handler, client = node
    for raws in ([b"a"], [b"a", b"b"]):
        handler.answers = [answers]
        with pytest.raises(IntegrityError, match=r"^ledger\.rpc_malformed"):
            client.broadcast_many(raws)


def test_a_batch_gives_each_its_answer_in_whatever_order_they_come(node):
    handler, client = node
    handler.answers = [
        [{"id": 1, "error": {"message": "Internal error", "data": "mempool is full"}}, {"id": 0, "result": {}}]
    ]
    taken, refused = client.broadcast_many([b"a", b"b"])
    assert taken is None
    assert "mempool is full" in str(refused)
    assert [call["params"] for call in handler.asked[-1]] == [{"tx": "YQ=="}, {"tx": "Yg=="}]


@pytest.mark.parametrize(
    ("found", "error", "code"),
    [
        ({"id": 0, "error": {"code": -1, "message": "no", "data": "height"}}, InvalidInput, "ledger.rpc_refused"),
        ({"id": 0}, IntegrityError, "ledger.rpc_malformed"),
        ([], IntegrityError, "ledger.rpc_malformed"),
        ((200, b"<html>"), IntegrityError, "ledger.rpc_malformed"),
        ((404, b"{}"), IntegrityError, "ledger.rpc_malformed"),
        ({"id": 0, "result": {"node_info": {}}}, IntegrityError, "ledger.rpc_malformed"),
    ],
)
def test_answers_that_are_none_are_refused(found, error, code, node):
    handler, client = node
    handler.answers = [found]
    with pytest.raises(error) as raised:
        client.status()
    assert raised.value.code == code


def test_the_keys_whose_votes_count_are_read_from_base64(node):
    handler, client = node
    rows = [{"pub_key": {"value": "AAE="}, "voting_power": "10"}, {"pub_key": {"value": "Ag=="}, "voting_power": "10"}]
    handler.answers = [{"id": 0, "result": {"validators": rows}}]
    assert client.validator_keys() == {b"\x00\x01", b"\x02"}


@pytest.mark.parametrize("result", [{}, {"validators": None}, {"validators": [{"pub_key": {"value": "A"}}]}, []])
def test_validators_that_cannot_be_read_are_refused(result, node):
    handler, client = node
    handler.answers = [{"id": 0, "result": result}]
    with pytest.raises(IntegrityError) as raised:
        client.validator_keys()
    assert raised.value.code == "ledger.rpc_malformed"


def test_an_answer_is_bounded(node, monkeypatch):
    handler, client = node
    monkeypatch.setattr(rpc_module, "MAX_ANSWER_BYTES", 1000)
    handler.answers = [(200, b" " * 2000)]
    with pytest.raises(IntegrityError) as raised:
        client.status()
    assert raised.value.code == "ledger.rpc_malformed"


def test_a_batch_with_missing_answers_is_refused(node):
    handler, client = node
    handler.answers = [[{"id": 0, "result": {}}]]
    with pytest.raises(IntegrityError) as raised:
        client.broadcast_many([b"a", b"b"])
    assert raised.value.code == "ledger.rpc_malformed"


def test_a_node_that_is_not_there_is_unavailable(tmp_path):
    client = RpcClient(tmp_path / "rpc.sock", timeout_s=1)
    with pytest.raises(Unavailable) as raised:
        client.status()
    assert raised.value.code == "ledger.rpc_unreachable"


def test_another_users_process_is_no_node(node, monkeypatch):  # [ABCI-29]
    handler, client = node
    stranger = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: stranger)
    with pytest.raises(Unavailable, match="another user") as raised:
        client.status()
    assert (raised.value.code, handler.asked) == ("ledger.rpc_unreachable", [])
