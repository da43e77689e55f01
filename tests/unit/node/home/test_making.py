"""Making a home: once, whole or not at all, with keys that open."""

from __future__ import annotations

import stat
from types import SimpleNamespace

import pytest

from shuiqiao.base.clock import ManualClock
from shuiqiao.base.errors import Conflict, Denied, InvalidInput, Unavailable
from shuiqiao.base.ids import system_entropy
from shuiqiao.crypto.keyfile import PassphraseCost, load_key_file, save_key_file
from shuiqiao.crypto.model import SuiteName
from shuiqiao.crypto.suites import get_suite
from shuiqiao.members.genesis import decode_genesis, network_id
from shuiqiao.node.home.keys import (
    SEALING_FILE,
    SIGNING_FILE,
    find_passphrase,
    load_keys,
    named_passphrase,
    read_passphrase,
)
from shuiqiao.node.home.making import create_solo_home, nothing_left_of_a_failure
from shuiqiao.node.home.settings import Home, load_genesis, load_settings
from shuiqiao.node.published.verification import ReceiptVerifier
from shuiqiao.node.server import require_passphrase_outside

CHEAP = PassphraseCost(memory_kib=64, passes=1, lanes=1)


def make(folder, *, passphrase=None, suite="intl", entropy=system_entropy):
    home = Home(folder)
    network = create_solo_home(
        home,
        suite_name=SuiteName(suite),
        passphrase=passphrase,
        clock=ManualClock(1_775_000_000_000),
        entropy=entropy,
        cost=CHEAP,
    )
    return SimpleNamespace(home=home, network=network)


@pytest.mark.parametrize("suite", ["intl", "gm"])
def test_a_new_home_is_a_network_of_one_whose_keys_open(tmp_path, suite):
    made = make(tmp_path / "home", suite=suite)
    genesis = load_genesis(made.home.genesis)
    (member,) = decode_genesis(genesis).members
    keys = load_keys(made.home, passphrase=find_passphrase(made.home))
    assert made.network == network_id(genesis) == get_suite(suite).digest(genesis)
    assert (keys.signing.public_key, keys.sealing.public_key) == (member.signing_key, member.sealing_key)
    assert load_settings(made.home).member == member.id == decode_genesis(genesis).writer


def test_two_homes_are_two_networks(tmp_path):
    assert make(tmp_path / "one").network != make(tmp_path / "two").network


def test_a_random_passphrase_is_written_for_the_owner_only(tmp_path):
    made = make(tmp_path / "home")
    beside = tmp_path / "home.passphrase"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (made.home.keys, beside)] == [0o700, 0o600]
    assert {stat.S_IMODE(path.stat().st_mode) for path in made.home.keys.iterdir()} == {0o600}
    assert len(read_passphrase(beside)) == 32


def test_a_passphrase_is_kept_beside_the_folder_that_a_link_leads_to(tmp_path):
    made = make(tmp_path / "home")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "mine").symlink_to(made.home.folder)
    found = find_passphrase(Home(tmp_path / "links" / "mine"))
    assert found == read_passphrase(made.home.passphrase)
    load_keys(made.home, passphrase=found)


def test_a_passphrase_of_an_earlier_release_opens_and_is_told_to_be_moved(tmp_path, capsys):
    made = make(tmp_path / "home")
    require_passphrase_outside(made.home)
    kept = made.home.passphrase.rename(made.home.keys / "passphrase")
    for _ in range(2):
        load_keys(made.home, passphrase=find_passphrase(made.home))
    said = capsys.readouterr().err
    assert said.count("\n") == 1, "once is enough"
    assert said.endswith(f"mv {kept} {made.home.passphrase}\n")
    with pytest.raises(Denied, match=r"^node\.passphrase_inside"):
        require_passphrase_outside(made.home)


def test_a_passphrase_that_is_there_is_never_replaced(tmp_path):
    made = make(tmp_path / "home")
    before = made.home.passphrase.read_bytes()
    made.home.folder.rename(tmp_path / "elsewhere")
    with pytest.raises(Conflict, match=r"^node\.home_unfinished"):
        make(tmp_path / "home")
    assert made.home.passphrase.read_bytes() == before


def test_a_given_passphrase_is_not_written_anywhere(tmp_path):
    made = make(tmp_path / "home", passphrase=b"correct horse battery staple")
    assert sorted(path.name for path in made.home.keys.iterdir()) == [SEALING_FILE, SIGNING_FILE]
    files = [path for path in made.home.folder.rglob("*") if path.is_file()]
    assert [path for path in files if b"correct horse" in path.read_bytes()] == []
    load_keys(made.home, passphrase=b"correct horse battery staple")
    with pytest.raises(Denied) as caught:
        load_keys(made.home, passphrase=b"correct horse battery stable")
    assert caught.value.code == "crypto.passphrase_wrong"


def test_a_home_is_not_made_twice(tmp_path):
    made = make(tmp_path / "home")
    before = {path: path.read_bytes() for path in made.home.folder.rglob("*") if path.is_file()}
    with pytest.raises(Conflict) as caught:
        make(tmp_path / "home")
    assert caught.value.code == "node.home_exists"
    assert {path: path.read_bytes() for path in made.home.folder.rglob("*") if path.is_file()} == before


def test_an_init_that_was_interrupted_is_told_from_a_home(tmp_path):
    home = Home(tmp_path / "home")
    for passphrase, code in ((None, "node.home_unfinished"), (b"given", "crypto.key_file_exists")):
        made = make(tmp_path / code, passphrase=passphrase)
        made.home.settings.unlink()
        with pytest.raises(Conflict) as caught:
            make(tmp_path / code, passphrase=passphrase)
        assert caught.value.code == code
    assert not home.folder.exists()


def test_nothing_is_left_beside_a_home_that_could_not_be_made(tmp_path):
    beside = Home(tmp_path / "home").passphrase

    def entropy(count):
        if beside.exists():
            raise OSError("no more of it")
        return system_entropy(count)

    with pytest.raises(OSError, match="no more of it"):
        make(tmp_path / "home", entropy=entropy)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "home"):
        with pytest.raises(Unavailable) as caught:
            make(folder)
        assert caught.value.code == "node.home_unwritable"


def test_keys_of_two_suites_do_not_go_together(tmp_path):
    made = make(tmp_path / "home", passphrase=b"p")
    (made.home.keys / SEALING_FILE).unlink()
    save_key_file(
        made.home.keys / SEALING_FILE,
        seed=bytes(32),
        suite=SuiteName.GM,
        purpose="sealing",
        passphrase=b"p",
        entropy=system_entropy,
        cost=CHEAP,
    )
    with pytest.raises(InvalidInput) as caught:
        load_keys(made.home, passphrase=b"p")
    assert caught.value.code == "node.key_misplaced"


def test_homes_use_the_strong_cost_unless_told_otherwise(tmp_path):
    create_solo_home(
        Home(tmp_path / "home"),
        suite_name=SuiteName.INTL,
        passphrase=b"p",
        clock=ManualClock(0),
        entropy=system_entropy,
    )
    text = (tmp_path / "home" / "keys" / SIGNING_FILE).read_text()
    assert '"memory_kib":65536,"passes":3' in text
    assert load_key_file(tmp_path / "home" / "keys" / SIGNING_FILE, passphrase=b"p").purpose == "signing"


def test_the_environment_names_the_passphrase_file(tmp_path, monkeypatch):
    assert named_passphrase() is None
    (tmp_path / "p").write_bytes(b"named\n")
    monkeypatch.setenv("SHUIQIAO_PASSPHRASE_FILE", str(tmp_path / "p"))
    assert named_passphrase() == b"named"
    made = make(tmp_path / "home")
    assert find_passphrase(made.home) == b"named"


def test_a_verifier_needs_a_genesis_from_somewhere(tmp_path):
    made = make(tmp_path / "home")
    assert ReceiptVerifier.from_genesis(genesis=None, home=made.home.folder).fingerprint == made.network.hex()
    assert ReceiptVerifier.from_genesis(genesis=made.home.genesis, home=None).fingerprint == made.network.hex()
    with pytest.raises(InvalidInput) as caught:
        ReceiptVerifier.from_genesis(genesis=None, home=None)
    assert caught.value.code == "node.genesis_unnamed"
    with pytest.raises(Unavailable) as missing:
        ReceiptVerifier.from_genesis(genesis=tmp_path / "absent", home=None)
    assert missing.value.code == "node.genesis_missing"


@pytest.mark.parametrize(("kept", "left"), [((), set()), (("theirs",), {"theirs", "meanwhile"})])
def test_what_somebody_else_keeps_in_a_folder_outlives_a_failure(tmp_path, kept, left):
    for name in kept:
        (tmp_path / name).touch()

    def fail():
        with nothing_left_of_a_failure(tmp_path):
            (tmp_path / "meanwhile").touch()
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert {path.name for path in tmp_path.iterdir()} == left
