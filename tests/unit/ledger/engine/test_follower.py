"""Followers: the same log by their own execution, and an alarm with evidence when the operator has two histories."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import cbor2
import pytest
from msgspec import structs

from patience import PATIENCE_S
from shuiqiao.base.clock import ManualClock
from shuiqiao.base.errors import IntegrityError, ShuiqiaoError, Unavailable
from shuiqiao.ledger.checkpoints.note import sign_checkpoint, verify_note
from shuiqiao.ledger.checkpoints.signed_note import Checkpoint
from shuiqiao.ledger.engine.embedded import EmbeddedLedger
from shuiqiao.ledger.engine.follower import FollowerLedger
from shuiqiao.ledger.engine.port import EmbeddedSettings, FollowerSettings
from shuiqiao.ledger.log.entry import decode_entry, encode_entry
from shuiqiao.ledger.log.tree import Frontier, leaf_hash
from shuiqiao.ledger.model import Block, Committed
from shuiqiao.ledger.receipts.verification import verify_receipt
from shuiqiao.ledger.replay.check import replay_ledger
from shuiqiao.ledger.store.alarm_file import ForkKind
from shuiqiao.ledger.transactions.submitter import log_size

MAP_BYTES = 1 << 28


class Peer:
    """The writer as followers reach it, whose engine can be exchanged behind their backs."""

    is_proven = True

    def __init__(self, engine: EmbeddedLedger) -> None:
        self.engine = engine
        self.listeners: list[Callable[..., None]] = []

    def submit(self, raw: bytes) -> Future[Committed]:
        return self.engine.submit(raw)

    def blocks(self, *, from_height: int) -> Iterator[Block]:
        return self.engine.blocks(from_height=from_height)

    def checkpoint(self) -> Checkpoint:
        return self.engine.checkpoint()

    def confirmed(self) -> Checkpoint:
        return self.engine.confirmed()

    def newest_confirmed(self) -> Checkpoint | None:
        return self.engine.newest_confirmed()

    def epoch_sizes(self) -> tuple[int, ...]:
        return self.engine.epoch_sizes()

    def epoch_note(self, size: int) -> bytes:
        return self.engine.epoch_note(size)

    def add_witness(self, peer: Any) -> None:
        self.engine.add_witness(peer)

    def consistency_proof(self, *, old_size: int, new_size: int) -> tuple[bytes, ...]:
        return self.engine.consistency_proof(old_size=old_size, new_size=new_size)

    def subscribe(self, listener: Callable[..., None]) -> None:
        self.listeners.append(listener)
        self.engine.subscribe(listener)


class House:
    """A writer, its peer for followers, and what is open, to be closed at the end."""

    def __init__(self, network: Any, folder: Path) -> None:
        self.network = network
        self.folder = folder
        self.open: list[Any] = []
        self.writer = self.open_writer("writer")
        self.peer = Peer(self.writer)

    def open_writer(self, name: str) -> EmbeddedLedger:
        (self.folder / name).mkdir(exist_ok=True)
        machine = self.network.machine
        writer = EmbeddedLedger.open(
            self.folder / name,
            parameters=machine.parameters,
            kinds=machine.kinds,
            key_ring=machine.key_ring,
            clock=ManualClock(self.network.time_ms + 1000),
            operator_key=self.network.keys["bureau"],
            settings=EmbeddedSettings(map_bytes=MAP_BYTES),
        )
        self.open.append(writer)
        return writer

    def open_follower(self, name: str = "follower", peer: Any = None, **settings: Any) -> FollowerLedger:
        (self.folder / name).mkdir(exist_ok=True)
        machine = self.network.machine
        follower = FollowerLedger.open(
            self.folder / name,
            parameters=machine.parameters,
            kinds=machine.kinds,
            key_ring=machine.key_ring,
            clock=ManualClock(self.network.time_ms),
            writer=peer or self.peer,
            # An hour: these tests say themselves when there is news.
            settings=FollowerSettings(**{"map_bytes": MAP_BYTES, "poll_interval_s": 3600.0, **settings}),
        )
        self.open.append(follower)
        return follower

    def write(self, count: int = 1, *, writer: EmbeddedLedger | None = None) -> None:
        for _ in range(count):
            (writer or self.writer).submit(self.network.write()).result(timeout=PATIENCE_S)

    def fork(self, *, shared: int, own: int) -> EmbeddedLedger:
        """Return the same operator's writer on a history that shares its first blocks with the present one."""
        other = self.open_writer("fork")
        for block in list(self.writer.blocks(from_height=1))[:shared]:
            for raw in block.transactions:
                other.submit(raw).result(timeout=PATIENCE_S)
        self.write(own, writer=other)
        return other

    def close(self) -> None:
        for one in reversed(self.open):
            one.close()


@pytest.fixture
def house(intl: Any, tmp_path: Path) -> Iterator[House]:
    opened = House(intl, tmp_path)
    yield opened
    opened.close()


def code_of(act: Callable[[], Any]) -> str:
    with pytest.raises(ShuiqiaoError) as caught:
        act()
    return caught.value.code


@pytest.mark.parametrize(("processes", "batch"), [(0, 1), (0, 4), (2, 4096)])
def test_a_follower_comes_to_the_same_root_state_and_receipts(
    network: Any, tmp_path: Path, processes: int, batch: int
) -> None:
    """[STORE-21]."""
    house = House(network, tmp_path)
    house.write(11)
    follower = house.open_follower(verifier_processes=processes, max_batch_transactions=batch)
    follower.sync()
    assert house.writer.checkpoint() == follower.checkpoint()
    assert list(house.writer.blocks(from_height=1)) == list(follower.blocks(from_height=1))
    assert house.writer.last_block() == follower.last_block()
    receipt = follower.receipt(0)
    assert house.writer.receipt(0) == receipt
    machine = network.machine
    verify_receipt(
        receipt,
        parameters=machine.parameters,
        kinds=machine.kinds,
        key_ring=machine.key_ring,
        suite=network.suite,
    )
    house.close()


def test_what_a_follower_submits_is_in_its_own_copy_when_acknowledged(house: House) -> None:
    follower = house.open_follower()
    heard: list[int] = []
    follower.subscribe(lambda block, _events: heard.append(block.height))
    for number in range(5):
        raw = house.network.write(author="first-bank")
        done = follower.submit(raw).result(timeout=PATIENCE_S)
        body = house.network.machine.decode(raw).body
        assert {"author": "first-bank", "height": done.height} == follower.state().get(f"note/entry/{body.id.hex()}")
        assert number + 1 == follower.last_block()[0]
    assert heard == [1, 2, 3, 4, 5]


def test_refusals_of_the_writer_reach_the_submitter(house: House) -> None:
    follower = house.open_follower()
    raw = house.network.write()
    follower.submit(raw).result(timeout=PATIENCE_S)
    again = follower.submit(raw).exception(timeout=PATIENCE_S)
    assert isinstance(again, ShuiqiaoError)
    assert again.code == "ledger.tx_replayed"


def test_a_follower_goes_on_after_reopening_and_with_a_lost_index(house: House, tmp_path: Path) -> None:
    follower = house.open_follower()
    house.write(3)
    follower.sync()
    follower.close()
    house.write(3)
    shutil.rmtree(tmp_path / "follower" / "index.lmdb")
    follower = house.open_follower()
    assert follower.recovery.replayed == 3
    follower.sync()
    assert house.writer.checkpoint() == follower.checkpoint()
    house.write()
    follower.sync()
    assert house.writer.checkpoint() == follower.checkpoint()


def fork_same_size(house: House) -> EmbeddedLedger:
    return house.fork(shared=3, own=2)


def fork_longer(house: House) -> EmbeddedLedger:
    return house.fork(shared=3, own=6)


def fork_shorter(house: House) -> EmbeddedLedger:
    return house.fork(shared=4, own=0)


def fork_shorter_and_other(house: House) -> EmbeddedLedger:
    return house.fork(shared=2, own=1)


@pytest.mark.parametrize(
    ("fork", "kind"),
    [
        (fork_same_size, ForkKind.ROOT_DIFFERS),
        (fork_longer, ForkKind.NOT_AN_EXTENSION),
        (fork_shorter, ForkKind.SHRUNK),
        (fork_shorter_and_other, ForkKind.SHRUNK),
    ],
)
def test_a_rewritten_history_raises_an_alarm_with_both_notes(
    house: House, fork: Callable[[House], EmbeddedLedger], kind: ForkKind
) -> None:
    """[STORE-22]."""
    follower = house.open_follower()
    house.write(5)
    follower.sync()
    before = follower.checkpoint()
    house.peer.engine = fork(house)
    assert code_of(follower.sync) == "ledger.fork_detected"
    alarm = follower.alarm
    assert alarm is not None
    assert (kind, before.size, before.root, before.note) == (
        alarm.kind,
        alarm.own_size,
        alarm.own_root,
        alarm.own_note,
    )
    # The evidence stands by itself: two notes, both signed by the operator.
    for note in (alarm.own_note, alarm.new_note):
        verify_note(note, policy=house.network.parameters.policy, suite=house.network.suite)
    assert house.peer.engine.checkpoint().note == alarm.new_note
    # It refuses to go on, also with the old history and after reopening; what was copied stays readable.
    house.peer.engine = house.writer
    assert code_of(follower.sync) == "ledger.fork_detected"
    assert code_of(follower.checkpoint) == "ledger.fork_detected"
    assert code_of(lambda: follower.submit(house.network.write()).result(timeout=PATIENCE_S)) == "ledger.fork_detected"
    follower.close()
    reopened = house.open_follower()
    assert alarm == reopened.alarm
    assert code_of(reopened.sync) == "ledger.fork_detected"
    assert len(list(reopened.blocks(from_height=1))) == 5


class AnybodysPeer(Peer):
    """What comes over a channel on which anybody could answer: an old note, foreign blocks, a wrong proof."""

    is_proven = False
    note: Checkpoint | None = None
    altered: Callable[[Block], Block] | None = None
    path: tuple[bytes, ...] | None = None

    def checkpoint(self) -> Checkpoint:
        return self.note or super().checkpoint()

    def blocks(self, *, from_height: int) -> Iterator[Block]:
        return map(self.altered or (lambda block: block), super().blocks(from_height=from_height))

    def consistency_proof(self, *, old_size: int, new_size: int) -> tuple[bytes, ...]:
        return super().consistency_proof(old_size=old_size, new_size=new_size) if self.path is None else self.path


def test_over_a_channel_of_anybodys_what_is_not_signed_accuses_nobody(house: House) -> None:
    """[PEER-12]."""
    peer = AnybodysPeer(house.writer)
    follower = open_late(house, peer)
    house.write(3)
    follower.sync()
    old = follower.checkpoint()
    house.write(3)
    follower.sync()
    peer.note = old
    assert code_of(follower.sync) == "ledger.writer_unproven"
    peer.note = None
    house.write(3)
    for altered in (
        lambda block: replace(block, height=block.height + 1),
        lambda block: replace(block, transactions=(*block.transactions, b"foreign")),
        lambda block: replace(block, entry=b"foreign"),
    ):
        peer.altered = altered
        assert code_of(follower.sync) == "ledger.writer_unproven"
        # Neither does a wrong proof beside it.
        peer.path = (bytes(32),)
        assert code_of(follower.sync) == "ledger.writer_unproven"
        peer.path = None
    peer.altered = None
    assert follower.alarm is None
    follower.sync()
    assert house.writer.checkpoint() == follower.checkpoint()


@pytest.mark.parametrize(
    ("fork", "kind"), [(fork_same_size, ForkKind.ROOT_DIFFERS), (fork_longer, ForkKind.NOT_AN_EXTENSION)]
)
def test_what_the_operator_signed_twice_is_a_fork_over_any_channel(
    house: House, fork: Callable[[House], EmbeddedLedger], kind: ForkKind
) -> None:
    """[PEER-12]."""
    peer = AnybodysPeer(house.writer)
    follower = open_late(house, peer)
    house.write(5)
    follower.sync()
    peer.engine = fork(house)
    assert code_of(follower.sync) == "ledger.fork_detected"
    assert follower.alarm is not None
    assert kind == follower.alarm.kind


class WithholdingPeer(Peer):
    """A writer on another history that hands out no block of it."""

    def blocks(self, *, from_height: int) -> Iterator[Block]:
        return iter(())


def test_a_rewritten_history_is_found_though_its_blocks_are_withheld(house: House) -> None:
    """[STORE-21] step 2 comes before whatever is wrong with the blocks."""
    peer = WithholdingPeer(house.writer)
    follower = house.open_follower(peer=house.peer)
    house.write(5)
    follower.sync()
    follower.close()
    peer.engine = fork_longer(house)
    reopened = house.open_follower(peer=peer)
    assert code_of(reopened.sync) == "ledger.fork_detected"
    assert reopened.alarm is not None
    assert ForkKind.NOT_AN_EXTENSION == reopened.alarm.kind


class CountingPeer(Peer):
    """Counts what a follower asks for."""

    def __init__(self, engine: EmbeddedLedger) -> None:
        super().__init__(engine)
        self.asked: list[str] = []

    def blocks(self, *, from_height: int) -> Iterator[Block]:
        self.asked.append("blocks")
        return super().blocks(from_height=from_height)

    def consistency_proof(self, *, old_size: int, new_size: int) -> tuple[bytes, ...]:
        self.asked.append("proof")
        return super().consistency_proof(old_size=old_size, new_size=new_size)


def test_a_follower_asks_no_more_than_it_needs(house: House) -> None:
    """[STORE-21]."""
    peer = CountingPeer(house.writer)
    follower = open_late(house, peer)
    house.write(3)
    follower.sync()
    house.write(3)
    follower.sync()
    follower.sync()
    # Blocks that lead from the copy to the signed root are proof enough, and of a known note nothing is asked.
    assert ["blocks", "blocks"] == peer.asked
    follower.close()
    peer.asked.clear()
    house.write(6)
    follower = house.open_follower(peer=peer, max_batch_transactions=4)
    follower.sync()
    # A stretch that ends before the checkpoint needs proofs: that the copy lies under it, and so does the stretch.
    assert ["blocks", "proof", "proof", "blocks"] == peer.asked
    assert house.writer.checkpoint() == follower.checkpoint()


class ForgingPeer(Peer):
    """A writer whose operator signs whatever the forge makes of its last block."""

    def __init__(self, engine: EmbeddedLedger, network: Any, forge: Callable[[Block], Block]) -> None:
        super().__init__(engine)
        self.network = network
        self.forge = forge

    def _forged(self) -> list[Block]:
        *blocks, last = self.engine.blocks(from_height=1)
        return [*blocks, self.forge(last)]

    def blocks(self, *, from_height: int) -> Iterator[Block]:
        return iter(self._forged()[from_height - 1 :])

    def checkpoint(self) -> Checkpoint:
        frontier = Frontier(hash_name="sha256")
        for block in self._forged():
            frontier.append([leaf_hash(leaf, hash_name="sha256") for leaf in (*block.transactions, block.entry)])
        return sign_checkpoint(
            origin=self.network.parameters.origin,
            size=frontier.size,
            root=frontier.root(),
            key=self.network.keys["bureau"],
            suite=self.network.suite,
        )


def with_entry(block: Block, **changes: object) -> Block:
    entry = structs.replace(decode_entry(block.entry), **changes)
    return replace(block, entry=encode_entry(entry))


def with_transactions(block: Block, transactions: Sequence[bytes]) -> Block:
    return replace(with_entry(block, count=len(transactions)), transactions=tuple(transactions))


def test_a_signed_block_that_breaks_the_rules_raises_an_alarm(house: House, tmp_path: Path) -> None:
    house.write(2)
    network = house.network
    raw = next(iter(house.writer.blocks(from_height=2))).transactions[0]
    unsigned = network.sign(network.draft(), "first-bank")
    forged_signature = raw[:-1] + bytes([raw[-1] ^ 1])
    forges: list[Callable[[Block], Block]] = [
        lambda block: with_transactions(block, [*block.transactions, forged_signature]),
        lambda block: with_transactions(block, [*block.transactions, raw]),
        lambda block: with_transactions(block, [*block.transactions, b"no transaction"]),
        lambda block: with_transactions(block, [*block.transactions, unsigned]),
        lambda block: with_entry(block, height=9),
        lambda block: with_entry(block, time_ms=1),
        lambda block: with_entry(block, state_root=bytes(32)),
    ]
    for number, forge in enumerate(forges):
        follower = house.open_follower(f"follower-{number}", ForgingPeer(house.writer, network, forge))
        assert code_of(follower.sync) == "ledger.fork_detected"
        assert follower.alarm is not None
        assert follower.alarm.kind == ForkKind.BLOCK_INVALID, number
        # Nothing of the bad block was taken over.
        result = replay_ledger(
            follower.blocks(from_height=1),
            parameters=network.parameters,
            kinds=network.machine.kinds,
            key_ring=network.machine.key_ring,
        )
        assert result.problems == ()
        follower.close()


class LatePeer:
    """A writer that cannot be reached until a test says so: the follower's own thread has tried and sleeps then."""

    def __init__(self, behind: Peer) -> None:
        self.behind = behind
        self.is_reachable = False

    def __getattr__(self, name: str) -> Any:
        if not self.is_reachable and name != "subscribe":
            raise Unavailable("test.unreachable", "no way to the writer")
        return getattr(self.behind, name)


def open_late(house: House, behind: Peer) -> FollowerLedger:
    """Return a follower that has copied nothing yet and can reach its writer from now on."""
    peer = LatePeer(behind)
    follower = house.open_follower(peer=peer)
    patience = threading.Event()
    assert any(follower.trouble is not None or patience.wait(PATIENCE_S / 1000) for _ in range(1000))
    peer.is_reachable = True
    return follower


def test_blocks_before_a_bad_one_are_kept_and_told(house: House) -> None:
    """[STORE-16], [STORE-21], [STORE-22]."""
    house.write(4)
    network = house.network
    unsigned = network.sign(network.draft(), "first-bank")
    forge: Callable[[Block], Block] = lambda block: with_transactions(block, [*block.transactions, unsigned])  # noqa: E731
    follower = open_late(house, ForgingPeer(house.writer, network, forge))
    heard: list[tuple[int, int]] = []
    follower.subscribe(lambda block, _events: heard.append((block.height, follower.last_block()[0])))
    assert code_of(follower.sync) == "ledger.fork_detected"
    # The three blocks were indexed together, so whoever heard of the first already saw the last.
    assert heard == [(1, 3), (2, 3), (3, 3)]
    assert list(house.writer.blocks(from_height=1))[:3] == list(follower.blocks(from_height=1))


def test_a_crash_between_storing_and_indexing_loses_nothing(house: House, tmp_path: Path) -> None:
    """[STORE-14], [STORE-16]."""
    house.write(2)
    follower = open_late(house, house.peer)
    follower.sync()
    follower.close()
    shutil.copytree(tmp_path / "follower" / "index.lmdb", tmp_path / "before")
    house.write(5)
    follower = house.open_follower()
    follower.sync()
    follower.close()
    # The frames of a batch are all on the medium before its index is written: this is what is there in between.
    shutil.rmtree(tmp_path / "follower" / "index.lmdb")
    shutil.copytree(tmp_path / "before", tmp_path / "follower" / "index.lmdb")
    reopened = house.open_follower()
    assert reopened.recovery.replayed == 5
    assert list(house.writer.blocks(from_height=1)) == list(reopened.blocks(from_height=1))
    assert house.writer.checkpoint() == reopened.checkpoint()


def test_blocks_that_could_not_be_indexed_come_before_others_and_are_no_alarm(house: House) -> None:
    """[STORE-16]."""
    follower = open_late(house, house.peer)
    follower.close()
    house.write(400)
    follower = house.open_follower(map_bytes=256 * 1024, max_batch_transactions=40)
    assert code_of(follower.sync) == "ledger.index_failed"
    seen, stored = follower.last_block()[0], follower._copy._files.tail.height
    assert seen < stored < 400
    assert code_of(follower.sync) == "ledger.index_failed"
    assert (seen, stored) == (follower.last_block()[0], follower._copy._files.tail.height)
    assert follower.alarm is None
    follower.close()
    reopened = house.open_follower()
    assert stored - seen == reopened.recovery.replayed
    reopened.sync()
    assert house.writer.checkpoint() == reopened.checkpoint()
    assert list(house.writer.blocks(from_height=1)) == list(reopened.blocks(from_height=1))


class LyingPeer(Peer):
    """A writer that acknowledges at a place where something else stands."""

    def submit(self, raw: bytes) -> Future[Committed]:
        self.engine.submit(raw).result(timeout=PATIENCE_S)
        lie: Future[Committed] = Future()
        lie.set_result(Committed(index=0, height=1, time_ms=0))
        return lie


def test_a_false_acknowledgement_is_noticed(house: House) -> None:
    house.write()
    follower = house.open_follower(peer=LyingPeer(house.writer))
    error = follower.submit(house.network.write()).exception(timeout=PATIENCE_S)
    assert isinstance(error, IntegrityError)
    assert error.code == "ledger.acknowledgement_false"


class ForeignPeer(Peer):
    """Not the operator: its notes are signed by another key."""

    def checkpoint(self) -> Checkpoint:
        own = self.engine.checkpoint()
        network = self.network
        return sign_checkpoint(
            origin=own.origin, size=own.size, root=own.root, key=network.keys["first-bank"], suite=network.suite
        )

    network: Any


def test_a_note_of_another_key_is_refused_and_is_no_alarm(house: House) -> None:
    peer = ForeignPeer(house.writer)
    peer.network = house.network
    follower = house.open_follower(peer=peer)
    assert code_of(follower.sync) == "ledger.checkpoint_foreign"
    assert follower.alarm is None


class SilentPeer(Peer):
    """A writer that signs more than it hands out, or cannot be reached."""

    is_reachable = True

    def blocks(self, *, from_height: int) -> Iterator[Block]:
        return iter(())

    def checkpoint(self) -> Checkpoint:
        if not self.is_reachable:
            raise Unavailable("test.unreachable", "no way to the writer")
        return self.engine.checkpoint()


def test_a_writer_that_does_not_answer_is_trouble_and_no_alarm(house: House) -> None:
    house.write()
    peer = SilentPeer(house.writer)
    follower = house.open_follower(peer=peer)
    assert code_of(follower.sync) == "ledger.blocks_missing"
    peer.is_reachable = False
    assert code_of(follower.checkpoint) == "test.unreachable"
    assert follower.alarm is None


class UnconfirmingPeer(Peer):
    """A writer that does not say what is confirmed while it is away."""

    is_away = False

    def newest_confirmed(self) -> Checkpoint | None:
        if self.is_away:
            raise Unavailable("test.unreachable", "away")
        return super().newest_confirmed()


def test_a_follower_shows_its_log_while_the_writer_is_away_and_none_under_an_alarm(house: House) -> None:
    house.write(2)
    peer = UnconfirmingPeer(house.writer)
    follower = house.open_follower(peer=peer)
    peer.is_away = True
    assert follower.public_log() is None
    peer.is_away, follower._public_due = False, 0.0
    follower.sync()
    source = follower.public_log()
    assert source is not None
    first = next(iter(house.writer.blocks(from_height=1))).transactions[0]
    assert (source.checkpoint, [*source.leaves(0, 1)]) == (house.writer.newest_confirmed(), [first])
    peer.is_away, follower._public_due = True, 0.0
    again = follower.public_log()
    assert again is not None
    assert again.checkpoint == source.checkpoint
    peer.engine = house.fork(shared=1, own=2)
    assert code_of(follower.sync) == "ledger.fork_detected"
    assert follower.public_log() is None


def test_a_checkpoint_that_waits_is_stored_though_there_is_no_news(house: House) -> None:
    """[STORE-18]."""
    follower = house.open_follower(checkpoint_interval_s=0.2)
    for _ in range(3):
        house.write()
        follower.sync()
    told = follower.checkpoint()
    stored = house.folder / "follower" / "checkpoints" / "latest"
    patience = threading.Event()
    assert any(stored.read_bytes() == told.note or patience.wait(PATIENCE_S / 1000) for _ in range(1000))


def test_a_damaged_alarm_file_is_not_taken_for_none(house: House, tmp_path: Path) -> None:
    follower = house.open_follower()
    follower.close()
    (tmp_path / "follower" / "alarms" / "fork").write_bytes(b"\xa1\x61a\x01")
    assert code_of(house.open_follower) == "ledger.alarm_damaged"


def test_a_copy_is_as_far_as_another_one_that_it_waits_for(house: House) -> None:
    follower = house.open_follower()
    house.write(5)
    height, _ = house.writer.last_block()
    follower.wait_for_block(height)
    assert follower.last_block() == house.writer.last_block()
    size = log_size(house.writer)
    assert size == follower.checkpoint(at_least=size).size == house.writer.checkpoint(at_least=size).size
    house.writer.wait_for_block(height)
    for engine in (house.writer, follower):
        assert code_of(lambda engine=engine: engine.wait_for_block(height + 1)) == "ledger.block_awaited"


def test_an_empty_log_has_no_leaves(house: House) -> None:
    assert log_size(house.writer) == 0


def test_memory_that_runs_out_is_trouble_and_no_alarm(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """[LEDGER-SIGN-4]"""
    follower = house.open_follower()
    house.write(2)
    decode = follower._copy.machine.decode

    def fail(*_arguments: Any, **_options: Any) -> Any:
        raise MemoryError

    def decode_in_need(raw: bytes) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(cbor2, "loads", fail)
            return decode(raw)

    with monkeypatch.context() as patch:
        patch.setattr(follower._copy.machine, "decode", decode_in_need)
        with pytest.raises(MemoryError):
            follower.sync()
    assert follower.alarm is None
    follower.sync()
    assert follower.last_block()[0] == 2


@pytest.mark.parametrize(
    "error", [Unavailable("test.gone", "no provider"), IntegrityError("test.damaged", "our index")]
)
def test_what_only_this_copy_lacks_is_no_alarm(
    error: ShuiqiaoError, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[LEDGER-SIGN-4]"""
    follower = house.open_follower()
    house.write(2)

    def fail(*_arguments: Any, **_options: Any) -> Any:
        raise error

    for name in ("decode", "execute_block"):
        with monkeypatch.context() as patch:
            patch.setattr(follower._copy.machine, name, fail)
            with pytest.raises(type(error), match=error.code):
                follower.sync()
    assert follower.alarm is None
    follower.sync()
    assert follower.last_block()[0] == 2
