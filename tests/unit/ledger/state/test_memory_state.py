"""A whole state in memory: its root is that of its content, whatever was asked for in between."""

from __future__ import annotations

import pytest

from shuiqiao.ledger.state.state_map import MemoryState, StateMap, verify_state_proof

BEFORE = {"note/a": b"\x01", "note/b": b"\x02", "note/c": b"\x03"}
WRITES = {"note/a": None, "note/b": b"\x09", "note/d": b"\x04"}
AFTER = {"note/b": b"\x09", "note/c": b"\x03", "note/d": b"\x04"}


def root_of(encoded: dict[str, bytes], hash_name: str) -> bytes:
    return StateMap(encoded, hash_name=hash_name).root()


@pytest.mark.parametrize("hash_name", ["sha256", "sm3"])
def test_a_root_asked_for_changes_nothing_until_the_block_is_written(hash_name):
    state = MemoryState(BEFORE)
    for _ in range(2):
        assert root_of(AFTER, hash_name) == state.root_after(WRITES, hash_name=hash_name)
        assert root_of(BEFORE, hash_name) == state.root_after({}, hash_name=hash_name)
    assert BEFORE == state.encoded()
    state.root_after(WRITES, hash_name=hash_name)
    state.write(WRITES)
    assert AFTER == state.encoded()
    assert root_of(AFTER, hash_name) == state.root_after({}, hash_name=hash_name)


def test_another_block_than_the_one_asked_about_may_follow():
    state = MemoryState(BEFORE)
    state.root_after(WRITES, hash_name="sha256")
    state.write({"note/c": None})
    left = {key: value for key, value in BEFORE.items() if key != "note/c"}
    assert root_of(left, "sha256") == state.root_after({}, hash_name="sha256")


def test_it_proves_what_it_holds_and_what_it_does_not():
    state = MemoryState(BEFORE)
    root = root_of(BEFORE, "sha256")
    for key, value in (("note/b", b"\x02"), ("note/z", None)):
        proof = state.prove(key, hash_name="sha256")
        verify_state_proof(proof, key=key, value=value, root=root, hash_name="sha256")
