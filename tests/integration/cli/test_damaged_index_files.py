"""An index file that was cut short or damaged, as a disk or a broken copy leaves it: said in words, never a signal."""

from __future__ import annotations

import os
import random
import shutil

import pytest

LEDGER, VAULT = "ledger/index.lmdb", "vault/index.lmdb"
PAGE = 4096


@pytest.fixture
def filled(here, home, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("uscc,year,grade\n91000000000000001A,2018,A\n", encoding="utf-8")
    assert here("ingest", path, "--home", home).code == 0
    return home


def cut(share):
    return lambda file: os.truncate(file, int(file.stat().st_size * share))


def overwrite(file):
    data, source = file.read_bytes(), random.Random(12)
    pages = [data[start : start + 16] + source.randbytes(PAGE - 16) for start in range(2 * PAGE, len(data), PAGE)]
    file.write_bytes(data[: 2 * PAGE] + b"".join(pages))


DAMAGES = pytest.mark.parametrize(
    "damage", [cut(0.6), cut(0.0005), overwrite], ids=["cut in the middle", "cut in its head", "overwritten"]
)


@DAMAGES
def test_a_ledger_index_that_was_damaged_is_named_and_made_again(shuiqiao, filled, damage):
    # Holds [STORE-29]; in processes of their own, because what it is about ends one.
    damage(filled / LEDGER / "data.mdb")
    said = shuiqiao("doctor", "--home", filled, "--json")
    assert said.code == 1
    assert "node.index_damaged" in {finding.get("code") for finding in said.json["findings"]}
    again = shuiqiao("ingest", filled.parent / "a.csv", "--home", filled, "--json")
    assert again.json["duplicates_reported"] == 1
    assert shuiqiao("doctor", "--home", filled).code == 0


@DAMAGES
def test_a_vault_index_that_was_damaged_is_named_by_whatever_opens_it(shuiqiao, filled, damage):
    # Holds [STORE-29].
    damage(filled / VAULT / "data.mdb")
    for command in (("doctor",), ("audit",), ("ingest", filled.parent / "a.csv")):
        refused = shuiqiao(*command, "--home", filled)
        assert refused.code in {1, 3}
        assert "vault.index_unreadable" in refused.out + refused.err
        assert "Traceback" not in refused.err


@DAMAGES
def test_a_home_is_restored_beside_one_whose_index_was_damaged(shuiqiao, filled, tmp_path, damage):
    # Holds [STORE-29].
    backup = tmp_path / "home.backup"
    taken = shuiqiao("backup", "create", "--home", filled, "--to", backup, "--include-passphrase")
    assert taken.code == 0, taken.err
    for index in (LEDGER, VAULT):
        damage(filled / index / "data.mdb")
    again = shuiqiao("backup", "create", "--home", filled, "--to", tmp_path / "second.backup")
    assert again.code in {1, 3}
    assert "index_unreadable" in again.err
    assert not (tmp_path / "second.backup").exists()
    shutil.rmtree(filled)
    restored = shuiqiao("backup", "restore", "--from", backup, "--home", filled)
    assert restored.code == 0, restored.err
    assert shuiqiao("audit", "--home", filled).code == 0
