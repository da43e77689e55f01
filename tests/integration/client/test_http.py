"""The client before servers that are not what they should be: each is a server of raw bytes on a real socket [API-12]."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable

import pytest

from patience import PATIENCE_S
from shuiqiao.base.errors import Denied, IntegrityError, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.client import request_id
from shuiqiao.client.http import HttpClient
from shuiqiao.client.operation import Operation
from shuiqiao.client.pages import PageQuery, read_pages
from shuiqiao.client.resources.members import MemberPage
from tls_world import make_certificate

LIST = Operation(method="GET", path="/x", sent=PageQuery, told=MemberPage)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}"


class RawServer:
    """Answers each connection with what a function writes; keeps what it was sent first."""

    def __init__(self, answer: Callable[[socket.socket], None], *, context: ssl.SSLContext | None = None) -> None:
        self.heard: list[bytes] = []
        self._answer = answer
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(PATIENCE_S)
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                link, _ = self._listener.accept()
                threading.Thread(target=self._speak, args=(link,), daemon=True).start()

    def _speak(self, link: socket.socket) -> None:
        with contextlib.suppress(OSError), link:
            link.settimeout(PATIENCE_S)
            found = link if self._context is None else self._context.wrap_socket(link, server_side=True)
            with found:
                self.heard.append(found.recv(65_536))
                self._answer(found)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def served():
    """Start raw servers that end with the test."""
    servers: list[RawServer] = []

    def start(answer, *, context=None):
        servers.append(RawServer(answer, context=context))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def refused(client: HttpClient, **options) -> ShuiqiaoError:
    with client, pytest.raises(ShuiqiaoError) as found:
        client.get("/x", **options)
    return found.value


def at(server: RawServer, **options) -> HttpClient:
    return HttpClient(f"http://127.0.0.1:{server.port}", **options)


def test_token_and_request_id_go_along_and_nothing_of_the_environment(served, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    server = served(lambda link: link.sendall(OK))
    token = request_id.current.set("request-of-a-test")
    try:
        with at(server, token="secret") as client:
            assert client.get("/x").body == b"{}"
    finally:
        request_id.current.reset(token)
    heard = server.heard[0].lower()
    assert b"authorization: bearer secret\r\n" in heard
    assert b"x-request-id: request-of-a-test\r\n" in heard
    assert b"accept-encoding: identity\r\n" in heard


def test_a_redirect_is_not_followed(served):
    other = served(lambda link: link.sendall(OK))
    away = f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{other.port}/y\r\nContent-Length: 0\r\n\r\n".encode()
    error = refused(at(served(lambda link: link.sendall(away)), token="secret"))
    assert (error.code, f":{other.port}/y" in error.message) == ("client.redirected", True)
    assert other.heard == []


@pytest.mark.parametrize(
    "head",
    [b"Content-Length: 1001\r\n\r\n" + b"x" * 1_001, b"Transfer-Encoding: chunked\r\n\r\n" + b"3e9\r\n" + b"x" * 1_001],
    ids=["declared", "chunked"],
)
def test_an_answer_that_is_too_large_is_not_read_to_its_end(served, head):
    server = served(lambda link: link.sendall(b"HTTP/1.1 200 OK\r\n" + head + b"x" * 100_000))
    assert refused(at(server), max_bytes=1_000).code == "client.answer_too_large"


def test_an_answer_that_is_packed_is_not_unpacked(served):
    packed = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"
    assert refused(at(served(lambda link: link.sendall(packed)))).code == "client.answer_foreign"


def test_what_is_no_http_is_told(served):
    assert refused(at(served(lambda link: link.sendall(b"SSH-2.0-x\r\n\r\n")))).code == "client.answer_foreign"


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nx",
    ],
    ids=["nothing", "declared", "chunked"],
)
def test_a_server_that_ends_in_the_middle_of_its_answer_is_told_as_that(served, said):
    error = refused(at(served(lambda link: link.sendall(said))))
    assert (error.code, error.retry_after_s is not None) == ("client.unreachable", True)
    assert "before its answer was whole: whether it did what was asked is not known here" in error.message


def drip(link: socket.socket) -> None:
    for byte in OK * 1_000:
        link.sendall(bytes([byte]))
        time.sleep(0.02)


def drip_body(link: socket.socket) -> None:
    link.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    drip(link)


@pytest.mark.parametrize("answer", [drip, drip_body], ids=["headers", "body"])
def test_a_byte_now_and_then_holds_nobody_beyond_the_time_of_the_whole(served, answer):
    error = refused(at(served(answer)), timeout_s=0.3)
    assert isinstance(error, Unavailable)
    assert error.code == "client.timed_out"


def test_a_list_that_goes_round_ends(served):
    page = b'{"items":[],"next":"a"}'
    answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(page), page)
    with at(served(lambda link: link.sendall(answer))) as client, pytest.raises(Unavailable) as found:
        list(read_pages(client, LIST, PageQuery()))
    assert found.value.code == "client.answer_foreign"


def test_an_address_that_the_rule_refuses_is_not_connected_to(served):
    server = served(lambda link: link.sendall(OK))
    error = refused(at(server, may_connect=lambda address: not address.is_loopback))
    assert isinstance(error, Denied)
    assert (error.code, "127.0.0.1" in error.message) == ("client.address_refused", True)
    assert server.heard == []


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-made certificate: its context for a server, and the pin of its key."""
    folder = tmp_path_factory.mktemp("tls")
    pin = make_certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "c.pem", folder / "k.pem")
    return context, pin


def test_a_pin_takes_the_place_of_the_certificates_name_and_maker(served, certificate):
    context, pin = certificate
    server = served(lambda link: link.sendall(OK), context=context)
    with HttpClient(f"https://127.0.0.1:{server.port}", pin=pin) as client:
        assert client.get("/x").status == 200


def test_a_server_with_another_key_is_told_nothing(served, certificate):
    context, pin = certificate
    server = served(lambda link: link.sendall(OK), context=context)
    wrong = bytes([pin[0] ^ 1]) + pin[1:]
    error = refused(HttpClient(f"https://127.0.0.1:{server.port}", pin=wrong, token="secret"))
    assert isinstance(error, IntegrityError)
    assert (error.code, pin.hex() in error.message, wrong.hex() in error.message) == ("client.pin_differs", True, True)
    assert b"secret" not in b"".join(server.heard)


def test_without_a_pin_a_self_made_certificate_is_refused(served, certificate):
    server = served(lambda link: link.sendall(OK), context=certificate[0])
    assert refused(HttpClient(f"https://127.0.0.1:{server.port}")).code == "client.unreachable"
    assert b"".join(server.heard) == b""


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://h",
        "http://",
        "https://u:p@h",
        "http://h/path",
        "http://h?q=1",
        "http://h#f",
        "h:80",
        "http://[::1",
        "http://h:x",
    ],
)
def test_what_names_no_server_is_refused(url):
    with pytest.raises(InvalidInput) as found:
        HttpClient(url)
    assert found.value.code == "client.url_invalid"


def test_a_pin_needs_tls_and_its_length():
    for url, pin in (("http://h:1", b"p" * 32), ("https://h:1", b"p" * 31)):
        with pytest.raises(InvalidInput):
            HttpClient(url, pin=pin)
