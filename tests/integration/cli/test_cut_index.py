"""An index file that was cut short, as a full disk or a copy that broke off leaves it: said in words, never a signal."""

from __future__ import annotations

import os
import shutil

import pytest

LEDGER, VAULT = "ledger/index.lmdb", "vault/index.lmdb"


@pytest.fixture
def filled(here, home, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("uscc,year,grade\n91000000000000001A,2018,A\n", encoding="utf-8")
    assert here("ingest", path, "--home", home).code == 0
    return home


def cut(file, share):
    os.truncate(file, int(file.stat().st_size * share))


CUTS = pytest.mark.parametrize("share", [0.6, 0.0005], ids=["in the middle", "in its head"])


@CUTS
def test_a_ledger_index_that_was_cut_is_named_and_made_again(shuiqiao, filled, share):
    # Holds [STORE-29]; in processes of their own, because what it is about ends one.
    cut(filled / LEDGER / "data.mdb", share)
    said = shuiqiao("doctor", "--home", filled, "--json")
    assert said.code == 1
    assert "node.index_damaged" in {finding.get("code") for finding in said.json["findings"]}
    again = shuiqiao("ingest", filled.parent / "a.csv", "--home", filled, "--json")
    assert again.json["duplicates_reported"] == 1
    assert shuiqiao("doctor", "--home", filled).code == 0


@CUTS
def test_a_vault_index_that_was_cut_is_named_by_whatever_opens_it(shuiqiao, filled, share):
    # Holds [STORE-29].
    cut(filled / VAULT / "data.mdb", share)
    for command in (("doctor",), ("audit",), ("ingest", filled.parent / "a.csv")):
        refused = shuiqiao(*command, "--home", filled)
        assert refused.code in {1, 3}
        assert "vault.index_unreadable" in refused.out + refused.err
        assert "Traceback" not in refused.err


@CUTS
def test_a_home_is_restored_beside_one_whose_index_was_cut(shuiqiao, filled, tmp_path, share):
    # Holds [STORE-29].
    backup = tmp_path / "home.backup"
    taken = shuiqiao("backup", "create", "--home", filled, "--to", backup, "--include-passphrase")
    assert taken.code == 0, taken.err
    for index in (LEDGER, VAULT):
        cut(filled / index / "data.mdb", share)
    again = shuiqiao("backup", "create", "--home", filled, "--to", tmp_path / "second.backup")
    assert again.code in {1, 3}
    assert "index_unreadable" in again.err
    assert not (tmp_path / "second.backup").exists()
    shutil.rmtree(filled)
    restored = shuiqiao("backup", "restore", "--from", backup, "--home", filled)
    assert restored.code == 0, restored.err
    assert shuiqiao("audit", "--home", filled).code == 0
