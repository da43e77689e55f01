"""node.toml: what it says is taken, what it misspells is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from shuiqiao.base.environment import DATABASE_URL_VARIABLE
from shuiqiao.base.errors import InvalidInput, Unavailable
from shuiqiao.crypto.model import SuiteName
from shuiqiao.members.model import Role
from shuiqiao.node.home.settings import (
    MAX_PUBLIC_URLS,
    MAX_SETTINGS_BYTES,
    Home,
    NodeSettings,
    database_of,
    encode_settings,
    load_settings,
)

GOOD = 'member = "bureau"\nrole = "tax_bureau"\nsuite = "gm"\n'


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


def test_settings_go_there_and_back(home):
    settings = NodeSettings(
        member="bank-east",
        role=Role.BANK,
        suite=SuiteName.INTL,
        verifier_processes=2,
        block_linger_ms=10,
        tiles_folder='a "public" folder\\log 公开',
        tiles_interval_s=5,
        public_urls=("https://bank.example", "https://bank.example:8443"),
    )
    home.settings.write_text(encode_settings(settings), encoding="utf-8")
    assert load_settings(home) == settings
    assert home.tiles(settings) == home.folder / 'a "public" folder\\log 公开'


def test_a_log_is_published_only_where_a_folder_is_named(home):
    home.settings.write_text(GOOD)
    settings = load_settings(home)
    assert home.tiles(settings) is None
    assert "tiles" not in encode_settings(settings)
    home.settings.write_text(GOOD + 'tiles_folder = "/srv/log"\n')
    assert home.tiles(load_settings(home)) == Path("/srv/log")


def test_certificates_are_trusted_only_where_a_folder_is_named(home):
    home.settings.write_text(GOOD)
    settings = load_settings(home)
    assert home.invoice_trust(settings) is None
    assert "invoice" not in encode_settings(settings)
    home.settings.write_text(GOOD + 'invoice_trust_folder = "trust"\n')
    assert home.invoice_trust(load_settings(home)) == home.folder / "trust"


def test_three_settings_are_enough(home):
    home.settings.write_text(GOOD)
    settings = load_settings(home)
    assert (settings.member, settings.role, settings.suite) == ("bureau", Role.TAX_BUREAU, SuiteName.GM)
    assert (settings.engine, settings.verifier_processes, settings.block_linger_ms) == ("embedded", 0, 2)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "member",
        GOOD.replace("member", "membre"),
        GOOD.replace("tax_bureau", "treasury"),
        GOOD.replace('"gm"', '"rsa"'),
        GOOD + 'engine = "paxos"\n',
        GOOD + "verifier_processes = -1\n",
        GOOD + "verifier_processes = 65\n",
        GOOD + 'verifier_processes = "2"\n',
        GOOD + "block_linger_ms = 1001\n",
        GOOD + "block_linger_ms = 2.5\n",
        GOOD + "tiles_interval_s = 0\n",
        GOOD + "tiles_folder = 1\n",
        GOOD + 'public_urls = "https://bank.example"\n',
        GOOD + "public_urls = [1]\n",
        GOOD + f"public_urls = {['https://bank.example'] * (MAX_PUBLIC_URLS + 1)}\n",
        GOOD + "fee = 1\n",
        GOOD + "x = " + "[" * 3000,
        GOOD + "#" * MAX_SETTINGS_BYTES,
    ],
)
def test_what_is_not_a_setting_is_refused(home, text):
    home.settings.write_text(text)
    with pytest.raises(InvalidInput) as caught:
        load_settings(home)
    assert caught.value.code == "node.settings_invalid"
    assert str(home.settings) in caught.value.message


def test_bytes_that_are_no_text_are_refused(home):
    home.settings.write_bytes(GOOD.encode() + b"\xff")
    with pytest.raises(InvalidInput):
        load_settings(home)


def test_a_folder_without_settings_is_no_home(home):
    with pytest.raises(Unavailable) as caught:
        load_settings(home)
    assert caught.value.code == "node.home_missing"
    assert caught.value.next_step == f"shuiqiao init --home {home.folder}"


def test_the_places_in_a_home_are_those_of_the_design():
    home = Home(Path("/h"))
    places = [home.settings, home.genesis, home.keys, home.ledger, home.vault, home.database]
    assert [str(place) for place in places] == [
        "/h/node.toml",
        "/h/genesis.json",
        "/h/keys",
        "/h/ledger",
        "/h/vault",
        "/h/shuiqiao.db",
    ]


def test_the_database_is_the_homes_unless_the_environment_names_another(home, monkeypatch):
    assert database_of(home) == home.folder / "shuiqiao.db"
    monkeypatch.setenv("SHUIQIAO_DATABASE_URL", "postgresql://host/name")
    assert database_of(home) == "postgresql://host/name"


def test_a_database_url_that_is_not_utf_8_is_refused(home, monkeypatch):
    monkeypatch.setenv(DATABASE_URL_VARIABLE, "postgresql://\udcff")
    with pytest.raises(InvalidInput) as caught:
        database_of(home)
    assert caught.value.code == "node.database_url_invalid"
