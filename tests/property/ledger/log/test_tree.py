"""Roots, paths and consistency for any tree up to a few hundred leaves, against the recursion of RFC 6962."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from log_world import LeafHashes, root_from_leaf_hashes
from shuiqiao.base.errors import IntegrityError
from shuiqiao.ledger.log.tree import Frontier, consistency_path, inclusion_path, verify_consistency, verify_inclusion

LEAVES = [hashlib.sha256(number.to_bytes(2, "big")).digest() for number in range(300)]
NAMES = st.sampled_from(["sha256", "sm3"])


def tree(hashes, name):
    """Return MTH of RFC 6962 section 2.1, written as the RFC writes it."""
    if len(hashes) == 1:
        return hashes[0]
    middle = 1
    while middle * 2 < len(hashes):
        middle *= 2
    return hashlib.new(name, b"\x01" + tree(hashes[:middle], name) + tree(hashes[middle:], name)).digest()


@settings(max_examples=60, deadline=None)
@given(cuts=st.lists(st.integers(0, 60), min_size=1, max_size=5), name=NAMES)
def test_batches_in_any_cut_give_the_root_of_the_rfc(cuts, name):
    frontier, end = Frontier(hash_name=name), 0
    for cut in cuts:
        frontier.append(LEAVES[end : end + cut])
        end += cut
    expected = tree(LEAVES[:end], name) if end else hashlib.new(name, b"").digest()
    assert expected == frontier.root()
    assert expected == root_from_leaf_hashes(LEAVES[:end], hash_name=name)


@settings(max_examples=80, deadline=None)
@given(data=st.data(), size=st.integers(1, 300), name=NAMES)
def test_every_leaf_is_proven_and_no_other(data, size, name):
    index = data.draw(st.integers(0, size - 1))
    reader = LeafHashes(LEAVES, hash_name=name)
    proof = {"index": index, "size": size, "root": tree(LEAVES[:size], name), "hash_name": name}
    proof["path"] = inclusion_path(reader, index=index, size=size, hash_name=name)
    verify_inclusion(leaf_hash=LEAVES[index], **proof)
    with pytest.raises(IntegrityError):
        verify_inclusion(leaf_hash=LEAVES[(index + 1) % 300], **proof)


@settings(max_examples=80, deadline=None)
@given(data=st.data(), new=st.integers(1, 300), name=NAMES)
def test_every_prefix_is_proven_and_a_changed_history_is_not(data, new, name):
    old = data.draw(st.integers(1, new))
    changed = data.draw(st.integers(0, old - 1))
    path = consistency_path(LeafHashes(LEAVES, hash_name=name), old_size=old, new_size=new, hash_name=name)
    proof = {"old_size": old, "new_size": new, "new_root": tree(LEAVES[:new], name), "path": path, "hash_name": name}
    verify_consistency(old_root=tree(LEAVES[:old], name), **proof)
    other = [*LEAVES[:changed], bytes(32), *LEAVES[changed + 1 : old]]
    with pytest.raises(IntegrityError):
        verify_consistency(old_root=tree(other, name), **proof)
