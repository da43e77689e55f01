"""[EPOCH-4], [STORE-24], [LEDGER-RECEIPT-5]: keys change while the ledger runs, and receipts lead from the genesis to today."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from patience import PATIENCE_S
from shuiqiao.base.clock import ManualClock
from shuiqiao.base.encoding import decode_cbor
from shuiqiao.base.errors import IntegrityError, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import MemberId
from shuiqiao.ledger.checkpoints.note import verify_note
from shuiqiao.ledger.engine.embedded import EmbeddedLedger
from shuiqiao.ledger.engine.follower import FollowerLedger
from shuiqiao.ledger.engine.port import EmbeddedSettings, FollowerSettings
from shuiqiao.ledger.receipts.verification import VerifiedReceipt, verify_receipt
from shuiqiao.ledger.replay.check import replay_ledger
from shuiqiao.ledger.witness.witness import Witness
from witnessed_world import Switched

MAP_BYTES = 1 << 28
ABSENT = "note/entry/absent"


class World:
    """A writer whose key changes, a follower, and a witness beside the follower."""

    def __init__(self, network: Any, epoch_body: Any, folder: Path) -> None:
        self.network = network
        self.machine = network.machine
        self.suite = network.suite
        self.epoch_body = epoch_body
        self.folder = folder
        self.clock = ManualClock(network.time_ms + 1000)
        self.keys = [network.keys["bureau"], *(self.suite.signing_key_from_seed(bytes([n]) * 32) for n in (1, 2))]
        self.witness_key = self.suite.signing_key_from_seed(bytes([9]) * 32)
        self.number = 0
        self.open: list[Any] = []
        self.writer = self.open_writer()

    def open_writer(self, *, former: bool = True) -> EmbeddedLedger:
        (self.folder / "writer").mkdir(exist_ok=True)
        writer = EmbeddedLedger.open(
            self.folder / "writer",
            parameters=self.machine.parameters,
            kinds=self.machine.kinds,
            key_ring=self.machine.key_ring,
            clock=self.clock,
            operator_key=self.keys[self.number],
            former_keys=self.keys[: self.number] if former else (),
            settings=EmbeddedSettings(map_bytes=MAP_BYTES),
        )
        self.open.append(writer)
        return writer

    def reopen(self, *, former: bool = True) -> None:
        self.writer.close()
        self.writer = self.open_writer(former=former)

    def open_follower(self) -> FollowerLedger:
        (self.folder / "follower").mkdir(exist_ok=True)
        follower = FollowerLedger.open(
            self.folder / "follower",
            parameters=self.machine.parameters,
            kinds=self.machine.kinds,
            key_ring=self.machine.key_ring,
            clock=self.clock,
            writer=self.writer,
            settings=FollowerSettings(map_bytes=MAP_BYTES, poll_interval_s=0.05, news_delay_s=0.01),
        )
        self.open.append(follower)
        return follower

    def open_witness(self, follower: FollowerLedger) -> Switched:
        witness = Witness(
            self.folder / "witness",
            member=MemberId("first-bank"),
            key=self.witness_key,
            suite=self.suite,
            clock=self.clock,
        )
        witness.watch(self.machine.parameters.policy, policy_at=follower.policy_at)
        self.open.append(witness)
        switched = Switched(witness)
        self.writer.add_witness(switched)
        return switched

    def write(self, count: int = 1) -> int:
        """Write notes and return the leaf of the last."""
        done = [self.writer.submit(self.network.write()).result(timeout=PATIENCE_S) for _ in range(count)]
        return done[-1].index

    def change(self, *, quorum: int) -> int:
        """Begin the next epoch, whose operator has the next key, and return the leaf that does."""
        self.number += 1
        self.writer.signer.add_key(self.keys[self.number])
        body = self.epoch_body(
            number=self.number,
            operator_key=self.keys[self.number].public_key,
            witness_key=self.witness_key.public_key,
            quorum=quorum,
        )
        raw = self.network.sign(self.network.draft("note.epoch", body=body))
        return self.writer.submit(raw).result(timeout=PATIENCE_S).index

    def verify(self, receipt: bytes) -> VerifiedReceipt:
        return verify_receipt(
            receipt,
            parameters=self.machine.parameters,
            kinds=self.machine.kinds,
            key_ring=self.machine.key_ring,
            suite=self.suite,
        )

    def note_path(self) -> Path:
        [path] = (self.folder / "writer" / "checkpoints" / "epochs").iterdir()
        return path

    def close(self) -> None:
        for one in reversed(self.open):
            one.close()


@pytest.fixture
def world(network: Any, epoch_body: Any, tmp_path: Path) -> Iterator[World]:
    made = World(network, epoch_body, tmp_path)
    yield made
    made.close()


def code_of(act: Any) -> str:
    with pytest.raises(ShuiqiaoError) as caught:
        act()
    return caught.value.code


def test_receipts_lead_over_changed_keys_also_after_a_restart(world: World) -> None:
    first = world.write(2)
    change = world.change(quorum=0)
    # The checkpoint that ends with the change itself is still the old key's.
    assert 0 == world.verify(world.writer.receipt(change)).epochs
    later = world.write(2)
    world.change(quorum=0)
    last = world.write()
    for _ in range(2):
        for index, epochs in ((first, 2), (change, 2), (later, 2), (last, 2)):
            found = world.verify(world.writer.receipt(index, state_keys=["note/epoch", ABSENT]))
            assert (epochs, "bureau", index) == (found.epochs, found.operator, found.index)
            assert {ABSENT: None, "note/epoch": 2} == {
                claim.key: None if claim.value is None else decode_cbor(claim.value)["number"] for claim in found.state
            }
        world.reopen()


def test_the_index_is_made_again_with_its_epochs(world: World) -> None:
    world.write()
    world.change(quorum=0)
    last = world.write()
    before = world.writer.receipt(last)
    world.writer.close()
    shutil.rmtree(world.folder / "writer" / "index.lmdb")
    world.writer = world.open_writer()
    assert before == world.writer.receipt(last)
    world.writer.close()
    result = replay_ledger(
        world.folder / "writer",
        parameters=world.machine.parameters,
        kinds=world.machine.kinds,
        key_ring=world.machine.key_ring,
    )
    assert () == result.problems


def test_a_closing_note_that_was_lost_is_signed_again_by_who_still_has_the_key(world: World) -> None:
    world.write()
    world.change(quorum=0)
    last = world.write()
    world.writer.close()
    note = world.note_path().read_bytes()
    world.note_path().unlink()
    world.writer = world.open_writer(former=False)
    assert code_of(lambda: world.writer.receipt(last)) == "ledger.epoch_pending"
    world.reopen()
    if world.suite.name == "intl":
        assert note == world.note_path().read_bytes()
    assert 1 == world.verify(world.writer.receipt(last)).epochs


def test_a_closing_note_that_was_altered_is_told(world: World) -> None:
    world.write()
    world.change(quorum=0)
    last = world.write()
    path = world.note_path()
    note = bytearray(path.read_bytes())
    note[60] ^= 1
    path.write_bytes(note)
    assert code_of(lambda: world.writer.receipt(last)) == "ledger.epoch_note_damaged"


def test_the_present_operator_key_is_needed(world: World) -> None:
    world.write()
    world.change(quorum=0)
    world.writer.close()
    world.number = 0
    assert code_of(world.open_writer) == "ledger.operator_key_missing"


def test_witnesses_of_an_epoch_cosign_it_and_a_follower_walks_along(world: World) -> None:
    follower = world.open_follower()
    world.write(2)
    follower.sync()
    witness = world.open_witness(follower)
    world.change(quorum=1)
    index = world.write(2)
    receipt = world.writer.receipt(index, state_keys=["note/epoch"])
    found = world.verify(receipt)
    assert (1, ("first-bank",)) == (found.epochs, found.cosigners)
    own = world.verify(follower.receipt(index, state_keys=["note/epoch"]))
    assert (1, ("first-bank",), found.state[0].value) == (own.epochs, own.cosigners, own.state[0].value)
    # The next epoch ends with a note of both: the operator's second key and the witness.
    world.change(quorum=1)
    index = world.write()
    assert 2 == world.verify(world.writer.receipt(index)).epochs
    closing = world.writer.epoch_note(world.writer.epoch_sizes()[1])
    policy = follower.policy_at(world.writer.epoch_sizes()[1])
    assert policy.quorum == 1
    verify_note(closing, policy=policy, suite=world.suite)
    # Away, it is missed by name, and no receipt is given that would not count.
    witness.is_away = True
    world.write()
    with pytest.raises(Unavailable, match=r"quorum_not_reached.*first-bank"):
        world.writer.signer.confirmed(timeout_s=0.3)
    witness.is_away = False
    assert 2 == world.verify(world.writer.receipt(index)).epochs


def test_a_follower_that_was_away_walks_through_the_epochs_it_missed(world: World) -> None:
    """[STORE-25]"""
    follower = world.open_follower()
    world.write(2)
    follower.sync()
    follower.close()
    world.change(quorum=0)
    world.write(3)
    world.change(quorum=0)
    index = world.write()
    follower = world.open_follower()
    follower.sync()
    assert world.writer.checkpoint() == follower.checkpoint()
    assert 2 == world.verify(follower.receipt(index)).epochs


def test_a_note_of_a_retired_key_is_refused(world: World) -> None:
    world.write()
    world.change(quorum=0)
    world.write()
    follower = world.open_follower()
    follower.sync()
    trail = world.writer._copy.epochs.trail
    note = world.writer.checkpoint().note
    with pytest.raises(IntegrityError, match="checkpoint_foreign"):
        verify_note(note, policy=trail.policy_at(1), suite=world.suite)
    verify_note(note, policy=trail.newest_policy, suite=world.suite)
