"""How one member asks another one: at its address of today, by a key that is heard, and never longer than it may take."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from patience import PATIENCE_S
from shuiqiao.base.clock import SystemClock
from shuiqiao.base.errors import IntegrityError, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import MemberId, system_entropy
from shuiqiao.client.problem import MEDIA_TYPE, problem_of
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.transactions.document import decode_document
from shuiqiao.node.peers import acts
from shuiqiao.node.peers.acts import encode_wire
from shuiqiao.node.peers.asking import ANSWER_TYPE, PeerClient
from shuiqiao.node.peers.directory import PeerDirectory
from shuiqiao.node.peers.message import PEER_MESSAGE, Act, MessageSigner, PeerMessage

SUITE = get_suite("intl")
NETWORK = bytes(range(32))
BANK, BUREAU = MemberId("bank-east"), MemberId("bureau")
OLD, NEXT = (SUITE.signing_key_from_seed(bytes([number]) * 32) for number in (1, 2))


class Bureau:
    """A server that hears messages of one key alone, and answers with a size of its own."""

    def __init__(self, *, size: int, key=OLD) -> None:
        self.heard = []
        bureau = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_words: object) -> None:
                """Say nothing."""

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                document = decode_document(
                    raw, PeerMessage, name=PEER_MESSAGE, network=NETWORK, suite=SUITE, max_bytes=1 << 20
                )
                bureau.heard.append((self.path, self.headers["Content-Type"], document.body))
                if document.signatures[0].key_id != key.key_id:
                    refused = problem_of(IntegrityError("ledger.document_signers_wrong", "another key signs"))
                    return self._answer(422, MEDIA_TYPE, refused.model_dump_json().encode())
                return self._answer(200, ANSWER_TYPE, encode_wire(acts.OfSize(size=size)))

            def _answer(self, status: int, kind: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def bureaus():
    opened = []

    def start(**more):
        opened.append(Bureau(**more))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


def client_of(url, *keys):
    signer = MessageSigner(
        member=BANK, network=NETWORK, suite=SUITE, keys=keys or (OLD,), clock=SystemClock(), entropy=system_entropy
    )
    return PeerClient(signer=signer, directory=PeerDirectory(listed={BUREAU: url}, state=lambda: None))


def size_of(client, **more):
    return client.ask(BUREAU, Act.WITNESSED_SIZE, acts.OfOrigin(origin="log"), answer=acts.OfSize, **more).size


def test_a_question_is_a_signed_message_under_the_name_of_its_act(bureaus):
    """[PEER-1]"""
    bureau = bureaus(size=7)
    client = client_of(bureau.url)
    assert [size_of(client), size_of(client)] == [7, 7]
    (path, kind, first), (_, _, second) = bureau.heard
    assert (path, kind) == ("/peer/v1/witness.size", "application/cose")
    assert (first.act, first.sender, first.receiver) == ("witness.size", BANK, BUREAU)
    assert first.nonce != second.nonce
    client.close()


def test_a_member_that_is_behind_its_own_rotation_is_heard_by_its_next_key(bureaus):
    """Else it could not fetch the block that says so."""
    bureau = bureaus(size=7, key=NEXT)
    client = client_of(bureau.url, OLD, NEXT)
    assert size_of(client) == 7
    client.close()
    alone = client_of(bureau.url, OLD)
    with pytest.raises(IntegrityError, match=r"ledger\.document_signers_wrong"):
        size_of(alone)
    alone.close()


def test_a_member_that_moved_is_asked_where_it_is(bureaus):
    first, second = bureaus(size=1), bureaus(size=2)
    client = client_of(first.url)
    assert size_of(client) == 1
    client.directory = PeerDirectory(listed={BUREAU: second.url}, state=lambda: None)
    assert size_of(client) == 2
    client.close()


def test_another_answer_than_was_asked_for_is_none(bureaus):
    client = client_of(bureaus(size=7).url)
    with pytest.raises(Unavailable, match=r"peer\.answer_malformed"):
        client.ask(BUREAU, Act.COSIGN, b"", answer=acts.Line)
    client.close()


def test_who_is_closed_asks_no_more_and_waits_for_nobody():
    """[PEER-5]"""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client = client_of(f"http://127.0.0.1:{listener.getsockname()[1]}")
        told = []

        def ask():
            try:
                size_of(client, timeout_s=PATIENCE_S)
            except ShuiqiaoError as error:
                told.append(error)

        waiting = threading.Thread(target=ask)
        waiting.start()
        link, _ = listener.accept()
        with link:
            link.recv(1 << 16)
            client.finish_within(0.05)
            waiting.join(timeout=PATIENCE_S / 2)
            assert [type(each) for each in told] == [Unavailable]
        with pytest.raises(Unavailable, match=r"client\.unreachable"):
            size_of(client)
