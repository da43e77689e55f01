"""Key files: they open with their passphrase and with nothing else, and a hostile one costs nothing."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path

import pytest

from shuiqiao.base.encoding import encode_json
from shuiqiao.base.errors import Conflict, Denied, IntegrityError, InvalidInput, Unavailable
from shuiqiao.base.ids import system_entropy
from shuiqiao.crypto import keyfile
from shuiqiao.crypto.keyfile import STRONG_COST, KeyFile, PassphraseCost, load_key_file, save_key_file
from shuiqiao.crypto.model import SuiteName

SEED = bytes(range(32))
QUICK = PassphraseCost(memory_kib=16, passes=1, lanes=1)
PASSPHRASE = "正确的口令".encode()


@pytest.fixture(params=list(SuiteName))
def name(request):
    return request.param


def save(path, *, suite=SuiteName.INTL, passphrase=PASSPHRASE, **changes):
    arguments = {"seed": SEED, "purpose": "signing", "entropy": system_entropy, "cost": QUICK} | changes
    save_key_file(path, suite=suite, passphrase=passphrase, **arguments)
    return path


def rewrite(path, **changes):
    """Change fields as an attacker would: with a checksum that fits again."""
    fields = json.loads(path.read_bytes()) | changes
    del fields["checksum"]
    hash_name = {"intl": "sha256", "gm": "sm3"}[fields["suite"]]
    fields["checksum"] = hashlib.new(hash_name, encode_json(fields)).hexdigest()
    path.write_bytes(encode_json(fields) + b"\n")


def test_a_saved_key_opens(tmp_path, name):
    path = save(tmp_path / "signing.key", suite=name)
    assert KeyFile(seed=SEED, suite=name, purpose="signing") == load_key_file(path, passphrase=PASSPHRASE)


def test_the_file_is_private_canonical_and_alone(tmp_path, name):
    before = os.umask(0)
    try:
        path = save(tmp_path / "signing.key", suite=name)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [path] == list(tmp_path.iterdir())
    assert path.read_bytes() == encode_json(json.loads(path.read_bytes())) + b"\n"
    assert {"intl": "aes-256-gcm", "gm": "sm4-gcm"}[name] == json.loads(path.read_bytes())["cipher"]


def test_the_seed_shows_neither_in_the_file_nor_in_print(tmp_path, name):
    path = save(tmp_path / "signing.key", suite=name)
    opened = load_key_file(path, passphrase=PASSPHRASE)
    for text in (path.read_text(), repr(opened), str(opened)):
        assert SEED.hex() not in text
        assert repr(SEED)[2:-1] not in text


def test_two_files_of_one_seed_differ(tmp_path, name):
    one, two = (json.loads(save(tmp_path / file, suite=name).read_bytes()) for file in ("a", "b"))
    assert one["ciphertext"] != two["ciphertext"]
    assert one["argon2id"]["salt"] != two["argon2id"]["salt"]


def test_a_wrong_passphrase_is_denied(tmp_path, name):
    path = save(tmp_path / "signing.key", suite=name)
    for wrong in (PASSPHRASE + b" ", PASSPHRASE[:-1], b"x"):
        with pytest.raises(Denied, match=r"crypto.passphrase_wrong"):
            load_key_file(path, passphrase=wrong)


def test_any_flipped_bit_is_damage_and_not_a_wrong_passphrase(tmp_path, name):
    path = save(tmp_path / "signing.key", suite=name)
    data = path.read_bytes()
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1 << (position % 7)
        path.write_bytes(changed)
        with pytest.raises(IntegrityError, match=r"crypto.key_file_damaged"):
            load_key_file(path, passphrase=PASSPHRASE)


def test_any_cut_is_damage(tmp_path):
    path = save(tmp_path / "signing.key")
    data = path.read_bytes()
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        with pytest.raises(IntegrityError, match=r"crypto.key_file_damaged"):
            load_key_file(path, passphrase=PASSPHRASE)


@pytest.mark.parametrize(
    "data", [b"[]\n", b"null\n", b"\xff", b'{"format":"shuiqiao-key"}\n', b"[" * 4000, b" " * 5000]
)
def test_what_is_no_key_file_is_damage(tmp_path, data):
    path = tmp_path / "signing.key"
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match=r"crypto.key_file_damaged"):
        load_key_file(path, passphrase=PASSPHRASE)


def test_no_more_is_read_than_tells_that_a_file_is_too_large(tmp_path):
    path = tmp_path / "signing.key"
    path.write_bytes(b" " * 5000)
    with pytest.raises(IntegrityError, match=r"4097 bytes where at most 4096 are allowed"):
        load_key_file(path, passphrase=PASSPHRASE)


def test_authenticated_fields_cannot_be_rewritten(tmp_path, name):
    for changes in ({"purpose": "sealing"}, {"nonce": "00" * 12}):
        path = save(tmp_path / f"{name}-{next(iter(changes))}", suite=name)
        rewrite(path, **changes)
        with pytest.raises(Denied, match=r"crypto.passphrase_wrong"):
            load_key_file(path, passphrase=PASSPHRASE)


@pytest.mark.parametrize(
    "changes",
    [
        {"cipher": "none"},
        {"cipher": "sm4-gcm"},
        {"version": 0},
        {"version": "1"},
        {"purpose": "Sign\n"},
        {"nonce": "00" * 11},
        {"nonce": "zz" * 12},
        {"ciphertext": "00" * 49},
        {"extra": 1},
        {"argon2id": {"lanes": 1, "memory_kib": 16, "passes": 1}},
        {"argon2id": {"lanes": 1, "memory_kib": "16", "passes": 1, "salt": "00" * 16}},
        {"argon2id": {"lanes": 1, "memory_kib": 16, "passes": 1, "salt": "00"}},
    ],
)
def test_rewritten_files_of_another_shape_are_damage(tmp_path, changes):
    path = save(tmp_path / "signing.key")
    rewrite(path, **changes)
    with pytest.raises(IntegrityError, match=r"crypto.key_file_damaged"):
        load_key_file(path, passphrase=PASSPHRASE)


@pytest.mark.parametrize(
    ("memory_kib", "passes", "lanes"),
    [(2**20 + 1, 1, 1), (2**31, 1, 1), (64, 17, 1), (64, 0, 1), (1024, 1, 17), (64, 1, 0), (15, 1, 2), (-1, 1, 1)],
)
def test_a_hostile_cost_is_refused_before_it_is_paid(tmp_path, memory_kib, passes, lanes):
    path = save(tmp_path / "signing.key")
    rewrite(path, argon2id={"lanes": lanes, "memory_kib": memory_kib, "passes": passes, "salt": "00" * 16})
    with pytest.raises(InvalidInput, match=r"crypto.key_file_cost"):
        load_key_file(path, passphrase=PASSPHRASE)
    with pytest.raises(InvalidInput, match=r"crypto.key_file_cost"):
        save(tmp_path / "new", cost=PassphraseCost(memory_kib=memory_kib, passes=passes, lanes=lanes))


def test_a_newer_version_is_named(tmp_path):
    path = save(tmp_path / "signing.key")
    rewrite(path, version=2)
    with pytest.raises(InvalidInput, match=r"crypto.key_file_version: signing.key has version 2"):
        load_key_file(path, passphrase=PASSPHRASE)


def test_an_existing_file_is_kept(tmp_path):
    path = save(tmp_path / "signing.key")
    before = path.read_bytes()
    with pytest.raises(Conflict, match=r"crypto.key_file_exists"):
        save(path, seed=SEED[::-1])
    assert before == path.read_bytes()
    assert [path] == list(tmp_path.iterdir())


def test_a_missing_file_or_folder_is_unavailable(tmp_path):
    with pytest.raises(Unavailable, match=r"crypto.key_file_unreadable"):
        load_key_file(tmp_path / "none", passphrase=PASSPHRASE)
    with pytest.raises(Unavailable, match=r"crypto.key_file_unreadable"):
        load_key_file(tmp_path, passphrase=PASSPHRASE)
    with pytest.raises(Unavailable, match=r"crypto.key_file_unwritable"):
        save(tmp_path / "none" / "signing.key")


def test_a_device_is_not_read(tmp_path):
    link = tmp_path / "signing.key"
    link.symlink_to("/dev/zero")
    with pytest.raises(InvalidInput, match=r"^base\.file_special"):
        load_key_file(link, passphrase=PASSPHRASE)


def test_a_crash_before_the_name_is_given_leaves_no_key_file(tmp_path, monkeypatch):
    def crash(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fdatasync", crash)
    with pytest.raises(Unavailable, match=r"crypto.key_file_unwritable.*No space"):
        save(tmp_path / "signing.key")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("umask", [0, 0o277])
def test_its_owner_alone_may_read_and_write_it_whatever_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        save(tmp_path / "signing.key")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "signing.key").stat().st_mode) == 0o600


def test_a_hash_that_this_machine_lacks_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(keyfile, "SUITE_HASHES", dict.fromkeys(SuiteName, "sm3-of-another-world"))
    with pytest.raises(Unavailable, match=r"^crypto\.hash_missing"):
        save(tmp_path / "signing.key")


def test_file_and_folder_are_synced_and_nothing_stays_open(tmp_path, monkeypatch):
    """A key that is lost in a power cut after it was said to be saved is a key lost for ever."""
    synced = []

    def recording(sync):
        def recorded(descriptor):
            found = os.fstat(descriptor)
            synced.append("folder" if stat.S_ISDIR(found.st_mode) else ("file", found.st_size))
            sync(descriptor)

        return recorded

    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, recording(getattr(os, name)))
    before = len([*Path("/dev/fd").iterdir()])
    save(tmp_path / "signing.key")
    assert synced == [("file", (tmp_path / "signing.key").stat().st_size), "folder"]
    assert before == len([*Path("/dev/fd").iterdir()])


@pytest.mark.parametrize(
    "cost",
    [
        PassphraseCost(memory_kib=2**20, passes=16, lanes=16),
        PassphraseCost(memory_kib=128, passes=1, lanes=16),
        PassphraseCost(memory_kib=8, passes=1, lanes=1),
    ],
)
def test_the_ends_of_the_range_of_costs_are_allowed(cost):
    keyfile._verify_cost(cost)


def test_the_longest_passphrase_opens(tmp_path):
    path = save(tmp_path / "signing.key", passphrase=b"x" * 1024)
    assert load_key_file(path, passphrase=b"x" * 1024).seed == SEED


@pytest.mark.parametrize("passphrase", [b"", b"x" * 1025])
def test_passphrases_have_a_length(tmp_path, passphrase):
    path = save(tmp_path / "signing.key")
    with pytest.raises(InvalidInput, match=r"crypto.passphrase_length"):
        load_key_file(path, passphrase=passphrase)
    with pytest.raises(InvalidInput, match=r"crypto.passphrase_length"):
        save(tmp_path / "new", passphrase=passphrase)


@pytest.mark.parametrize("purpose", ["", "Signing", "a" * 33, "sign\n", "../x"])
def test_purposes_are_short_words(tmp_path, purpose):
    with pytest.raises(InvalidInput, match=r"crypto.key_purpose"):
        save(tmp_path / "new", purpose=purpose)


def test_a_seed_of_another_length_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match=r"crypto.seed_length"):
        save(tmp_path / "new", seed=bytes(31))


def test_the_default_cost_is_the_rfc_s_second_recommendation(tmp_path):
    save_key_file(
        tmp_path / "k", seed=SEED, suite=SuiteName.GM, purpose="sealing", passphrase=b"x", entropy=system_entropy
    )
    written = json.loads((tmp_path / "k").read_bytes())["argon2id"]
    assert (written["memory_kib"], written["passes"], written["lanes"]) == (65536, 3, 4)
    assert (STRONG_COST.memory_kib, STRONG_COST.passes, STRONG_COST.lanes) == (65536, 3, 4)
    assert load_key_file(tmp_path / "k", passphrase=b"x").seed == SEED
