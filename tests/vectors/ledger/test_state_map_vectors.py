"""[MAP-1] to [MAP-7], [MAP-9]: roots and proofs are those of a second program, under both hashes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shuiqiao.base.encoding import encode_cbor
from shuiqiao.ledger.state.state_map import (
    StateMap,
    decode_state_proof,
    encode_state_proof,
    state_path,
    verify_state_proof,
)


@pytest.fixture(params=["state_map_sha256.json", "state_map_sm3.json"])
def vectors(request):
    return json.loads((Path(__file__).parent / request.param).read_text())


def entries_of(item):
    return {key: bytes.fromhex(value) for key, value in item["entries"].items()}


def value_of(text):
    return None if text is None else bytes.fromhex(text)


def proof_fields(item):
    return {"others": bytes.fromhex(item["others"]), "steps": [bytes.fromhex(step) for step in item["steps"]]}


def test_the_files_hold_every_kind_of_proof(vectors):
    proofs = [proof for item in vectors["maps"] for proof in item["proofs"]]
    kinds = {(proof["value"] is None, bool(proof["others"]), bool(proof["steps"])) for proof in proofs}
    assert 8 == len(kinds)


def test_paths(vectors):
    for key, expected in vectors["paths"].items():
        assert expected == state_path(key, hash_name=vectors["hash"]).hex()


def test_roots(vectors):
    for item in vectors["maps"]:
        assert item["root"] == StateMap(entries_of(item), hash_name=vectors["hash"]).root().hex()


def test_proofs(vectors):
    for item in vectors["maps"]:
        memory = StateMap(entries_of(item), hash_name=vectors["hash"])
        for given in item["proofs"]:
            proof = decode_state_proof(encode_cbor(proof_fields(given)))
            assert proof == memory.prove(given["key"])
            assert encode_cbor(proof_fields(given)) == encode_state_proof(proof)
            verify_state_proof(
                proof,
                key=given["key"],
                value=value_of(given["value"]),
                root=bytes.fromhex(item["root"]),
                hash_name=vectors["hash"],
            )
