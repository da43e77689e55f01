"""[LEDGER-LOG-2], [LEDGER-LOG-3]: a proof that is not exactly right is refused."""

from __future__ import annotations

import hashlib

import pytest

from log_world import LeafHashes, root_from_leaf_hashes
from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.ledger.log.tree import (
    Frontier,
    complete_subtrees,
    consistency_path,
    empty_root,
    inclusion_path,
    leaf_hash,
    node_hash,
    root_from_reader,
    verify_consistency,
    verify_inclusion,
)

NAME = "sha256"
SIZE = 21
HASHES = [leaf_hash(bytes([number]), hash_name=NAME) for number in range(SIZE)]
READER = LeafHashes(HASHES, hash_name=NAME)
ROOTS = [root_from_leaf_hashes(HASHES[:size], hash_name=NAME) for size in range(SIZE + 1)]


def inclusion(**changes):
    proof = {"leaf_hash": HASHES[5], "index": 5, "size": SIZE, "root": ROOTS[SIZE], "hash_name": NAME}
    proof["path"] = inclusion_path(READER, index=5, size=SIZE, hash_name=NAME)
    return {**proof, **changes}


def consistency(old, new, **changes):
    proof = {"old_size": old, "old_root": ROOTS[old], "new_size": new, "new_root": ROOTS[new], "hash_name": NAME}
    proof["path"] = consistency_path(READER, old_size=old, new_size=new, hash_name=NAME)
    return {**proof, **changes}


def is_refused(verify, proof):
    with pytest.raises(IntegrityError) as caught:
        verify(**proof)
    return caught.value.code


def test_leaves_and_nodes_are_hashed_apart():
    """[LEDGER-LOG-1]"""
    assert hashlib.sha256(b"\x00data").digest() == leaf_hash(b"data", hash_name=NAME)
    assert hashlib.sha256(b"\x01leftright").digest() == node_hash(b"left", b"right", hash_name=NAME)
    assert hashlib.new("sm3", b"\x00data").digest() == leaf_hash(b"data", hash_name="sm3")
    assert hashlib.sha256(b"").digest() == empty_root(hash_name=NAME)


def test_any_wrong_part_of_an_inclusion_proof_is_refused():
    """[LEDGER-LOG-2]"""
    verify_inclusion(**inclusion())
    path = inclusion()["path"]
    wrong = [
        {"leaf_hash": HASHES[6]},
        {"root": ROOTS[SIZE - 1]},
        {"path": path[:-1]},
        {"path": (*path, bytes(32))},
        {"path": path[::-1]},
        {"path": ()},
        {"path": (bytes(32),) * 54},
        {"index": -1},
        {"index": SIZE},
        {"size": 0},
        {"size": 4},
        {"hash_name": "sm3"},
    ]
    wrong += [{"index": index} for index in range(SIZE) if index != 5]
    for change in wrong:
        assert is_refused(verify_inclusion, inclusion(**change)) == "ledger.inclusion_broken", change


def test_a_path_that_goes_on_after_the_root_is_refused():
    root = ROOTS[1]
    beyond = node_hash(bytes(32), root, hash_name=NAME)
    proof = {"leaf_hash": HASHES[0], "index": 0, "size": 1, "path": (bytes(32),), "root": beyond, "hash_name": NAME}
    assert is_refused(verify_inclusion, proof) == "ledger.inclusion_broken"


def test_any_wrong_part_of_a_consistency_proof_is_refused():
    """[LEDGER-LOG-3]"""
    for old, new in ((1, 8), (6, 8), (8, 21), (7, 21), (16, 21), (20, 21)):
        verify_consistency(**consistency(old, new))
        path = consistency(old, new)["path"]
        wrong = [
            {"old_root": ROOTS[old - 1]},
            {"new_root": ROOTS[new - 1]},
            {"old_size": old + 1 if old + 1 < new else old - 1},
            {"old_size": 0},
            {"old_size": -1},
            {"old_size": new},
            {"old_size": new + 1},
            {"path": ()},
            {"path": path[:-1]},
            {"path": (*path, bytes(32))},
            {"path": (bytes(32),) * 55},
        ]
        wrong += [{"path": (*path[:at], bytes(32), *path[at + 1 :])} for at in range(len(path))]
        for change in wrong:
            assert is_refused(verify_consistency, consistency(old, new, **change)) == "ledger.consistency_broken", (
                change
            )


def test_the_empty_log_and_the_same_log_need_an_empty_path():
    empty = empty_root(hash_name=NAME)
    for proof in (
        {"old_size": 0, "old_root": empty, "new_size": 9, "new_root": ROOTS[9]},
        {"old_size": 9, "old_root": ROOTS[9], "new_size": 9, "new_root": ROOTS[9]},
        {"old_size": 0, "old_root": empty, "new_size": 0, "new_root": empty},
    ):
        verify_consistency(**proof, path=(), hash_name=NAME)
        assert is_refused(verify_consistency, {**proof, "path": (bytes(32),), "hash_name": NAME})
        assert is_refused(verify_consistency, {**proof, "old_root": bytes(32), "path": (), "hash_name": NAME})


def test_no_proof_is_made_of_what_is_not_in_the_log():
    for index, size in ((-1, 5), (5, 5), (0, 0)):
        with pytest.raises(InvalidInput) as caught:
            inclusion_path(READER, index=index, size=size, hash_name=NAME)
        assert caught.value.code == "ledger.index_unknown"
    for old, new in ((0, 5), (6, 5), (-1, 5)):
        with pytest.raises(InvalidInput) as caught:
            consistency_path(READER, old_size=old, new_size=new, hash_name=NAME)
        assert caught.value.code == "ledger.index_unknown"


def test_appending_tells_every_complete_node_once():
    frontier = Frontier(hash_name=NAME)
    made = frontier.append(HASHES[:3]) + frontier.append(HASHES[3:])
    expected = {(level, index): READER.node(level, index) for level in range(5) for index in range(SIZE >> level)}
    assert expected == {(level, index): node for level, index, node in made}
    assert len(expected) == len(made)
    assert ROOTS[SIZE] == frontier.root()


def test_a_frontier_is_found_again_in_a_store_and_copied():
    frontier = Frontier.from_reader(READER, size=13, hash_name=NAME)
    copy = frontier.copy()
    copy.append(HASHES[13:])
    assert (13, ROOTS[13]) == (frontier.size, frontier.root())
    assert (SIZE, ROOTS[SIZE]) == (copy.size, copy.root())
    hashes = [READER.node(level, index) for level, index in ((3, 0), (2, 2), (0, 12))]
    assert Frontier(hash_name=NAME, size=13, hashes=hashes).root() == ROOTS[13]


def test_a_frontier_with_the_wrong_number_of_hashes_is_a_programming_error():
    with pytest.raises(ValueError):
        Frontier(hash_name=NAME, size=3, hashes=[bytes(32)])


def test_roots_from_a_store_and_covers_of_a_range():
    assert [root_from_reader(READER, size=size, hash_name=NAME) for size in range(SIZE + 1)] == ROOTS
    assert complete_subtrees(0, 21) == [(4, 0), (2, 4), (0, 20)]
    assert complete_subtrees(16, 21) == [(2, 4), (0, 20)]
    assert complete_subtrees(4, 4) == []
