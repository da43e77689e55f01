"""Exit codes tell a script what happened: 1 where nothing was ingested, no node is up, or the receipt is another's."""

from __future__ import annotations

import pytest

HEADER = "uscc,year,grade\n"


@pytest.fixture
def home(shuiqiao, tmp_path):
    assert shuiqiao("init", "--home", tmp_path / "home").code == 0
    return tmp_path / "home"


def test_ingest_says_by_its_exit_that_nothing_was_taken_in(shuiqiao, home, tmp_path):
    file = tmp_path / "a.csv"
    file.write_text(HEADER + "91000000000000001A,2018,Z\n", encoding="utf-8")
    assert shuiqiao("ingest", file, "--home", home).code == 1
    file.write_text(HEADER + "91000000000000001A,2018,A\n", encoding="utf-8")
    assert shuiqiao("ingest", file, "--home", home).code == 0
    again = shuiqiao("ingest", file, "--home", home, "--json")
    assert (again.code, again.json["records_ingested"], again.json["duplicates_reported"]) == (1, 0, 1)


def test_network_status_says_by_its_exit_that_no_node_is_up(shuiqiao, tmp_path):
    net = tmp_path / "net"
    assert shuiqiao("network", "init", "--folder", net, "--validators", "1").code == 0
    said = shuiqiao("network", "status", "--folder", net, "--json")
    assert (said.code, [node["running"] for node in said.json["nodes"]]) == (1, [False])


def test_a_receipt_of_the_other_suite_is_called_that(shuiqiao, home, tmp_path):
    file = tmp_path / "a.csv"
    file.write_text(HEADER + "91000000000000001A,2018,A\n", encoding="utf-8")
    other = tmp_path / "gm"
    assert shuiqiao("init", "--home", other, "--suite", "gm").code == 0
    assert shuiqiao("ingest", file, "--home", other).code == 0
    assert shuiqiao("receipt", "0", "--home", other, "--out", tmp_path / "r").code == 0
    said = shuiqiao("verify", tmp_path / "r", "--genesis", home / "genesis.json", "--json")
    assert (said.code, said.json["code"]) == (1, "ledger.receipt_suite_other")
    data = bytearray((tmp_path / "r").read_bytes())
    data[200] ^= 1
    (tmp_path / "r").write_bytes(data)
    said = shuiqiao("verify", tmp_path / "r", "--genesis", other / "genesis.json", "--json")
    assert said.code == 1
    assert said.json["code"] != "ledger.receipt_suite_other"
