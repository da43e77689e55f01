from __future__ import annotations

import hashlib

import pytest

from log_world import LeafHashes, root_from_leaf_hashes
from shuiqiao.base.errors import IntegrityError
from shuiqiao.ledger.log.tree import inclusion_path
from shuiqiao.vault.tree import (
    group_hash,
    group_hashes,
    leaf_from_group_hashes,
    leaf_hashes,
    level_sizes,
    multiproof,
    root_from_multiproof,
    split_hashes,
    split_salts,
    tree_levels,
)

HASHES = ("sha256", "sm3")


def leaves_of(count):
    return [hashlib.sha256(bytes([number])).digest() for number in range(count)]


def stored(levels):
    return b"".join(node for level in levels for node in level)


@pytest.mark.parametrize("hash_name", HASHES)
@pytest.mark.parametrize("count", [*range(1, 18), 33])
def test_the_tree_is_that_of_rfc_6962(count, hash_name):
    # Holds [VAULT-TREE-1].
    levels = tree_levels(leaves_of(count), hash_name=hash_name)
    assert levels[-1] == [root_from_leaf_hashes(leaves_of(count), hash_name=hash_name)]
    assert level_sizes(count) == [len(level) for level in levels]


def test_a_proof_of_one_leaf_is_its_rfc_6962_inclusion_path():
    # Holds [VAULT-TREE-2].
    for count in range(1, 20):
        leaves = leaves_of(count)
        nodes = stored(tree_levels(leaves, hash_name="sha256"))
        reader = LeafHashes(leaves, hash_name="sha256")
        for index in range(count):
            path = inclusion_path(reader, index=index, size=count, hash_name="sha256")
            assert path == tuple(split_hashes(multiproof(nodes, [index], count=count)))


def test_all_leaves_of_a_batch_need_no_proof():
    leaves = leaves_of(13)
    levels = tree_levels(leaves, hash_name="sha256")
    assert multiproof(stored(levels), range(13), count=13) == b""
    assert levels[-1][0] == root_from_multiproof(leaves, range(13), [], count=13, hash_name="sha256")


@pytest.mark.parametrize(
    ("indexes", "proof"),
    [
        ([3, 3], None),
        ([5, 4], None),
        ([4, 13], None),
        ([13], [bytes(32)] * 3),  # as many as a leaf behind the last one would take
        ([-1, 4], None),
        ([], None),
        ([4, 5], []),
        ([4, 5], "more"),
    ],
)
def test_a_proof_that_does_not_fit_is_malformed(indexes, proof):
    leaves = leaves_of(13)
    nodes = stored(tree_levels(leaves, hash_name="sha256"))
    right = split_hashes(multiproof(nodes, [4, 5], count=13))
    given = right if proof is None else [*right, bytes(32)] if proof == "more" else proof
    with pytest.raises(IntegrityError, match=r"vault\.proof_malformed"):
        root_from_multiproof([leaves[index % 13] for index in indexes], indexes, given, count=13, hash_name="sha256")


@pytest.mark.parametrize("hash_name", HASHES)
def test_columns_of_leaves_follow_the_formula_of_one_leaf(hash_name):
    # Holds [VAULT-LEAF-1].
    def digest(data):
        return hashlib.new(hash_name, data).digest()

    salts = bytes(range(96))
    groups = [[b"a0", b"a1"], [b"b0", b"b1"], [b"c0", b"c1"]]
    columns = [
        group_hashes(salt, group, hash_name=hash_name)
        for salt, group in zip(split_salts(salts, groups=3), groups, strict=True)
    ]
    expected = [
        digest(
            b"\x00"
            + digest(salts[48 * row : 48 * row + 16] + groups[0][row])
            + digest(salts[48 * row + 16 : 48 * row + 32] + groups[1][row])
            + digest(salts[48 * row + 32 : 48 * row + 48] + groups[2][row])
        )
        for row in range(2)
    ]
    assert expected == leaf_hashes(columns, hash_name=hash_name)
    parts = [group_hash(salts[16 * at : 16 * at + 16], groups[at][0], hash_name=hash_name) for at in range(3)]
    assert expected[0] == leaf_from_group_hashes(parts, hash_name=hash_name)


def test_a_salt_too_few_is_a_programming_error():
    with pytest.raises(ValueError, match="1 salts for 2 groups"):
        group_hashes([bytes(16)], [b"a", b"b"], hash_name="sha256")
