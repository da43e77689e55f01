"""A database that is encrypted: in a backup as well, readable again with the passphrase, and with nothing else."""

from __future__ import annotations

import pytest

import consortium_world as worlds
from backup_world import pack, unpacked
from shuiqiao.base.clock import ManualClock
from shuiqiao.base.errors import Denied, IntegrityError, Unavailable
from shuiqiao.base.ids import system_entropy
from shuiqiao.consent.model import IdentityCheck
from shuiqiao.consent.store import ConsentStore, Enrolment
from shuiqiao.crypto.suites import get_suite
from shuiqiao.node.backup.creating import create_backup
from shuiqiao.node.backup.restore import restore_backup
from shuiqiao.node.home.keys import (
    DATA_FILE,
    change_passphrase,
    find_passphrase,
    kept_passphrase_file,
    load_keys,
    read_passphrase,
)
from shuiqiao.node.home.settings import Home
from shuiqiao.node.institution import Institution
from shuiqiao.node.services import Dependencies

CLOCK = ManualClock(worlds.NOW_MS)
ENROLMENT = Enrolment(
    taxpayer=worlds.TAXPAYER,
    enrolment_key=b"k" * 32,
    identity_check=IdentityCheck(reference="check-of-Zhang-San-17", checked_ms=worlds.NOW_MS),
)
NEW = b"another passphrase"


@pytest.fixture
def home(tmp_path):
    """A bureau's home that knows a taxpayer."""
    made = worlds.solo_home(tmp_path / "home")
    with worlds.open_solo(made, CLOCK) as bureau:
        bureau.outbox.submit("anchor.commit", worlds.anchor_body(bytes(16)))
        ConsentStore(bureau.database, cipher=bureau.cipher).save_enrolment(ENROLMENT)
    return made


def enrolment_in(home, **opening):
    with Institution.open(home, dependencies=Dependencies(clock=CLOCK, entropy=system_entropy), **opening) as bureau:
        return ConsentStore(bureau.database, cipher=bureau.cipher).enrolment(worlds.TAXPAYER)


def backed_up(home, target, **order):
    create_backup(home, target, passphrase=find_passphrase(home), clock=CLOCK, **order)
    return target


def test_it_is_restored_and_read_with_the_passphrase_alone(home, tmp_path):
    archive = backed_up(home, tmp_path / "b.tar")
    data = archive.read_bytes()
    assert DATA_FILE.encode() in data
    assert worlds.TAXPAYER.encode() not in data
    assert b"check-of-Zhang-San-17" not in data
    new = Home(tmp_path / "new")
    restore_backup(archive, new)
    with pytest.raises(Unavailable, match=r"^node\.passphrase_missing"):
        enrolment_in(new)
    with pytest.raises(Denied, match=r"^crypto\.passphrase_wrong"):
        enrolment_in(new, passphrase=b"wrong")
    assert enrolment_in(new, passphrase=find_passphrase(home)) == ENROLMENT
    whole = Home(tmp_path / "whole")
    restore_backup(backed_up(home, tmp_path / "with.tar", with_passphrase=True), whole)
    assert enrolment_in(whole) == ENROLMENT


def test_a_backup_that_lacks_the_data_key_is_refused(home, tmp_path):
    files, manifest = unpacked(backed_up(home, tmp_path / "b.tar"))
    signer = load_keys(home, passphrase=find_passphrase(home)).signing
    rest = [(name, data) for name, data in files if name != f"keys/{DATA_FILE}"]
    assert len(rest) == len(files) - 1
    pack(tmp_path / "less.tar", rest, manifest=manifest, signer=signer, suite=get_suite(manifest.suite))
    with pytest.raises(IntegrityError, match=rf"^node\.restore_contradicted.*{DATA_FILE}"):
        restore_backup(tmp_path / "less.tar", Home(tmp_path / "new"))


def test_another_passphrase_wraps_every_key_anew_and_goes_on_after_a_crash(home):
    old = find_passphrase(home)
    seeds = load_keys(home, passphrase=old).signing.public_key
    with pytest.raises(Denied, match=r"^crypto\.passphrase_wrong"):
        change_passphrase(home, before=b"wrong", after=NEW, now_ms=0, entropy=system_entropy)
    assert enrolment_in(home) == ENROLMENT
    left = (home.keys / DATA_FILE).read_bytes()
    changed = change_passphrase(home, before=old, after=NEW, now_ms=0, entropy=system_entropy)
    assert (changed.keys_wrapped, len(changed.former)) == (3, 1)
    assert read_passphrase(changed.former[0]) == old
    # As a crash leaves it before the last file.
    (home.keys / DATA_FILE).write_bytes(left)
    changed = change_passphrase(home, before=old, after=NEW, now_ms=0, entropy=system_entropy)
    assert (changed.keys_wrapped, changed.former) == (1, ())
    changed = change_passphrase(home, before=old, after=NEW, now_ms=0, entropy=system_entropy)
    assert (changed.keys_wrapped, changed.former) == (0, ())
    with pytest.raises(Denied, match=r"^crypto\.passphrase_wrong"):
        enrolment_in(home, passphrase=old)
    assert kept_passphrase_file(home) is None
    assert enrolment_in(home, passphrase=NEW) == ENROLMENT
    assert load_keys(home, passphrase=NEW).signing.public_key == seeds
