"""The parts of a running network: the plan, control sockets, recorded processes, relays that are cut and healed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from patience import PATIENCE_S
from shuiqiao.base.errors import Conflict, Denied, InvalidInput, Unavailable
from shuiqiao.ledger.engine.cometbft.comet.localnet import free_ports
from shuiqiao.node.localnet.child import RelayBoard
from shuiqiao.node.localnet.network import Network
from shuiqiao.node.localnet.plan import (
    NetworkFolder,
    NetworkPlan,
    RelayPlace,
    ValidatorPlace,
    encode_plan,
    load_plan,
)
from shuiqiao.node.localnet.process import ControlServer, RecordedProcess, ask_process
from shuiqiao.node.localnet.status import CometStatus, node_status
from stranger import told_to_a_stranger

SLEEP = [sys.executable, "-c", "import sys, time; print('a   word', flush=True); time.sleep(60)"]


def plan_of(*names, engine="cometbft"):
    ports = iter(free_ports(4 * len(names) + len(names) ** 2))
    return NetworkPlan(
        network="ab" * 32,
        suite="intl",
        engine=engine,
        validators=tuple(ValidatorPlace(member=name, p2p_port=next(ports)) for name in names),
        relays=tuple(
            RelayPlace(near=near, far=far, port=next(ports))
            for number, near in enumerate(names)
            for far in names[number + 1 :]
        ),
    )


@pytest.fixture
def folder(tmp_path):
    found = NetworkFolder(tmp_path)
    found.run.mkdir()
    return found


def put(folder, plan):
    folder.plan.write_bytes(encode_plan(plan))
    return plan


def code_of(kind, act):
    with pytest.raises(kind) as caught:
        act()
    return caught.value.code


def test_a_plan_goes_there_and_back(folder):
    assert put(folder, plan_of("aa", "bb")) == load_plan(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 1},
        {"network": "AB" * 32},
        {"engine": "paxos"},
        {"validators": [{"member": "../x", "p2p_port": 1}]},
        {"validators": [{"member": "xx", "p2p_port": 0}]},
        {"fee": 1},
    ],
)
def test_what_is_no_plan_is_refused(folder, change):
    folder.plan.write_text(json.dumps(json.loads(encode_plan(plan_of("aa"))) | change))
    assert code_of(InvalidInput, lambda: load_plan(folder)) == "node.network_invalid"


def test_a_folder_without_a_plan_is_no_network(folder):
    assert code_of(Unavailable, lambda: Network(folder)) == "node.network_missing"


def test_a_control_socket_answers_and_tells_errors(folder):
    def answer(question):
        if question["act"] == "no":
            raise Denied("node.role_wrong", "not you")
        return {"heard": question["act"]}

    path = folder.control("aa")
    with ControlServer(path, answer=answer):
        assert ask_process(path, {"act": "yes"}) == {"heard": "yes"}
        assert code_of(Unavailable, lambda: ask_process(path, {"act": "no"})) == "node.control_refused"
    assert code_of(Unavailable, lambda: ask_process(path, {"act": "yes"})) == "node.control_unreachable"


def test_a_control_socket_answers_no_stranger(folder, monkeypatch):
    path = folder.control("aa")
    heard = []
    with ControlServer(path, answer=lambda question: heard.append(question) or {}):
        assert told_to_a_stranger(path, b'{"act": "no"}\n', monkeypatch=monkeypatch) == b""
        assert ask_process(path, {"act": "yes"}) == {}
    assert heard == [{"act": "yes"}]


@pytest.mark.parametrize("line", [b"\xff\n", b"[1]\n", b"\n", b"{}" * 10 + b"\n", b"[" * 100_000 + b"\n"])
def test_a_control_socket_survives_garbage(folder, line):
    path = folder.control("aa")
    with ControlServer(path, answer=lambda question: {"keys": len(question)}):
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(PATIENCE_S)
            link.connect(str(path))
            link.sendall(line)
            assert "error" in json.loads(link.makefile().readline())
        assert ask_process(path, {"a": 1}) == {"keys": 1}


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="the way around long paths is Linux's")
def test_a_control_socket_may_lie_deep(tmp_path):
    deep = tmp_path / ("d" * 90) / ("e" * 90)
    deep.mkdir(parents=True)
    with ControlServer(deep / "aa.sock", answer=lambda _question: {"deep": True}):
        assert ask_process(deep / "aa.sock", {}) == {"deep": True}


def test_a_process_lives_on_until_it_is_asked_to_end(folder):
    process = RecordedProcess(folder.run, name="aa.ledger")
    assert (process.pid, process.is_expected) == (None, False)
    process.start(SLEEP)
    try:
        first = process.pid
        assert first is not None
        process.start(SLEEP)
        assert RecordedProcess(folder.run, name="aa.ledger").pid == first
    finally:
        process.ask_to_end()
        process.wait_ended()
    assert (process.pid, process.is_expected) == (None, False)


def test_a_killed_process_is_missed(folder):
    process = RecordedProcess(folder.run, name="aa.ledger")
    process.start([sys.executable, "-c", "print('last   words')"])
    while process.pid is not None:
        threading.Event().wait(0.02)
    assert process.is_expected
    standing = node_status(
        "aa",
        ledger=process,
        comet=RecordedProcess(folder.run, name="aa.cometbft"),
        ask=dict,
        look=lambda: CometStatus(peers=0, is_catching_up=False),
        votes_with=None,
    )
    assert not standing.running
    assert [(each.code, each.message) for each in standing.trouble] == [
        ("node.ledger_down", "aa.ledger ended; last in its log: last words")
    ]
    process.kill()


@pytest.mark.parametrize(
    ("named", "votes_with", "codes"),
    [
        ("aa" * 32, b"\xaa" * 32, []),
        ("aa" * 32, b"\xbb" * 32, ["node.validator_key_differs"]),
        ("aa" * 32, None, ["node.validator_key_differs"]),
        # A newcomer that nobody admitted yet, and a node of an earlier version that does not say.
        ("", b"\xbb" * 32, []),
        (None, b"\xbb" * 32, []),
    ],
)
def test_a_validator_that_votes_with_another_key_than_the_ledger_names_is_told(named, votes_with, codes, folder):
    process = RecordedProcess(folder.run, name="aa.ledger")
    process.start(SLEEP)
    try:
        standing = node_status(
            "aa",
            ledger=process,
            comet=process,
            ask=lambda: {} if named is None else {"validator_key": named},
            look=lambda: CometStatus(peers=0, is_catching_up=False),
            votes_with=votes_with,
        )
    finally:
        process.ask_to_end()
        process.wait_ended()
    assert codes == [each.code for each in standing.trouble]


def test_another_process_of_the_same_id_is_not_taken_for_ours(folder):
    (folder.run / "aa.ledger.pid").write_text(json.dumps({"pid": os.getpid(), "began": "1"}))
    assert RecordedProcess(folder.run, name="aa.ledger").pid is None


def echo_at(port):
    """Answer one connection after the other at a port, sending back what comes."""
    listener = socket.create_server(("127.0.0.1", port))

    def serve():
        while True:
            try:
                link, _ = listener.accept()
            except OSError:
                return
            with link:
                link.sendall(link.recv(100))

    threading.Thread(target=serve, daemon=True).start()
    return listener


def heard_through(port):
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as link:
        link.settimeout(PATIENCE_S)
        try:
            link.sendall(b"hello")
            return link.recv(100)
        except ConnectionError:
            return b""


def test_cut_members_reach_each_other_and_nobody_else(folder):
    plan = put(folder, plan_of("aa", "bb", "cc"))
    listeners = [echo_at(place.p2p_port) for place in plan.validators]
    board = RelayBoard(folder)
    ports = {(relay.near, relay.far): relay.port for relay in plan.relays}
    assert board.answer({"act": "cut", "members": ["bb", "cc"]}) == {"cut": [("aa", "bb"), ("aa", "cc")]}
    assert [heard_through(ports[pair]) for pair in sorted(ports)] == [b"", b"", b"hello"]
    assert board.answer({"act": "heal"}) == {"cut": []}
    assert [heard_through(ports[pair]) for pair in sorted(ports)] == [b"hello"] * 3
    board.close()
    for listener in listeners:
        listener.close()


def test_names_and_engines_that_cannot_be_started_are_refused(folder, tmp_path):
    put(folder, plan_of("aa"))
    network = Network(folder)
    assert code_of(InvalidInput, lambda: network.start(["zz"], program=tmp_path)) == "node.validator_unknown"
    assert code_of(InvalidInput, lambda: network.kill("zz")) == "node.validator_unknown"
    put(folder, plan_of(engine="embedded"))
    assert code_of(InvalidInput, lambda: Network(folder).start((), program=tmp_path)) == "node.network_not_started"


def test_two_commands_do_not_start_and_end_at_once(folder):
    put(folder, plan_of("aa"))
    with Network(folder)._alone():
        assert code_of(Conflict, lambda: Network(folder).stop()) == "node.network_busy"
    Network(folder).stop()


def test_a_home_that_cannot_be_opened_is_told_with_its_code(folder):
    put(folder, plan_of("aa"))
    network = Network(folder)
    try:
        assert code_of(Unavailable, lambda: network.start((), program=folder.folder)) == "node.process_ended"
        [node] = network.status().nodes
    finally:
        network.stop()
    assert [each.code for each in node.trouble] == ["node.ledger_down"]
    assert "node.passphrase_missing" in node.trouble[0].message
    assert network.status().nodes[0].trouble == ()


def test_a_process_that_there_is_none_of_ends_with_words():
    command = [sys.executable, "-m", "shuiqiao.node.localnet.child", "paxos"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        1,
        "ended: node.process_unknown: there is no process 'paxos'\n",
    )
