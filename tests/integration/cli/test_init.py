"""``init`` for a real network, by options and by answers on a terminal."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from cometbft_world import comet_program
from patience import PATIENCE_S
from serving_world import start_server
from shuiqiao.ledger.engine.cometbft.comet.localnet import free_ports
from shuiqiao.node.home.settings import Home, load_settings
from shuiqiao.node.member_file import node_of

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
    served = call("serve", "--home", tmp_path / "bureau")
    assert (served.code, served.json["error"]["code"]) == (1, "node.home_prepared")
    wrong = tmp_path / "wrong.json"
    wrong.write_text('{"members": []}', encoding="utf-8")
    refused = call("init", "--home", tmp_path / "bureau", "--genesis", wrong)
    assert (refused.code != 0, str(wrong) in refused.json["error"]["message"]) == (True, True), refused.out
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


def test_four_institutions_found_validators_from_empty_folders_and_order_together(here, tmp_path):
    """Each in a folder of its own, to which nobody else's files but public ones ever come."""
    members = {"bureau": "tax_bureau", "bank-a": "bank", "bank-b": "bank", "watch": "regulator"}
    homes = {member: Home(tmp_path / member / "home") for member in members}

    def call(*words):
        done = here(*words, "--json")
        assert done.code == 0, done.out
        return done.json

    for (member, role), port in zip(members.items(), free_ports(len(members)), strict=True):
        said = ("--member", member, "--role", role, "--name", member, "--name-zh", "甲", "--network", "delta")
        call("init", "--home", homes[member].folder, *said, "--p2p", f"127.0.0.1:{port}")
    inbox = tmp_path / "public"
    inbox.mkdir()
    for member, home in homes.items():
        shutil.copy(home.member_file, inbox / f"{member}.toml")
    files = {member: inbox / f"{member}.toml" for member in members}
    call("members", "genesis", *files.values(), "--network", "delta", "--out", inbox / "genesis.json")
    for member, home in homes.items():
        others = [word for other, file in files.items() if other != member for word in ("--member-file", file)]
        call("init", "--home", home.folder, "--genesis", inbox / "genesis.json", *others)
    with ExitStack() as stack:
        for home in homes.values():
            process = start_server(home, SHUIQIAO_COMETBFT=str(comet_program()))
            stack.callback(process.communicate, timeout=PATIENCE_S)
            stack.callback(process.terminate)
        url = "https://bank-a.example:8601"
        end = time.monotonic() + PATIENCE_S
        while here("members", "endpoint", url, "--home", homes["bank-a"].folder, "--json").code:
            assert time.monotonic() < end, "no block was decided"
            time.sleep(0.5)
        while url not in {
            row["endpoint"] for row in call("members", "list", "--home", homes["watch"].folder)["members"]
        }:
            assert time.monotonic() < end, "the block did not come to all"
            time.sleep(0.2)


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--member", "bank-a", "--network", "delta"),
        ("--member", "bank-a", "--role", "bank", "--name", "A", "--name-zh", "甲"),
        ("--listen", "127.0.0.1:8600"),
        ("--peer", "bureau=http://127.0.0.1:8601"),
    ],
)
def test_what_is_missing_is_asked_for(here, tmp_path, words):
    said = here("init", *(("--home", tmp_path / "home") if words else ()), *words, "--json")
    assert (said.code, said.json["error"]["code"]) == (2, "cli.usage_wrong")
    assert not (tmp_path / "home").exists()


def test_on_a_terminal_it_asks_for_everything(tmp_path):
    # What is no answer (a choice that is none, an id, a name that nobody sees) is said, and asked again.
    answers = ["9", "2", "my-bank", "Bank Z", "bank-z", "bank", "  ", "Bank Z", "丁银行", "delta", ""]
    answers += ["bank-z.example:26656"]
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
    shown = os.read(controller, 65_536).decode()
    os.close(controller)
    assert process.returncode == 0
    assert b'"member": "bank-z"' in out
    # Each question names its choices once.
    assert "What is the home to be? 请选择:" in shown
    assert "What it is 角色 (tax_bureau, bank, regulator):" in shown
    assert "Cipher suite 密码套件 (intl, gm) [intl]:" in shown
    assert b'"suite": "intl"' in out
    assert node_of(Home(tmp_path / "my-bank").member_file.read_text()).endswith("@bank-z.example:26656")
