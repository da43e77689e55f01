"""A log in memory whose operator signs what it is told to, and witnesses of it in folders."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from log_world import LeafHashes
from shuiqiao.base.clock import ManualClock
from shuiqiao.base.errors import Unavailable
from shuiqiao.base.ids import MemberId
from shuiqiao.ledger.checkpoints.cosignature import sign_cosignature
from shuiqiao.ledger.checkpoints.note import sign_checkpoint
from shuiqiao.ledger.checkpoints.policy import CheckpointPolicy
from shuiqiao.ledger.checkpoints.signed_note import Checkpoint, decode_signed_note
from shuiqiao.ledger.log.tree import consistency_path, leaf_hashes, root_from_reader
from shuiqiao.ledger.witness.witness import Witness

ORIGIN = "shuiqiao/" + bytes(range(32)).hex()
WITNESSES = ("first-bank", "regulator", "second-bank")
NOW_MS = 1_775_000_000_000


class Switched:
    """A witness that can be away."""

    def __init__(self, witness: Witness) -> None:
        self.member = witness.member
        self.witness = witness
        self.is_away = False

    def witnessed_size(self, origin: str) -> int:
        if self.is_away:
            raise Unavailable("ledger.witness_away", "away for a while")
        return self.witness.witnessed_size(origin)

    def cosign(self, note: bytes, *, old_size: int, proof: Any) -> bytes:
        return self.witness.cosign(note, old_size=old_size, proof=proof)


@dataclass
class WitnessedLog:
    """One operator, three witnesses, and any number of histories."""

    suite: Any
    folder: Path
    leaves: list[bytes] = field(default_factory=lambda: [b"leaf %d" % number for number in range(700)])
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW_MS))
    open: list[Witness] = field(default_factory=list)

    def key(self, name: str) -> Any:
        return self.suite.signing_key_from_seed(name.encode().ljust(32, b"."))

    def policy(self, *, quorum: int = 2, operator: bool = True, witnesses: tuple[str, ...] = WITNESSES) -> Any:
        return CheckpointPolicy(
            origin=ORIGIN,
            operator=MemberId("bureau") if operator else None,
            operator_key=self.key("bureau").public_key if operator else None,
            witnesses={MemberId(name): self.key(name).public_key for name in witnesses},
            quorum=quorum,
        )

    def forked(self, at: int) -> WitnessedLog:
        """Return the same parties with a history that differs from leaf ``at`` on."""
        leaves = [*self.leaves[:at], *(b"other %d" % number for number in range(at, len(self.leaves)))]
        return WitnessedLog(suite=self.suite, folder=self.folder, leaves=leaves, clock=self.clock, open=self.open)

    @cached_property
    def reader(self) -> LeafHashes:
        return LeafHashes(leaf_hashes(self.leaves, hash_name=self.suite.hash_name), hash_name=self.suite.hash_name)

    def checkpoint(self, size: int) -> Checkpoint:
        root = root_from_reader(self.reader, size=size, hash_name=self.suite.hash_name)
        return sign_checkpoint(origin=ORIGIN, size=size, root=root, key=self.key("bureau"), suite=self.suite)

    def proof(self, old_size: int, new_size: int) -> tuple[bytes, ...]:
        if old_size == 0:
            return ()
        return consistency_path(self.reader, old_size=old_size, new_size=new_size, hash_name=self.suite.hash_name)

    def line(self, checkpoint: Checkpoint, member: str, *, time_s: int = 1_775_000_000, **more: Any) -> bytes:
        fields = {"name": f"{ORIGIN}/{member}", "key": self.key(member), "suite": self.suite, **more}
        return sign_cosignature(decode_signed_note(checkpoint.note).text, time_s=time_s, **fields)

    def witness(self, member: str = "regulator", **more: Any) -> Witness:
        (self.folder / member).mkdir(exist_ok=True)
        fields = {"clock": self.clock, "key": self.key(member), **more}
        witness = Witness(self.folder / member, member=MemberId(member), suite=self.suite, **fields)
        self.open.append(witness)
        witness.watch(self.policy())
        return witness

    def cosign(self, witness: Witness, size: int, *, old_size: int | None = None, proof: Any = None) -> bytes:
        old = witness.witnessed_size(ORIGIN) if old_size is None else old_size
        path = self.proof(old, size) if proof is None else proof
        return witness.cosign(self.checkpoint(size).note, old_size=old, proof=path)
