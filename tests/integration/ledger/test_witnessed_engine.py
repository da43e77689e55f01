"""A real embedded ledger with witnesses: its checkpoints are cosigned and published, its fork is caught and proven.

[WITNESS-2] [WITNESS-6] [WITNESS-7] [TILE-4]
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from patience import PATIENCE_S
from shuiqiao.base.clock import ManualClock
from shuiqiao.base.ids import MemberId
from shuiqiao.ledger.checkpoints.note import verify_note
from shuiqiao.ledger.checkpoints.policy import CheckpointPolicy
from shuiqiao.ledger.engine.embedded import EmbeddedLedger
from shuiqiao.ledger.engine.port import EmbeddedSettings
from shuiqiao.ledger.store.alarm_file import ForkKind
from shuiqiao.ledger.tiles.publishing import TileWriter, log_of_copy
from shuiqiao.ledger.tiles.reader import FolderTiles, PublishedLog
from shuiqiao.ledger.witness.cosigning import CosignatureCollector
from shuiqiao.ledger.witness.fork_evidence import verify_fork_evidence
from shuiqiao.ledger.witness.witness import Witness
from shuiqiao.sandbox.benchmarks.ledger_load import load_network, signed_transactions

GENESIS_MS = 1_775_000_000_000
WITNESSES = ("first-bank", "regulator", "second-bank")


class Consortium:
    """An operator's ledger in a folder, three witnesses beside it."""

    def __init__(self, suite: str, folder: Path) -> None:
        self.network = load_network(suite, genesis_time_ms=GENESIS_MS)
        self.folder = folder
        self.clock = ManualClock(GENESIS_MS + 1000)
        self.suite = self.network.suite
        self.keys = {name: self.suite.signing_key_from_seed(name.encode().ljust(32, b".")) for name in WITNESSES}
        parameters = self.network.parameters
        self.policy = CheckpointPolicy(
            origin=parameters.origin,
            operator=parameters.operator,
            operator_key=parameters.operator_key,
            witnesses={MemberId(name): key.public_key for name, key in self.keys.items()},
            quorum=2,
        )
        self.open: list[Any] = []
        self.witnesses = [self.open_witness(name) for name in WITNESSES]

    def open_witness(self, name: str) -> Witness:
        (self.folder / name).mkdir(exist_ok=True)
        witness = Witness(
            self.folder / name, member=MemberId(name), key=self.keys[name], suite=self.suite, clock=self.clock
        )
        witness.watch(self.policy)
        self.open.append(witness)
        return witness

    def open_ledger(self, name: str) -> EmbeddedLedger:
        (self.folder / name).mkdir(exist_ok=True)
        network = self.network
        ledger = network.open_writer(
            self.folder / name,
            clock=self.clock,
            settings=EmbeddedSettings(map_bytes=1 << 28, max_block_transactions=7),
        )
        self.open.append(ledger)
        return ledger

    def write(self, ledger: EmbeddedLedger, count: int, *, seed: int) -> None:
        stream = signed_transactions(self.network, count, seed=seed, now_ms=self.clock.now_ms())
        for future in [ledger.submit(raw) for raw in stream]:
            future.result(timeout=PATIENCE_S)

    def collector(self, ledger: EmbeddedLedger) -> CosignatureCollector:
        return CosignatureCollector(
            self.policy,
            suite=self.suite,
            peers=self.witnesses,
            proofs=lambda old, new: ledger.consistency_proof(old_size=old, new_size=new),
            timeout_s=PATIENCE_S,
            linger_s=PATIENCE_S,
        )

    def close(self) -> None:
        for one in reversed(self.open):
            one.close()


@pytest.fixture(params=["intl", "gm"])
def consortium(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Consortium]:
    made = Consortium(request.param, tmp_path)
    yield made
    made.close()


def test_checkpoints_are_cosigned_and_published(consortium: Consortium, tmp_path: Path) -> None:
    ledger = consortium.open_ledger("ledger")
    (folder := tmp_path / "static").mkdir()
    asks = consortium.collector(ledger)
    for number in range(4):
        consortium.write(ledger, 40 * number, seed=number)
        result = asks.collect(ledger.checkpoint())
        assert (WITNESSES, 0) == (result.cosigners, result.still_needed)
        log = log_of_copy(ledger._copy, result.checkpoint)
        TileWriter(folder, hash_name=consortium.suite.hash_name).publish(
            result.checkpoint, reader=log.reader, leaves=log.leaves
        )
    published = PublishedLog.open(FolderTiles(folder), policy=consortium.policy, suite=consortium.suite)
    expected = [leaf for block in ledger.blocks(from_height=1) for leaf in (*block.transactions, block.entry)]
    assert len(expected) > 240
    assert expected == list(published.entries())
    assert len(expected) == published.verify_all()
    assert result.checkpoint == verify_note(result.checkpoint.note, policy=consortium.policy, suite=consortium.suite)


def is_power_of_two(size: int) -> bool:
    return size & (size - 1) == 0


def test_a_fork_attempted_by_the_operator_is_caught(consortium: Consortium, tmp_path: Path) -> None:
    """The operator copies its ledger, goes on in both copies, and asks for cosignatures over both."""
    ledger = consortium.open_ledger("ledger")
    consortium.write(ledger, 30, seed=1)
    ledger.close()
    shutil.copytree(tmp_path / "ledger", tmp_path / "copy")
    ledger, copy = consortium.open_ledger("ledger"), consortium.open_ledger("copy")
    consortium.write(ledger, 9, seed=2)
    seed = 100
    while is_power_of_two(ledger.checkpoint().size):
        # How many blocks the transactions took is a matter of time; from such a size the proof convicts nobody.
        consortium.write(ledger, 1, seed=seed)
        seed += 1
    consortium.write(copy, 40, seed=3)
    honest = consortium.collector(ledger).collect(ledger.checkpoint())
    assert honest.still_needed == 0
    forked = consortium.collector(copy).collect(copy.checkpoint())
    assert ((), 2) == (forked.cosigners, forked.still_needed)
    assert {"ledger.fork_detected"} == {error.code for error in forked.missing.values()}
    origin = consortium.policy.origin
    for witness in consortium.witnesses:
        evidence = witness.evidence(origin)
        assert evidence is not None
        kind = verify_fork_evidence(evidence, policies=[consortium.policy], suite=consortium.suite)
        assert ForkKind.NOT_AN_EXTENSION == kind
    # From then on no history of this operator gets a quorum again, the first neither.
    consortium.write(ledger, 1, seed=4)
    assert 2 == consortium.collector(ledger).collect(ledger.checkpoint()).still_needed
