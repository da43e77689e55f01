"""What is restored names no place outside its home, and brings nothing that acts by itself, whoever signed it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import consortium_world as worlds
from backup_world import pack, unpacked
from network_world import four_validators
from shuiqiao.base.clock import ManualClock, SystemClock
from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.engine.cometbft.comet.home import OWN_APPLICATION
from shuiqiao.node.backup.creating import create_backup
from shuiqiao.node.backup.restore import restore_backup
from shuiqiao.node.home.keys import find_passphrase, load_keys
from shuiqiao.node.home.settings import Home, load_settings


@pytest.fixture(scope="module")
def taken(tmp_path_factory):
    """A home and a backup of it."""
    folder = tmp_path_factory.mktemp("taken")
    home = worlds.solo_home(folder / "home")
    clock = ManualClock(worlds.NOW_MS)
    with worlds.open_solo(home, clock):
        pass
    create_backup(home, folder / "b.tar", passphrase=find_passphrase(home), clock=clock)
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
@pytest.mark.parametrize(
    "name", ["tiles_folder", "backup_folder", "invoice_trust_folder", "tls_certificate", "tls_key"]
)
def test_a_place_outside_is_left_out_and_told(taken, tmp_path, name, folder):
    line = f'{name} = "{folder}"\n'.encode()
    archive = repacked(taken, tmp_path / "b.tar", "node.toml", lambda data: data + line)
    restored = restore_backup(archive, Home(tmp_path / "new"))
    assert restored.settings_left_out == {name: folder}
    assert getattr(load_settings(Home(tmp_path / "new")), name) == ""


def test_a_publishing_folder_inside_stays(taken, tmp_path):
    archive = repacked(taken, tmp_path / "b.tar", "node.toml", lambda data: data + b'tiles_folder = "public"\n')
    assert restore_backup(archive, Home(tmp_path / "new")).settings_left_out == {}
    assert load_settings(Home(tmp_path / "new")).tiles_folder == "public"


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE t (a); CREATE TRIGGER sly AFTER INSERT ON t BEGIN DELETE FROM t; END",
        "CREATE VIEW sly AS SELECT 1",
        # The kind that a row of the schema says is not what SQLite goes by.
        (
            "CREATE TABLE t (a); PRAGMA writable_schema = ON; INSERT INTO sqlite_master VALUES "
            "('table', 'sly', 't', 0, 'CREATE TRIGGER sly AFTER INSERT ON t BEGIN DELETE FROM t; END')"
        ),
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


@pytest.fixture(scope="module")
def validator(tmp_path_factory):
    """A validator's home and a backup of it."""
    folder = tmp_path_factory.mktemp("validator")
    home = four_validators(folder / "net").home("bureau")
    create_backup(home, folder / "b.tar", passphrase=find_passphrase(home), clock=SystemClock())
    return home, folder / "b.tar"


CONFIG = "cometbft/config/config.toml"


def test_the_configuration_that_this_product_writes_stays(validator, tmp_path):  # [ABCI-30]
    home, archive = validator
    restored = restore_backup(archive, Home(tmp_path / "new"))
    own = (home.folder / CONFIG).read_text()
    assert (tmp_path / "new" / CONFIG).read_text() == own
    assert restored.configuration.left_out == ()
    assert len(restored.configuration.peers) == 3
    assert all(peer in own for peer in restored.configuration.peers)
    assert f'laddr = "{restored.configuration.p2p}"' in own


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("proxy_app =", 'Proxy_App = "kvstore"\nproxy_app ='),
        ("proxy_app =", 'abci = "grpc"\nproxy_app ='),
        ("proxy_app =", 'priv_validator_laddr = "tcp://0.0.0.0:26659"\nproxy_app ='),
        ("proxy_app =", 'genesis_file = "/elsewhere"\nproxy_app ='),
        (f'proxy_app = "{OWN_APPLICATION}"', 'proxy_app = "kvstore"'),
        ('laddr = "unix://rpc.sock"', 'laddr = "tcp://0.0.0.0:36657"\nunsafe = true'),
        ("[rpc]", '[rpc]\npprof_laddr = "0.0.0.0:6060"'),
        ("[rpc]", '[RPC]\nladdr = "tcp://0.0.0.0:36657"\n[rpc]'),
        ("[rpc]", "[instrumentation]\nprometheus = true\n[rpc]"),
        ("[rpc]", '[[x]]\npath = "/etc/passwd"\n[rpc]'),
        ("[statesync]", '[statesync]\nenable = true\nrpc_servers = "http://203.0.113.9:1,http://203.0.113.9:2"'),
    ],
)
def test_a_configuration_is_written_anew_whatever_the_backup_says(validator, tmp_path, before, after):  # [ABCI-30]
    def change(data: bytes) -> bytes:
        return data.decode().replace(before, after, 1).encode()

    archive = repacked(validator, tmp_path / "b.tar", CONFIG, change)
    restored = restore_backup(archive, Home(tmp_path / "new"))
    assert (tmp_path / "new" / CONFIG).read_bytes() == (validator[0].folder / CONFIG).read_bytes()
    assert restored.configuration.left_out


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('laddr = "tcp://127.0.0.1', 'laddr = "unix:///run/other.sock" # '),
        ('persistent_peers = "', 'persistent_peers = "127.0.0.1:26656,'),
        ("[p2p]", "[p2p"),
        ("[p2p]", "[P2P]"),
    ],
)
def test_a_configuration_without_an_address_and_peers_is_refused(validator, tmp_path, before, after):  # [ABCI-30]
    archive = repacked(
        validator, tmp_path / "b.tar", CONFIG, lambda data: data.decode().replace(before, after, 1).encode()
    )
    assert refused(archive, tmp_path / "new") == "ledger.comet_home_damaged"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"chain_id": "', b'"chain_id": "x'),
        (b'"power": "10"', b'"power": "11"'),
        (b'"max_gas": "-1"', b'"max_gas": "7"'),
        (b'"app_hash": ""', b'"app_hash": "", "App_Hash": "AB"'),
        (b'"validators": [', b'"validators": 4, "others": ['),
        (b"{", b"["),
    ],
)
def test_a_foreign_genesis_of_cometbft_is_refused(validator, tmp_path, before, after):  # [ABCI-30]
    archive = repacked(
        validator, tmp_path / "b.tar", "cometbft/config/genesis.json", lambda data: data.replace(before, after, 1)
    )
    assert refused(archive, tmp_path / "new") in {"node.restore_contradicted", "ledger.comet_home_damaged"}


def test_files_of_a_validator_beside_settings_of_none_are_refused(validator, tmp_path):  # [ABCI-30]
    def change(data: bytes) -> bytes:
        return b"".join(line for line in data.splitlines(keepends=True) if not line.startswith(b"p2p_port"))

    archive = repacked(validator, tmp_path / "b.tar", "node.toml", change)
    assert refused(archive, tmp_path / "new") == "node.restore_contradicted"


def test_a_validator_whose_manifest_denies_it_is_refused(validator, tmp_path):  # [ABCI-30]
    home, archive = validator
    files, manifest = unpacked(archive)
    signer = load_keys(home, passphrase=find_passphrase(home)).signing
    pack(tmp_path / "b.tar", files, manifest=manifest, signer=signer, suite=get_suite("intl"), validator=False)
    assert refused(tmp_path / "b.tar", tmp_path / "new") == "node.restore_contradicted"


def refused(archive: Path, folder: Path) -> str:
    with pytest.raises(ShuiqiaoError) as caught:
        restore_backup(archive, Home(folder))
    assert not folder.exists()
    return caught.value.code
