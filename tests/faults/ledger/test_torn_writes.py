"""Power cuts in the middle of a block: a ledger copied at the moment before it was acknowledged, cut at every byte."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from patience import PATIENCE_S
from shuiqiao.base.clock import SystemClock
from shuiqiao.base.errors import IntegrityError
from shuiqiao.ledger.engine.embedded import EmbeddedLedger
from shuiqiao.ledger.engine.port import EmbeddedSettings
from shuiqiao.sandbox.benchmarks.ledger_load import LoadNetwork, load_network, signed_transactions

GENESIS_MS = 1_775_000_000_000
MAP_BYTES = 1 << 26
STEP = 9
"""Every byte boundary of a frame is tried on the segment files alone (unit tests); here, on the whole engine, some."""


def open_ledger(network: LoadNetwork, folder: Path) -> EmbeddedLedger:
    return network.open_writer(
        folder,
        clock=SystemClock(),
        settings=EmbeddedSettings(is_clock_confirmed=True, map_bytes=MAP_BYTES),
    )


class Torn:
    """A ledger of three blocks, and the same with a fourth in its segment that neither index nor note know."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.network = load_network("intl", genesis_time_ms=GENESIS_MS)
        self.raws = list(signed_transactions(self.network, 4, seed=7, now_ms=SystemClock().now_ms()))
        (folder / "before").mkdir()
        ledger = open_ledger(self.network, folder / "before")
        for raw in self.raws[:3]:
            ledger.submit(raw).result(timeout=PATIENCE_S)
        self.root = ledger.checkpoint().root
        ledger.close()
        shutil.copytree(folder / "before", folder / "after")
        ledger = open_ledger(self.network, folder / "after")
        ledger.submit(self.raws[3]).result(timeout=PATIENCE_S)
        self.root_after = ledger.checkpoint().root
        ledger.close()
        self.whole = self.segment(folder / "after").read_bytes()
        self.start = self.segment(folder / "before").stat().st_size

    @staticmethod
    def segment(folder: Path) -> Path:
        return folder / "segments" / f"{1:020d}.segment"

    def open_with(self, segment: bytes) -> EmbeddedLedger:
        shutil.rmtree(self.folder / "copy", ignore_errors=True)
        shutil.copytree(self.folder / "before", self.folder / "copy")
        self.segment(self.folder / "copy").write_bytes(segment)
        return open_ledger(self.network, self.folder / "copy")


@pytest.fixture(scope="module")
def torn(tmp_path_factory: pytest.TempPathFactory) -> Torn:
    return Torn(tmp_path_factory.mktemp("torn"))


def test_a_block_cut_anywhere_is_not_there_at_all(torn: Torn) -> None:
    for kept in [*range(torn.start, len(torn.whole), STEP), len(torn.whole) - 1]:
        ledger = torn.open_with(torn.whole[:kept])
        assert (torn.root, 3) == (ledger.checkpoint().root, ledger.last_block()[0])
        # The sender was never answered and sends the same bytes again.
        assert ledger.submit(torn.raws[3]).result(timeout=PATIENCE_S).height == 4
        ledger.close()


def test_a_block_with_a_lost_page_is_not_there_at_all(torn: Torn) -> None:
    length = len(torn.whole) - torn.start
    for hole in range(0, length, 4 * STEP):
        end = min(hole + 64, length)
        lost = torn.whole[: torn.start + hole] + bytes(end - hole) + torn.whole[torn.start + end :]
        ledger = torn.open_with(lost)
        assert (torn.root, 3) == (ledger.checkpoint().root, ledger.last_block()[0])
        ledger.close()


def test_a_whole_block_that_nobody_was_told_of_is_kept(torn: Torn) -> None:
    ledger = torn.open_with(torn.whole)
    assert (torn.root_after, 4, 1) == (ledger.checkpoint().root, ledger.last_block()[0], ledger.recovery.replayed)
    ledger.close()


def test_a_flip_before_the_tail_is_named_and_never_cut(torn: Torn) -> None:
    shutil.rmtree(torn.folder / "before" / "index.lmdb.away", ignore_errors=True)
    for at in range(0, torn.start, 4 * STEP):
        flipped = torn.whole[:at] + bytes([torn.whole[at] ^ 0x20]) + torn.whole[at + 1 :]
        shutil.rmtree(torn.folder / "flipped", ignore_errors=True)
        shutil.copytree(torn.folder / "before", torn.folder / "flipped")
        shutil.rmtree(torn.folder / "flipped" / "index.lmdb")
        segment = torn.segment(torn.folder / "flipped")
        segment.write_bytes(flipped)
        with pytest.raises(IntegrityError) as caught:
            open_ledger(torn.network, torn.folder / "flipped")
        assert caught.value.code == "ledger.segment_damaged"
        assert flipped == segment.read_bytes()
