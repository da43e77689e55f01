"""The process that the kill tests of witnesses and tiles kill; or that kills itself at a given act on the disk.

Usage: checkpoint_process.py FOLDER SUITE ACT [NUMBER before|after]. Acts: ``cosign`` cosigns ever larger checkpoints,
``step`` one of 200 leaves, ``fork`` one of a forked log, ``publish`` writes the static files of ever larger checkpoints,
``tiles`` those of one. Each line tells what was given away. With NUMBER the process ends by kill -9 at that act on the
disk, before it has its effect or after.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from log_world import LeafHashes
from shuiqiao.base.clock import SystemClock
from shuiqiao.base.durable import Disk
from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.base.ids import MemberId
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.checkpoints.note import sign_checkpoint
from shuiqiao.ledger.checkpoints.policy import CheckpointPolicy
from shuiqiao.ledger.checkpoints.signed_note import Checkpoint
from shuiqiao.ledger.log.tree import consistency_path, leaf_hashes, root_from_reader
from shuiqiao.ledger.tiles.publishing import TileWriter
from shuiqiao.ledger.witness.witness import Witness

ORIGIN = "shuiqiao/" + "5a" * 32
LEAVES = 3_000
MOST_PUBLISHED = LEAVES - 100
"""The publisher ends there, so that whoever carries on where it was killed has leaves left, however fast it was."""
FORK_AT = 50


class History:
    """A log in memory and its operator; the forked one has other leaves from FORK_AT on."""

    def __init__(self, suite: str, *, forked: bool = False) -> None:
        self.suite = get_suite(suite)
        self.leaves = [
            b"%s %d" % (b"other" if forked and number >= FORK_AT else b"leaf", number) for number in range(LEAVES)
        ]
        name = self.suite.hash_name
        self.reader = LeafHashes(leaf_hashes(self.leaves, hash_name=name), hash_name=name)

    def key(self, name: str) -> Any:
        return self.suite.signing_key_from_seed(name.encode().ljust(32, b"."))

    def policy(self) -> CheckpointPolicy:
        return CheckpointPolicy(
            origin=ORIGIN,
            operator=MemberId("bureau"),
            operator_key=self.key("bureau").public_key,
            witnesses={MemberId("regulator"): self.key("regulator").public_key},
            quorum=0,
        )

    def checkpoint(self, size: int) -> Checkpoint:
        root = root_from_reader(self.reader, size=size, hash_name=self.suite.hash_name)
        return sign_checkpoint(origin=ORIGIN, size=size, root=root, key=self.key("bureau"), suite=self.suite)

    def witness(self, folder: Path, *, disk: Disk | None = None) -> Witness:
        witness = Witness(
            folder / "witness",
            member=MemberId("regulator"),
            key=self.key("regulator"),
            suite=self.suite,
            clock=SystemClock(),
            disk=disk,
        )
        witness.watch(self.policy())
        return witness

    def cosign(self, witness: Witness, size: int) -> None:
        old = witness.witnessed_size(ORIGIN)
        name = self.suite.hash_name
        proof = consistency_path(self.reader, old_size=old, new_size=size, hash_name=name) if old else ()
        witness.cosign(self.checkpoint(size).note, old_size=old, proof=proof)
        print("given", size, flush=True)  # noqa: T201 - this is the pipe to the test

    def publish(self, folder: Path, size: int, *, disk: Disk | None = None) -> None:
        (folder / "static").mkdir(exist_ok=True)
        TileWriter(folder / "static", hash_name=self.suite.hash_name, disk=disk).publish(
            self.checkpoint(size), reader=self.reader, leaves=lambda start, end: self.leaves[start:end]
        )
        print("given", size, flush=True)  # noqa: T201


class DeadlyDisk(Disk):
    """Kills its process at the n-th act, before or after that had its effect."""

    def __init__(self, number: int, *, after: bool) -> None:
        self.left = number
        self.after = after

    def _act(self, act: Any) -> None:
        self.left -= 1
        if self.left == 0 and not self.after:
            os.kill(os.getpid(), signal.SIGKILL)
        act()
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def append(self, descriptor: int, data: bytes) -> None:
        part = data if self.after or self.left != 1 else data[: len(data) // 2]
        if len(part) != len(data):
            os.write(descriptor, part)
        self._act(lambda: super(DeadlyDisk, self).append(descriptor, data))

    def sync(self, descriptor: int) -> None:
        self._act(lambda: super(DeadlyDisk, self).sync(descriptor))

    def sync_folder(self, folder: Path) -> None:
        self._act(lambda: super(DeadlyDisk, self).sync_folder(folder))


def main(folder: Path, suite: str, act: str, *death: str) -> None:
    history = History(suite, forked=act == "fork")
    disk = DeadlyDisk(int(death[0]), after=death[1] == "after") if death else None
    if act in {"publish", "tiles"}:
        for size in (600,) if act == "tiles" else range(1, MOST_PUBLISHED, 37):
            history.publish(folder, size, disk=disk)
        return
    witness = history.witness(folder, disk=disk)
    try:
        if act in {"step", "fork"}:
            history.cosign(witness, 200)
        else:
            print("open", flush=True)  # noqa: T201
            for size in range(witness.witnessed_size(ORIGIN), LEAVES):
                history.cosign(witness, size)
    except ShuiqiaoError as error:
        print("refused", error.code, flush=True)  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
