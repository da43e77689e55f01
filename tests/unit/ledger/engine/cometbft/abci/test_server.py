"""The socket server against a real client: order, runs, hostile bytes, exceptions, many connections."""

from __future__ import annotations

import contextlib
import socket

import pytest

from cometbft_world import AbciClient, Tally
from shuiqiao.base.errors import IntegrityError, Unavailable
from shuiqiao.ledger.engine.cometbft.abci import messages as abci
from shuiqiao.ledger.engine.cometbft.abci.server import MAX_CONNECTIONS, AbciServer
from shuiqiao.ledger.engine.cometbft.abci.wire import encode_uvarint
from stranger import told_to_a_stranger


@pytest.fixture
def tally():
    return Tally()


@pytest.fixture
def server(tally, tmp_path):
    server = AbciServer(tally.answers, path=tmp_path / "app.sock", on_fault=tally.faults.append)
    yield server
    server.close()


@pytest.fixture
def client(server):
    client = AbciClient(server.path)
    yield client
    client.close()


def wait_for_faults(tally, client) -> list[str]:
    assert client.is_closed()
    return [fault.code for fault in tally.faults]


def test_pipelined_calls_are_answered_in_order(client):  # [ABCI-5]
    found = client.ask(
        abci.RequestEcho(message="a"),
        abci.RequestCheckTx(tx=b"good"),
        abci.RequestCheckTx(tx=b"bad"),
        abci.RequestFlush(),
        abci.RequestQuery(data=b"abc"),
        abci.RequestLoadSnapshotChunk(chunk=3),
    )
    assert found == [
        abci.ResponseEcho(message="a"),
        abci.ResponseCheckTx(),
        abci.ResponseCheckTx(code=7, log="bad", codespace="tally"),
        abci.ResponseFlush(),
        abci.ResponseQuery(value=b"cba"),
        abci.ResponseLoadSnapshotChunk(chunk=b"chunk 3"),
    ]


def test_a_long_run_of_checks_is_answered_one_by_one(client):
    found = client.ask(*[abci.RequestCheckTx(tx=b"bad" if n % 3 else b"good %d" % n) for n in range(1000)])
    assert [each.code for each in found] == [7 if n % 3 else 0 for n in range(1000)]


def test_a_request_may_arrive_byte_by_byte(client):
    for byte in abci.REQUESTS.encode(abci.RequestEcho(message="slow")):
        client.socket.sendall(bytes((byte,)))
    assert client.receive(1) == [abci.ResponseEcho(message="slow")]


def test_a_request_may_arrive_in_two_parts_behind_others(client):
    data = b"".join(abci.REQUESTS.encode(abci.RequestCheckTx(tx=b"t" * 300)) for _ in range(300))
    for cut in (50_000, 90_000):
        client.socket.sendall(data[:cut])
        found = client.receive(cut // 308)
        client.socket.sendall(data[cut:])
        assert len(found) + len(client.receive(300 - len(found))) == 300


def test_a_large_block_arrives_whole(client, tally):
    txs = [bytes([n % 251]) * 60_000 for n in range(60)]
    [found] = client.ask(abci.RequestFinalizeBlock(txs=txs, height=1))
    assert len(found.tx_results) == 60
    assert tally.pending == txs


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 10, "ledger.abci_malformed"),
        (encode_uvarint(1 << 40), "ledger.abci_frame_too_long"),
        (b"\xff" * 64, "ledger.abci_malformed"),
        (b"\x02\x22\x00", "ledger.abci_call_unknown"),
        (b"\x00", "ledger.abci_malformed"),
        (b"\x04\x42\x02\x08\x01", "ledger.abci_malformed"),
    ],
)
def test_hostile_bytes_end_their_connection_and_no_other(data, code, tally, server, client):  # [ABCI-4]
    hostile = AbciClient(server.path)
    hostile.socket.sendall(data)
    assert wait_for_faults(tally, hostile) == [code]
    assert client.ask(abci.RequestEcho(message="still here")) == [abci.ResponseEcho(message="still here")]


def test_a_request_cut_short_ends_quietly(tally, server, client):
    hostile = AbciClient(server.path)
    hostile.socket.sendall(abci.REQUESTS.encode(abci.RequestEcho(message="cut"))[:-1])
    hostile.socket.shutdown(socket.SHUT_WR)
    assert wait_for_faults(tally, hostile) == []
    assert client.ask(abci.RequestFlush()) == [abci.ResponseFlush()]


class Broken(Tally):
    def commit(self, request):
        raise IntegrityError("ledger.state_diverged", "it does not follow")

    def info(self, request):
        raise KeyError("oops")


@pytest.mark.parametrize(
    ("request_", "text", "code"),
    [
        (abci.RequestCommit(), "ledger.state_diverged: it does not follow", "ledger.state_diverged"),
        (abci.RequestInfo(), "KeyError: 'oops'", "ledger.abci_call_failed"),
    ],
)
def test_an_application_that_cannot_go_on_answers_an_exception(request_, text, code, tmp_path):  # [ABCI-6]
    broken = Broken()
    server = AbciServer(broken.answers, path=tmp_path / "app.sock", on_fault=broken.faults.append)
    client = AbciClient(server.path)
    assert client.ask(request_) == [abci.ResponseException(error=text)]
    assert wait_for_faults(broken, client) == [code]
    server.close()


def test_connections_are_bounded(tally, server):
    clients = [AbciClient(server.path) for _ in range(MAX_CONNECTIONS)]
    for each in clients:
        each.ask(abci.RequestFlush())
    assert wait_for_faults(tally, AbciClient(server.path)) == ["ledger.abci_connections_full"]
    assert clients[0].ask(abci.RequestFlush()) == [abci.ResponseFlush()]
    for each in clients:
        each.close()


def test_connections_that_never_ask_anything_make_room(tally, server):  # [ABCI-4]
    """Some send nothing, some a part of a request: a node that starts finds room all the same."""
    node = AbciClient(server.path)
    assert node.ask(abci.RequestFlush()) == [abci.ResponseFlush()]
    slow = [AbciClient(server.path) for _ in range(MAX_CONNECTIONS - 1)]
    for each in slow[::2]:
        with contextlib.suppress(ConnectionError):
            each.socket.sendall(abci.REQUESTS.encode(abci.RequestEcho(message="x" * 100))[:50])
    again = [AbciClient(server.path) for _ in range(4)]
    for each in [node, *again]:
        assert each.ask(abci.RequestFlush()) == [abci.ResponseFlush()]
    assert tally.faults == []
    for each in [node, *again, *slow]:
        each.close()


def test_a_stranger_decides_no_block(tally, server, client, monkeypatch):  # [ABCI-29]
    assert client.ask(abci.RequestFlush()) == [abci.ResponseFlush()]
    calls = (abci.RequestFinalizeBlock(txs=[b"mine"], height=1), abci.RequestCommit(), abci.RequestFlush())
    block = b"".join(map(abci.REQUESTS.encode, calls))
    for _ in range(MAX_CONNECTIONS):
        assert told_to_a_stranger(server.path, block, monkeypatch=monkeypatch) == b""
    assert [fault.code for fault in tally.faults] == ["ledger.abci_peer_foreign"] * MAX_CONNECTIONS
    assert (tally.pending, tally.height) == ([], 0)
    # Who was let in before goes on.
    assert client.ask(abci.RequestFlush()) == [abci.ResponseFlush()]


def test_a_socket_deeper_than_an_address_is_long(tally, tmp_path):  # [ABCI-29]
    path = tmp_path / ("d" * 100) / ("e" * 100) / "abci.sock"
    server = AbciServer(tally.answers, path=path, on_fault=tally.faults.append)
    client = AbciClient(path)
    assert client.ask(abci.RequestFlush()) == [abci.ResponseFlush()]
    assert path.parent.stat().st_mode & 0o777 == 0o700
    client.close()
    server.close()


def test_the_socket_is_the_owners_and_a_left_over_one_is_replaced(tally, tmp_path):
    path = tmp_path / "app.sock"
    holder = socket.socket(socket.AF_UNIX)
    holder.bind(str(path))
    holder.close()
    server = AbciServer(tally.answers, path=path, on_fault=tally.faults.append)
    assert path.stat().st_mode & 0o777 == 0o600
    server.close()
    assert not path.exists()


def test_a_socket_that_cannot_be_made_is_told_so(tally, tmp_path):
    (tmp_path / "app.sock").mkdir()
    with pytest.raises(Unavailable) as raised:
        AbciServer(tally.answers, path=tmp_path / "app.sock", on_fault=tally.faults.append)
    assert raised.value.code == "ledger.abci_address_taken"
