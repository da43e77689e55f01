"""Real servers: from the start to the signal that ends them [API-1] [API-2]."""

from __future__ import annotations

import signal
import socket
import stat
import time
from contextlib import closing

import msgspec
import pytest

from patience import PATIENCE_S
from serving_world import PASSPHRASE, ServedHome, make_served_home, served, start_server
from shuiqiao.base.errors import Denied, InvalidInput, Unavailable
from shuiqiao.base.unix_socket import connect_to
from shuiqiao.client.http import JSON, HttpClient
from shuiqiao.client.operation import PREFIX
from shuiqiao.client.resources.home import HomeStatus
from shuiqiao.client.resources.sessions import LOG_IN_ENTERPRISE, READ_CHALLENGE, EnterpriseProof
from shuiqiao.client.wire import Nothing
from shuiqiao.consent.login import sign_login
from shuiqiao.crypto.model import SuiteName
from shuiqiao.crypto.suites import get_suite
from shuiqiao.node.home.server_lock import serving_process
from shuiqiao.node.home.settings import encode_settings, load_settings
from tls_world import make_certificate


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with served(make_served_home(tmp_path_factory.mktemp("served") / "home")) as found:
        yield found


def test_both_doors_answer_and_each_has_its_own_routes(server: ServedHome):
    with server.client() as outside, server.own_client() as owner:
        assert outside.get("/readyz").status == owner.get("/readyz").status == 200
        status = owner.get("/home/status").read_as(HomeStatus)
        assert (status.pid, status.role) == (server.process.pid, "tax_bureau")
        with pytest.raises(InvalidInput) as refused:
            outside.get("/home/status")
        assert refused.value.code == "api.not_found"


def test_the_figures_name_the_ledger_and_the_requests(server: ServedHome):
    with server.client() as outside:
        outside.get("/healthz")
        text = outside.get("/metrics", accept="text/plain").body.decode()
    assert "shuiqiao_ledger_height 0.0" in text
    assert 'shuiqiao_http_requests_total{door="public",method="GET",route="/healthz",status="200"}' in text


def test_the_socket_is_the_owners_alone(server: ServedHome):
    assert stat.S_IMODE(server.home.socket.stat().st_mode) == 0o600


def test_a_second_server_of_the_home_says_which_process_has_it(server: ServedHome):
    second = start_server(server.home)
    out, _ = second.communicate(timeout=PATIENCE_S)
    assert second.returncode == 1
    assert "node.server_running" in out
    assert f"process {server.process.pid} " in out
    assert serving_process(server.home) == server.process.pid


def test_a_port_that_is_in_use_is_told(server: ServedHome, tmp_path):
    other = make_served_home(tmp_path / "other")
    port = server.listening["listen"].rpartition(":")[2]
    second = start_server(other, "--listen", f"127.0.0.1:{port}")
    out, _ = second.communicate(timeout=PATIENCE_S)
    assert (second.returncode, "api.address_unavailable" in out) == (3, True)


def test_a_caller_that_sends_its_headers_slowly_is_cut_off_alone(server: ServedHome):
    host, _, port = server.listening["listen"].removeprefix("http://").rpartition(":")
    with closing(socket.create_connection((host, int(port)), timeout=PATIENCE_S)) as slow:
        slow.sendall(b"GET /heal")
        with server.client() as outside:
            assert outside.get("/healthz").status == 200
        assert slow.recv(1) == b""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_ends_a_server_and_the_home_can_be_served_again(tmp_path, number):
    home = make_served_home(tmp_path / "home")
    for _ in range(2):
        with served(home) as server:
            code, logged = server.end(number)
            assert (code, "server.stopped" in logged) == (0, True), logged
            assert not home.socket.exists()
            assert serving_process(home) is None


def test_a_request_that_is_running_is_answered_before_the_server_ends(tmp_path):
    with (
        served(make_served_home(tmp_path / "home")) as server,
        server.client() as outside,
        closing(connect_to(server.home.socket)) as link,
    ):
        link.settimeout(PATIENCE_S)
        # A log-in whose body is on its way: what is wrong with it is answered after the signal.
        head = "Host: home\r\nContent-Type: application/json\r\nContent-Length: 4\r\nConnection: close\r\n\r\n"
        link.sendall(f"POST /api/v1/sessions/user HTTP/1.1\r\n{head}".encode())
        _wait_until_open(outside)
        server.process.send_signal(signal.SIGTERM)
        link.sendall(b"body")
        assert link.recv(4_096).startswith(b"HTTP/1.1 400")
        code, logged = server.end()
        assert code == 0, logged


def _wait_until_open(outside: HttpClient) -> None:
    """Return once a request at the home's socket is being answered."""
    ends = time.monotonic() + PATIENCE_S
    while (
        'shuiqiao_http_open_requests{door="home"} 1.0' not in outside.get("/metrics", accept="text/plain").body.decode()
    ):
        assert time.monotonic() < ends, "the server never began with the request"
        time.sleep(0.05)


def test_a_server_that_was_killed_leaves_a_home_that_can_be_served(tmp_path):
    home = make_served_home(tmp_path / "home")
    with served(home) as server:
        server.process.kill()
        server.process.wait(timeout=PATIENCE_S)
        assert home.socket.exists()
    with served(home) as server:
        assert server.end()[0] == 0


def test_a_passphrase_inside_the_home_is_refused(tmp_path):
    home = make_served_home(tmp_path / "home")
    inside = home.folder / "secret"
    inside.write_bytes(PASSPHRASE)
    process = start_server(home, SHUIQIAO_PASSPHRASE_FILE=str(inside))
    out, _ = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, "node.passphrase_inside" in out) == (1, True)
    link = tmp_path / "linked"
    link.symlink_to(inside)
    process = start_server(home, SHUIQIAO_PASSPHRASE_FILE=str(link))
    assert "node.passphrase_inside" in process.communicate(timeout=PATIENCE_S)[0]


def test_an_address_that_others_reach_needs_a_certificate(tmp_path):
    home = make_served_home(tmp_path / "home")
    process = start_server(home, "--listen", "0.0.0.0:0")
    assert "api.tls_missing" in process.communicate(timeout=PATIENCE_S)[0]


def login_refusal(server: ServedHome, origin: str, *, pin: bytes | None = None) -> str:
    """The code by which a taxpayer that is not enrolled is refused, whose program reached the server by an address."""
    key = get_suite(SuiteName.INTL).signing_key_from_seed(b"e" * 32)
    with HttpClient(server.listening["listen"], pin=pin) as door:
        told = door.perform(READ_CHALLENGE, Nothing())
        signed = sign_login(
            bytes.fromhex(told.challenge),
            claim="taxpayer:nobody",
            institution=told.institution,
            origin=origin,
            network=bytes.fromhex(told.network),
            key=key,
            suite=get_suite(SuiteName.INTL),
        )
        # Whatever the request says of where it went counts nothing.
        headers = {name: origin.partition("://")[2] for name in ("Host", "X-Forwarded-Host")}
        with pytest.raises(Denied) as refused:
            door.request(
                "POST",
                PREFIX + LOG_IN_ENTERPRISE.path,
                content=EnterpriseProof(signed=signed.hex()).model_dump_json().encode(),
                content_type=JSON,
                headers={"Content-Type": JSON, **headers},
            )
    return refused.value.code


def test_an_enterprise_logs_in_at_the_loopback_address_of_a_server_and_at_no_other(server: ServedHome):
    """[API-24]: who is let in at an address is asked for its key next."""
    here = server.listening["listen"]
    port = here.rpartition(":")[2]
    for origin in (here, f"http://localhost:{port}"):
        assert login_refusal(server, origin) == "node.login_refused"
    for origin in (
        f"https://127.0.0.1:{port}",
        f"http://127.0.0.2:{port}",
        "http://127.0.0.1:1",
        "https://bank.example:443",
    ):
        assert login_refusal(server, origin) == "node.origin_foreign"


def test_an_enterprise_logs_in_behind_a_proxy_that_is_named_and_by_the_names_of_the_certificate(tmp_path):
    """[API-24]"""
    home = make_served_home(tmp_path / "home")
    pin = make_certificate(home.folder, names=("bureau.example", "*.tax.example"))
    settings = msgspec.structs.replace(
        load_settings(home), tls_certificate="c.pem", tls_key="k.pem", public_urls=("https://proxy.example",)
    )
    home.settings.write_text(encode_settings(settings))
    with served(home) as server:
        port = server.listening["listen"].rpartition(":")[2]
        for origin in (
            "https://proxy.example:443",
            f"https://bureau.example:{port}",
            f"https://127.0.0.9:{port}",
            f"https://127.0.0.1:{port}",
        ):
            assert login_refusal(server, origin, pin=pin) == "node.login_refused", origin
        for origin in (
            f"https://proxy.example:{port}",
            "https://bureau.example:443",
            f"https://a.tax.example:{port}",
            f"http://127.0.0.1:{port}",
        ):
            assert login_refusal(server, origin, pin=pin) == "node.origin_foreign", origin


def test_a_public_url_that_no_client_goes_to_keeps_a_server_from_starting(tmp_path):
    home = make_served_home(tmp_path / "home")
    home.settings.write_text(home.settings.read_text() + 'public_urls = ["http://bank.example"]\n')
    process = start_server(home)
    said = process.communicate(timeout=PATIENCE_S)[0]
    assert (process.returncode, "members.endpoint_invalid" in said, "public_urls" in said) == (2, True, True)


def test_a_server_that_is_not_there_is_unreachable(tmp_path):
    home = make_served_home(tmp_path / "home")
    with served(home) as server:
        client = server.client()
        server.end()
    with client, pytest.raises(Unavailable) as refused:
        client.get("/healthz")
    assert refused.value.code == "client.unreachable"
