"""[LEDGER-LOG-1]: the log gives the published roots and proofs of RFC 6962, and those of a second SM3 program."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from log_world import LeafHashes, root_from_leaf_hashes
from shuiqiao.ledger.log.tree import (
    Frontier,
    consistency_path,
    inclusion_path,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)

FILES = ("rfc6962_sha256.json", "rfc6962_sm3.json")


@pytest.fixture(params=FILES)
def vectors(request):
    found = json.loads((Path(__file__).parent / request.param).read_text())
    name = found["hash"]
    found["hashes"] = [leaf_hash(bytes.fromhex(leaf), hash_name=name) for leaf in found["leaves"]]
    found["reader"] = LeafHashes(found["hashes"], hash_name=name)
    return found


def path_of(item):
    return tuple(bytes.fromhex(text) for text in item["path"])


def test_the_files_hold_what_they_are_read_for(vectors):
    assert len(vectors["roots"]) == 9
    assert len(vectors["inclusion"]) >= 5
    assert len(vectors["consistency"]) >= 5


def test_roots(vectors):
    for size, expected in enumerate(vectors["roots"]):
        hashes, name = vectors["hashes"][:size], vectors["hash"]
        frontier = Frontier(hash_name=name)
        frontier.append(hashes)
        assert expected == root_from_leaf_hashes(hashes, hash_name=name).hex()
        assert expected == frontier.root().hex()


def test_inclusion_paths(vectors):
    for item in vectors["inclusion"]:
        index, size, name = item["index"], item["size"], vectors["hash"]
        assert path_of(item) == inclusion_path(vectors["reader"], index=index, size=size, hash_name=name)
        verify_inclusion(
            leaf_hash=vectors["hashes"][index],
            index=index,
            size=size,
            path=path_of(item),
            root=bytes.fromhex(vectors["roots"][size]),
            hash_name=name,
        )


def test_consistency_paths(vectors):
    for item in vectors["consistency"]:
        old, new, name = item["old"], item["new"], vectors["hash"]
        assert path_of(item) == consistency_path(vectors["reader"], old_size=old, new_size=new, hash_name=name)
        verify_consistency(
            old_size=old,
            old_root=bytes.fromhex(vectors["roots"][old]),
            new_size=new,
            new_root=bytes.fromhex(vectors["roots"][new]),
            path=path_of(item),
            hash_name=name,
        )
