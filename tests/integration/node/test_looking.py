"""A home is looked at without its writer, without its keys and without a right to write; nothing in it changes."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import consortium_world as worlds
from patience import PATIENCE_S
from shuiqiao.base.clock import SystemClock
from shuiqiao.base.errors import IntegrityError, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import system_entropy
from shuiqiao.crypto import intl
from shuiqiao.node.auditing import audit_home
from shuiqiao.node.diagnosis import DoctorOrder, diagnose_home
from shuiqiao.node.ledger_place import LedgerPlace
from shuiqiao.node.looking import look_at
from shuiqiao.node.settings import Home
from shuiqiao.node.tile_publication import publish_log
from shuiqiao.node.verification import ReceiptVerifier
from shuiqiao.sandbox.scenario.cast import BUREAU, REGULATOR, home_of


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    """The homes of a network after a decision, all institutions closed."""
    folder = tmp_path_factory.mktemp("closed")
    world = worlds.ConsortiumWorld(folder, "intl")
    world.decided()
    world.consortium.settle()
    world.bureau.engine.receipt(0)
    world.close()
    return folder


@pytest.fixture
def homes(closed, tmp_path):
    """A copy of the homes, and no key file in it."""
    shutil.copytree(closed / "homes", tmp_path / "homes", ignore=shutil.ignore_patterns("*.key.json", "passphrase"))
    return tmp_path


def audited(home: Home):
    with look_at(home) as look:
        return audit_home(look, clock=SystemClock(), entropy=system_entropy)


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file but LMDB's table of readers, which any reader touches."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "lock.mdb")
    return {str(path): path.read_bytes() for path in files}


@pytest.mark.parametrize("member", [BUREAU, REGULATOR])
def test_a_home_is_audited_without_keys_and_without_its_writer(homes, member):
    home = home_of(homes, member)
    before = snapshot(home.folder)
    report = audited(home)
    assert report.problems == ()
    assert (report.root_matches, report.record_rules.holds, report.replayed > 5) == (True, True, True)
    assert report.anchors_verified == (3 if member == BUREAU else 0)
    assert snapshot(home.folder) == before


def test_what_is_damaged_is_found_without_keys_too(homes):
    batch = next(home_of(homes, BUREAU).vault.glob("batches/*.leaves"))
    data = bytearray(batch.read_bytes())
    data[-1] ^= 1
    batch.write_bytes(data)
    assert any("vault." in problem for problem in audited(home_of(homes, BUREAU)).problems)


@pytest.mark.parametrize("member", [BUREAU, REGULATOR])
def test_a_receipt_and_the_state_come_from_a_stored_home(homes, member):
    home = home_of(homes, member)
    with look_at(home) as look:
        assert look.engine.state().get(f"members/member/{REGULATOR}")
        data = look.engine.receipt(0)
    verified = ReceiptVerifier.from_genesis(genesis=home.genesis, home=None).verify(data)
    assert verified.kind == "anchor.commit"


def test_an_index_that_is_gone_is_made_again_elsewhere(homes):
    home = home_of(homes, REGULATOR)
    with look_at(home) as look:
        known = look.engine.last_block()
    shutil.rmtree(home.ledger / "index.lmdb")
    before = snapshot(home.folder)
    with look_at(home) as look:
        assert look.engine.last_block() == known
    assert audited(home).problems == ()
    assert snapshot(home.folder) == before


def test_a_ledger_that_is_shorter_than_its_checkpoint_is_not_taken_for_whole(homes):
    home = home_of(homes, REGULATOR)
    shutil.rmtree(home.ledger / "index.lmdb")
    for segment in (home.ledger / "segments").iterdir():
        segment.unlink()
    with pytest.raises(IntegrityError) as caught, look_at(home):
        pass
    assert caught.value.code == "ledger.segments_behind"


def cut_last_block(home):
    """Remove the last block at its first byte, and the index that knows of it."""
    with look_at(home) as look:
        files, head = look.engine._files, look.engine._index.head
    path = files.path(head.segment)
    path.write_bytes(path.read_bytes()[: head.offset])
    shutil.rmtree(home.ledger / "index.lmdb")


def doctor_codes(home):
    """The codes of what doctor finds wrong with the ledger."""
    findings = diagnose_home(home, order=DoctorOrder())
    return {finding.code for finding in findings if not finding.ok and finding.code.startswith("ledger.")}


@pytest.mark.parametrize("kept", ["latest", "cosigned"])
def test_a_ledger_that_was_cut_is_found_by_any_checkpoint_that_is_left(homes, kept):
    home = home_of(homes, REGULATOR)
    cut_last_block(home)
    for name in {"latest", "cosigned"} - {kept}:
        (home.ledger / "checkpoints" / name).unlink()
    with pytest.raises(IntegrityError) as caught, look_at(home):
        pass
    assert caught.value.code == "ledger.segments_behind"
    assert "ledger.segments_behind" in doctor_codes(home)


def test_blocks_without_any_signed_checkpoint_are_not_taken_for_whole(homes):
    home = home_of(homes, REGULATOR)
    shutil.rmtree(home.ledger / "checkpoints")
    with pytest.raises(Unavailable) as caught:
        audited(home)
    assert caught.value.code == "ledger.checkpoint_missing"
    assert doctor_codes(home) == {"ledger.checkpoint_missing"}


def test_nothing_can_be_handed_in_where_one_only_looks(homes, closed):
    with look_at(home_of(closed, BUREAU)) as look:
        raw = next(iter(look.engine.blocks(from_height=1))).transactions[0]
    with look_at(home_of(homes, REGULATOR)) as look, pytest.raises(ShuiqiaoError) as caught:
        look.engine.submit(raw).result(timeout=0)
    assert caught.value.code == "node.only_looked_at"


def without_override() -> None:
    """Let modes count for the superuser too: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH are given up (prctl 24)."""
    prctl = ctypes.CDLL(None).prctl
    for capability in (1, 2):
        prctl(24, capability, 0, 0, 0)


def test_a_home_that_cannot_be_written_can_be_looked_at(homes):
    home = home_of(homes, BUREAU).folder
    for path in (home, *home.rglob("*")):
        path.chmod(0o500 if path.is_dir() else 0o400)
    before = snapshot(home)
    commands = (
        ["audit"],
        ["log"],
        ["members", "list"],
        ["members", "proposals"],
        ["receipt", "0", "--out", str(homes / "r")],
    )
    try:
        for command in (*commands, ["doctor"], ["verify", "--genesis", str(home / "genesis.json"), "/dev/null"]):
            done = subprocess.run(
                [sys.executable, "-c", "from shuiqiao.cli.main import main; main()", *command, "--home", str(home)],
                capture_output=True,
                preexec_fn=without_override,
                text=True,
                timeout=PATIENCE_S,
                check=False,
            )
            assert "Traceback" not in done.stderr, done.stderr
            expected = 1 if command[0] in {"doctor", "verify"} else 0  # keys are missing; the receipt is an empty file
            assert (command, done.returncode) == (command, expected), done.stderr + done.stdout
            assert "BAD  ledger" not in done.stdout
    finally:
        for path in (home, *home.rglob("*")):
            path.chmod(0o700 if path.is_dir() else 0o600)
    assert snapshot(home) == before


def test_doctor_looks_at_a_followers_home_without_its_writer(closed, tmp_path):
    shutil.copytree(closed / "homes" / REGULATOR, tmp_path / "home")
    (tmp_path / "home").chmod(0o700)
    found = [*diagnose_home(Home(tmp_path / "home"), order=DoctorOrder())]
    assert [finding for finding in found if not finding.ok] == []


def test_a_provider_that_fails_does_not_make_a_confirmed_checkpoint_unconfirmed(homes, monkeypatch):
    """[LEDGER-SIGN-4], for the receipt and for the published log."""

    def fail(*_arguments):
        raise RuntimeError("no")

    home = home_of(homes, BUREAU)
    place = LedgerPlace.of_home(home)
    with look_at(home) as look, monkeypatch.context() as patch:
        patch.setattr(intl, "crypto_sign_open", fail)
        with pytest.raises(Unavailable, match=r"crypto\.provider_failed"):
            look.engine.receipt(0)
    with monkeypatch.context() as patch:
        patch.setattr(intl, "crypto_sign_open", fail)
        with pytest.raises(Unavailable, match=r"crypto\.provider_failed"):
            publish_log(place, homes / "tiles")
    assert publish_log(place, homes / "tiles").before == 0
