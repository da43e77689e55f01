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
    assert found == {b"a\xfe.csv", b"h\xff?x=1%20#me", b"r\xfd.receipt", b"b\xfc"}


@pytest.mark.parametrize("name", [b"not-there-\xff", b"\xe7\xa8\x8e"])
def test_a_file_that_is_not_there_is_named_whatever_its_name(tmp_path, name):
    for command in ([b"verify", name, b"--genesis", name], [b"ingest", name], [b"doctor"], [b"audit", b"--json"]):
        done = run(*command, b"--home", os.fsencode(tmp_path) + b"/" + name, SHUIQIAO_HOME="/nowhere/\udcff")
        assert (done.returncode in {1, 3}, b"Traceback" in done.stderr) == (True, False), done.stderr


def test_files_that_begin_with_a_byte_order_mark_are_read_without_it(used, tmp_path):
    home = tmp_path / "home"
    assert run("init", "--home", home).returncode == 0
    (tmp_path / "a.csv").write_bytes(codecs.BOM_UTF8 + GRADES.encode())
    for name in ("node.toml", "genesis.json", "keys/passphrase"):
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
