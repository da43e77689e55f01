"""One validator of the consortium bench as a process: our application over its ledger folder, asked over a socket.

Started as ``python -m shuiqiao.sandbox.benchmarks.network_validator SPEC MEMBER``. It notes when each block of ours was
committed here and when its note had its quorum, by the system's monotonic clock, which all processes share.
"""

from __future__ import annotations

import random
import signal
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from shuiqiao.base.clock import SystemClock
from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.ids import MemberId
from shuiqiao.ledger.engine.cometbft.consensus.application import ApplicationSettings
from shuiqiao.ledger.engine.cometbft.consensus.extensions import Cosigner
from shuiqiao.ledger.engine.cometbft.ledger import CometbftLedger, CometbftSettings
from shuiqiao.ledger.receipts.receipt import decode_receipt
from shuiqiao.node.localnet.process import ControlServer
from shuiqiao.sandbox.benchmarks.ledger_load import written_key
from shuiqiao.sandbox.benchmarks.network_cluster import NetworkSpec, load_spec

MARK_BYTES = 16
"""The end of a transaction is the end of a signature, and so tells it from all others."""

_NOTE_WAIT_S = 0.5


class CommittedBlock(msgspec.Struct, frozen=True, kw_only=True):
    """A block as a validator met it. marks: the last 16 bytes of each transaction. size: leaves of the log with it."""

    height: int
    committed_s: float
    size: int
    marks: list[bytes]


class Journal(msgspec.Struct, kw_only=True):
    """What a validator noted. notes: (leaves, when a note over so many had its quorum)."""

    blocks: list[CommittedBlock]
    notes: list[tuple[int, float]]


class Validator:
    """A validator's ledger and its journal."""

    def __init__(self, spec: NetworkSpec, member: str) -> None:
        """Open the ledger and listen for CometBFT; raises what ``CometbftLedger.open`` raises."""
        self._commits: list[tuple[int, float, int]] = []
        self._notes: list[tuple[int, float]] = []
        self._ended = threading.Event()
        self.ledger = _open(spec, member)
        self.ledger.subscribe(
            lambda block, _events: self._commits.append(
                (block.height, time.monotonic(), block.first_index + len(block.transactions) + 1)
            )
        )
        self._watcher = threading.Thread(target=self._watch_notes, name="note-watcher", daemon=True)
        self._watcher.start()

    def _watch_notes(self) -> None:
        size = 0
        extensions = self.ledger.application.extensions
        while not self._ended.is_set():
            note = extensions.wait_for(size + 1, timeout_s=_NOTE_WAIT_S)
            if note is not None:
                size = note.size
                self._notes.append((size, time.monotonic()))

    def answer(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Answer ``standing``, ``journal`` (from a block height, into a file) or ``query`` (for some seconds)."""
        match question.get("act"):
            case "standing":
                return self._standing()
            case "journal":
                return self._write_journal(Path(question["path"]), from_height=int(question["from_height"]))
            case "query":
                return self._query(seconds=float(question["seconds"]))
            case act:
                raise InvalidInput("sandbox.bench_question", f"a validator of the bench is not asked for {act!r}")

    def _standing(self) -> dict[str, Any]:
        application = self.ledger.application
        head, _ = application.app_state.copy.view()
        note = application.checkpoint()
        return {
            "height": application.app_state.height,
            "blocks": head.height,
            "size": head.size,
            "noted": note.size if note is not None else 0,
            "root": head.root.hex(),
            "named": dict(application.named),
            "faults": [fault.code for fault in self.ledger.faults],
        }

    def _write_journal(self, path: Path, *, from_height: int) -> dict[str, Any]:
        known = {height: (moment, size) for height, moment, size in self._commits}
        blocks = [
            CommittedBlock(
                height=block.height,
                committed_s=known[block.height][0],
                size=known[block.height][1],
                marks=[raw[-MARK_BYTES:] for raw in block.transactions],
            )
            for block in self.ledger.blocks(from_height=from_height)
            if block.height in known
        ]
        path.write_bytes(msgspec.msgpack.encode(Journal(blocks=blocks, notes=list(self._notes))))
        return {"blocks": len(blocks)}

    def _query(self, *, seconds: float) -> dict[str, Any]:
        """Read transactions that are spread over the log: each with its receipt and the state that it wrote."""
        source = random.Random(1)  # noqa: S311 - a repeatable choice, no secret
        ledger = self.ledger
        machine = ledger.application.app_state.copy.machine
        indices = _transaction_indices(ledger)
        count, began = 0, time.monotonic()
        while time.monotonic() - began < seconds:
            receipt = decode_receipt(ledger.receipt(source.choice(indices)), hash_name=machine.suite.hash_name)
            tx = machine.decode(receipt.transaction)
            if ledger.state().get(written_key(tx)) is None:
                raise InvalidInput("sandbox.bench_unwritten", f"{tx.kind} {tx.id.hex()} left nothing in the state")
            count += 1
        return {"queries": count, "seconds": time.monotonic() - began}

    def close(self) -> None:
        """Release everything; CometBFT was stopped before."""
        self._ended.set()
        self._watcher.join()
        self.ledger.close()


def _transaction_indices(ledger: CometbftLedger) -> list[int]:
    """Return the leaves that are transactions."""
    return [
        block.first_index + place for block in ledger.blocks(from_height=1) for place in range(len(block.transactions))
    ]


def _open(spec: NetworkSpec, member: str) -> CometbftLedger:
    network = spec.network()
    policy = network.parameters.policy
    name = MemberId(member)
    return CometbftLedger.open(
        spec.ledger_folder(member),
        parameters=network.parameters,
        kinds=network.kinds,
        key_ring=network.key_ring,
        clock=SystemClock(),
        policy_of=lambda _state: policy,
        cosigner=Cosigner(member=name, key=network.keys[name]),
        settings=CometbftSettings(
            comet=Path(spec.comet[member]),
            application=ApplicationSettings(snapshot_interval=spec.snapshot_interval),
            verifier_processes=spec.verifier_processes,
        ),
    )


def main(arguments: list[str]) -> int:
    """Run one validator until it is asked to end."""
    spec, member = load_spec(Path(arguments[0])), arguments[1]
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: ended.set())
    with closing(Validator(spec, member)) as validator:
        with ControlServer(spec.control(member), answer=validator.answer):
            ended.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
