"""The relays between validators: cut, and healed; a process of none."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading

from patience import PATIENCE_S
from shuiqiao.ledger.engine.cometbft.comet.localnet import RelayBoard
from shuiqiao.node.localnet.relays import answer


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


def test_cut_members_reach_each_other_and_nobody_else(folder, put_plan):
    plan = put_plan("aa", "bb", "cc")
    listeners = [echo_at(place.p2p_port) for place in plan.validators]
    board = RelayBoard(plan.mesh)
    ports = {(relay.near, relay.far): relay.port for relay in plan.relays}
    cut = answer(board, folder, {"act": "cut", "members": ["bb", "cc"]})
    assert cut == {"cut": [("aa", "bb"), ("aa", "cc")]}
    assert [heard_through(ports[pair]) for pair in sorted(ports)] == [b"", b"", b"hello"]
    assert answer(board, folder, {"act": "heal"}) == {"cut": []}
    assert [heard_through(ports[pair]) for pair in sorted(ports)] == [b"hello"] * 3
    board.close()
    for listener in listeners:
        listener.close()


def test_relays_of_no_network_end_with_words(tmp_path):
    command = [sys.executable, "-m", "shuiqiao.node.localnet.relays", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("ended: node.network_missing: ")
