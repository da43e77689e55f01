"""``init`` for a real network, by options and by answers on a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from patience import PATIENCE_S
from shuiqiao.node.home.settings import Home, load_settings

COMMAND = Path(sys.executable).with_name("shuiqiao")
FOUNDERS = {"bureau": "tax_bureau", "watch": "regulator"}


def test_two_institutions_found_a_network_by_public_files_and_a_bank_joins_it(here, tmp_path):
    def call(*words):
        return here(*words, "--json")

    def init(member, *more):
        said = ("--role", FOUNDERS.get(member, "bank"), "--name", f"The {member}", "--name-zh", "甲")
        return call("init", "--home", tmp_path / member, "--member", member, *said, *more)

    files = [init(member, "--network", "delta").json["member_file"] for member in FOUNDERS]
    again = init("bureau", "--network", "delta")
    assert (again.code, again.json["error"]["code"]) == (1, "node.home_prepared")
    genesis = tmp_path / "genesis.json"
    words = ("--network", "delta", "--writer", "bureau", "--witness", "watch", "--quorum", "1", "--out", genesis)
    made = call("members", "genesis", *files, *words)
    assert (made.code, sorted(made.json["members"])) == (0, sorted(FOUNDERS)), made.out
    taken = call("members", "genesis", *files, *words)
    assert (taken.code, taken.json["error"]["code"]) == (1, "cli.file_in_use")
    for member in FOUNDERS:
        peers = () if member == "bureau" else ("--peer", "bureau=http://127.0.0.1:18601")
        done = call("init", "--home", tmp_path / member, "--genesis", genesis, *peers)
        assert (done.code, done.json["network"], done.json["member"]) == (0, made.json["network"], member), done.out
    assert load_settings(Home(tmp_path / "watch")).peers == {"bureau": "http://127.0.0.1:18601"}
    nobody = call("init", "--home", tmp_path / "empty", "--genesis", genesis)
    assert (nobody.code, nobody.json["error"]["code"]) == (3, "node.keys_unmade")
    joined = init("bank-b", "--genesis", genesis)
    assert (joined.code, load_settings(Home(tmp_path / "bank-b")).admitted) == (0, True), joined.out
    assert "warning: no passphrase was given, so a random one lies in" in joined.err
    asked = ("members", "propose", "admit", joined.json["member_file"], "--home", tmp_path / "bureau")
    assert call(*asked).json["status"] == "open"


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--member", "bank-a", "--network", "delta"),
        ("--member", "bank-a", "--role", "bank", "--name", "A", "--name-zh", "甲"),
    ],
)
def test_what_is_missing_is_asked_for(here, tmp_path, words):
    said = here("init", *(("--home", tmp_path / "home") if words else ()), *words, "--json")
    assert (said.code, said.json["error"]["code"]) == (2, "cli.usage_wrong")
    assert not (tmp_path / "home").exists()


def test_on_a_terminal_it_asks_for_everything(tmp_path):
    answers = ["9", "2", "my-bank", "bank-z", "bank", "Bank Z", "丁银行", "delta", "intl"]
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [COMMAND, "init", "--json"],
        stdin=terminal,
        stderr=terminal,
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if not name.startswith("SHUIQIAO")},
        start_new_session=True,
    )
    os.close(terminal)
    os.write(controller, "".join(f"{answer}\n" for answer in answers).encode())
    out, _ = process.communicate(timeout=PATIENCE_S)
    os.close(controller)
    assert process.returncode == 0
    assert b'"member": "bank-z"' in out
    assert Home(tmp_path / "my-bank").member_file.is_file()
