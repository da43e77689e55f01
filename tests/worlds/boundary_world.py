"""Runs of a ledger that end by kill -9 at a chosen act on the disk, before it has its effect or after.

Usage: boundary_world.py embedded|application FOLDER. For every act that a run makes, a process of its own makes the run
in a folder of its own below FOLDER (``before-7``, ``after-7``) and is killed there; what it was told to be stored stands
in the folder's file ``told``, one line each. The last folder of each kind is that of a run that came to its end.

An act is a write, a flush, a cut, a rename (all through ``Disk``) or a commit of the index.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from consensus_world import KINDS, NoteBody, Roster, StateKeys
from patience import PATIENCE_S
from shuiqiao.base.clock import ManualClock
from shuiqiao.base.durable import Disk
from shuiqiao.base.ids import MemberId
from shuiqiao.ledger.engine.cometbft.abci import messages as abci
from shuiqiao.ledger.engine.cometbft.abci.messages import Timestamp
from shuiqiao.ledger.engine.cometbft.consensus.application import ApplicationSettings, LedgerApplication
from shuiqiao.ledger.engine.cometbft.consensus.extensions import Cosigner
from shuiqiao.ledger.engine.embedded import EmbeddedLedger
from shuiqiao.ledger.engine.port import CopySettings, EmbeddedSettings
from shuiqiao.ledger.model import Block
from shuiqiao.ledger.state.machine import StateMachine
from shuiqiao.ledger.store.index import Index
from shuiqiao.ledger.transactions.transaction import TransactionDraft, sign_transaction
from shuiqiao.ledger.transactions.verifiers import InlineVerifier
from shuiqiao.sandbox.benchmarks.ledger_load import load_network, signed_transactions

GENESIS_MS = 1_775_000_000_000
STEP_MS = 1_000
BLOCKS = 6
PER_BLOCK = 3
SEGMENT_BYTES = 2_000
"""A new segment after every second block or so."""
MAP_BYTES = 1 << 24
MAX_ACTS = 400


class ActDisk(Disk):
    """Calls ``_act`` with each act; a subclass decides what becomes of it.

    Flushes do nothing: what a killed process wrote, the system keeps, and thousands of them would take minutes.
    """

    def _act(self, act: Callable[[], None], *, half: Callable[[], None] | None = None) -> None:
        del half
        act()

    def append(self, descriptor: int, data: bytes) -> None:
        part = data[: len(data) // 2]
        self._act(
            lambda: super(ActDisk, self).append(descriptor, data),
            half=lambda: super(ActDisk, self).append(descriptor, part),
        )

    def write_at(self, descriptor: int, data: bytes, *, offset: int) -> None:
        part = data[:40]
        self._act(
            lambda: super(ActDisk, self).write_at(descriptor, data, offset=offset),
            half=lambda: super(ActDisk, self).write_at(descriptor, part, offset=offset),
        )

    def sync(self, descriptor: int) -> None:
        del descriptor
        self._act(_flush_nothing)

    def truncate(self, descriptor: int, length: int) -> None:
        self._act(lambda: super(ActDisk, self).truncate(descriptor, length))

    def replace(self, draft: Path, path: Path) -> None:
        self._act(lambda: super(ActDisk, self).replace(draft, path))

    def sync_folder(self, folder: Path) -> None:
        del folder
        self._act(_flush_nothing)


def _flush_nothing() -> None:
    return


class DeadlyDisk(ActDisk):
    """Kills its process at the n-th act: before it, half of a write done; or after it, before anybody hears of it."""

    def __init__(self, number: int, *, after: bool) -> None:
        self._left = number
        self._after = after

    def _act(self, act: Callable[[], None], *, half: Callable[[], None] | None = None) -> None:
        self._left -= 1
        if self._left == 0 and not self._after:
            if half is not None:
                half()
            os.kill(os.getpid(), signal.SIGKILL)
        act()
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch_index(self) -> None:
        """Count the commits of every index in this process among the acts."""
        commit = Index.commit

        def counted(index: Index, *given: object, **named: object) -> None:
            self._act(lambda: commit(index, *given, **named))  # type: ignore[arg-type]

        Index.commit = counted  # type: ignore[method-assign]


class FullDisk(ActDisk):
    """Has no room from its n-th act on, until space is freed: half of a write is done, and every write fails.

    refuses_all: flushes, cuts and renames fail too.
    """

    def __init__(self, number: int, *, refuses_all: bool = False) -> None:
        self.is_met = False
        self._left = number
        self._refuses_all = refuses_all
        self._is_freed = False

    def _act(self, act: Callable[[], None], *, half: Callable[[], None] | None = None) -> None:
        self._left -= 1
        if self._left > 0 or self._is_freed or (half is None and not self._refuses_all):
            act()
            return
        self.is_met = True
        if half is not None:
            half()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fill(self) -> None:
        """Leave no room."""
        self._left, self._is_freed = 0, False

    def free(self) -> None:
        """Make room."""
        self._is_freed = True


class EmbeddedRun:
    """An embedded ledger that is given one transaction, then blocks of three: the same blocks in every process."""

    def __init__(self) -> None:
        self.network = load_network("intl", genesis_time_ms=GENESIS_MS)
        count = 1 + (BLOCKS - 1) * PER_BLOCK
        self.raws = list(signed_transactions(self.network, count, seed=11, now_ms=GENESIS_MS))
        self.groups = [self.raws[:1], *(self.raws[at : at + PER_BLOCK] for at in range(1, count, PER_BLOCK))]
        self.clock = ManualClock(GENESIS_MS + STEP_MS)

    def open(self, folder: Path, *, disk: Disk | None = None) -> EmbeddedLedger:
        return self.network.open_writer(
            folder,
            clock=self.clock,
            settings=EmbeddedSettings(
                map_bytes=MAP_BYTES,
                max_segment_bytes=SEGMENT_BYTES,
                checkpoint_interval_s=0.0,
                disk=disk or Disk(),
            ),
        )

    def run(self, folder: Path, *, disk: Disk, told: Callable[[str], None]) -> None:
        """Fill a new ledger; tell each acknowledgement and each checkpoint that was handed out."""
        ledger = self.open(folder, disk=disk)
        groups = iter(self.groups)
        is_done = threading.Event()

        def hand_in_next() -> None:
            for raw in next(groups, ()):
                done = ledger.submit(raw)
                done.add_done_callback(lambda done: told(f"committed {done.result().index} {done.result().height}"))

        def go_on(block: Block, _events: object) -> None:
            # On the writer's own thread: the whole group is there before the next block is begun.
            checkpoint = ledger.checkpoint()
            told(f"checkpoint {block.height} {checkpoint.root.hex()}")
            self.clock.advance(STEP_MS)
            hand_in_next()
            if block.height == BLOCKS:
                is_done.set()

        ledger.subscribe(go_on)
        hand_in_next()
        assert is_done.wait(timeout=PATIENCE_S)
        ledger.close()


class ApplicationRun:
    """The application of one validator, given what CometBFT would decide; the same in every process.

    There are heights with three transactions of which one is refused, and heights with none.
    """

    def __init__(self) -> None:
        self.roster = Roster(genesis_ms=GENESIS_MS)
        self.heights: list[list[bytes]] = [[]]
        for block in range(BLOCKS):
            # The third one repeats the business key of the first: the contract refuses it.
            notes = enumerate((2 * block, 2 * block + 1, 2 * block))
            self.heights.append([self._note(number, tx_id=PER_BLOCK * block + place) for place, number in notes])
            if block % 2:
                self.heights.append([])

    def _note(self, number: int, *, tx_id: int) -> bytes:
        draft = TransactionDraft(
            kind="note.write",
            version=1,
            body=NoteBody(id=number.to_bytes(16, "big")),
            author=MemberId("node0"),
            valid_until_ms=GENESIS_MS + 3_600_000,
            id=tx_id.to_bytes(16, "big"),
        )
        keys = [self.roster.keys[MemberId("node0")]]
        return sign_transaction(draft, network=self.roster.parameters.network, suite=self.roster.suite, keys=keys)

    def open(self, folder: Path, *, disk: Disk | None = None) -> LedgerApplication:
        roster = self.roster
        machine = StateMachine(roster.parameters, kinds=KINDS, key_ring=StateKeys(), suite=roster.suite)
        settings = CopySettings(map_bytes=MAP_BYTES, max_segment_bytes=SEGMENT_BYTES, disk=disk or Disk())
        return LedgerApplication(
            folder,
            machine=machine,
            verifier=InlineVerifier(roster.suite),
            clock=ManualClock(GENESIS_MS),
            policy_of=lambda _state: roster.policy,
            cosigner=Cosigner(member=MemberId("node0"), key=roster.keys[MemberId("node0")]),
            settings=ApplicationSettings(copy=settings, snapshot_interval=4),
        )

    def finalize(self, application: LedgerApplication, height: int) -> abci.ResponseFinalizeBlock:
        time = Timestamp(seconds=GENESIS_MS // 1000 + height)
        return application.finalize_block(
            abci.RequestFinalizeBlock(txs=self.heights[height - 1], height=height, time=time)
        )

    def finish(self, application: LedgerApplication, *, told: Callable[[str], None] = lambda _line: None) -> str:
        """Decide every height that was not reached, as CometBFT would; return the last application hash."""
        for height in range(application.app_state.height + 1, len(self.heights) + 1):
            found = self.finalize(application, height)
            application.commit(abci.RequestCommit())
            told(f"height {height} {found.app_hash.hex()}")
        return application.app_state.app_hash.hex()

    def run(self, folder: Path, *, disk: Disk, told: Callable[[str], None]) -> None:
        """Decide all heights on a new ledger; tell each that Commit answered for."""
        application = self.open(folder, disk=disk)
        self.finish(application, told=told)
        application.close()


RUNS: dict[str, Callable[[], EmbeddedRun | ApplicationRun]] = {
    "embedded": EmbeddedRun,
    "application": ApplicationRun,
}


def kill_everywhere(name: str, folder: Path) -> None:
    """Make the run again and again, each time in a process that is killed at the next act."""
    run = RUNS[name]()
    for when in ("before", "after"):
        for number in range(1, MAX_ACTS):
            (place := folder / f"{when}-{number}").mkdir()
            process_id = os.fork()
            if process_id == 0:
                _run_and_die(run, place, number=number, after=when == "after")
            _, status = os.waitpid(process_id, 0)
            if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
                break
            assert os.WIFSIGNALED(status), f"{place} ended by itself with status {status}"


def _run_and_die(run: EmbeddedRun | ApplicationRun, place: Path, *, number: int, after: bool) -> NoReturn:
    status = 1
    try:
        disk = DeadlyDisk(number, after=after)
        disk.watch_index()
        descriptor = os.open(place / "told", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        run.run(place / "ledger", disk=disk, told=lambda line: _write_line(descriptor, line))
        status = 0
    finally:
        os._exit(status)


def _write_line(descriptor: int, line: str) -> None:
    os.write(descriptor, f"{line}\n".encode())


def lines_told(place: Path) -> list[list[str]]:
    """Return what a run told before it was killed, a list of words each."""
    return [line.split() for line in (place / "told").read_text().splitlines()]


if __name__ == "__main__":
    kill_everywhere(sys.argv[1], Path(sys.argv[2]))
