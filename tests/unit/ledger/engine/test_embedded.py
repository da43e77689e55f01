"""The embedded writer: group commit, refusals that touch no neighbour, durability, recovery and failing disks."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

import lmdb
import pytest

from log_world import LeafHashes, root_from_leaf_hashes
from patience import PATIENCE_S
from shuiqiao.base.clock import Clock, ManualClock, iso_from_ms
from shuiqiao.base.durable import Disk
from shuiqiao.base.errors import IntegrityError, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.crypto import intl as intl_provider
from shuiqiao.ledger.checkpoints.note import sign_checkpoint, verify_note
from shuiqiao.ledger.engine.embedded import EmbeddedLedger
from shuiqiao.ledger.engine.port import EmbeddedSettings
from shuiqiao.ledger.log.tree import leaf_hash, verify_consistency
from shuiqiao.ledger.model import MAX_TRANSACTION_BYTES, Block, Committed
from shuiqiao.ledger.receipts.verification import verify_receipt
from shuiqiao.ledger.replay.check import replay_ledger
from shuiqiao.ledger.store.index import Index

MAP_BYTES = 1 << 28


class FailingDisk(Disk):
    """A real disk on which the named acts fail from a moment on; a failed flush may have reached the medium."""

    def __init__(self) -> None:
        self.failing: dict[str, int] = {}
        self.is_append_kept = False

    def append(self, descriptor: int, data: bytes) -> None:
        if "append" in self.failing:
            super().append(descriptor, data[: len(data) // 2])
            raise OSError(self.failing["append"], "injected")
        super().append(descriptor, data)

    def sync(self, descriptor: int) -> None:
        if "sync" in self.failing:
            raise OSError(self.failing["sync"], "injected")
        super().sync(descriptor)

    def truncate(self, descriptor: int, length: int) -> None:
        if "truncate" in self.failing:
            raise OSError(self.failing["truncate"], "injected")
        super().truncate(descriptor, length)

    def sync_folder(self, folder: Path) -> None:
        if "sync_folder" in self.failing:
            raise OSError(self.failing["sync_folder"], "injected")
        super().sync_folder(folder)


def open_ledger(network: Any, folder: Path, *, clock: Clock | None = None, **settings: Any) -> EmbeddedLedger:
    folder.mkdir(exist_ok=True)
    return EmbeddedLedger.open(
        folder,
        parameters=network.parameters,
        kinds=network.machine.kinds,
        key_ring=network.machine.key_ring,
        clock=clock or ManualClock(network.time_ms + 1000),
        operator_key=network.keys["bureau"],
        settings=EmbeddedSettings(**{"map_bytes": MAP_BYTES, **settings}),
    )


@pytest.fixture
def ledger(intl: Any, tmp_path: Path) -> Iterator[EmbeddedLedger]:
    opened = open_ledger(intl, tmp_path / "ledger")
    yield opened
    opened.close()


def code_of(future: Future[Committed]) -> str:
    """Return the code of the refusal, or an empty string when committed."""
    error = future.exception(timeout=PATIENCE_S)
    assert error is None or isinstance(error, ShuiqiaoError)
    return "" if error is None else error.code


def recomputed_root(blocks: Iterator[Block], hash_name: str = "sha256") -> bytes:
    leaves = [leaf for block in blocks for leaf in (*block.transactions, block.entry)]
    return root_from_leaf_hashes([leaf_hash(leaf, hash_name=hash_name) for leaf in leaves], hash_name=hash_name)


def replayed(network: Any, source: Any, **more: Any) -> Any:
    return replay_ledger(
        source,
        parameters=network.parameters,
        kinds=network.machine.kinds,
        key_ring=network.machine.key_ring,
        **more,
    )


@pytest.mark.parametrize("processes", [0, 2])
def test_what_is_committed_is_in_state_log_and_checkpoint(network: Any, tmp_path: Path, processes: int) -> None:
    """[STORE-19]."""
    ledger = open_ledger(network, tmp_path / "ledger", verifier_processes=processes)
    raws = [network.write(author=author) for author in ("bureau", "first-bank", "second-bank") for _ in range(20)]
    done = [future.result(timeout=PATIENCE_S) for future in [ledger.submit(raw) for raw in raws]]
    stored = {
        block.first_index + position: raw
        for block in ledger.blocks(from_height=1)
        for position, raw in enumerate(block.transactions)
    }
    assert raws == [stored[one.index] for one in done]
    assert done == sorted(done, key=lambda one: one.index)
    checkpoint = ledger.checkpoint()
    height, time_ms = ledger.last_block()
    assert (done[-1].height, done[-1].time_ms) == (height, time_ms)
    assert (len(raws) + height, recomputed_root(ledger.blocks(from_height=1), network.suite.hash_name)) == (
        checkpoint.size,
        checkpoint.root,
    )
    body = network.machine.decode(raws[7]).body
    assert {"author": "bureau", "height": done[7].height} == ledger.state().get(f"note/entry/{body.id.hex()}")
    result = replayed(network, ledger.blocks(from_height=1), verifier_processes=processes)
    assert (len(raws), height, checkpoint.root, len(raws), ()) == (
        result.transactions,
        result.height,
        result.root,
        result.signatures_verified,
        result.problems,
    )
    ledger.close()


def test_receipts_verify_with_the_genesis_alone(network: Any, tmp_path: Path) -> None:
    ledger = open_ledger(network, tmp_path / "ledger")
    done = [ledger.submit(network.write()).result(timeout=PATIENCE_S) for _ in range(9)]
    for one in done:
        receipt = ledger.receipt(one.index)
        verified = verify_receipt(
            receipt,
            parameters=network.parameters,
            kinds=network.machine.kinds,
            key_ring=network.machine.key_ring,
            suite=network.suite,
        )
        assert (one.index, one.height, one.time_ms) == (verified.index, verified.height, verified.time_ms)
    ledger.close()


def test_a_receipt_of_what_is_no_transaction_is_refused(ledger: EmbeddedLedger, intl: Any) -> None:
    assert Committed(index=0, height=1, time_ms=intl.time_ms + 1000) == ledger.submit(intl.write()).result(PATIENCE_S)
    for index in (-1, 1, 2, 2**60):
        with pytest.raises(InvalidInput) as caught:
            ledger.receipt(index)
        assert caught.value.code == "ledger.index_unknown"


def test_one_bad_transaction_never_refuses_its_neighbours(intl: Any, tmp_path: Path) -> None:
    """Everything is submitted before the writer can answer, so good and bad share blocks."""
    gm_key = intl.keys["bureau"]
    good = [intl.write() for _ in range(24)]
    repeated_id = intl.sign(intl.draft(id=intl.machine.decode(good[0]).id))
    forged = bytearray(intl.write())
    forged[-1] ^= 1
    wrong_suite = intl.write().replace(b"\x01\x32\x04\x50", b"\x01\x3a\x00\x01\x00\x00\x04\x50")
    bad = {
        b"": "ledger.tx_malformed",
        b"\xd8\x62": "ledger.tx_malformed",
        intl.write()[:-1]: "ledger.tx_malformed",
        intl.write() + b"\x00": "ledger.tx_malformed",
        bytes(MAX_TRANSACTION_BYTES + 1): "ledger.tx_too_large",
        bytes(forged): "ledger.signature_invalid",
        intl.sign(intl.draft(), network=bytes(32)): "ledger.tx_foreign_network",
        intl.sign(intl.draft(valid_until_ms=intl.time_ms + 10)): "ledger.tx_expired",
        intl.sign(intl.draft(valid_until_ms=intl.time_ms + 48 * 3_600_000)): "ledger.tx_valid_too_long",
        repeated_id: "ledger.tx_replayed",
        intl.sign(intl.draft(author="stranger"), keys=[gm_key]): "members.unknown",
        intl.write("note.break"): "ledger.contract_failed",
        intl.write("note.deny"): "note.denied",
        intl.sign(intl.draft(), "first-bank"): "ledger.signature_missing",
    }
    assert wrong_suite not in good
    ledger = open_ledger(intl, tmp_path / "ledger", verifier_processes=1)
    raws: list[tuple[bytes, str]] = [(good[0], "")]
    for number, (raw, code) in enumerate(bad.items()):
        raws += [(raw, code), (good[number + 1], "")]
    futures = [ledger.submit(raw) for raw, _ in raws]
    assert [code for _, code in raws] == [code_of(future) for future in futures]
    assert code_of(ledger.submit(intl.write())) == ""
    assert replayed(intl, ledger.blocks(from_height=1)).problems == ()
    ledger.close()


def test_a_wrong_suite_is_refused_by_name(network: Any, intl: Any, tmp_path: Path) -> None:
    ledger = open_ledger(intl, tmp_path / "ledger")
    raw = network.sign(network.draft())
    expected = "" if network.suite.name == "intl" else "ledger.tx_wrong_suite"
    assert expected == code_of(ledger.submit(raw))
    ledger.close()


def test_the_same_bytes_again_are_refused_now_and_after_reopening(intl: Any, tmp_path: Path) -> None:
    ledger = open_ledger(intl, tmp_path / "ledger")
    raw = intl.write()
    assert [code_of(ledger.submit(raw)) for _ in range(2)] == ["", "ledger.tx_replayed"]
    ledger.close()
    ledger = open_ledger(intl, tmp_path / "ledger", clock=ManualClock(intl.time_ms + 9000))
    assert code_of(ledger.submit(raw)) == "ledger.tx_replayed"
    ledger.close()


def test_ids_are_forgotten_after_they_expired(intl: Any, tmp_path: Path) -> None:
    """[STORE-17]."""
    clock = ManualClock(intl.time_ms + 1000)
    ledger = open_ledger(intl, tmp_path / "ledger", clock=clock)
    draft = intl.draft()
    assert code_of(ledger.submit(intl.sign(draft))) == ""
    clock.advance(5 * 3_600_000)
    intl.time_ms = clock.now_ms()
    assert code_of(ledger.submit(intl.write())) == ""
    # The id may be used again, by a new transaction, once it expired.
    assert code_of(ledger.submit(intl.sign(intl.draft(id=draft.id)))) == ""
    assert code_of(ledger.submit(intl.sign(intl.draft(id=draft.id)))) == "ledger.tx_replayed"
    assert replayed(intl, ledger.blocks(from_height=1)).problems == ()
    ledger.close()


def test_a_transaction_may_rest_on_the_one_before_it(intl: Any, key_body: Any, tmp_path: Path) -> None:
    ledger = open_ledger(intl, tmp_path / "ledger", verifier_processes=2)
    keys = [intl.suite.signing_key_from_seed(bytes([number]) * 32) for number in range(10)]
    futures: list[Future[Committed]] = []
    for key in keys:
        body = key_body(id=intl.new_id(), key=key.public_key)
        futures.append(ledger.submit(intl.sign(intl.draft("note.pair", body=body), "bureau", keys=[key])))
        futures.append(ledger.submit(intl.sign(intl.draft("note.later", body=body), keys=[key])))
    assert [code_of(future) for future in futures] == [""] * 20
    ledger.close()


def test_a_state_view_stays_as_it_was(ledger: EmbeddedLedger, intl: Any) -> None:
    """[STORE-16]."""
    raw = intl.write()
    key = f"note/entry/{intl.machine.decode(raw).body.id.hex()}"
    before = ledger.state()
    ledger.submit(raw).result(timeout=PATIENCE_S)
    assert (before.get(key), ledger.state().get(key)) == (None, {"author": "bureau", "height": 1})


def test_subscribers_hear_of_every_block_and_that_one_failed_is_kept(ledger: EmbeddedLedger, intl: Any) -> None:
    heard: list[tuple[int, list[str]]] = []

    broken: list[int] = []

    def break_down(block: Block, _events: object) -> None:
        broken.append(block.height)
        if block.height < 3:
            raise ValueError("a listener's defect")

    ledger.subscribe(break_down)
    ledger.subscribe(lambda block, events: heard.append((block.height, [event.name for event in events])))
    for _ in range(3):
        ledger.submit(intl.write()).result(timeout=PATIENCE_S)
    ledger.close()
    assert [(height, ["note.written"]) for height in (1, 2, 3)] == heard
    assert broken == [1, 2, 3]
    [failure] = ledger.listener_failures()
    assert (failure.error, failure.height, failure.count) == ("ValueError", 2, 2)
    assert failure.listener.endswith("break_down")


def test_a_full_intake_says_busy_and_recovers(intl: Any, tmp_path: Path) -> None:
    held, entered = threading.Event(), threading.Event()

    def hold(_block: Block, _events: object) -> None:
        entered.set()
        held.wait(PATIENCE_S)

    ledger = open_ledger(intl, tmp_path / "ledger", max_waiting=4)
    ledger.subscribe(hold)
    assert code_of(ledger.submit(intl.write())) == ""
    entered.wait(PATIENCE_S)
    waiting = [ledger.submit(intl.write()) for _ in range(4)]
    refused = ledger.submit(intl.write()).exception(timeout=PATIENCE_S)
    assert isinstance(refused, Unavailable)
    assert (refused.code, refused.retry_after_s) == ("ledger.busy", 0.5)
    held.set()
    assert [code_of(future) for future in waiting] == [""] * 4
    assert code_of(ledger.submit(intl.write())) == ""
    ledger.close()


def test_close_finishes_what_was_accepted_and_then_refuses(intl: Any, tmp_path: Path) -> None:
    ledger = open_ledger(intl, tmp_path / "ledger", verifier_processes=1)
    futures = [ledger.submit(intl.write()) for _ in range(200)]
    ledger.close()
    assert [code_of(future) for future in futures] == [""] * 200
    assert code_of(ledger.submit(intl.write())) == "ledger.closed"
    assert replayed(intl, tmp_path / "ledger").transactions == 200


def test_many_threads_may_submit(intl: Any, tmp_path: Path) -> None:
    ledger = open_ledger(intl, tmp_path / "ledger")
    raws = [[intl.write() for _ in range(30)] for _ in range(4)]
    codes: list[str] = []
    threads = [
        threading.Thread(target=lambda part=part: codes.extend(code_of(ledger.submit(raw)) for raw in part))
        for part in raws
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [""] * 120
    ledger.close()
    assert (replayed(intl, tmp_path / "ledger").transactions, replayed(intl, tmp_path / "ledger").problems) == (120, ())


def test_a_flood_of_what_is_no_transaction_does_not_keep_blocks_from_being_made(intl: Any, tmp_path: Path) -> None:
    """[STORE-19]: what waits is taken in before a block is made, but not for ever."""
    ledger = open_ledger(intl, tmp_path / "ledger")
    is_over = threading.Event()

    def flood() -> None:
        while not is_over.is_set():
            ledger.submit(b"")

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        code = "ledger.busy"
        while code == "ledger.busy":
            code = code_of(ledger.submit(intl.write()))
    finally:
        is_over.set()
        thread.join()
        ledger.close()
    assert code == ""


def test_blocks_respect_their_limits(intl: Any, note_body: Any, tmp_path: Path) -> None:
    ledger = open_ledger(intl, tmp_path / "ledger", max_block_transactions=7, max_block_bytes=20_000)
    bodies = [note_body(id=intl.new_id(), text="x" * (9_000 if number % 5 == 0 else 10)) for number in range(40)]
    futures = [ledger.submit(intl.sign(intl.draft(body=body))) for body in bodies]
    assert [code_of(future) for future in futures] == [""] * 40
    for block in ledger.blocks(from_height=1):
        assert 1 <= len(block.transactions) <= 7
        assert sum(map(len, block.transactions)) <= 20_000
    ledger.close()


def test_a_second_writer_is_locked_out(ledger: EmbeddedLedger, intl: Any, tmp_path: Path) -> None:
    """[STORE-3]."""
    with pytest.raises(Unavailable) as caught:
        open_ledger(intl, tmp_path / "ledger")
    assert caught.value.code == "ledger.locked"
    assert code_of(ledger.submit(intl.write())) == ""


def test_another_operator_key_is_refused(intl: Any, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"ledger\.operator_key_missing"):
        EmbeddedLedger.open(
            tmp_path,
            parameters=intl.parameters,
            kinds=intl.machine.kinds,
            key_ring=intl.machine.key_ring,
            clock=ManualClock(intl.time_ms),
            operator_key=intl.keys["first-bank"],
            settings=EmbeddedSettings(),
        )


def written(network: Any, folder: Path, *, blocks: int = 6, **settings: Any) -> tuple[bytes, list[bytes]]:
    """Write a ledger of some blocks and close it; return its root and transactions."""
    ledger = open_ledger(network, folder, **settings)
    raws = [network.write() for _ in range(blocks)]
    for raw in raws:
        ledger.submit(raw).result(timeout=PATIENCE_S)
    root = ledger.checkpoint().root
    ledger.close()
    return root, raws


@pytest.mark.parametrize("max_segment_bytes", [1, 1 << 20])
def test_reopening_finds_everything_again(intl: Any, tmp_path: Path, max_segment_bytes: int) -> None:
    root, raws = written(intl, tmp_path / "ledger", max_segment_bytes=max_segment_bytes)
    ledger = open_ledger(intl, tmp_path / "ledger", max_segment_bytes=max_segment_bytes)
    assert (root, 6, 0) == (ledger.checkpoint().root, ledger.last_block()[0], ledger.recovery.replayed)
    assert raws == [raw for block in ledger.blocks(from_height=1) for raw in block.transactions]
    assert code_of(ledger.submit(intl.write())) == ""
    ledger.close()


def damage_head(index: Path) -> None:
    data = bytearray((index / "data.mdb").read_bytes())
    data[16:64] = bytes(48)
    data[4096 + 16 : 4096 + 64] = bytes(48)
    (index / "data.mdb").write_bytes(data)


def cut_to(share: float) -> Callable[[Path], None]:
    """Leave so much of the data file, as a copy that ended early does."""

    def cut(index: Path) -> None:
        path = index / "data.mdb"
        os.truncate(path, int(path.stat().st_size * share))

    return cut


def damage_an_epoch(index: Path) -> None:
    with lmdb.open(str(index), max_dbs=16) as env, env.begin(write=True) as writer:
        epochs = env.open_db(b"epochs", txn=writer)
        writer.put(bytes(8), b"\xa1", db=epochs)


def alter_state_map(index: Path) -> None:
    with lmdb.open(str(index), max_dbs=16) as env, env.begin(write=True) as writer:
        pages = env.open_db(b"state_map", txn=writer)
        top = writer.get(b"\x00", db=pages)
        writer.put(b"\x00", top[:1] + bytes(32) + top[33:], db=pages)


def drop_state_map(index: Path) -> None:
    with lmdb.open(str(index), max_dbs=16) as env, env.begin(write=True) as writer:
        writer.drop(env.open_db(b"state_map", txn=writer))


@pytest.mark.parametrize(
    "ruin",
    [
        shutil.rmtree,
        damage_head,
        alter_state_map,
        drop_state_map,
        lambda index: (index / "data.mdb").write_bytes(b"not a database"),
        lambda index: (index / "data.mdb").write_bytes(b""),
        cut_to(0.9),
        cut_to(0.3),
        cut_to(0.001),
        damage_an_epoch,
    ],
    ids=[
        "missing",
        "meta pages",
        "state map altered",
        "state map gone",
        "garbage",
        "empty",
        "cut",
        "cut more",
        "cut to a bit",
        "damaged record",
    ],
)
def test_an_index_that_cannot_be_used_is_made_again(intl: Any, tmp_path: Path, ruin: Callable[[Path], None]) -> None:
    """[STORE-1], [STORE-14]."""
    root, _ = written(intl, tmp_path / "ledger")
    ruin(tmp_path / "ledger" / "index.lmdb")
    ledger = open_ledger(intl, tmp_path / "ledger")
    assert (root, 6) == (ledger.checkpoint().root, ledger.recovery.replayed)
    assert code_of(ledger.submit(intl.write())) == ""
    ledger.close()


def test_many_small_blocks_are_indexed_a_bounded_number_at_a_time(
    intl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, _ = written(intl, tmp_path / "ledger", blocks=130)
    shutil.rmtree(tmp_path / "ledger" / "index.lmdb")
    together: list[int] = []
    commit = Index.commit

    def watched(index: Index, blocks: Any, **more: Any) -> None:
        together.append(len(blocks))
        commit(index, blocks, **more)

    monkeypatch.setattr(Index, "commit", watched)
    ledger = open_ledger(intl, tmp_path / "ledger")
    assert (root, 130, [64, 64, 2]) == (ledger.checkpoint().root, ledger.recovery.replayed, together)
    assert code_of(ledger.submit(intl.write())) == ""
    ledger.close()


def test_an_index_of_an_older_moment_is_brought_up(intl: Any, tmp_path: Path) -> None:
    written(intl, tmp_path / "ledger", blocks=3)
    shutil.copytree(tmp_path / "ledger" / "index.lmdb", tmp_path / "old")
    root, _ = written(intl, tmp_path / "ledger", blocks=4)
    shutil.rmtree(tmp_path / "ledger" / "index.lmdb")
    shutil.copytree(tmp_path / "old", tmp_path / "ledger" / "index.lmdb")
    ledger = open_ledger(intl, tmp_path / "ledger")
    assert (root, 4, 7) == (ledger.checkpoint().root, ledger.recovery.replayed, ledger.last_block()[0])
    ledger.close()


def segment_of(folder: Path) -> Path:
    return next((folder / "segments").glob("*.segment"))


@pytest.mark.parametrize("kept_note", ["latest", "cosigned"])
def test_lost_acknowledged_blocks_are_an_error_and_nothing_is_cut(intl: Any, tmp_path: Path, kept_note: str) -> None:
    """[STORE-13]."""
    written(intl, tmp_path / "ledger")
    notes = tmp_path / "ledger" / "checkpoints"
    (notes / "latest").rename(notes / kept_note)
    segment = segment_of(tmp_path / "ledger")
    whole = segment.read_bytes()
    for kept in (len(whole) - 1, len(whole) - 200, 200, 0):
        segment.write_bytes(whole[:kept])
        with pytest.raises(IntegrityError) as caught:
            open_ledger(intl, tmp_path / "ledger")
        assert caught.value.code == "ledger.segments_behind"
        assert str(segment) in caught.value.message
        assert kept == segment.stat().st_size


def test_an_altered_history_is_caught_when_opening(intl: Any, tmp_path: Path) -> None:
    """The operator's files are swapped for a whole, consistent, other history; its own checkpoint speaks against it."""
    written(intl, tmp_path / "ledger")
    written(intl, tmp_path / "other")
    shutil.copy(segment_of(tmp_path / "other"), segment_of(tmp_path / "ledger"))
    with pytest.raises(IntegrityError) as caught:
        open_ledger(intl, tmp_path / "ledger")
    assert caught.value.code == "ledger.segment_damaged"
    shutil.rmtree(tmp_path / "ledger" / "index.lmdb")
    with pytest.raises(IntegrityError) as caught:
        open_ledger(intl, tmp_path / "ledger")
    assert caught.value.code == "ledger.checkpoint_contradicted"


def test_a_foreign_checkpoint_file_is_refused(intl: Any, tmp_path: Path) -> None:
    written(intl, tmp_path / "ledger")
    forged = sign_checkpoint(
        origin=intl.parameters.origin, size=1, root=bytes(32), key=intl.keys["first-bank"], suite=intl.suite
    )
    (tmp_path / "ledger" / "checkpoints" / "latest").write_bytes(forged.note)
    with pytest.raises(IntegrityError) as caught:
        open_ledger(intl, tmp_path / "ledger")
    assert caught.value.code == "ledger.checkpoint_foreign"


def test_without_an_interval_a_checkpoint_is_stored_before_it_is_told(network: Any, tmp_path: Path) -> None:
    """[STORE-18]."""
    ledger = open_ledger(network, tmp_path / "ledger", checkpoint_interval_s=0.0)
    for _ in range(3):
        ledger.submit(network.write()).result(timeout=PATIENCE_S)
        told = ledger.checkpoint()
        note = (tmp_path / "ledger" / "checkpoints" / "latest").read_bytes()
        stored = verify_note(note, policy=network.parameters.policy, suite=network.suite)
        assert told == stored
        assert told is ledger.checkpoint()
    ledger.close()


def test_the_last_checkpoint_told_is_stored_when_the_ledger_is_closed(intl: Any, tmp_path: Path) -> None:
    """[STORE-18]."""
    ledger = open_ledger(intl, tmp_path / "ledger", checkpoint_interval_s=3600.0)
    for _ in range(3):
        ledger.submit(intl.write()).result(timeout=PATIENCE_S)
        told = ledger.checkpoint()
    stored = tmp_path / "ledger" / "checkpoints" / "latest"
    assert stored.read_bytes() != told.note
    ledger.close()
    assert stored.read_bytes() == told.note


def holds(path: Path, data: bytes) -> bool:
    """Wait for a file to have these bytes; False if it does not come to have them."""
    patience = threading.Event()
    return any(path.read_bytes() == data or patience.wait(PATIENCE_S / 1000) for _ in range(1000))


def test_a_checkpoint_that_waits_is_stored_though_nothing_else_happens(intl: Any, tmp_path: Path) -> None:
    """[STORE-18]."""
    disk = FailingDisk()
    ledger = open_ledger(intl, tmp_path / "ledger", checkpoint_interval_s=0.2, disk=disk)
    stored = tmp_path / "ledger" / "checkpoints" / "latest"
    for _ in range(3):
        ledger.submit(intl.write()).result(timeout=PATIENCE_S)
        told = ledger.checkpoint()
    assert holds(stored, told.note)
    ledger.submit(intl.write()).result(timeout=PATIENCE_S)
    first = ledger.checkpoint()
    disk.failing["sync_folder"] = errno.EIO
    ledger.submit(intl.write()).result(timeout=PATIENCE_S)
    with suppress(Unavailable):
        ledger.checkpoint()
    # The writer goes on, and tries the checkpoint again until the disk takes it.
    ledger.submit(intl.write()).result(timeout=PATIENCE_S)
    disk.failing.clear()
    second = ledger.checkpoint()
    assert first.size < second.size
    assert holds(stored, second.note)
    ledger.close()


def test_an_index_open_when_the_machine_stopped_is_made_again(intl: Any, tmp_path: Path) -> None:
    """[STORE-16]."""
    folder = tmp_path / "ledger"
    ledger = open_ledger(intl, folder)
    ledger.submit(intl.write()).result(timeout=PATIENCE_S)
    before = ledger.checkpoint()
    assert (folder / "index.lmdb" / "open").is_file()
    ledger.close()
    assert not (folder / "index.lmdb" / "open").exists()
    (folder / "index.lmdb" / "open").write_bytes(b"another start of the system")
    (folder / "index.lmdb" / "data.mdb").write_bytes(b"what the medium kept of it")
    again = open_ledger(intl, folder)
    assert again.checkpoint().root == before.root
    again.close()


def test_consistency_proofs_hold_between_all_sizes(ledger: EmbeddedLedger, intl: Any) -> None:
    """[STORE-15]."""
    for _ in range(6):
        ledger.submit(intl.write()).result(timeout=PATIENCE_S)
    leaves = [leaf for block in ledger.blocks(from_height=1) for leaf in (*block.transactions, block.entry)]
    hashes = [leaf_hash(leaf, hash_name="sha256") for leaf in leaves]
    roots = [root_from_leaf_hashes(hashes[:size], hash_name="sha256") for size in range(len(hashes) + 1)]
    assert hashes[3] == LeafHashes(hashes, hash_name="sha256").node(0, 3)
    for new_size in range(len(hashes) + 1):
        for old_size in range(new_size + 1):
            verify_consistency(
                old_size=old_size,
                old_root=roots[old_size],
                new_size=new_size,
                new_root=roots[new_size],
                path=ledger.consistency_proof(old_size=old_size, new_size=new_size),
                hash_name="sha256",
            )
    with pytest.raises(InvalidInput) as caught:
        ledger.consistency_proof(old_size=3, new_size=99)
    assert caught.value.code == "ledger.size_unknown"


def test_a_full_disk_refuses_clearly_and_the_ledger_goes_on(intl: Any, tmp_path: Path) -> None:
    disk = FailingDisk()
    ledger = open_ledger(intl, tmp_path / "ledger", disk=disk)
    raws = [intl.write() for _ in range(3)]
    assert code_of(ledger.submit(raws[0])) == ""
    disk.failing = {"append": errno.ENOSPC}
    refused = ledger.submit(raws[1]).exception(timeout=PATIENCE_S)
    assert isinstance(refused, Unavailable)
    assert (refused.code, refused.retry_after_s) == ("ledger.disk_full", 10.0)
    disk.failing = {}
    assert [code_of(ledger.submit(raw)) for raw in raws[1:]] == ["", ""]
    ledger.close()
    assert (replayed(intl, tmp_path / "ledger").transactions, replayed(intl, tmp_path / "ledger").problems) == (3, ())


@pytest.mark.parametrize("failing", [{"sync": errno.EIO}, {"append": errno.EIO, "truncate": errno.EIO}])
def test_after_a_failed_flush_nothing_is_accepted_until_reopened(
    intl: Any, tmp_path: Path, failing: dict[str, int]
) -> None:
    disk = FailingDisk()
    ledger = open_ledger(intl, tmp_path / "ledger", disk=disk)
    raws = [intl.write() for _ in range(3)]
    assert code_of(ledger.submit(raws[0])) == ""
    disk.failing = failing
    assert code_of(ledger.submit(raws[1])) == "ledger.store_failed"
    disk.failing = {}
    assert code_of(ledger.submit(raws[2])) == "ledger.store_failed"
    assert ledger.last_block()[0] == 1
    ledger.close()
    ledger = open_ledger(intl, tmp_path / "ledger", clock=ManualClock(intl.time_ms + 9000))
    # Nobody was told: the block may have been kept whole or not at all, and the sender resends the same bytes.
    assert (
        code_of(ledger.submit(raws[0])),
        code_of(ledger.submit(raws[1])),
    ) <= ("ledger.tx_replayed", "ledger.tx_replayed")
    assert code_of(ledger.submit(raws[2])) == ""
    assert raws == [raw for block in ledger.blocks(from_height=1) for raw in block.transactions]
    ledger.close()


def test_an_index_that_is_full_stops_the_engine_and_loses_nothing(intl: Any, note_body: Any, tmp_path: Path) -> None:
    ledger = open_ledger(intl, tmp_path / "ledger", map_bytes=1 << 18)
    codes: list[str] = []
    while not codes or codes[-1] == "":
        codes.append(code_of(ledger.submit(intl.write())))
        assert len(codes) < 5_000
    assert codes[-1] == "ledger.index_failed"
    ledger.close()
    ledger = open_ledger(intl, tmp_path / "ledger", clock=ManualClock(intl.time_ms + 9000))
    # The block was durable before the index failed, so it is there, though its sender was told to look again.
    assert len(codes) == sum(len(block.transactions) for block in ledger.blocks(from_height=1))
    ledger.close()


def test_a_flipped_byte_is_found_by_replay_and_by_receipt(intl: Any, tmp_path: Path) -> None:
    """[STORE-23]."""
    written(intl, tmp_path / "ledger", blocks=3)
    segment = segment_of(tmp_path / "ledger")
    whole = segment.read_bytes()
    for at in range(0, len(whole), 5):
        segment.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        problems = replayed(intl, tmp_path / "ledger").problems
        assert str(segment) in problems[0].place, at
    segment.write_bytes(whole)
    assert replayed(intl, tmp_path / "ledger").problems == ()
    ledger = open_ledger(intl, tmp_path / "ledger")
    at = whole.index(b"note.write")
    segment.write_bytes(whole[:at] + b"N" + whole[at + 1 :])
    with pytest.raises(IntegrityError) as caught:
        ledger.receipt(0)
    assert caught.value.code == "ledger.leaf_damaged"
    with pytest.raises(IntegrityError) as caught:
        list(ledger.blocks(from_height=1))
    assert caught.value.code == "ledger.segment_damaged"
    problems = replayed(intl, ledger.blocks(from_height=1)).problems
    assert [problem.place for problem in problems] == ["block 1"]
    ledger.close()


def test_a_provider_that_fails_stops_the_writer_and_refuses_nothing(
    intl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[LEDGER-SIGN-4]"""
    raw = intl.write()

    def fail(*_arguments: Any) -> None:
        raise RuntimeError("no")

    ledger = open_ledger(intl, tmp_path / "ledger")
    with monkeypatch.context() as patch:
        patch.setattr(intl_provider, "crypto_sign_open", fail)
        assert code_of(ledger.submit(raw)) == "crypto.provider_failed"
    assert code_of(ledger.submit(raw)) == "crypto.provider_failed"
    ledger.close()
    ledger = open_ledger(intl, tmp_path / "ledger")
    assert code_of(ledger.submit(raw)) == ""
    ledger.close()


class SetClock:
    """A clock that shows what a test sets."""

    def __init__(self, now_ms: int) -> None:
        self.now = now_ms

    def now_ms(self) -> int:
        return self.now


def refusal(ledger: EmbeddedLedger, raw: bytes) -> ShuiqiaoError:
    error = ledger.submit(raw).exception(timeout=PATIENCE_S)
    assert isinstance(error, ShuiqiaoError)
    return error


def test_a_writer_whose_clock_is_behind_orders_nothing_and_says_so(intl: Any, tmp_path: Path) -> None:
    """[LEDGER-TIME-1]"""
    clock = SetClock(intl.time_ms + 60_000)
    ledger = open_ledger(intl, tmp_path / "ledger", clock=clock)
    assert code_of(ledger.submit(intl.write())) == ""
    _, block_ms = ledger.last_block()
    clock.now = block_ms - 10_001
    error = refusal(ledger, intl.write())
    assert error.code == "ledger.clock_behind"
    assert iso_from_ms(block_ms) in error.message
    assert iso_from_ms(clock.now) in error.message
    clock.now += 1
    assert code_of(ledger.submit(intl.write())) == ""
    assert ledger.last_block() == (2, block_ms + 1)
    ledger.close()


def test_a_clock_that_is_years_ahead_once_closes_nothing(intl: Any, tmp_path: Path) -> None:
    """[LEDGER-TIME-1]"""
    right_ms = intl.time_ms + 30 * 86_400_000
    clock = SetClock(right_ms + 1)
    ledger = open_ledger(intl, tmp_path / "ledger", clock=clock)
    years_ahead = intl.write(valid_until_ms=right_ms + 10 * 365 * 86_400_000)
    assert refusal(ledger, years_ahead).code == "ledger.clock_unconfirmed"
    clock.now = right_ms + 10 * 365 * 86_400_000 - 1
    error = refusal(ledger, years_ahead)
    assert (error.code, "3679 days" in error.message) == ("ledger.clock_unconfirmed", True)
    clock.now = right_ms
    assert code_of(ledger.submit(intl.write(valid_until_ms=right_ms + 3_600_000))) == ""
    ledger.close()


def test_an_operator_says_once_that_the_clock_is_right(intl: Any, tmp_path: Path) -> None:
    """[LEDGER-TIME-1]"""
    clock = SetClock(intl.time_ms + 90 * 86_400_000)
    raws = [intl.write(valid_until_ms=clock.now + 3_600_000) for _ in range(2)]
    ledger = open_ledger(intl, tmp_path / "ledger", clock=clock)
    assert refusal(ledger, raws[0]).code == "ledger.clock_unconfirmed"
    ledger.close()
    ledger = open_ledger(intl, tmp_path / "ledger", clock=clock, is_clock_confirmed=True)
    assert code_of(ledger.submit(raws[0])) == ""
    ledger.close()
    ledger = open_ledger(intl, tmp_path / "ledger", clock=clock)
    assert code_of(ledger.submit(raws[1])) == ""
    ledger.close()


def test_a_replay_without_a_verdict_on_the_stored_checkpoint_finds_no_fault_in_it(
    intl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[LEDGER-SIGN-4]"""
    ledger = open_ledger(intl, tmp_path / "ledger")
    assert code_of(ledger.submit(intl.write())) == ""
    ledger.close()
    assert replayed(intl, tmp_path / "ledger").problems == ()
    verify, origin = intl_provider.crypto_sign_open, intl.machine.parameters.origin.encode()

    def fail(signed: bytes, public_key: bytes) -> Any:
        if origin in signed:
            raise RuntimeError("no")
        return verify(signed, public_key)

    monkeypatch.setattr(intl_provider, "crypto_sign_open", fail)
    with pytest.raises(Unavailable, match=r"crypto\.provider_failed"):
        replayed(intl, tmp_path / "ledger")
