"""A server knows by which addresses it is reached, from what its operator configured [API-24]."""

from __future__ import annotations

import pytest

from shuiqiao.api.origins import names_of_certificate, own_origins, read_public_urls
from shuiqiao.base.errors import InvalidInput
from shuiqiao.members.endpoint import MAX_ENDPOINT_CHARACTERS, endpoint_of_text
from tls_world import make_certificate


@pytest.mark.parametrize(
    ("host", "origins"),
    [
        ("127.0.0.1", ["http://127.0.0.1:8600", "http://localhost:8600"]),
        ("::1", ["http://[::1]:8600", "http://localhost:8600"]),
        ("127.0.0.2", ["http://127.0.0.2:8600"]),
    ],
)
def test_without_tls_it_is_the_address_that_it_listens_at(host, origins):
    assert own_origins((host, 8600), names=(), is_secure=False) == origins


@pytest.mark.parametrize(
    ("host", "more"),
    [
        ("10.0.0.5", ["https://10.0.0.5:8600"]),
        ("fe80::1%eth0", ["https://[fe80::1]:8600"]),
        ("0.0.0.0", ["https://localhost:8600", "https://127.0.0.1:8600"]),
        ("::", ["https://localhost:8600", "https://127.0.0.1:8600", "https://[::1]:8600"]),
    ],
)
def test_with_tls_the_names_of_its_certificate_have_its_port(host, more):
    names = ["bank.example", "10.0.0.9", "2001:db8::1"]
    named = ["https://bank.example:8600", "https://10.0.0.9:8600", "https://[2001:db8::1]:8600"]
    assert own_origins((host, 8600), names=names, is_secure=True) == [*named, *more]


def test_a_name_that_is_twice_there_counts_once_and_one_that_many_may_have_not_at_all():
    names = ["bank.example", "bank.example", "*.bank.example", "Bank.example", "bank_1.example", "x" * 64 + ".example"]
    found = own_origins(("10.0.0.5", 443), names=names, is_secure=True)
    assert found == ["https://bank.example:443", "https://10.0.0.5:443"]


@pytest.mark.parametrize(
    "url", ["https://bank.example", "https://bank.example:443", "http://127.0.0.1", "https://[::1]:8"]
)
def test_public_urls_are_spelled_as_a_client_spells_them(url):
    assert read_public_urls([url]) == [endpoint_of_text(url).url]


@pytest.mark.parametrize(
    "url",
    ["", "bank.example", "http://bank.example", "https://Bank.example", "https://bank.example/", "https://*.example"],
)
def test_a_public_url_that_no_client_goes_to_is_refused_and_the_setting_named(url):
    with pytest.raises(InvalidInput, match=r"^members\.endpoint_invalid: public_urls in node\.toml: "):
        read_public_urls(["https://good.example", url])


def test_the_longest_address_fits_what_an_enterprise_signs():
    name = ".".join(["a" * 63] * 4)[:253]
    (origin,) = read_public_urls([f"https://{name}:65535"])
    assert len(origin) <= MAX_ENDPOINT_CHARACTERS


def test_names_are_read_from_the_certificate(tmp_path):
    make_certificate(tmp_path, names=("Bank.Example", "*.bank.example"))
    pem = (tmp_path / "c.pem").read_bytes()
    make_certificate(tmp_path, names=("authority.example",))
    chain = pem + (tmp_path / "c.pem").read_bytes()
    assert names_of_certificate(chain) == ["bank.example", "*.bank.example", "127.0.0.9"]


@pytest.mark.parametrize("pem", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_certificate_that_cannot_be_read_has_no_names(pem):
    assert names_of_certificate(pem) == []
