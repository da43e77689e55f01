"""A member's home is its owner's alone from the first byte, whatever the umask; what is handed out stays readable [STORE-28]."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from shuiqiao.node.home.settings import Home

GRADES = "uscc,year,grade\n91000000000000001A,2018,A\n"


@pytest.fixture(autouse=True)
def _usual_umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def home(shuiqiao, tmp_path):
    """A home that was used: it has keys, a database, a ledger, a vault and a quarantine report."""
    (tmp_path / "a.csv").write_text(GRADES + "91000000000000002A,2018,Z\n", encoding="utf-8")
    made = tmp_path / "home"
    assert shuiqiao("init", "--home", made).code == 0
    assert shuiqiao("ingest", tmp_path / "a.csv", "--home", made).code == 0
    return made


def open_to_others(folder: Path) -> list[str]:
    found = (folder, *folder.rglob("*"))
    return [str(path.relative_to(folder)) for path in found if path.lstat().st_mode & 0o077]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_everything_in_a_home_is_its_owners_alone(home):
    names = {path.name for path in home.rglob("*")}
    assert {"shuiqiao.db", "data.mdb", "node.toml", "genesis.json", "signing.key.json", "lock"} <= names
    assert open_to_others(home) == []
    assert mode(Home(home).passphrase) == 0o600


def test_a_folder_that_was_open_before_is_closed_when_it_becomes_a_home(shuiqiao, tmp_path):
    (tmp_path / "home").mkdir(mode=0o755)
    assert shuiqiao("init", "--home", tmp_path / "home").code == 0
    assert open_to_others(tmp_path / "home") == []


def test_a_backup_and_what_is_restored_from_it_are_too(shuiqiao, home, tmp_path):
    assert shuiqiao("backup", "create", "--include-passphrase", "--home", home, "--to", tmp_path / "b").code == 0
    assert shuiqiao("backup", "restore", "--from", tmp_path / "b", "--home", tmp_path / "again").code == 0
    assert shuiqiao("audit", "--home", tmp_path / "again").code == 0
    assert mode(tmp_path / "b") == 0o600
    assert open_to_others(tmp_path / "again") == []


def test_the_homes_of_a_network_are_and_its_genesis_is_for_everybody(shuiqiao, tmp_path):
    net = tmp_path / "net"
    assert shuiqiao("network", "init", "--folder", net, "--engine", "embedded").code == 0
    assert open_to_others(net / "homes") == []
    assert (mode(net), mode(net / "genesis.json"), mode(net / "members.toml")) == (0o755, 0o644, 0o644)


def test_what_is_handed_out_is_readable_by_everybody(shuiqiao, home, tmp_path):
    out = tmp_path / "public" / "log"
    assert shuiqiao("tiles", "publish", "--home", home, "--out", out).code == 0
    assert shuiqiao("receipt", "0", "--home", home, "--out", tmp_path / "r.receipt").code == 0
    files = [path for path in out.rglob("*") if path.is_file()]
    folders = [out.parent, out, *(path for path in out.rglob("*") if path.is_dir())]
    assert files
    assert {mode(path) for path in (tmp_path / "r.receipt", *files)} == {0o644}
    assert {mode(path) for path in folders} == {0o755}


def test_doctor_says_where_a_home_lets_others_in_and_what_to_do(shuiqiao, home):
    assert shuiqiao("doctor", "--home", home).code == 0
    home.chmod(0o755)
    (home / "shuiqiao.db").chmod(0o644)
    said = shuiqiao("doctor", "--home", home, "--json")
    (found,) = [finding for finding in said.json["findings"] if finding["what"] == "privacy"]
    assert (said.code, found["code"], found["next_step"]) == (1, "node.home_readable", f"chmod -R go= {home}")
    assert f"{home} (mode 755), {home / 'shuiqiao.db'} (mode 644)" in found["says"]
    os.system(found["next_step"])
    assert shuiqiao("doctor", "--home", home).code == 0
