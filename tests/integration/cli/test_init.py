"""``init`` for a real network, by options and by answers on a terminal."""

from __future__ import annotations

import json
import os
import pty
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from cometbft_world import comet_program
from patience import PATIENCE_S
from serving_world import log_file, served, start_server
from shuiqiao.base.errors import Unavailable
from shuiqiao.ledger.engine.cometbft.comet.localnet import free_ports
from shuiqiao.node.home.settings import Home, load_settings
from shuiqiao.node.member_file import node_of

COMMAND = Path(sys.executable).with_name("shuiqiao")
FOUNDERS = {"bureau": "tax_bureau", "watch": "regulator"}


def test_two_institutions_found_a_network_by_public_files_and_a_bank_joins_it(here, tmp_path):
    [port] = free_ports(1)

    def call(*words):
        return here(*words, "--json")

    def init(member, *more):
        said = ("--role", FOUNDERS.get(member, "bank"), "--name", f"The {member}", "--name-zh", "甲")
        return call("init", "--home", tmp_path / member, "--member", member, *said, *more)

    files = [init(member, "--network", "delta").json["member_file"] for member in FOUNDERS]
    again = init("bureau", "--network", "delta")
    assert (again.code, again.json["error"]["code"]) == (1, "node.home_prepared")
    early = call("serve", "--home", tmp_path / "bureau")
    assert (early.code, early.json["error"]["code"]) == (1, "node.home_prepared")
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
        peers = () if member == "bureau" else ("--peer", f"bureau=http://127.0.0.1:{port}")
        done = call("init", "--home", tmp_path / member, "--genesis", genesis, *peers)
        assert (done.code, done.json["network"], done.json["member"]) == (0, made.json["network"], member), done.out
    assert load_settings(Home(tmp_path / "watch")).peers == {"bureau": f"http://127.0.0.1:{port}"}
    nobody = call("init", "--home", tmp_path / "empty", "--genesis", genesis)
    assert (nobody.code, nobody.json["error"]["code"]) == (3, "node.keys_unmade")
    joined = init("bank-b", "--genesis", genesis, "--peer", f"bureau=http://127.0.0.1:{port}")
    assert (joined.code, load_settings(Home(tmp_path / "bank-b")).admitted) == (0, True), joined.out
    assert "warning: no passphrase was given, so a random one lies in" in joined.err
    asked = ("members", "propose", "admit", joined.json["member_file"], "--home", tmp_path / "bureau")
    assert call(*asked).json["status"] == "open"
    a_follower_waits_for_its_writer(call, tmp_path, port=port)


def a_follower_waits_for_its_writer(call, folder, *, port):
    """Serve the homes that were founded and joined, the writer last."""
    # Followers cannot reach a writer that listens for none.
    looked = call("doctor", "--home", folder / "bureau")
    [door] = [each for each in looked.json["findings"] if each["what"] == "address for members"]
    assert (looked.code, door["ok"], door["says"].startswith("1 other members follow this writer")) == (0, True, True)
    told = "warning: 1 other members cannot follow this writer: its server listens for none"
    with served(Home(folder / "bureau")) as server:
        assert told in server.end()[1]
    log_file(Home(folder / "bureau")).unlink()
    watch, joining = Home(folder / "watch"), Home(folder / "bank-b")
    with served(watch) as follower:
        # [API-23]: nothing is damaged in a copy that never reached its writer, and nothing can be asked of it.
        with follower.client() as client, pytest.raises(Unavailable) as away:
            client.get("/readyz")
        assert away.value.code == "ledger.not_followed"
        with served(Home(folder / "bureau"), "--peer-listen", f"127.0.0.1:{port}") as server:
            end = time.monotonic() + PATIENCE_S
            while not is_ready(follower):
                assert time.monotonic() < end, "it does not follow"
                time.sleep(0.2)
            assert told not in server.end()[1]
        # Once it has followed it answers, whether the writer is there or not.
        assert is_ready(follower)
    with served(joining) as server:
        assert not is_ready(server)
        server.end()
    looked = call("doctor", "--home", joining.folder)
    [note] = [each for each in looked.json["findings"] if each["what"] == "checkpoint"]
    assert (looked.code, note["ok"], "no block yet" in note["says"]) == (0, True, True)
    # A lost checkpoint of a copy that has blocks stays a fault.
    for kept in (watch.ledger / "checkpoints").glob("*"):
        if kept.is_file():
            kept.unlink()
    looked = call("doctor", "--home", watch.folder)
    assert "ledger.checkpoint_missing" in {each["code"] for each in looked.json["findings"]}


def is_ready(server):
    try:
        with server.client() as client:
            return client.get("/readyz").status == 200
    except Unavailable:
        return False


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
        ("--peer-listen", "127.0.0.1:8601"),
        ("--peer", "bureau=http://127.0.0.1:8601"),
    ],
)
def test_what_is_missing_is_asked_for(here, tmp_path, words):
    said = here("init", *(("--home", tmp_path / "home") if words else ()), *words, "--json")
    assert (said.code, said.json["error"]["code"]) == (2, "cli.usage_wrong")
    assert not (tmp_path / "home").exists()


def at_a_terminal(folder, *answers):
    """Give a person's answers to the bare command; return its JSON and what the terminal showed."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [COMMAND, "init", "--json"],
        stdin=terminal,
        stderr=terminal,
        stdout=subprocess.PIPE,
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith("SHUIQIAO")},
        start_new_session=True,
    )
    os.close(terminal)
    os.write(controller, "".join(f"{answer}\n" for answer in answers).encode())
    shown = []
    reading = threading.Thread(target=lambda: shown.extend(everything_from(controller)))
    reading.start()
    try:
        out, _ = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
        reading.join(PATIENCE_S)
        os.close(controller)
    said = b"".join(shown).decode()
    assert process.returncode == 0, said
    return json.loads(out), said


def everything_from(controller):
    # What a terminal shows has to be taken from it, or its program waits; it ends with an error once nobody has it.
    with suppress(OSError):
        while found := os.read(controller, 65_536):
            yield found


def test_on_a_terminal_it_asks_a_founder_of_validators_for_everything(tmp_path):
    # What is no answer (a choice that is none, an id, a name that nobody sees) is said, and asked again.
    answers = ["9", "2", "my-bank", "Bank Z", "bank-z", "bank", "  ", "Bank Z", "丁银行", "delta", ""]
    made, shown = at_a_terminal(tmp_path, *answers, "validators", "bank-z.example", "bank-z.example:26656")
    assert (made["member"], made["suite"]) == ("bank-z", "intl")
    # Each question names its choices once.
    assert "What is the home to be? 请选择:" in shown
    assert "What it is 角色 (tax_bureau, bank, regulator):" in shown
    assert "Cipher suite 密码套件 (intl, gm) [intl]:" in shown
    assert "由谁记账 (writer, validators) [writer]:" in shown
    assert "'bank-z.example' is not HOST:PORT" in shown
    assert node_of(Home(tmp_path / "my-bank").member_file.read_text()).endswith("@bank-z.example:26656")


def test_on_a_terminal_a_network_with_a_writer_is_founded_and_joined(here, tmp_path):
    """Only what such a network needs is asked, and no answer is lost to a wrong one after it."""
    _, shown = at_a_terminal(tmp_path, "2", "bureau", "bureau", "tax_bureau", "Bureau", "税务局", "delta", "", "")
    assert "节点" not in shown
    words = ("--network", "delta", "--writer", "bureau", "--out", tmp_path / "genesis.json", "--json")
    assert here("members", "genesis", tmp_path / "bureau" / "member.toml", *words).code == 0
    answers = ("3", "nowhere", "bureau", "no.json", "", "here", "127.0.0.1:0", "127.0.0.1:99999", "127.0.0.1:0", "")
    _, shown = at_a_terminal(tmp_path, *answers)
    for said in ("nowhere has no keys that wait", "no.json cannot be read", "'here' does not have", ":99999' does not"):
        assert said in shown
    assert "节点" not in shown
    settings = load_settings(Home(tmp_path / "bureau"))
    assert (settings.listen, settings.peer_listen) == ("127.0.0.1:0", "127.0.0.1:0")
    wrong = ("", "bureau", "bureau=127.0.0.1:8601", "Bureau=http://127.0.0.1:8601")
    who = ("4", "bureau", "bank-b", "", "bureau", "bank-b", "bank", "Bank B", "乙银行")
    _, shown = at_a_terminal(tmp_path, *who, "", "", *wrong, "bureau=http://127.0.0.1:18601")
    for said in ("bureau is a home already", "bureau is a member by the genesis", "'bureau' has not the form"):
        assert said in shown
    assert ("is not https://host:port" in shown, "'Bureau' is not 2 to 32" in shown) == (True, True)
    joined = load_settings(Home(tmp_path / "bank-b"))
    assert joined.peers == {"bureau": "http://127.0.0.1:18601"}
    assert joined.peer_listen != ""


def test_a_second_home_to_try_things_on_is_offered_another_address(tmp_path):
    _, shown = at_a_terminal(tmp_path, "1", "one", "")
    taken = load_settings(Home(tmp_path / "one")).listen
    assert f"[{taken}]" in shown
    with socket.create_server(("127.0.0.1", int(taken.rpartition(":")[2]))):
        at_a_terminal(tmp_path, "1", "two", "")
    assert load_settings(Home(tmp_path / "two")).listen != taken


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--peer", "bureau=127.0.0.1:8601"), "members.endpoint_invalid"),
        (("--peer", "Bureau=http://127.0.0.1:8601"), "node.member_name_invalid"),
        (("--listen", "here"), "api.address_invalid"),
        (("--peer-listen", "127.0.0.1:99999"), "api.address_invalid"),
    ],
)
def test_an_address_that_is_none_is_refused_before_a_home_is_made(here, tmp_path, words, code):
    who = ("--member", "bank-a", "--role", "bank", "--name", "A", "--name-zh", "甲")
    shown = here("init", "--home", tmp_path / "bank-a", *who, "--network", "delta", "--json").json["member_file"]
    genesis = ("--network", "delta", "--writer", "bank-a", "--out", tmp_path / "genesis.json")
    assert here("members", "genesis", shown, *genesis, "--json").code == 0
    said = here("init", "--home", tmp_path / "bank-a", "--genesis", tmp_path / "genesis.json", *words, "--json")
    assert (said.code, said.json["error"]["code"]) == (2, code), said.out
    assert not Home(tmp_path / "bank-a").settings.exists()
