"""A home is looked at without its writer, without its keys and without a right to write; nothing in it changes."""

from __future__ import annotations

import ctypes
import fcntl
import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path

import pytest

import consortium_world as worlds
from patience import PATIENCE_S
from shuiqiao.base.clock import MS_PER_DAY, SystemClock
from shuiqiao.base.errors import Denied, IntegrityError, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import system_entropy
from shuiqiao.crypto import intl
from shuiqiao.node.auditing import audit_home
from shuiqiao.node.backup.reading import verify_backup
from shuiqiao.node.changed_records import changed_records_at
from shuiqiao.node.doctor.diagnosis import diagnose_home
from shuiqiao.node.home.ledger_folder import LedgerFolder
from shuiqiao.node.home.settings import Home
from shuiqiao.node.home_reader import read_home
from shuiqiao.node.published.publication import publish_log
from shuiqiao.node.published.verification import ReceiptVerifier
from shuiqiao.sandbox.scenario.consortium import BUREAU, LEAD_BANK, REGULATOR, home_of
from shuiqiao.vault.model import ErasureReason


@pytest.fixture
def homes(closed, tmp_path):
    """A copy of the homes, and no key file in it."""
    shutil.copytree(closed / "homes", tmp_path / "homes", ignore=shutil.ignore_patterns("*.key.json", "*.passphrase"))
    return tmp_path


def audited(home: Home):
    with read_home(home) as reader:
        return audit_home(reader, clock=SystemClock(), entropy=system_entropy)


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
    assert report.anchors_verified == 0
    assert report.records_unread.partition(":")[0] == ("3 batches" if member == BUREAU else "")
    assert snapshot(home.folder) == before


def test_what_is_damaged_is_found_without_keys_too(homes):
    batch = next(home_of(homes, BUREAU).vault.glob("batches/*.leaves"))
    data = bytearray(batch.read_bytes())
    data[12 + int.from_bytes(data[8:12], "little")] ^= 1  # the first leaf of the tree
    batch.write_bytes(data)
    assert any("vault.leaf_mismatch" in problem for problem in audited(home_of(homes, BUREAU)).problems)


@pytest.mark.parametrize("member", [BUREAU, REGULATOR])
def test_a_receipt_and_the_state_come_from_a_stored_home(homes, member):
    home = home_of(homes, member)
    with read_home(home) as reader:
        assert reader.engine.state().get(f"members/member/{REGULATOR}")
        data = reader.engine.receipt(0)
    verified = ReceiptVerifier.from_genesis(genesis=home.genesis, home=None).verify(data)
    assert verified.kind == "anchor.commit"


def test_an_index_that_is_gone_is_made_again_elsewhere(homes):
    home = home_of(homes, REGULATOR)
    with read_home(home) as reader:
        known = reader.engine.last_block()
    shutil.rmtree(home.ledger / "index.lmdb")
    before = snapshot(home.folder)
    with read_home(home) as reader:
        assert reader.engine.last_block() == known
    assert audited(home).problems == ()
    assert snapshot(home.folder) == before


def test_a_ledger_that_is_shorter_than_its_checkpoint_is_not_taken_for_whole(homes):
    home = home_of(homes, REGULATOR)
    shutil.rmtree(home.ledger / "index.lmdb")
    for segment in (home.ledger / "segments").iterdir():
        segment.unlink()
    with pytest.raises(IntegrityError) as caught, read_home(home):
        pass
    assert caught.value.code == "ledger.segments_behind"


def cut_last_block(home):
    """Remove the last block at its first byte, and the index that knows of it."""
    with read_home(home) as reader:
        files, head = reader.engine._files, reader.engine._index.head
    path = files.path(head.segment)
    path.write_bytes(path.read_bytes()[: head.offset])
    shutil.rmtree(home.ledger / "index.lmdb")


def doctor_codes(home):
    """The codes of what doctor finds wrong with the ledger."""
    findings = diagnose_home(home)
    return {finding.code for finding in findings if not finding.ok and finding.code.startswith("ledger.")}


@pytest.mark.parametrize("kept", ["latest", "cosigned"])
def test_a_ledger_that_was_cut_is_found_by_any_checkpoint_that_is_left(homes, kept):
    home = home_of(homes, REGULATOR)
    cut_last_block(home)
    for name in {"latest", "cosigned"} - {kept}:
        (home.ledger / "checkpoints" / name).unlink()
    with pytest.raises(IntegrityError) as caught, read_home(home):
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
    with read_home(home_of(closed, BUREAU)) as reader:
        raw = next(iter(reader.engine.blocks(from_height=1))).transactions[0]
    with read_home(home_of(homes, REGULATOR)) as reader, pytest.raises(ShuiqiaoError) as caught:
        reader.engine.submit(raw).result(timeout=0)
    assert caught.value.code == "node.only_looked_at"


def without_override() -> None:
    """Let modes count for the superuser too: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH are given up (prctl 24)."""
    prctl = ctypes.CDLL(None).prctl
    for capability in (1, 2):
        prctl(24, capability, 0, 0, 0)


@contextmanager
def unwritable(home):
    """A home that cannot be written, and that nothing changes."""
    before = snapshot(home)
    for path in (home, *home.rglob("*")):
        path.chmod(0o500 if path.is_dir() else 0o400)
    try:
        yield
    finally:
        for path in (home, *home.rglob("*")):
            path.chmod(0o700 if path.is_dir() else 0o600)
    assert snapshot(home) == before


def run_bound(*command, home):
    """The command in a process of its own that may write only where modes let it."""
    done = subprocess.run(
        [sys.executable, "-c", "from shuiqiao.cli.door import run; run()", *map(str, command), "--home", str(home)],
        capture_output=True,
        preexec_fn=without_override,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_a_home_that_cannot_be_written_can_be_looked_at(homes):
    home = home_of(homes, BUREAU).folder
    commands = (
        ["audit"],
        ["log"],
        ["members", "list"],
        ["members", "proposals"],
        ["receipt", "0", "--out", str(homes / "r")],
    )
    with unwritable(home):
        for command in (*commands, ["doctor"], ["verify", "--genesis", str(home / "genesis.json"), "/dev/null"]):
            done = run_bound(*command, home=home)
            expected = 1 if command[0] in {"doctor", "verify"} else 0  # keys are missing; the receipt is an empty file
            assert (command, done.returncode) == (command, expected), done.stderr + done.stdout
            assert "BAD  ledger" not in done.stdout


def left_log(home):
    """Leave the database of a home as a stopped machine does: what was committed last is in its log."""
    worlds.copy_home(home, home.folder.with_name("stopped"))
    with closing(sqlite3.connect(home.database)) as writing:
        writing.execute("CREATE TABLE other (a)")
        writing.commit()
        for name in ("shuiqiao.db", "shuiqiao.db-wal", "shuiqiao.db-shm"):
            shutil.copy(home.folder / name, home.folder.with_name("stopped"))
    return Home(home.folder.with_name("stopped"))


@pytest.mark.parametrize("is_log_left", [False, True])
def test_records_and_work_of_a_home_that_cannot_be_written_are_looked_at(closed, tmp_path, is_log_left):
    worlds.copy_home(home_of(closed, BUREAU), tmp_path / "home")
    home = left_log(Home(tmp_path / "home")).folder if is_log_left else tmp_path / "home"
    batch = next((home / "vault" / "batches").glob("*.leaves")).stem
    with unwritable(home):
        for command in (
            ["record", "find", "--taxpayer", worlds.TAXPAYER],
            ["record", "prove", batch, 0, "--out", tmp_path / "made.record"],
            ["record", "changed"],
            ["pending", "list"],
            ["backup", "create", "--to", tmp_path / "made.backup"],
        ):
            done = run_bound(*command, home=home)
            assert (command, done.returncode) == (command, 0), done.stderr + done.stdout
    assert verify_backup(tmp_path / "made.backup").manifest.member == BUREAU


def test_a_vault_that_is_written_is_not_backed_up_by_who_cannot_say_that_he_reads(closed, tmp_path):
    worlds.copy_home(home_of(closed, BUREAU), tmp_path / "home")
    with unwritable(tmp_path / "home"), (tmp_path / "home" / "vault" / "lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused = run_bound("backup", "create", "--to", tmp_path / "made.backup", home=tmp_path / "home")
    assert (refused.returncode, "vault.busy" in refused.stderr) == (3, True)
    assert "as the account that owns the home" in refused.stderr
    assert not (tmp_path / "made.backup").exists()


def test_a_home_without_vault_and_database_has_no_records_and_says_that_its_database_is_missing(closed, tmp_path):
    worlds.copy_home(home_of(closed, BUREAU), tmp_path / "home", without=["vault", "*.db"])
    with unwritable(tmp_path / "home"):
        found = run_bound("record", "find", "--taxpayer", worlds.TAXPAYER, home=tmp_path / "home")
        assert (found.returncode, "0 found" in found.stdout) == (1, True)
        listed = run_bound("pending", "list", home=tmp_path / "home")
        assert (listed.returncode, "node.database_missing" in listed.stderr) == (3, True)


def test_a_regulator_opens_what_was_sealed_to_it_in_a_home_that_cannot_be_written(closed, tmp_path):
    worlds.copy_home(home_of(closed, REGULATOR), tmp_path / "home")
    with unwritable(tmp_path / "home"):
        done = run_bound("audit", "--json", home=tmp_path / "home")
    assert (done.returncode, json.loads(done.stdout)["openings_checked"]) == (0, 1), done.stdout


@pytest.fixture(scope="module")
def erased(tmp_path_factory):
    """The homes of a network after a bank received records that were erased since; what both sides said; the time."""
    folder = tmp_path_factory.mktemp("erased")
    world = worlds.ConsortiumWorld(folder, "intl")
    world.decided()
    for batch in {path.stem for path in world.bureau.home.vault.glob("batches/*.leaves")}:
        reason = ErasureReason.TAXPAYER_REQUEST
        world.bureau.vault.erase(bytes.fromhex(batch), [], reason=reason, anchor=world.bureau.outbox)
    world.bank.catch_up_with(world.bureau)
    said = {
        BUREAU: [*world.bureau.provider.changed_records()],
        world.bank.member: [*world.bank.recipient.changed_records()],
    }
    world.consortium.settle()
    world.close()
    return folder, said, world.clock.now_ms()


@pytest.mark.parametrize("member", [BUREAU, LEAD_BANK])
def test_what_changed_is_told_from_the_own_copy_alone(erased, member):
    # Holds [EXCHANGE-21] at a home that is looked at: the bank follows a writer that is not here.
    folder, said, now_ms = erased
    with unwritable(home_of(folder, member).folder), read_home(home_of(folder, member)) as reader:
        assert said[member] != []
        assert changed_records_at(reader, now_ms=now_ms) == said[member]


def test_a_bank_shows_nothing_that_it_may_keep_no_longer(erased):
    # Holds [EXCHANGE-15].
    folder, _, now_ms = erased
    with read_home(home_of(folder, LEAD_BANK)) as reader:
        assert changed_records_at(reader, now_ms=now_ms + 91 * MS_PER_DAY) == []
    for may_write in (True, False):
        with nullcontext() if may_write else unwritable(home_of(folder, LEAD_BANK).folder):
            for command in (["record", "changed"], ["pending", "list"]):
                done = run_bound(*command, home=home_of(folder, LEAD_BANK).folder)
                assert (command, done.returncode) == (command, 0), done.stderr + done.stdout


def test_a_regulator_received_no_records(erased):
    with read_home(home_of(erased[0], REGULATOR)) as reader, pytest.raises(Denied) as caught:
        changed_records_at(reader, now_ms=erased[2])
    assert caught.value.code == "node.role_wrong"


def test_doctor_looks_at_a_followers_home_without_its_writer(closed, tmp_path):
    worlds.copy_home(home_of(closed, REGULATOR), tmp_path / "home")
    (tmp_path / "home").chmod(0o700)
    found = [*diagnose_home(Home(tmp_path / "home"))]
    assert [finding for finding in found if not finding.ok] == []


def test_a_provider_that_fails_does_not_make_a_confirmed_checkpoint_unconfirmed(homes, monkeypatch):
    """[LEDGER-SIGN-4], for the receipt and for the published log."""

    def fail(*_arguments):
        raise RuntimeError("no")

    home = home_of(homes, BUREAU)
    place = LedgerFolder.of_home(home)
    with read_home(home) as reader, monkeypatch.context() as patch:
        patch.setattr(intl, "crypto_sign_open", fail)
        with pytest.raises(Unavailable, match=r"crypto\.provider_failed"):
            reader.engine.receipt(0)
    with monkeypatch.context() as patch:
        patch.setattr(intl, "crypto_sign_open", fail)
        with pytest.raises(Unavailable, match=r"crypto\.provider_failed"):
            publish_log(place, homes / "tiles")
    assert publish_log(place, homes / "tiles").before == 0
