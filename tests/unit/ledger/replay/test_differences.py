"""Where two states or logs first differ: exactly, in order, whatever else differs behind."""

from __future__ import annotations

import pytest

from log_world import LeafHashes, root_from_leaf_hashes
from shuiqiao.ledger.log.tree import leaf_hash
from shuiqiao.ledger.replay.differences import compare_states, first_leaf_difference
from shuiqiao.ledger.state.state_map import state_record

STATE = {f"room/key/{number:03d}".encode(): bytes([number]) for number in range(40)}


def items(state):
    return sorted(state.items())


def compare(here, there):
    return compare_states(items(here), items(there), hash_name="sha256")


def test_the_same_states_have_no_difference():
    found = compare(STATE, dict(STATE))
    assert (found.first, found.differing, found.compared) == (None, 0, 40)
    assert compare({}, {}).first is None


@pytest.mark.parametrize("number", [0, 17, 39])
def test_the_first_key_is_named_with_the_hashes_of_both_values(number):
    key = f"room/key/{number:03d}"
    there = {**STATE, key.encode(): b"other", b"room/key/zzz": b"later"}
    found = compare(STATE, there)
    assert (found.first.key, found.differing) == (key, 2)
    assert found.first.here == state_record(key, bytes([number]), hash_name="sha256")[32:]
    assert found.first.there == state_record(key, b"other", hash_name="sha256")[32:]


@pytest.mark.parametrize("number", [0, 17, 39])
def test_a_key_that_only_one_has(number):
    key = f"room/key/{number:03d}".encode()
    fewer = {name: value for name, value in STATE.items() if name != key}
    for here, there in ((STATE, fewer), (fewer, STATE), (STATE, {}), ({}, STATE)):
        found = compare(here, there)
        expected = key.decode() if there and here else "room/key/000"
        assert found.first.key == expected
        assert (found.first.here is None) == (expected.encode() not in here)
        assert (found.first.there is None) == (expected.encode() not in there)


def test_progress_is_told_now_and_then():
    told = []
    many = [(b"%06d" % number, b"") for number in range(25_000)]
    compare_states(many, many, hash_name="sha256", progress=lambda _step, done, _total: told.append(done))
    assert told == [10_000, 20_000]


def leaves(count, *, altered=()):
    return [leaf_hash(b"%d%s" % (at, b"!" if at in altered else b""), hash_name="sha256") for at in range(count)]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 21, 64])
def test_the_first_leaf_of_two_logs_that_differs(count):
    here = leaves(count)
    reader = LeafHashes(here, hash_name="sha256")
    assert first_leaf_difference(reader, LeafHashes(leaves(count), hash_name="sha256"), size=count) is None
    for at in range(count):
        there = leaves(count, altered={at, count - 1})
        assert root_from_leaf_hashes(here, hash_name="sha256") != root_from_leaf_hashes(there, hash_name="sha256")
        found = first_leaf_difference(reader, LeafHashes(there, hash_name="sha256"), size=count)
        assert (found.index, found.here, found.there) == (at, here[at], there[at])
    assert first_leaf_difference(reader, reader, size=0) is None
