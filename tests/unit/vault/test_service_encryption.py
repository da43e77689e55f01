"""Batch files are encrypted; those of a release before are read, and written anew [VAULT-STORE-7]."""

from __future__ import annotations

import pytest

from shuiqiao.base.errors import IntegrityError, Unavailable
from shuiqiao.base.ids import system_entropy
from shuiqiao.crypto.file_cipher import FileCipher
from shuiqiao.vault.model import ErasureReason
from shuiqiao.vault.search import RecordQuery
from shuiqiao.vault.storage.batch_file import LEAVES_SUFFIX, PARQUET_SUFFIX, count_clear_files
from vault_world import CATALOGUE, EVER, Vault, invoice, leave_in_clear, write_rows

FIRM, OTHER = "91320101", "91320102"
SECRETS = (FIRM.encode(), b'"amount_fen":10100', "深圳某某".encode())


@pytest.fixture(params=["intl", "gm"])
def world(request, open_world, tmp_path):
    world = open_world(request.param)
    rows = [invoice(number, uscc=(FIRM, OTHER)[number % 2]) for number in range(20)]
    world.ingest(write_rows(tmp_path / "a.parquet", "invoice_issued", rows))
    return world


def stored(world):
    return {path.name: path.read_bytes() for path in sorted((world.folder / "vault" / "batches").iterdir())}


def in_clear(world):
    return count_clear_files(world.folder / "vault" / "batches")


def seen(world):
    """Everything that the vault shows of its records."""
    disclosed = world.disclose(FIRM)
    (kind,) = disclosed.types
    leaves = world.vault.live_leaves(uscc=FIRM, type_id="invoice_issued", **EVER)
    proofs = [world.vault.prove_record(leaf, groups=["core"]) for leaf in leaves]
    found = world.vault.find(RecordQuery(number="00000003"), status_of=world.status_of)
    return kind.rows.to_pylist(), [proof.withheld for proof in kind.proofs], proofs, found


def test_nothing_of_a_record_is_seen_in_the_files_until_they_are_written_in_clear(world):
    # Holds [VAULT-STORE-1].
    everything = b"".join(stored(world).values())
    assert [False] * 3 == [secret in everything for secret in SECRETS]
    leave_in_clear(world.vault)
    everything = b"".join(stored(world).values())
    assert [True] * 3 == [secret in everything for secret in SECRETS]


def test_files_of_a_release_before_are_read_and_encrypted_a_few_at_a_time(world):
    before, count = seen(world), leave_in_clear(world.vault)
    assert (3, before, []) == (count, seen(world), world.problems())
    assert [6, 4, 0] == [in_clear(world), *(_left_after(world, at_most) for at_most in (1, 2))]
    assert (before, []) == (seen(world), world.problems())
    files = stored(world)
    assert 0 == world.vault.encrypt_batches(at_most=9)
    assert files == stored(world)
    everything = b"".join(files.values())
    assert [False] * 3 == [secret in everything for secret in SECRETS]


def _left_after(world, at_most):
    assert at_most == world.vault.encrypt_batches(at_most=at_most)
    return in_clear(world)


@pytest.mark.parametrize("suffix", [LEAVES_SUFFIX, PARQUET_SUFFIX])
def test_a_batch_of_which_one_file_was_encrypted_before_a_crash_is_whole_and_is_finished(world, suffix):
    encrypted, before = stored(world), seen(world)
    leave_in_clear(world.vault)
    folder = world.folder / "vault" / "batches"
    for name, data in encrypted.items():
        if name.endswith(suffix):
            (folder / name).write_bytes(data)
            (folder / f"{name}.new").write_bytes(data[:50])
    assert (before, [], 3) == (seen(world), world.problems(), in_clear(world))
    assert 3 == world.vault.encrypt_batches(at_most=9)
    assert (before, [], 0) == (seen(world), world.problems(), in_clear(world))


def test_an_erasure_in_a_batch_in_clear_leaves_an_encrypted_one_without_the_record(world):
    leave_in_clear(world.vault)
    batch = world.anchored_batches()[0]
    world.vault.erase(batch, [1], reason=ErasureReason.TAXPAYER_REQUEST, anchor=world.anchor)
    assert (4, []) == (in_clear(world), world.problems())


def with_cipher(world, open_key):
    """The same vault, opened to be read with another key, or none."""
    world.vault.close()
    world.vault = Vault(
        world.folder / "vault",
        suite=world.suite,
        catalogue=CATALOGUE,
        clock=world.clock,
        entropy=world.entropy,
        cipher=FileCipher(open_key, suite=world.suite.name, entropy=system_entropy),
        reads_only=True,
    )
    return world.vault


def no_key():
    raise Unavailable("node.passphrase_missing", "no passphrase was given")


def test_without_the_key_header_and_tree_are_checked_and_it_is_said_what_was_not(world):
    # Holds [VAULT-CHECK-2].
    path = world.vault._files.path(world.anchored_batches()[0], LEAVES_SUFFIX)
    whole = path.read_bytes()
    vault = with_cipher(world, no_key)
    found = vault.verify_files(batch_of=world.batch_of, status_of=world.status_of)
    assert (0, 0, (), 3, "no passphrase was given") == (
        found.batches,
        found.records,
        found.problems,
        found.unread,
        found.why,
    )
    with pytest.raises(Unavailable, match=r"^node\.passphrase_missing"):
        world.disclose(FIRM)
    tree = 12 + int.from_bytes(whole[8:12], "little")
    path.write_bytes(whole[:tree] + bytes([whole[tree] ^ 1]) + whole[tree + 1 :])
    assert {"vault.leaf_mismatch"} == {code for code, _ in world.problems()}


def test_files_under_another_homes_key_are_named_so(world):
    vault = with_cipher(world, lambda: b"\x07" * 32)
    with pytest.raises(IntegrityError, match=r"^crypto\.file_key_foreign"):
        world.disclose(FIRM)
    found = vault.verify_files(batch_of=world.batch_of)
    assert ({"crypto.file_key_foreign"}, 0) == ({problem.code for problem in found.problems}, found.batches)
