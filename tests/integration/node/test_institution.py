"""An institution opens only with what is its own, and offers what its role gives it."""

from __future__ import annotations

import contextlib
import shutil

import pytest

import consortium_world as worlds
from consent_world import a_charge
from shuiqiao.base.clock import MS_PER_DAY, ManualClock
from shuiqiao.base.errors import Denied, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import owned_id, system_entropy
from shuiqiao.exchange.store import ReceivedRow, RecipientStore
from shuiqiao.node.home.keys import SEALING_FILE, SIGNING_FILE, keep_passphrase, read_passphrase
from shuiqiao.node.home.settings import Home, load_genesis, load_settings
from shuiqiao.node.institution import Institution
from shuiqiao.node.services import Dependencies
from shuiqiao.sandbox.scenario.consortium import BANKS, BUREAU, REGULATOR, home_of


def open_home(home, *, writer=None):
    dependencies = Dependencies(clock=ManualClock(worlds.NOW_MS), entropy=system_entropy, writer=writer)
    return Institution.open(home, dependencies=dependencies)


def code_of(home, *errors, writer=None):
    with pytest.raises(errors or ShuiqiaoError) as caught:
        open_home(home, writer=writer)
    return caught.value.code


def test_every_home_shares_one_genesis_and_names_its_own_member(world):
    homes = {member: home_of(world.folder, member) for member in (BUREAU, *BANKS, REGULATOR)}
    assert {load_genesis(home.genesis) for home in homes.values()} == {world.genesis}
    assert {member: load_settings(home).member for member, home in homes.items()} == {name: name for name in homes}


def test_every_member_has_the_same_ledger(world):
    world.consent()
    roots = set()
    world.consortium.settle()
    for member in world.consortium.members:
        checkpoint = member.engine.checkpoint()
        roots.add((checkpoint.size, checkpoint.root))
    assert len(roots) == 1


@pytest.mark.parametrize(
    ("service", "member"),
    [
        ("vault", "bank"),
        ("consent_service", "bank"),
        ("provider", "regulator"),
        ("consent_file", "bureau"),
        ("recipient", "regulator"),
        ("lending", "bureau"),
        ("openings", "bank"),
        ("statistics", "bank"),
    ],
)
def test_a_service_is_for_its_role(world, service, member):
    with pytest.raises(Denied) as caught:
        getattr(getattr(world, member), service)
    assert caught.value.code == "node.role_wrong"


def test_a_folder_that_is_no_home_is_unavailable(tmp_path):
    assert code_of(Home(tmp_path), Unavailable) == "node.home_missing"


def test_a_follower_needs_a_link_to_its_writer(world, tmp_path):
    home = worlds.copy_home(world.bank.home, tmp_path / "bank", without=["ledger"])
    assert code_of(home, InvalidInput) == "node.writer_unnamed"


def bank_with(world, folder, lives):
    """A bank's home that holds answers by the moments at which their data lives end."""
    home = worlds.copy_home(world.bank.home, folder, without=["ledger"])
    home.ledger.mkdir()
    with contextlib.closing(open_home(home, writer=world.bureau.engine)) as bank:
        for request, end_ms in lives.items():
            RecipientStore(bank.database, cipher=bank.cipher).save_received(
                ReceivedRow(
                    request=request,
                    consent=owned_id("bureau", bytes(16)),
                    taxpayer="E1",
                    manifest=b"m",
                    disclosure=b"d",
                    received_ms=0,
                    erase_after_ms=end_ms,
                ),
                charge=a_charge(request),
            )
    return home


def left_after_opening(world, home, requests, *, clock_ms, is_clock_confirmed=False):
    dependencies = Dependencies(
        clock=ManualClock(clock_ms),
        entropy=system_entropy,
        writer=world.bureau.engine,
        is_clock_confirmed=is_clock_confirmed,
    )
    with Institution.open(home, dependencies=dependencies) as bank:
        store = RecipientStore(bank.database, cipher=bank.cipher)
        left = {request for request in requests if store.received(request) is not None}
        assert {row.request for row in store.erasures() if row.request in requests} == requests - left
    return left


def test_opening_a_bank_destroys_what_it_may_keep_no_longer(world, tmp_path):
    """[EXCHANGE-15]"""
    due, later, now_ms = b"\x01" * 16, b"\x02" * 16, world.bureau.engine.last_block()[1] + 1
    home = bank_with(world, tmp_path / "bank", {due: now_ms, later: now_ms + 1})
    assert left_after_opening(world, home, {due, later}, clock_ms=now_ms) == {later}


def test_a_home_opened_with_a_clock_far_ahead_destroys_nothing(world, tmp_path):
    """[LEDGER-TIME-3]: until somebody says that the clock is right."""
    request, years_ahead_ms = b"\x03" * 16, worlds.NOW_MS + 4380 * MS_PER_DAY
    home = bank_with(world, tmp_path / "bank", {request: worlds.NOW_MS + 90 * MS_PER_DAY})
    assert left_after_opening(world, home, {request}, clock_ms=years_ahead_ms) == {request}
    assert left_after_opening(world, home, {request}, clock_ms=years_ahead_ms, is_clock_confirmed=True) == set()


@pytest.mark.parametrize(
    ("old", "new"),
    [('"bureau"', '"somebody"'), ('"tax_bureau"', '"bank"'), ('"intl"', '"gm"')],
    ids=["member", "role", "suite"],
)
def test_settings_that_the_genesis_does_not_know_are_refused(home, old, new):
    text = home.settings.read_text()
    assert old in text
    home.settings.write_text(text.replace(old, new))
    assert code_of(home, InvalidInput) == "node.member_foreign"


def test_keys_of_another_home_are_refused_before_the_ledger_is_touched(home, tmp_path):
    other = worlds.solo_home(tmp_path / "other")
    for folder in (home.keys, other.keys):
        assert sorted(path.name for path in folder.iterdir()) == [SEALING_FILE, SIGNING_FILE]
    for one_of in ([SEALING_FILE], [SIGNING_FILE, SEALING_FILE]):
        mixed = Home(tmp_path / f"mixed{len(one_of)}")
        shutil.copytree(home.folder, mixed.folder)
        keys = {name: (other if name in one_of else home).keys / name for name in (SIGNING_FILE, SEALING_FILE)}
        for name, path in keys.items():
            shutil.copy(path, mixed.keys / name)
        keep_passphrase(mixed, read_passphrase(other.passphrase))
        expected = "node.keys_foreign" if len(one_of) == 2 else "crypto.passphrase_wrong"
        assert code_of(mixed) == expected
        assert not mixed.ledger.exists()


def test_a_missing_genesis_or_key_is_unavailable(home):
    home.genesis.rename(home.folder / "kept")
    assert code_of(home, Unavailable) == "node.genesis_missing"
    (home.folder / "kept").rename(home.genesis)
    (home.keys / SIGNING_FILE).unlink()
    assert code_of(home, Unavailable) == "node.key_missing"


def test_swapped_key_files_are_misplaced(home):
    signing, sealing = home.keys / SIGNING_FILE, home.keys / SEALING_FILE
    signing.rename(home.keys / "kept")
    sealing.rename(signing)
    (home.keys / "kept").rename(sealing)
    assert code_of(home, InvalidInput) == "node.key_misplaced"


def test_a_home_that_failed_to_open_can_be_opened_afterwards(home):
    """Nothing stays locked behind a failure: neither ledger nor database."""
    note = home.ledger / "checkpoints" / "latest"
    with open_home(home) as node:
        node.outbox.submit("anchor.commit", worlds.anchor_body(bytes(16)))
    good = note.read_bytes()
    note.write_bytes(good[:-9] + b"AAAAAAAA\n")
    assert code_of(home).startswith("ledger.")
    note.write_bytes(good)
    with open_home(home) as node:
        assert node.engine.checkpoint().size == 2


def test_the_passphrase_file_of_the_environment_comes_first(home, tmp_path, monkeypatch):
    named = tmp_path / "secret"
    named.write_bytes(home.passphrase.read_bytes())
    home.passphrase.unlink()
    assert code_of(home, Unavailable) == "node.passphrase_missing"
    monkeypatch.setenv("SHUIQIAO_PASSPHRASE_FILE", str(named))
    open_home(home).close()
    named.write_bytes(b"wrong\n")
    assert code_of(home, Denied) == "crypto.passphrase_wrong"
    monkeypatch.setenv("SHUIQIAO_PASSPHRASE_FILE", str(tmp_path / "absent"))
    assert code_of(home, Unavailable) == "node.passphrase_missing"


def test_a_database_that_cannot_be_used_is_unavailable_and_names_no_password(home, monkeypatch):
    monkeypatch.setenv("SHUIQIAO_DATABASE_URL", "sqlite:////nowhere/at/all.db")
    assert code_of(home, Unavailable) == "node.database_unavailable"
    for url in ("mysql://user:secret@host/x", "not a url"):
        monkeypatch.setenv("SHUIQIAO_DATABASE_URL", url)
        with pytest.raises(InvalidInput) as caught:
            open_home(home)
        assert caught.value.code == "node.database_url_invalid"
        assert "secret" not in str(caught.value)
    monkeypatch.delenv("SHUIQIAO_DATABASE_URL")
    open_home(home).close()
