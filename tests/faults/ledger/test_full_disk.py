"""A disk that is full from any act on: told with a code, nothing half, nothing lost, and once there is room it goes on.

[STORE-10] [STORE-26] [ABCI-6]
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Generic, TypeVar

import pytest

from boundary_world import MAX_ACTS, ApplicationRun, EmbeddedRun, FullDisk
from patience import PATIENCE_S
from shuiqiao.base.errors import Unavailable
from shuiqiao.ledger.engine.cometbft.abci import messages as abci
from shuiqiao.ledger.engine.cometbft.consensus.application import LedgerApplication
from shuiqiao.ledger.engine.embedded import EmbeddedLedger
from shuiqiao.ledger.replay.check import replay_ledger

FULL, STOPPED, UNOPENED = "ledger.disk_full", "ledger.store_failed", "ledger.open_failed"


Run = TypeVar("Run", EmbeddedRun, ApplicationRun)


class OnFullDisk(Generic[Run]):
    """Whoever runs on a disk that is full from some act on; where that stops it from opening, it makes room."""

    def __init__(self, run: Run, folder: Path, *, disk: FullDisk) -> None:
        self.run = run
        self.folder = folder
        self.disk = disk
        self.codes: list[str] = []

    def open(self) -> Any:
        try:
            return self.run.open(self.folder, disk=self.disk)
        except Unavailable as error:
            self.make_room(error)
            return self.run.open(self.folder, disk=self.disk)

    def make_room(self, error: Unavailable) -> None:
        self.codes.append(error.code)
        self.disk.free()


class EmbeddedWriter(OnFullDisk[EmbeddedRun]):
    """Hands in transactions one by one; where the disk is full it makes room and hands in again."""

    def write(self) -> list[bytes]:
        """Return what is stored in the end."""
        ledger = self.open()
        for raw in self.run.raws:
            error = ledger.submit(raw).exception(timeout=PATIENCE_S)
            if error is not None:
                assert isinstance(error, Unavailable)
                ledger = self.overcome(error, ledger)
                # Where the disk told nothing of a flush, the block may be there: the same bytes are accepted once.
                again = ledger.submit(raw).exception(timeout=PATIENCE_S)
                assert again is None or (error.code, again.code) == (STOPPED, "ledger.tx_replayed")
        found = [raw for block in ledger.blocks(from_height=1) for raw in block.transactions]
        ledger.close()
        return found

    def overcome(self, error: Unavailable, ledger: EmbeddedLedger) -> EmbeddedLedger:
        self.make_room(error)
        if error.code != STOPPED:
            return ledger
        ledger.close()
        return self.open()


@pytest.mark.parametrize("refuses_all", [False, True])
def test_an_embedded_ledger_on_a_disk_that_is_full_at_any_act(tmp_path: Path, refuses_all: bool) -> None:
    codes: set[str] = set()
    for number in range(1, MAX_ACTS):
        disk = FullDisk(number, refuses_all=refuses_all)
        writer = EmbeddedWriter(EmbeddedRun(), tmp_path / str(number), disk=disk)
        assert writer.run.raws == writer.write()
        assert len(writer.codes) <= 1
        codes.update(writer.codes)
        network = writer.run.network
        replayed = replay_ledger(
            writer.folder, parameters=network.parameters, kinds=network.kinds, key_ring=network.key_ring
        )
        assert () == replayed.problems
        if not disk.is_met:
            break
    assert number > 40
    assert ({FULL, UNOPENED, STOPPED} if refuses_all else {FULL, UNOPENED}) == codes


class ApplicationNode(OnFullDisk[ApplicationRun]):
    """Decides heights as CometBFT does: where the application cannot go on it comes back later, and asks anew."""

    def decide(self) -> list[str]:
        """Return the application hash after each height."""
        application = self.open()
        hashes: list[str] = []
        while (height := application.app_state.height + 1) <= len(self.run.heights):
            found = self.run.finalize(application, height)
            try:
                application.commit(abci.RequestCommit())
            except Unavailable as error:
                application = self.overcome(error, application)
                if application.app_state.height < height:
                    continue
            hashes.append(found.app_hash.hex())
            assert application.app_state.app_hash.hex() == hashes[-1]
        application.close()
        return hashes

    def overcome(self, error: Unavailable, application: LedgerApplication) -> LedgerApplication:
        self.make_room(error)
        if error.code == FULL:
            # The node is started again and finds the very same application.
            return application
        with pytest.raises(Unavailable):
            self.run.finalize(application, application.app_state.height + 1)
        application.close()
        return self.open()


@pytest.mark.parametrize("refuses_all", [False, True])
def test_an_application_on_a_disk_that_is_full_at_any_act(tmp_path: Path, refuses_all: bool) -> None:
    whole = ApplicationNode(ApplicationRun(), tmp_path / "whole", disk=FullDisk(MAX_ACTS)).decide()
    codes: set[str] = set()
    for number in range(1, MAX_ACTS):
        disk = FullDisk(number, refuses_all=refuses_all)
        node = ApplicationNode(ApplicationRun(), tmp_path / str(number), disk=disk)
        assert whole == node.decide()
        codes.update(node.codes)
        if not disk.is_met:
            break
    assert number > 30
    assert ({FULL, UNOPENED, STOPPED} if refuses_all else {FULL, UNOPENED}) == codes
