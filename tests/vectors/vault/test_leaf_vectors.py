from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from shuiqiao.standards.columns import canonical_schema
from shuiqiao.standards.publication import load_catalogue
from shuiqiao.vault.ingest.preparation import encode_and_hash
from shuiqiao.vault.tree import group_hash, leaf_from_group_hashes, multiproof, root_from_multiproof, tree_levels

VECTORS = json.loads(Path(__file__).with_name("leaves.json").read_text())
SUITES = pytest.mark.parametrize("vector", VECTORS["suites"], ids=lambda vector: vector["suite"])


def leaves_of(vector):
    return [bytes.fromhex(record["leaf"]) for record in vector["records"]]


@SUITES
def test_leaves_of_the_vectors(vector):
    # Holds [VAULT-LEAF-1].
    for record in vector["records"]:
        hashes = [
            group_hash(bytes.fromhex(salt), group.encode(), hash_name=vector["hash"])
            for salt, group in zip(record["salts"], record["groups"], strict=True)
        ]
        assert record["group_hashes"] == [value.hex() for value in hashes]
        assert record["leaf"] == leaf_from_group_hashes(hashes, hash_name=vector["hash"]).hex()


@SUITES
def test_records_in_columns_give_the_leaves_of_the_vectors(vector):
    record_type = load_catalogue().get(VECTORS["standard"])
    schema = canonical_schema(record_type)
    rows = []
    for record in vector["records"]:
        values = {name: value for group in record["groups"] for name, value in json.loads(group).items()}
        rows.append({**values, "issue_date": date.fromisoformat(values["issue_date"])})
    columns = [pa.array([row[name] for row in rows], type=schema.field(name).type) for name in schema.names]
    salts = b"".join(bytes.fromhex(salt) for record in vector["records"] for salt in record["salts"])
    batch = pa.RecordBatch.from_arrays(columns, schema=schema)
    _, parts, leaves = encode_and_hash(record_type, batch, salts, hash_name=vector["hash"])
    assert [record["groups"] for record in vector["records"]] == [
        [part.decode() for part in groups] for groups in zip(*parts, strict=True)
    ]
    assert leaves_of(vector) == leaves


@SUITES
def test_the_root_and_the_multiproof_of_the_vectors(vector):
    # Holds [VAULT-TREE-1] [VAULT-TREE-2].
    leaves, indexes = leaves_of(vector), vector["multiproof"]["indexes"]
    levels = tree_levels(leaves, hash_name=vector["hash"])
    assert vector["root"] == levels[-1][0].hex()
    stored = b"".join(node for level in levels for node in level)
    proof = b"".join(bytes.fromhex(value) for value in vector["multiproof"]["proof"])
    assert proof == multiproof(stored, indexes, count=len(leaves))
    found = root_from_multiproof(
        [leaves[index] for index in indexes],
        indexes,
        [proof[at : at + 32] for at in range(0, len(proof), 32)],
        count=len(leaves),
        hash_name=vector["hash"],
    )
    assert vector["root"] == found.hex()
