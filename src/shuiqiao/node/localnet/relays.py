"""Stands between the validators of a network on one machine, so that they can be cut apart.

Started by ``network`` as ``python -m shuiqiao.node.localnet.relays NET``, for all relays of a network; it runs until it
is asked to end (SIGTERM). What it has to say of an end for a reason is the last line of its log.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.base.files import owner_only
from shuiqiao.base.visible import visible_line
from shuiqiao.ledger.engine.cometbft.comet.localnet import Relay
from shuiqiao.node.localnet.plan import RELAYS, NetworkFolder, load_plan
from shuiqiao.node.localnet.process import ControlServer


@owner_only()
def main(arguments: list[str]) -> int:
    """Run the relays of a network to their end and return the exit code."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: ended.set())
    try:
        run_relays(NetworkFolder(Path(*arguments)), ended=ended)
    except (ShuiqiaoError, OSError) as error:
        sys.stderr.write(f"ended: {visible_line(str(error))}\n")
        return 1
    return 0


def run_relays(folder: NetworkFolder, *, ended: threading.Event) -> None:
    """Relay between validators, and cut them apart when asked; raises what ``load_plan`` raises."""
    board = RelayBoard(folder)
    try:
        with ControlServer(folder.control(RELAYS), answer=board.answer):
            ended.wait()
    finally:
        board.close()


class RelayBoard:
    """All relays of a network, and who is cut off from whom."""

    def __init__(self, folder: NetworkFolder) -> None:
        """Listen on every relay's port."""
        self._folder = folder
        self._relays: dict[tuple[str, str], Relay] = {}
        self._cut: set[tuple[str, str]] = set()
        self._load()

    def _load(self) -> None:
        """Listen for what is new in the plan."""
        plan = load_plan(self._folder)
        ports = {place.member: place.p2p_port for place in plan.validators}
        for relay in plan.relays:
            if (relay.near, relay.far) not in self._relays:
                self._relays[relay.near, relay.far] = Relay(target_port=ports[relay.far], port=relay.port)

    def answer(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Do what is asked and tell what is cut: ``cut`` members off, ``heal`` all, ``reload`` the plan, or nothing."""
        match question.get("act"):
            case "cut":
                inside = set(question.get("members", ()))
                for pair, relay in self._relays.items():
                    if len(inside.intersection(pair)) == 1:
                        relay.cut()
                        self._cut.add(pair)
            case "heal":
                for relay in self._relays.values():
                    relay.heal()
                self._cut.clear()
            case "reload":
                self._load()
            case _:
                # Only the question what is cut.
                pass
        return {"cut": sorted(self._cut)}

    def close(self) -> None:
        """Stop listening."""
        for relay in self._relays.values():
            relay.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
