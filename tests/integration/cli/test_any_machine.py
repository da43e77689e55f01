"""Terminals without Chinese, full disks, names that are not UTF-8, files with a byte order mark: sentences, no traces."""

from __future__ import annotations

import codecs
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from patience import PATIENCE_S
from shuiqiao.node.home.settings import Home

COMMAND = Path(sys.executable).with_name("shuiqiao")
GRADES = "uscc,year,grade\n91000000000000001A,2018,A\n"


def run(*arguments, limit_bytes: int | None = None, **environment):
    """The command as bytes of a process of its own. limit_bytes: of any file it writes, as a full disk would."""

    def prepare() -> None:
        if limit_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    return subprocess.run(
        [COMMAND, *arguments],
        capture_output=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("SHUIQIAO")} | environment,
        stdin=subprocess.DEVNULL,
        preexec_fn=prepare,
        timeout=PATIENCE_S,
        check=False,
    )


@pytest.fixture(scope="module")
def used(tmp_path_factory):
    """A home with one transaction, and its receipt."""
    folder = tmp_path_factory.mktemp("used")
    (folder / "a.csv").write_text(GRADES, encoding="utf-8")
    assert run("init", "--home", folder / "home").returncode == 0
    assert run("ingest", folder / "a.csv", "--home", folder / "home").returncode == 0
    assert run("receipt", "0", "--home", folder / "home", "--out", folder / "r.receipt").returncode == 0
    return folder


@pytest.mark.parametrize("encoding", ["iso-8859-1", "ascii"])
@pytest.mark.parametrize(
    "command",
    [("verify", "r.receipt"), ("verify", "r.receipt", "--json"), ("audit",), ("doctor",), ("members", "list")],
)
def test_a_terminal_without_chinese_gets_escapes(used, command, encoding):
    words = [used / word if word.endswith(".receipt") else word for word in command]
    done = run(*words, "--home", used / "home", PYTHONIOENCODING=encoding)
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
    if "--json" in command:
        assert json.loads(done.stdout.decode(encoding))["proves_zh"]
    elif command[0] == "verify":
        assert rb"\u6709\u6548" in done.stdout


def big_file(path: Path, *, rows: int = 60_000) -> Path:
    lines = [f"{91_000_000_000_000_000 + number:017d}A,2018,A" for number in range(rows)]
    path.write_text("\n".join(["uscc,year,grade", *lines]) + "\n", encoding="utf-8")
    return path


def test_a_full_disk_is_named_and_the_same_command_goes_on_later(tmp_path):
    home = tmp_path / "home"
    assert run("init", "--home", home).returncode == 0
    file = big_file(tmp_path / "big.csv")
    full = run("ingest", file, "--home", home, "--lang-was-not-asked", limit_bytes=600_000)
    assert full.returncode == 2
    full = run("ingest", file, "--home", home, "--json", limit_bytes=600_000)
    error = json.loads(full.stdout)["error"]
    assert (full.returncode, error["code"], b"Traceback" in full.stderr) == (3, "cli.disk_full", False)
    assert str(home) in error["message"]
    assert "again" in error["next_step"]
    assert run("audit", "--home", home).returncode == 0, "what was cut short is nothing that an audit finds"
    again = run("ingest", file, "--home", home, "--json")
    assert json.loads(again.stdout)["records_ingested"] == 60_000
    assert run("audit", "--home", home).returncode == 0


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 3 MB, and what fills it up to so many free bytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    try:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder],
            check=True,
            capture_output=True,
            timeout=PATIENCE_S,
        )
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"a small file system needs the right to mount one: {error}")

    def fill(free_bytes):
        disk = os.statvfs(folder)
        (folder / "filler").write_bytes(bytes(disk.f_bavail * disk.f_frsize - free_bytes))

    yield folder, fill
    subprocess.run(["umount", "-l", folder], check=True, timeout=PATIENCE_S)


@pytest.mark.parametrize(("free_bytes", "is_used"), [(0, False), (36 << 10, True), (100 << 10, True)])
def test_a_store_that_lacks_space_is_told_as_a_full_disk(small_disk, tmp_path, free_bytes, is_used):
    """LMDB calls it an input/output error, SQLite a file that does not open."""
    (folder, fill), file = small_disk, tmp_path / "a.csv"
    home = folder / "home"
    file.write_text(GRADES, encoding="utf-8")
    assert run("init", "--home", home).returncode == 0
    if is_used:
        (tmp_path / "first.csv").write_text("uscc,year,grade\n91000000000000009A,2018,B\n", encoding="utf-8")
        assert run("ingest", tmp_path / "first.csv", "--home", home).returncode == 0
    fill(free_bytes)
    full = run("ingest", file, "--home", home, "--json")
    error = json.loads(full.stdout)["error"]
    assert (full.returncode, error["code"]) == (3, "cli.disk_full"), error
    assert "Free disk space" in error["next_step"]
    (folder / "filler").unlink()
    # It may have been anchored before the disk refused the rest: then it is there already, and nothing is new (1).
    assert run("ingest", file, "--home", home, "--json").returncode in {0, 1}
    found = json.loads(run("record", "find", "--taxpayer", "91000000000000001A", "--home", home, "--json").stdout)
    assert [record["status"] for record in found["records"]] == ["live"]
    assert run("audit", "--home", home).returncode == 0


@pytest.mark.parametrize("limit_bytes", [0, 60, 250, 600])
def test_an_init_that_the_disk_refused_begins_anew(tmp_path, limit_bytes):
    home = tmp_path / "home"
    refused = run("init", "--home", home, "--json", limit_bytes=limit_bytes)
    assert (refused.returncode, "again" in json.loads(refused.stdout)["error"]["next_step"]) == (3, True)
    assert ([*home.rglob("*")], Home(home).passphrase.exists()) == ([], False)
    assert run("init", "--home", home).returncode == 0


def test_a_network_that_the_disk_refused_begins_anew(tmp_path):
    folder = tmp_path / "net"
    command = ("network", "init", "--engine", "embedded", "--validators", "2", "--folder", folder, "--json")
    refused = run(*command, limit_bytes=600)
    assert (refused.returncode, [*folder.rglob("*")]) == (3, []), refused.stdout
    assert run(*command).returncode == 0


def test_names_that_are_not_utf_8_and_that_mean_something_in_a_url(tmp_path):
    folder = os.fsencode(tmp_path)
    home, file = folder + b"/h\xff?x=1%20#me", folder + b"/a\xfe.csv"
    Path(os.fsdecode(file)).write_text(GRADES + "91000000000000002A,2018,Z\n", encoding="utf-8")
    for command in (
        [b"init"],
        [b"ingest", file],
        [b"audit"],
        [b"doctor"],
        [b"members", b"list"],
        [b"receipt", b"0", b"--out", folder + b"/r\xfd.receipt"],
        [b"verify", folder + b"/r\xfd.receipt"],
        [b"verify", folder + b"/r\xfd.receipt", b"--json"],
        [b"backup", b"create", b"--to", folder + b"/b\xfc"],
    ):
        done = run(*command, b"--home", home)
        assert (command, done.returncode, b"Traceback" in done.stderr) == (command, 0, False), done.stderr
    found = {os.fsencode(path.name) for path in tmp_path.iterdir()}
    homes = {b"h\xff?x=1%20#me", b"h\xff?x=1%20#me.passphrase"}
    assert found == {b"a\xfe.csv", *homes, b"r\xfd.receipt", b"b\xfc"}


@pytest.mark.parametrize("name", [b"not-there-\xff", b"\xe7\xa8\x8e"])
def test_a_file_that_is_not_there_is_named_whatever_its_name(tmp_path, name):
    for command in ([b"verify", name, b"--genesis", name], [b"ingest", name], [b"doctor"], [b"audit", b"--json"]):
        done = run(*command, b"--home", os.fsencode(tmp_path) + b"/" + name, SHUIQIAO_HOME="/nowhere/\udcff")
        assert (done.returncode in {1, 3}, b"Traceback" in done.stderr) == (True, False), done.stderr


def test_files_that_begin_with_a_byte_order_mark_are_read_without_it(used, tmp_path):
    home = tmp_path / "home"
    assert run("init", "--home", home).returncode == 0
    (tmp_path / "a.csv").write_bytes(codecs.BOM_UTF8 + GRADES.encode())
    for name in ("node.toml", "genesis.json", "../home.passphrase"):
        path = home / name
        path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())
    assert run("ingest", tmp_path / "a.csv", "--home", home).returncode == 0
    assert run("doctor", "--home", home).returncode == 0
    genesis = tmp_path / "genesis.json"
    genesis.write_bytes(codecs.BOM_UTF8 + (used / "home" / "genesis.json").read_bytes())
    assert run("verify", used / "r.receipt", "--genesis", genesis).returncode == 0


def test_the_language_of_the_next_step_is_chosen_by_option_or_locale(tmp_path):
    said = run("audit", "--home", tmp_path, LC_ALL="zh_CN.UTF-8").stderr.decode()
    assert "下一步: " in said
    assert "下一步: " in run("--lang", "zh", "audit", "--home", tmp_path, LC_ALL="C.UTF-8").stderr.decode()
    assert "next: " in run("--lang", "en", "audit", "--home", tmp_path, LC_ALL="zh_CN.UTF-8").stderr.decode()
