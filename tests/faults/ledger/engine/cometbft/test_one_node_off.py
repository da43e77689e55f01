"""One validator's clock is an hour off, or its disk is full: the others do not care, and it agrees with them again."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import pytest

from boundary_world import FullDisk
from consensus_world import KINDS, ShiftedClock, StateKeys, wait_until
from patience import PATIENCE_S
from shuiqiao.base.clock import SystemClock
from shuiqiao.ledger.checkpoints.note import verify_note
from shuiqiao.ledger.replay.check import replay_ledger

HOUR_MS = 3_600_000
MINUTE_MS = 60_000
TOLERANCE_MS = 5_000
SMALL = "16m"
CHUNK = bytes(4096)
NEVER = 1 << 40


def refusal_of(ledger, raw):
    error = ledger.submit(raw).exception(timeout=PATIENCE_S)
    return "" if error is None else error.code


def test_clocks_an_hour_off_make_no_fork_and_no_wrong_time(open_consortium):  # [ABCI-13]
    """The clocks are those of the ledgers: CometBFT's own time is the median of its votes, and cannot be shifted here."""
    consortium = open_consortium(apart=["node1", "node2"])
    ahead = consortium.open("node1", clock=ShiftedClock(HOUR_MS))
    behind = consortium.open("node2", clock=ShiftedClock(-HOUR_MS))
    roster, ledgers = consortium.roster, consortium.ledgers
    began_ms = SystemClock().now_ms()
    consortium.start()
    names = ("node0", "node1", "node2", "node3")
    for number in range(12):
        name, raw = names[number % 4], roster.note(number, valid_ms=5 * HOUR_MS)
        # [LEDGER-TIME-1]: who is behind the newest block orders nothing, and says that it is the clock.
        assert refusal_of(ledgers[name], raw) == ("ledger.clock_behind" if name == "node2" else "")

    # Only block time decides what is valid: one takes this for expired long ago, and executes it like the others.
    assert refusal_of(ledgers["node0"], roster.note(20, valid_ms=30 * MINUTE_MS)) == ""
    # It keeps such a transaction out of its own mempool, which is the sender's loss alone.
    assert refusal_of(ahead, roster.note(21, valid_ms=30 * MINUTE_MS)) == "ledger.tx_expired"
    # A clock that is behind lets nothing in that block time has left behind, nor anything else.
    assert refusal_of(behind, roster.note(22, valid_ms=-10 * MINUTE_MS)) == "ledger.clock_behind"

    wait_until(lambda: len(consortium.app_hashes()) == 1)
    blocks = list(ledgers["node0"].blocks(from_height=1))
    times = [block.time_ms for block in blocks]
    assert times == sorted(set(times))
    assert began_ms - TOLERANCE_MS < times[0]
    assert times[-1] < SystemClock().now_ms() + TOLERANCE_MS
    for name in names:
        assert list(ledgers[name].blocks(from_height=1)) == blocks
        # Cosignatures say when by the signer's clock, and hold whatever it says.
        note = ledgers[name].checkpoint()
        assert verify_note(note.note, policy=roster.policy, suite=roster.suite) == note
        assert ledgers[name].application.named == {}


class SmallDisk:
    """A small file system of a node's ledger alone, which another file fills to the last page."""

    disk = None

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", str(folder)]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE_S)
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"a small file system needs the right to mount one: {error}")

    def fill(self) -> None:
        with contextlib.suppress(OSError), (self._folder / "filler").open("wb", buffering=0) as file:
            while file.write(CHUNK) == len(CHUNK):
                pass

    def free(self) -> None:
        (self._folder / "filler").unlink()

    def close(self) -> None:
        # Lazily, for where a test failed there may be files open.
        subprocess.run(["umount", "-l", str(self._folder)], check=True, timeout=PATIENCE_S)


class FailingDisk:
    """The Disk port of a node's ledger, which says that there is no room from some blocks on."""

    def __init__(self, folder: Path) -> None:
        self.disk = FullDisk(NEVER)
        self._folder = folder

    def fill(self) -> None:
        self.disk.fill()

    def free(self) -> None:
        self.disk.free()

    def close(self) -> None:
        """There is nothing to release."""


@pytest.mark.parametrize("sort", [FailingDisk, SmallDisk])
def test_a_full_disk_stops_one_validator_with_a_code_and_no_other(open_consortium, sort):  # [ABCI-6]
    consortium = open_consortium(apart=["node3"])
    roster, nodes = consortium.roster, consortium.network.nodes
    room = sort(consortium.ledger_folder("node3"))
    with contextlib.ExitStack() as stack:
        stack.callback(room.close)
        ledger = consortium.open("node3", disk=room.disk)
        stack.callback(ledger.close)
        consortium.start()
        for number in range(3):
            consortium.ledgers["node0"].submit(roster.note(number)).result(timeout=PATIENCE_S)
        wait_until(lambda: len(consortium.app_hashes()) == 1)
        room.fill()
        consortium.ledgers["node0"].submit(roster.note(100, text="x" * 45_000)).result(timeout=PATIENCE_S)
        wait_until(lambda: ledger.faults)
        [fault] = {(fault.code, fault.message) for fault in ledger.faults}
        assert fault[0] in {"ledger.disk_full", "ledger.index_failed"}
        assert "o space left" in fault[1]
        stood, _ = ledger.last_block()
        wait_until(lambda: nodes["node3"].pid is None)
        for number in range(10, 14):
            consortium.ledgers["node1"].submit(roster.note(number)).result(timeout=PATIENCE_S)

        # With room again both are started, and catch up; what was there is as it was.
        room.free()
        nodes["node3"].stop()
        ledger.close()
        ledger = consortium.open("node3", disk=room.disk)
        stack.callback(ledger.close)
        assert ledger.last_block()[0] >= stood
        nodes["node3"].start()
        wait_until(lambda: ledger.last_block() == consortium.ledgers["node0"].last_block(), timeout_s=PATIENCE_S)
        wait_until(lambda: len(consortium.app_hashes()) == 1)
        nodes["node3"].stop()
        ledger.close()
        audited = replay_ledger(
            consortium.ledger_folder("node3"), parameters=roster.parameters, kinds=KINDS, key_ring=StateKeys()
        )
        assert audited.problems == ()
