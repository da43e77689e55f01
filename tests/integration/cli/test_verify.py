"""A receipt, a genesis and nothing else: what holds is told in a sentence, and any changed byte fails."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

import consortium_world as worlds
from shuiqiao.base.clock import ManualClock
from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.crypto import intl
from shuiqiao.ledger.receipts.receipt import MAX_RECEIPT_BYTES
from shuiqiao.node.published.verification import ReceiptVerifier
from shuiqiao.vault.contract import COMMIT

KEYS = [
    "valid",
    "file",
    "kind",
    "author",
    "index",
    "height",
    "time",
    "checkpoint_size",
    "checkpoint_root",
    "cosigners",
    "epochs",
    "signers",
    "state",
    "proves",
    "does_not_prove",
    "proves_zh",
    "does_not_prove_zh",
    "genesis",
]


def published(folder, suite_name):
    """A network's genesis and the receipts of three anchors, as they are given to outsiders."""
    clock = ManualClock(worlds.NOW_MS)
    home = worlds.solo_home(folder / "home", suite_name, clock=clock)
    with worlds.open_solo(home, clock) as node:
        for number in range(3):
            clock.advance(1000)
            node.outbox.submit("anchor.commit", worlds.anchor_body(bytes([number]) * 16))
        blocks = list(node.engine.blocks(from_height=1))
        receipts = [node.engine.receipt(block.first_index) for block in blocks]
        network, origin = node.parameters.network.hex(), node.parameters.origin
    paths = [folder / f"{number}.receipt" for number in range(3)]
    for path, receipt in zip(paths, receipts, strict=True):
        path.write_bytes(receipt)
    (folder / "genesis.json").write_bytes(home.genesis.read_bytes())
    genesis = folder / "genesis.json"
    return SimpleNamespace(genesis=genesis, receipts=paths, network=network, origin=origin, home=home.folder)


@pytest.fixture(scope="module", params=["intl", "gm"])
def network(request, tmp_path_factory):
    return published(tmp_path_factory.mktemp("network"), request.param)


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return published(tmp_path_factory.mktemp("stranger"), "intl")


def verdict(verifier, data):
    """``valid``, or the code by which receipt bytes failed."""
    try:
        verifier.verify(data)
    except ShuiqiaoError as error:
        return error.code
    return "valid"


def test_it_verifies_in_another_process_that_has_nothing_else(network, shuiqiao, tmp_path):
    said = shuiqiao("verify", network.receipts[1], "--genesis", network.genesis, "--json", HOME=str(tmp_path), LANG="C")
    assert said.code == 0
    assert list(said.json) == KEYS
    assert said.json["valid"] is True
    assert (said.json["kind"], said.json["author"], said.json["signers"]) == (COMMIT, "bureau", "genesis")
    assert (said.json["index"], said.json["height"], said.json["genesis"]) == (2, 2, network.network)
    assert said.json["proves"][0].startswith("bureau, the operator, signed a log of network ")
    assert "It proves the operator's statement" in said.json["does_not_prove"][0]
    assert list(tmp_path.iterdir()) == []


def test_a_person_is_told_what_it_proves_and_what_not(network, here):
    said = here("verify", network.receipts[0], "--genesis", network.genesis)
    assert said.code == 0
    assert said.out.startswith(f"genesis {network.network} (compare this fingerprint")
    assert f"valid 有效  {network.receipts[0]}: bureau, the operator, signed a log of network" in said.out
    assert "note 说明: It proves the operator's statement" in said.out
    assert "运营方 bureau 签署了网络" in said.out
    assert "note 说明: 它只证明运营方的陈述" in said.out


def test_several_receipts_have_one_verdict(network, here):
    said = here("verify", *network.receipts, "--genesis", network.genesis, "--json")
    assert said.code == 0
    assert list(said.json) == ["valid", "genesis", "receipts"]
    assert [receipt["valid"] for receipt in said.json["receipts"]] == [True, True, True]


def test_what_fails_among_many_is_named_once_more_behind_them(network, here, tmp_path):
    bad = tmp_path / "bad.receipt"
    bad.write_bytes(b"none")
    said = here("verify", bad, *network.receipts, "--genesis", network.genesis)
    assert said.code == 1
    assert f"1 of {len(network.receipts) + 1} NOT VALID 无效: {bad}" in said.out.splitlines()


def test_the_genesis_may_come_from_a_home(network, here, monkeypatch):
    assert here("verify", network.receipts[0], "--home", network.home, "--json").code == 0
    monkeypatch.setenv("SHUIQIAO_HOME", str(network.home))
    assert here("verify", network.receipts[0], "--json").code == 0


def test_without_a_genesis_nothing_is_believed(network, here):
    said = here("verify", network.receipts[0], "--json")
    assert (said.code, said.json["error"]["code"]) == (1, "node.genesis_unnamed")
    assert "--genesis" in said.json["error"]["next_step"]


def test_every_changed_byte_fails(network):
    verifier = ReceiptVerifier.from_genesis(genesis=network.genesis, home=None)
    data = network.receipts[1].read_bytes()
    assert verdict(verifier, data) == "valid"
    passed = []
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1 << place % 8
        if verdict(verifier, bytes(changed)) == "valid":
            passed.append(place)
    assert passed == []


def test_every_cut_and_every_addition_fails(network):
    verifier = ReceiptVerifier.from_genesis(genesis=network.genesis, home=None)
    data = network.receipts[0].read_bytes()
    tried = [data[:length] for length in range(0, len(data), 13)] + [data + b"\x00", b"\x00" + data, data + data]
    assert {verdict(verifier, changed) for changed in tried} & {"valid"} == set()
    assert verdict(verifier, data + bytes(MAX_RECEIPT_BYTES)) == "base.cbor_too_large"


def test_changed_bytes_fail_on_the_command_line_too(network, shuiqiao, tmp_path):
    data = bytearray(network.receipts[1].read_bytes())
    paths = []
    for place in (0, len(data) // 2, len(data) - 1):
        changed = bytes(data[:place]) + bytes([data[place] ^ 1]) + bytes(data[place + 1 :])
        paths.append(tmp_path / f"{place}.receipt")
        paths[-1].write_bytes(changed)
    said = shuiqiao("verify", paths[1], "--genesis", network.genesis, "--json")
    assert said.code == 1
    assert said.json["valid"] is False
    assert said.json["code"]
    said = shuiqiao("verify", *paths, "--genesis", network.genesis, "--json")
    assert (said.code, said.json["valid"]) == (1, False)
    assert [receipt["valid"] for receipt in said.json["receipts"]] == [False, False, False]


def test_a_receipt_of_another_network_fails(network, stranger, here):
    said = here("verify", stranger.receipts[0], "--genesis", network.genesis, "--json")
    assert (said.code, said.json["valid"]) == (1, False)
    assert said.json["genesis"] == network.network
    said = here("verify", network.receipts[0], stranger.receipts[0], "--genesis", network.genesis)
    assert said.code == 1
    assert f"NOT VALID 无效  {stranger.receipts[0]}: ledger." in said.out


def test_a_genesis_that_somebody_changed_fails(network, here, tmp_path):
    changed = tmp_path / "genesis.json"
    text = network.genesis.read_text()
    changed.write_text(text.replace("Trial tax bureau", "Trial tax Bureau"))
    said = here("verify", network.receipts[0], "--genesis", changed, "--json")
    assert (said.code, said.json["valid"]) == (1, False)
    changed.write_text(text + "\n")
    said = here("verify", network.receipts[0], "--genesis", changed, "--json")
    assert (said.code, said.json["error"]["code"]) == (1, "members.genesis_not_canonical")
    changed.write_text("{}")
    said = here("verify", network.receipts[0], "--genesis", changed, "--json")
    assert (said.code, said.json["error"]["code"]) == (1, "members.genesis_invalid")


def test_a_missing_file_is_unavailable_and_a_failed_one_weighs_more(network, here, tmp_path):
    absent, bad = tmp_path / "absent.receipt", tmp_path / "bad.receipt"
    bad.write_bytes(b"")
    said = here("verify", absent, "--genesis", network.genesis, "--json")
    assert (said.code, said.json["valid"], said.json["code"]) == (3, False, "node.receipt_unreadable")
    assert here("verify", network.receipts[0], absent, "--genesis", network.genesis, "--json").code == 3
    assert here("verify", absent, bad, "--genesis", network.genesis, "--json").code == 1
    said = here("verify", network.receipts[0], "--genesis", absent, "--json")
    assert (said.code, said.json["error"]["code"]) == (3, "node.genesis_missing")
    lines = here("verify", absent, bad, "--genesis", network.genesis).out.splitlines()
    assert {f"1 of 2 NOT VALID 无效: {bad}", f"1 of 2 NOT VERIFIED 未能核验: {absent}"} <= {*lines}


def test_a_provider_that_fails_makes_no_receipt_invalid(stranger, here, monkeypatch):  # [LEDGER-SIGN-4]
    verify = intl.crypto_sign_open

    def fail_on_notes(signed, public_key):
        if signed[64:].startswith(stranger.origin.encode()):
            raise RuntimeError("no")
        return verify(signed, public_key)

    monkeypatch.setattr(intl, "crypto_sign_open", fail_on_notes)
    said = here("verify", stranger.receipts[0], "--genesis", stranger.genesis)
    assert said.code == 3
    assert f"NOT VERIFIED 未能核验  {stranger.receipts[0]}: crypto.provider_failed" in said.out
    assert "NOT VALID" not in said.out


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"{}", json.dumps({"valid": True}).encode(), b"\xa1" * 5000])
def test_what_is_no_receipt_fails_with_a_code(network, here, tmp_path, content):
    path = tmp_path / "x.receipt"
    path.write_bytes(content)
    said = here("verify", path, "--genesis", network.genesis, "--json")
    assert (said.code, said.json["valid"]) == (1, False)
    assert said.json["code"].startswith(("base.", "ledger."))
    assert "Traceback" not in said.err
