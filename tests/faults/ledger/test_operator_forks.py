"""The operator of an embedded ledger goes on in two copies: its follower and its witness each catch it, with evidence.

[STORE-22] [WITNESS-6]: the follower holds the first history by its own execution, the witness by the last checkpoint it
cosigned. Each is shown the other history as if it were the same ledger.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from patience import PATIENCE_S
from shuiqiao.base.clock import ManualClock
from shuiqiao.base.errors import IntegrityError
from shuiqiao.base.ids import MemberId
from shuiqiao.ledger.checkpoints.note import verify_log_signature
from shuiqiao.ledger.checkpoints.policy import CheckpointPolicy
from shuiqiao.ledger.engine.embedded import EmbeddedLedger
from shuiqiao.ledger.engine.follower import FollowerLedger
from shuiqiao.ledger.engine.port import EmbeddedSettings, FollowerSettings
from shuiqiao.ledger.store.alarm_file import ForkKind
from shuiqiao.ledger.witness.fork_evidence import verify_fork_evidence
from shuiqiao.ledger.witness.witness import Witness
from shuiqiao.sandbox.benchmarks.ledger_load import LoadNetwork, load_network, signed_transactions

GENESIS_MS = 1_775_000_000_000
MAP_BYTES = 1 << 26


class Way:
    """How others reach the operator, who may lay it to another ledger."""

    def __init__(self, ledger: EmbeddedLedger) -> None:
        self.ledger = ledger

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ledger, name)


class Operator:
    """An operator with one ledger, and later two."""

    def __init__(self, folder: Path) -> None:
        self.network: LoadNetwork = load_network("intl", genesis_time_ms=GENESIS_MS)
        self.clock = ManualClock(GENESIS_MS + 1000)
        self.folder = folder
        self.opened: list[Any] = []

    def open(self, name: str) -> EmbeddedLedger:
        network = self.network
        ledger = network.open_writer(
            self.folder / name,
            clock=self.clock,
            settings=EmbeddedSettings(map_bytes=MAP_BYTES),
        )
        self.opened.append(ledger)
        return ledger

    def write(self, ledger: EmbeddedLedger, count: int, *, seed: int) -> None:
        for raw in signed_transactions(self.network, count, seed=seed, now_ms=self.clock.now_ms()):
            ledger.submit(raw).result(timeout=PATIENCE_S)

    def follower(self, way: Way) -> FollowerLedger:
        network = self.network
        (self.folder / "follower").mkdir()
        follower = FollowerLedger.open(
            self.folder / "follower",
            parameters=network.parameters,
            kinds=network.kinds,
            key_ring=network.key_ring,
            clock=self.clock,
            writer=way,
            settings=FollowerSettings(map_bytes=MAP_BYTES, poll_interval_s=3600.0),
        )
        self.opened.append(follower)
        return follower

    def witness(self) -> tuple[Witness, CheckpointPolicy]:
        network = self.network
        parameters = network.parameters
        key = network.suite.signing_key_from_seed(b"w" * 32)
        policy = CheckpointPolicy(
            origin=parameters.origin,
            operator=parameters.operator,
            operator_key=parameters.operator_key,
            witnesses={MemberId("regulator"): key.public_key},
            quorum=1,
        )
        (self.folder / "witness").mkdir()
        witness = Witness(
            self.folder / "witness", member=MemberId("regulator"), key=key, suite=network.suite, clock=self.clock
        )
        witness.watch(policy)
        self.opened.append(witness)
        return witness, policy


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    made = Operator(tmp_path)
    yield made
    for one in reversed(made.opened):
        one.close()


def cosign(witness: Witness, ledger: EmbeddedLedger, origin: str) -> None:
    old, checkpoint = witness.witnessed_size(origin), ledger.checkpoint()
    proof = ledger.consistency_proof(old_size=old, new_size=checkpoint.size) if old else ()
    witness.cosign(checkpoint.note, old_size=old, proof=proof)


def test_a_fork_is_caught_by_a_follower_and_by_a_witness(operator: Operator, tmp_path: Path) -> None:
    ledger = operator.open("ledger")
    operator.write(ledger, 3, seed=1)
    ledger.close()
    shutil.copytree(tmp_path / "ledger", tmp_path / "copy")
    ledger, copy = operator.open("ledger"), operator.open("copy")
    way = Way(ledger)
    follower, (witness, policy) = operator.follower(way), operator.witness()

    # Both know the one history; the operator then shows both of them the other.
    operator.write(ledger, 4, seed=2)
    operator.write(copy, 9, seed=3)
    follower.sync()
    cosign(witness, ledger, policy.origin)
    known = follower.checkpoint()
    way.ledger = copy
    with pytest.raises(IntegrityError) as followed:
        follower.sync()
    with pytest.raises(IntegrityError) as witnessed:
        cosign(witness, copy, policy.origin)
    assert (followed.value.code, witnessed.value.code) == ("ledger.fork_detected", "ledger.fork_detected")

    # Each has evidence that stands by itself: both notes bear the operator's signature.
    alarm = follower.alarm
    assert alarm is not None
    assert (ForkKind.NOT_AN_EXTENSION, known.note) == (alarm.kind, alarm.own_note)
    for note in (alarm.own_note, alarm.new_note):
        verify_log_signature(note, policy=policy, suite=operator.network.suite)
    evidence = witness.evidence(policy.origin)
    assert evidence is not None
    assert ForkKind.NOT_AN_EXTENSION == verify_fork_evidence(evidence, policies=[policy], suite=operator.network.suite)

    # From then on neither goes along with any history of this operator, the first one neither.
    way.ledger = ledger
    operator.write(ledger, 1, seed=4)
    with pytest.raises(IntegrityError):
        follower.sync()
    with pytest.raises(IntegrityError):
        cosign(witness, ledger, policy.origin)
