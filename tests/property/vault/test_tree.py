"""Any set of leaves of a batch is proven by its multiproof, and nothing else is."""

from __future__ import annotations

import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

from shuiqiao.base.errors import IntegrityError
from shuiqiao.vault.tree import multiproof, root_from_multiproof, split_hashes, tree_levels

TREES = st.integers(1, 70).flatmap(
    lambda count: st.tuples(st.just(count), st.sets(st.integers(0, count - 1), min_size=1).map(sorted))
)


def leaves_of(count):
    return [hashlib.sha256(number.to_bytes(2, "big")).digest() for number in range(count)]


def proof_of(count, indexes):
    levels = tree_levels(leaves_of(count), hash_name="sha256")
    stored = b"".join(node for level in levels for node in level)
    return levels[-1][0], split_hashes(multiproof(stored, indexes, count=count))


@settings(max_examples=150, deadline=None)
@given(TREES)
def test_any_set_of_leaves_is_proven(tree):
    # Holds [VAULT-TREE-2].
    count, indexes = tree
    root, proof = proof_of(count, indexes)
    chosen = [leaves_of(count)[index] for index in indexes]
    assert root == root_from_multiproof(chosen, indexes, proof, count=count, hash_name="sha256")


@settings(max_examples=150, deadline=None)
@given(TREES, st.data())
def test_no_changed_leaf_place_or_proof_leads_to_the_root(tree, data):
    count, indexes = tree
    root, proof = proof_of(count, indexes)
    chosen = [leaves_of(count)[index] for index in indexes]
    what = data.draw(st.sampled_from(["leaf", "place", "proof", "shorter", "longer"]))
    places = list(indexes)
    if what == "leaf":
        chosen[data.draw(st.integers(0, len(chosen) - 1))] = bytes(32)
    elif what == "place":
        at = data.draw(st.integers(0, len(places) - 1))
        places[at] = data.draw(st.integers(-1, count).filter(lambda index: index != indexes[at]))
    elif what == "proof" and proof:
        proof[data.draw(st.integers(0, len(proof) - 1))] = bytes(32)
    elif what == "shorter" and proof:
        proof.pop()
    else:
        proof.append(bytes(32))
    try:
        found = root_from_multiproof(chosen, places, proof, count=count, hash_name="sha256")
    except IntegrityError:
        return
    assert found != root
