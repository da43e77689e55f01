"""Batch files of a bureau's home: encrypted, those of a release before by a duty, and in backups with what opens them."""

from __future__ import annotations

import pytest

import consortium_world as worlds
from backup_world import pack, unpacked
from shuiqiao.base.clock import ManualClock
from shuiqiao.base.errors import IntegrityError, Unavailable
from shuiqiao.base.ids import Uscc, system_entropy
from shuiqiao.client.resources.records import RecordSearch
from shuiqiao.crypto.suites import get_suite
from shuiqiao.node.auditing import audit_home, audit_institution
from shuiqiao.node.backup.creating import create_backup
from shuiqiao.node.backup.restore import restore_backup
from shuiqiao.node.home.keys import DATA_FILE, change_passphrase, find_passphrase, load_keys
from shuiqiao.node.home.settings import Home
from shuiqiao.node.home_reader import read_home
from shuiqiao.node.institution import Institution
from shuiqiao.node.jobs.duties import job_kinds
from shuiqiao.node.obligations.checks import CHECKS, Facts
from shuiqiao.node.operations.records import search_records_at
from shuiqiao.node.services import Dependencies
from vault_world import EVER, leave_in_clear

CLOCK = ManualClock(worlds.NOW_MS)
TAXPAYER = worlds.TAXPAYER.encode()


@pytest.fixture(params=["intl", "gm"])
def home(request, tmp_path):
    """A bureau's home with records."""
    made = worlds.solo_home(tmp_path / "home", request.param)
    files = worlds.record_files(tmp_path / "files")
    with worlds.open_solo(made, CLOCK) as bureau:
        for type_id, path in files.items():
            bureau.vault.ingest([path], anchor=bureau.outbox, record_type=bureau.catalogue.get(type_id))
    return made


def batch_bytes(home):
    return b"".join(path.read_bytes() for path in sorted((home.vault / "batches").iterdir()))


def invoices_of(bureau):
    disclosed = bureau.vault.disclose(
        uscc=Uscc(worlds.TAXPAYER), groups={"invoice_issued": ["core", "amounts"]}, **EVER
    )
    return disclosed.types[0].rows.to_pylist()


def at_rest(bureau):
    facts = Facts(copy=bureau, report=audit_institution(bureau), database=lambda: None, cipher=lambda _: bureau.cipher)
    return CHECKS["at_rest"](facts).evidence


def test_a_home_of_the_release_before_is_encrypted_by_its_duty_and_says_the_same(home):
    # Holds [VAULT-STORE-7].
    assert TAXPAYER not in batch_bytes(home)
    with worlds.open_solo(home, CLOCK) as bureau:
        expected = invoices_of(bureau)
        assert leave_in_clear(bureau.vault) == 3
    assert TAXPAYER in batch_bytes(home)
    with worlds.open_solo(home, CLOCK) as bureau:
        assert (worlds.INVOICES, expected) == (len(expected), invoices_of(bureau))
        assert "6 batch files in clear" in at_rest(bureau)
        duty = job_kinds(bureau)["vault.encrypt"]
        assert [{"encrypted": 3}, {"encrypted": 0}] == [duty.act(None), duty.act(None)]
        assert (expected, ()) == (invoices_of(bureau), audit_institution(bureau).problems)
        assert "0 batch files in clear" in at_rest(bureau)
    assert TAXPAYER not in batch_bytes(home)


def test_another_passphrase_opens_the_same_batches(home):
    with worlds.open_solo(home, CLOCK) as bureau:
        expected = invoices_of(bureau)
    change_passphrase(home, before=find_passphrase(home), after=b"another one", now_ms=0, entropy=system_entropy)
    around = Dependencies(clock=CLOCK, entropy=system_entropy)
    with Institution.open(home, passphrase=b"another one", dependencies=around) as bureau:
        assert expected == invoices_of(bureau)


def test_a_backup_is_restored_with_the_passphrase_or_without_it_and_says_what_it_recomputed(home, tmp_path):
    for name, with_passphrase in (("with", True), ("without", False)):
        archive = tmp_path / f"{name}.tar"
        create_backup(home, archive, passphrase=find_passphrase(home), clock=CLOCK, with_passphrase=with_passphrase)
        restored = restore_backup(archive, Home(tmp_path / name))
        if with_passphrase:
            assert (3, "") == (restored.batches, restored.unread)
        else:
            assert (0, 0) == (restored.batches, restored.records)
            assert restored.unread.startswith("3 batches: the passphrase")
    with worlds.open_solo(Home(tmp_path / "with"), CLOCK) as bureau:
        assert worlds.INVOICES == len(invoices_of(bureau))


def test_a_backup_of_encrypted_batches_without_their_key_is_refused(home, tmp_path):
    create_backup(home, tmp_path / "b.tar", passphrase=find_passphrase(home), clock=CLOCK, without_database=True)
    files, manifest = unpacked(tmp_path / "b.tar")
    signer = load_keys(home, passphrase=find_passphrase(home)).signing
    rest = [(name, data) for name, data in files if name != f"keys/{DATA_FILE}"]
    pack(tmp_path / "less.tar", rest, manifest=manifest, signer=signer, suite=get_suite(manifest.suite))
    with pytest.raises(IntegrityError, match=rf"^node\.restore_contradicted.*vault.*{DATA_FILE}"):
        restore_backup(tmp_path / "less.tar", Home(tmp_path / "new"))


def test_an_audit_without_the_passphrase_says_which_records_it_did_not_recompute(home):
    with read_home(home) as reader:
        whole = audit_home(reader, clock=CLOCK, entropy=system_entropy)
    assert (3, "", ()) == (whole.anchors_verified, whole.records_unread, whole.problems)
    passphrase = home.passphrase.read_bytes()
    home.passphrase.unlink()
    with read_home(home) as reader:
        found = audit_home(reader, clock=CLOCK, entropy=system_entropy)
        assert (0, 0, ()) == (found.anchors_verified, found.records_anchored, found.problems)
        assert found.records_unread.startswith("3 batches: ")
        with pytest.raises(Unavailable, match=r"^node\.passphrase_missing"):
            search_records_at(reader, RecordSearch(taxpayer=worlds.TAXPAYER))
    home.passphrase.write_bytes(passphrase)
