"""Runs our own processes of a network: a validator's ledger, and the relays between validators.

Started by ``network`` as ``python -m shuiqiao.node.localnet.child validator NET MEMBER`` or ``... relays NET``; they
run until they are asked to end (SIGTERM). What they have to say of an end for a reason is the last line of their log.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shuiqiao.base.clock import SystemClock
from shuiqiao.base.errors import InvalidInput, ShuiqiaoError
from shuiqiao.base.files import owner_only
from shuiqiao.base.ids import MemberId
from shuiqiao.base.visible import visible_line
from shuiqiao.ledger.checkpoints.signed_note import Checkpoint, decode_signed_note
from shuiqiao.ledger.engine.cometbft.comet.localnet import Relay
from shuiqiao.ledger.engine.cometbft.ledger import CometbftLedger
from shuiqiao.members.roster import validator_of
from shuiqiao.node.home.keys import find_passphrase
from shuiqiao.node.home.settings import load_settings
from shuiqiao.node.localnet.plan import RELAYS, NetworkFolder, load_plan
from shuiqiao.node.localnet.process import ControlServer
from shuiqiao.node.localnet.status import answer_comparison
from shuiqiao.node.peers.link_server import LedgerLink
from shuiqiao.node.peers.validator_ledger import open_home_ledger
from shuiqiao.node.published.publication import open_publisher

MAX_FAULTS_TOLD = 5


@owner_only()
def main(arguments: list[str]) -> int:
    """Run one process to its end and return its exit code."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: ended.set())
    try:
        match arguments:
            case ["validator", folder, member]:
                run_validator(NetworkFolder(Path(folder)), member, ended=ended)
            case ["relays", folder]:
                run_relays(NetworkFolder(Path(folder)), ended=ended)
            case _:
                raise InvalidInput("node.process_unknown", f"there is no process {' '.join(arguments)[:200]!r}")
    except (ShuiqiaoError, OSError) as error:
        sys.stderr.write(f"ended: {visible_line(str(error))}\n")
        return 1
    return 0


def run_validator(folder: NetworkFolder, member: str, *, ended: threading.Event) -> None:
    """Keep a validator's ledger open for its CometBFT node; raises what ``open_home_ledger`` raises."""
    home = folder.home(member)
    opened = open_home_ledger(home, passphrase=find_passphrase(home), clock=SystemClock())
    ledger = opened.ledger
    publisher = open_publisher(home, settings=load_settings(home), engine=ledger)
    try:
        with (
            LedgerLink(
                home.link,
                engine=ledger,
                member=member,
                reload_keys=opened.reload_keys,
            ),
            ControlServer(
                folder.control(member),
                answer=lambda question: (
                    answer_comparison(ledger.application, question) or status_of(ledger, member=member)
                ),
            ),
        ):
            ended.wait()
    finally:
        if publisher is not None:
            publisher.close()
        ledger.close()


def status_of(ledger: CometbftLedger, *, member: str) -> dict[str, Any]:
    """Return where a validator's ledger stands, the validator key it names, and what it holds against others."""
    application = ledger.application
    head, _ = application.app_state.copy.view()
    return {
        "height": application.app_state.height,
        "blocks": head.height,
        "size": head.size,
        "root": head.root.hex(),
        "note": _note(application.checkpoint(), origin=ledger.parameters.origin),
        "validator_key": (validator_of(application.view(), MemberId(member)) or b"").hex(),
        "named": dict(application.named),
        "faults": [f"{fault.code}: {fault.message}" for fault in ledger.faults[-MAX_FAULTS_TOLD:]],
    }


def _note(checkpoint: Checkpoint | None, *, origin: str) -> dict[str, Any]:
    if checkpoint is None:
        return {"size": 0, "cosigners": []}
    names = [line.name.removeprefix(f"{origin}/") for line in decode_signed_note(checkpoint.note).lines]
    return {"size": checkpoint.size, "cosigners": sorted(names)}


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
