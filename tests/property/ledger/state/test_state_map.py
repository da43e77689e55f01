"""The stored map is the map of the definition, whatever was put and removed on the way; proofs hold and nothing else does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from log_world import prove_among
from shuiqiao.base.errors import IntegrityError
from shuiqiao.ledger.state.state_map import (
    StateMap,
    StateProof,
    decode_state_proof,
    encode_state_proof,
    hash_constructor,
    state_path,
    state_record,
    subtree_hash,
    verify_state_proof,
)
from shuiqiao.ledger.store.state_tree import PlannedUpdate, StateTree, prove

HASHES = st.sampled_from(["sha256", "sm3"])
KEYS = st.integers(0, 600).map(lambda number: f"room/noun/{number}")
VALUES = st.none() | st.binary(max_size=4)
BATCHES = st.lists(st.dictionaries(KEYS, VALUES, max_size=160), max_size=8)


class MemoryPages:
    """Pages in a dictionary, written as ``write_pages`` writes them."""

    def __init__(self) -> None:
        self.stored: dict[bytes, bytes] = {}

    def page(self, key: bytes) -> bytes | None:
        return self.stored.get(key)

    def pages(self, keys: Sequence[bytes]) -> Iterable[tuple[bytes, bytes]]:
        return [(key, self.stored[key]) for key in keys if key in self.stored]

    def write(self, plan: PlannedUpdate) -> None:
        for key, page in plan.writes.items():
            if page is None:
                self.stored.pop(key, None)
            else:
                self.stored[key] = page


def definition(content: Mapping[str, bytes], hash_name: str) -> bytes:
    records = sorted(state_record(key, value, hash_name=hash_name) for key, value in content.items())
    return subtree_hash(records, 0, new=hash_constructor(hash_name))


def applied(content: dict[str, bytes], changes: Mapping[str, bytes | None]) -> dict[str, bytes]:
    merged = {**content, **changes}
    return {key: value for key, value in merged.items() if value is not None}


@settings(deadline=None, max_examples=60)
@given(BATCHES, HASHES)
def test_any_sequence_of_batches_has_the_root_of_what_is_left(batches, hash_name):
    """[MAP-4], [MAP-5]"""
    tree, pages, memory = (
        StateTree(hash_name=hash_name, max_cached_pages=16),
        MemoryPages(),
        StateMap(hash_name=hash_name),
    )
    content: dict[str, bytes] = {}
    for changes in batches:
        content = applied(content, changes)
        plan = tree.plan(pages, changes)
        memory.update(changes)
        assert definition(content, hash_name) == plan.root
        assert memory.root() == plan.root
        pages.write(plan)
        assert plan.root == tree.root(pages)
    # What is left goes in two parts: pages are dissolved from below, and some lose all they had.
    gone = sorted(content)[len(batches) :]
    pages.write(tree.plan(pages, dict.fromkeys(gone)))
    kept = {key: value for key, value in content.items() if key not in gone}
    assert definition(kept, hash_name) == tree.root(pages)
    pages.write(tree.plan(pages, dict.fromkeys(kept)))
    assert {} == pages.stored


@settings(deadline=None, max_examples=40)
@given(BATCHES, HASHES)
def test_the_pages_follow_from_the_content_alone(batches, hash_name):
    """[MAP-11]"""
    tree, pages, fresh = StateTree(hash_name=hash_name), MemoryPages(), MemoryPages()
    content: dict[str, bytes] = {}
    for changes in batches:
        content = applied(content, changes)
        pages.write(tree.plan(pages, changes))
    fresh.write(StateTree(hash_name=hash_name).plan(fresh, content))
    assert fresh.stored == pages.stored


@settings(deadline=None, max_examples=40)
@given(BATCHES, BATCHES, st.data())
def test_plans_may_stand_on_plans_be_dropped_and_be_written_together(batches, dropped, data):
    """[MAP-12]"""
    tree, pages, content = StateTree(hash_name="sha256", max_cached_pages=16), MemoryPages(), dict[str, bytes]()
    waiting: list[PlannedUpdate] = []
    for changes in batches:
        base = waiting[-1] if waiting else None
        for other in dropped:
            tree.plan(pages, other, base=base)
        content = applied(content, changes)
        waiting.append(tree.plan(pages, changes, base=base))
        assert definition(content, "sha256") == waiting[-1].root
        if data.draw(st.booleans()):
            for plan in waiting:
                pages.write(plan)
            # The plan that was written last may still be given: it is found to be stored.
            waiting = waiting[-1:] if data.draw(st.booleans()) else []


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(KEYS, st.binary(max_size=4), max_size=120), st.lists(KEYS, min_size=1, max_size=4), HASHES)
def test_every_way_of_proving_gives_one_proof_and_it_holds(content, asked, hash_name):
    """[MAP-6], [MAP-7]"""
    pages, memory = MemoryPages(), StateMap(content, hash_name=hash_name)
    pages.write(StateTree(hash_name=hash_name).plan(pages, content))
    records = sorted(state_record(key, value, hash_name=hash_name) for key, value in content.items())
    for key in asked:
        proof = prove(pages, key, hash_name=hash_name)
        path = state_path(key, hash_name=hash_name)
        assert prove_among(records, path, new=hash_constructor(hash_name)) == proof
        assert memory.prove(key) == proof
        assert decode_state_proof(encode_state_proof(proof)) == proof
        verify_state_proof(proof, key=key, value=content.get(key), root=memory.root(), hash_name=hash_name)


def verify_encoded(encoded: bytes, *, key: str, value: bytes | None, root: bytes) -> None:
    verify_state_proof(decode_state_proof(encoded), key=key, value=value, root=root, hash_name="sha256")


def refused(proof: StateProof, *, key: str, value: bytes | None, root: bytes) -> bool:
    with pytest.raises(IntegrityError) as caught:
        verify_state_proof(proof, key=key, value=value, root=root, hash_name="sha256")
    return caught.value.code in {"ledger.state_proof_broken", "ledger.state_proof_malformed"}


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(KEYS, st.binary(max_size=4), min_size=1, max_size=60), KEYS, st.binary(max_size=4), st.data())
def test_nothing_else_can_be_proven_and_no_byte_of_a_proof_may_change(content, key, value, data):
    """[MAP-8], [MAP-9]"""
    memory = StateMap(content, hash_name="sha256")
    proof, root, real = memory.prove(key), memory.root(), content.get(key)
    if value != real:
        assert refused(proof, key=key, value=value, root=root)
    if real is not None:
        assert refused(proof, key=key, value=None, root=root)
    encoded = bytearray(encode_state_proof(proof))
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(IntegrityError) as caught:
        verify_encoded(bytes(encoded), key=key, value=real, root=root)
    assert caught.value.code in {"ledger.state_proof_broken", "ledger.state_proof_malformed"}


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(KEYS, st.binary(max_size=4), min_size=7, max_size=60), KEYS, st.data())
def test_a_proof_with_steps_taken_away_repeated_or_moved_fails(content, key, data):
    memory = StateMap(content, hash_name="sha256")
    proof, root = memory.prove(key), memory.root()
    steps = data.draw(
        st.lists(st.sampled_from(proof.steps), max_size=5).map(tuple).filter(lambda it: it != proof.steps)
    )
    assert refused(replace(proof, steps=steps), key=key, value=content.get(key), root=root)
