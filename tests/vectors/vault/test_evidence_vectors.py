"""Files that prove one record and files that do not, with the genesis they are judged by: [VAULT-EVIDENCE-2]."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cbor2
import pytest

from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.node.published.verification import ReceiptVerifier

VECTORS = json.loads(Path(__file__).with_name("evidence.json").read_text())
SUITES = pytest.mark.parametrize("vector", VECTORS["suites"], ids=lambda vector: vector["suite"])
HASHES = {"intl": "sha256", "gm": "sm3"}


@pytest.fixture
def verifier(vector, tmp_path):
    genesis = tmp_path / "genesis.json"
    genesis.write_text(vector["genesis"])
    return ReceiptVerifier.from_genesis(genesis=genesis, home=None)


@SUITES
def test_evidence_that_holds_says_what_is_written(vector, verifier):
    for expected in vector["valid"]:
        found = verifier.verify_record(bytes.fromhex(expected["file"]))
        assert {
            "title": expected["title"],
            "file": expected["file"],
            "standard": found.standard,
            "batch": found.batch.hex(),
            "index": found.index,
            "status": str(found.status),
            "contents": found.contents,
        } == expected


@SUITES
def test_evidence_that_does_not_hold_is_refused_with_its_code(vector, verifier):
    for case in vector["invalid"]:
        with pytest.raises(ShuiqiaoError) as caught:
            verifier.verify_record(bytes.fromhex(case["file"]))
        assert (case["title"], case["code"]) == (case["title"], caught.value.code)


@SUITES
def test_the_words_of_the_specification_give_the_root_in_the_receipt(vector):
    """[VAULT-LEAF-1] [VAULT-EVIDENCE-1] with cbor2 and hashlib alone: two records, so the path is one hash."""

    def digest(data):
        return hashlib.new(HASHES[vector["suite"]], data).digest()

    evidence = bytes.fromhex(vector["valid"][0]["file"])
    assert evidence.startswith(b"SQRECORD1\n")
    fields = cbor2.loads(evidence[len(b"SQRECORD1\n") :])
    proof = fields["proof"]
    hashes = [
        digest(part["salt"] + part["content"]) if part["type"] == "opened" else part["hash"] for part in proof["groups"]
    ]
    (sibling,) = proof["path"]
    assert proof["index"] == 1
    root = digest(b"\x01" + sibling + digest(b"\x00" + b"".join(hashes)))
    assert root in fields["receipt"]
