"""What is restored names no place outside its home, and brings nothing that acts by itself, whoever signed it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import consortium_world as worlds
from backup_world import pack, unpacked
from shuiqiao.base.clock import ManualClock
from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.engine.cometbft.home import MAX_FILE_BYTES, OWN_APPLICATION, HomeSettings, _config_text
from shuiqiao.node.backup import BackupOrder, create_backup
from shuiqiao.node.keys import find_passphrase, load_keys
from shuiqiao.node.restore import require_own_config, restore_backup
from shuiqiao.node.settings import Home, load_settings


@pytest.fixture(scope="module")
def taken(tmp_path_factory):
    """A home and a backup of it."""
    folder = tmp_path_factory.mktemp("taken")
    home = worlds.solo_home(folder / "home")
    clock = ManualClock(worlds.NOW_MS)
    with worlds.open_solo(home, clock):
        pass
    create_backup(home, folder / "b.tar", order=BackupOrder(), passphrase=find_passphrase(home), clock=clock)
    return home, folder / "b.tar"


def repacked(taken, target: Path, name: str, change) -> Path:
    """The backup with one file changed, signed by its member again: it has the key, and wants more than its home."""
    home, archive = taken
    files, manifest = unpacked(archive)
    signer = load_keys(home, passphrase=find_passphrase(home)).signing
    changed = [(each, change(data) if each == name else data) for each, data in files]
    assert dict(changed)[name] != dict(files)[name]
    pack(target, changed, manifest=manifest, signer=signer, suite=get_suite("intl"))
    return target


@pytest.mark.parametrize("folder", ["/tmp/public", "../public", "a/../../public", "~/public"])
def test_a_publishing_folder_outside_is_left_out_and_told(taken, tmp_path, folder):
    line = f'tiles_folder = "{folder}"\n'.encode()
    archive = repacked(taken, tmp_path / "b.tar", "node.toml", lambda data: data + line)
    restored = restore_backup(archive, Home(tmp_path / "new"))
    assert restored.tiles_left_out == folder
    assert load_settings(Home(tmp_path / "new")).tiles_folder == ""


def test_a_publishing_folder_inside_stays(taken, tmp_path):
    archive = repacked(taken, tmp_path / "b.tar", "node.toml", lambda data: data + b'tiles_folder = "public"\n')
    assert restore_backup(archive, Home(tmp_path / "new")).tiles_left_out == ""
    assert load_settings(Home(tmp_path / "new")).tiles_folder == "public"


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE t (a); CREATE TRIGGER sly AFTER INSERT ON t BEGIN DELETE FROM t; END",
        "CREATE VIEW sly AS SELECT 1",
        "CREATE VIRTUAL TABLE sly USING fts5(a)",
    ],
)
def test_a_database_that_acts_by_itself_is_refused(taken, tmp_path, statement):
    def change(data: bytes) -> bytes:
        path = tmp_path / "database"
        path.write_bytes(data)
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(statement)
            connection.commit()
        return path.read_bytes()

    archive = repacked(taken, tmp_path / "b.tar", "shuiqiao.db", change)
    with pytest.raises(ShuiqiaoError) as caught:
        restore_backup(archive, Home(tmp_path / "new"))
    assert (caught.value.code, "sly" in caught.value.message) == ("node.restore_contradicted", True)
    assert not (tmp_path / "new").exists()


def own_config() -> str:
    return _config_text(HomeSettings(moniker="bank-east", p2p="tcp://127.0.0.1:26000", peers=["ab@127.0.0.1:26001"]))


def test_the_configuration_that_this_product_writes_stays(tmp_path):
    (tmp_path / "config.toml").write_text(own_config(), encoding="utf-8")
    require_own_config(tmp_path / "config.toml")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f'proxy_app = "{OWN_APPLICATION}"', 'proxy_app = "kvstore"'),
        (f'proxy_app = "{OWN_APPLICATION}"', 'proxy_app = "tcp://192.0.2.1:26658"'),
        ("[rpc]", '[rpc]\ntls_key_file = "/etc/key.pem"'),
        ("[p2p]", '[p2p]\naddr_book_file = "config/../../../elsewhere"'),
        ("[rpc]", 'db_dir = "/var/lib/elsewhere"\n[rpc]'),
        ("[rpc]", '[rpc]\ncors_allowed_origins = ["unix:///run/other.sock"]'),
        ("[rpc]", "[rpc"),
        ("[rpc]", '[rpc]\nlists = [["inside"], ["/etc/key.pem"]]'),
        ("[rpc]", '[rpc]\ntables = [{inside = "a", outside = "/etc/key.pem"}]'),
        ("[rpc]", f"[rpc]\ndeep = {'[' * 5000}{']' * 5000}"),
        ("[rpc]", f"[rpc]\n{'.'.join('a' * 5000)} = 1"),
        ("[rpc]", f"[rpc]\nlong = {'9' * 4301}"),
        ("[rpc]", f"[rpc]\nlong = 0x{'f' * 5000}"),
        ("[rpc]", f"[rpc]\n#{' ' * MAX_FILE_BYTES}"),
    ],
)
def test_a_configuration_that_leads_elsewhere_is_refused(tmp_path, before, after):
    text = own_config().replace(before, after, 1)
    assert text != own_config()
    (tmp_path / "config.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ShuiqiaoError) as caught:
        require_own_config(tmp_path / "config.toml")
    assert caught.value.code == "node.restore_leads_outside"
