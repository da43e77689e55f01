"""The state map by its definition, and proofs by somebody who means harm."""

from __future__ import annotations

import hashlib

import pytest
from msgspec.structs import replace

from log_world import prove_among
from shuiqiao.base.encoding import decode_cbor, encode_cbor
from shuiqiao.base.errors import IntegrityError
from shuiqiao.ledger.state.state_map import (
    EMPTY,
    MAX_STATE_PROOF_BYTES,
    MemoryState,
    StateMap,
    StateProof,
    by_nibble,
    decode_state_proof,
    encode_state_proof,
    hash_constructor,
    nibble,
    state_path,
    state_record,
    subtree_hash,
    verify_state_proof,
)

KEYS = [f"consent/grant/{number}" for number in range(60)]
CONTENT = {key: key.encode() for key in KEYS}
ABSENT_EMPTY, ABSENT_OTHER = "consent/grant/74", "consent/grant/67"


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


@pytest.fixture
def memory():
    return StateMap(CONTENT, hash_name="sha256")


def require_refused(code, proof, *, key, value, root):
    with pytest.raises(IntegrityError) as caught:
        verify_state_proof(proof, key=key, value=value, root=root, hash_name="sha256")
    assert code == caught.value.code


def test_the_empty_map_and_small_ones():
    """[MAP-2], [MAP-3], [MAP-5]"""
    memory = StateMap(hash_name="sha256")
    assert bytes(32) == memory.root()
    memory.update({"a/b": b"\x01"})
    first = sha256(b"\x04a/b") + sha256(b"\x05\x01")
    assert sha256(b"\x02" + first) == memory.root()
    memory.update({"a/c": b"\x02"})
    second = sha256(b"\x04a/c") + sha256(b"\x05\x02")
    assert sha256(b"\x02" + b"".join(sorted([first, second]))) == memory.root()
    memory.update({"a/b": None, "a/c": None})
    assert EMPTY == memory.root()


def test_nothing_is_proven_of_the_empty_map_but_absence():
    proof = StateMap(hash_name="sha256").prove("a/b")
    assert StateProof(steps=(), others=b"") == proof
    verify_state_proof(proof, key="a/b", value=None, root=EMPTY, hash_name="sha256")
    require_refused("ledger.state_proof_broken", proof, key="a/b", value=b"\x01", root=EMPTY)


def test_a_map_does_not_remember_what_was_in_it(memory):
    memory.update({f"other/{number}": b"x" for number in range(100)})
    memory.update({f"other/{number}": None for number in range(100)})
    assert StateMap(CONTENT, hash_name="sha256").root() == memory.root()


def test_the_keys_of_this_file_stand_where_the_tests_need_them(memory):
    assert b"" == memory.prove(ABSENT_EMPTY).others
    assert b"" != memory.prove(ABSENT_OTHER).others
    assert memory.prove(ABSENT_EMPTY).steps
    assert memory.prove(ABSENT_OTHER).steps


def test_leaves_that_share_nearly_all_their_path_part_where_they_differ():
    new = hash_constructor("sha256")
    records = [bytes(31) + bytes([last]) + b"v" * 32 for last in range(7)]
    expected = sha256(b"\x03" + b"".join(sha256(b"\x02" + record) for record in records) + bytes(9 * 32))
    for _ in range(63):
        expected = sha256(b"\x03" + expected + bytes(15 * 32))
    assert expected == subtree_hash(records, 0, new=new)
    assert 64 == len(prove_among(records, bytes(32), new=new).steps)


@pytest.mark.parametrize("key", [ABSENT_EMPTY, ABSENT_OTHER])
def test_an_absent_key_is_proven_absent_and_nothing_else(memory, key):
    """[MAP-7]"""
    proof = memory.prove(key)
    verify_state_proof(proof, key=key, value=None, root=memory.root(), hash_name="sha256")
    require_refused("ledger.state_proof_broken", proof, key=key, value=b"", root=memory.root())


def test_a_proof_of_one_key_is_none_of_another(memory):
    for key in KEYS[1:]:
        with pytest.raises(IntegrityError):
            verify_state_proof(
                memory.prove(KEYS[0]), key=key, value=CONTENT[key], root=memory.root(), hash_name="sha256"
            )


def test_a_present_key_cannot_be_passed_off_as_absent(memory):
    """Neither as missing among others, nor behind its own record, nor at a place that is not its own. [MAP-8]"""
    key, root = KEYS[0], memory.root()
    proof = memory.prove(key)
    own = state_record(key, CONTENT[key], hash_name="sha256")
    require_refused("ledger.state_proof_broken", proof, key=key, value=None, root=root)
    every = b"".join(sorted([own, *records_in(proof.others)]))
    require_refused("ledger.state_proof_broken", replace(proof, others=every), key=key, value=None, root=root)
    elsewhere = memory.prove(ABSENT_OTHER)
    require_refused("ledger.state_proof_broken", elsewhere, key=key, value=None, root=root)
    require_refused("ledger.state_proof_broken", replace(proof, others=b""), key=key, value=None, root=root)


def records_in(others):
    return [others[at : at + 64] for at in range(0, len(others), 64)]


def test_others_that_are_not_others(memory):
    """[MAP-8]"""
    key = ABSENT_OTHER
    proof, root = memory.prove(key), memory.root()
    first = records_in(proof.others)[0]
    later = bytes([255]) * 64
    for others in (first[:-1], first + b"\x00", first + first, later + first, first * 7):
        hostile = replace(proof, others=others)
        require_refused("ledger.state_proof_malformed", hostile, key=key, value=None, root=root)
    for value in (None, b"x"):
        hostile = replace(proof, others=first + later)
        require_refused("ledger.state_proof_broken", hostile, key=key, value=value, root=root)


def test_no_seventh_leaf_can_be_put_beside_six():
    six = {f"a/{number}": b"v" for number in range(6)}
    memory = StateMap(six, hash_name="sha256")
    proof = memory.prove("a/6")
    assert 6 * 64 == len(proof.others)
    records = sorted([*records_in(proof.others), state_record("a/6", b"v", hash_name="sha256")])
    forged = sha256(b"\x02" + b"".join(records))
    require_refused("ledger.state_proof_broken", proof, key="a/6", value=b"v", root=forged)


def test_a_node_cannot_be_passed_off_as_leaves(memory):
    """A shortened way ends at a node's hash, which is no leaves' and not empty."""
    proof = memory.prove(ABSENT_OTHER)
    short = replace(proof, steps=proof.steps[:-1])
    require_refused("ledger.state_proof_broken", short, key=ABSENT_OTHER, value=None, root=memory.root())


def test_steps_that_are_not_steps(memory):
    """[MAP-8]"""
    key, root = KEYS[0], memory.root()
    proof = memory.prove(key)
    own_bit = (1 << int(state_path(key, hash_name="sha256").hex()[0], 16)).to_bytes(2, "big")
    first = proof.steps[0]
    for step in (b"", b"\x00", first[:-1], first + b"\x00", own_bit + bytes([1]) * 32, b"\xff\xff" + bytes(16 * 32)):
        hostile = replace(proof, steps=(step, *proof.steps[1:]))
        require_refused("ledger.state_proof_malformed", hostile, key=key, value=CONTENT[key], root=root)


def test_a_step_may_not_spell_out_an_empty_place():
    """[MAP-9]: else one proof would have many forms."""
    content = {f"a/{number}": b"v" for number in range(7)}
    memory = StateMap(content, hash_name="sha256")
    proof = memory.prove("a/1")
    mask = int.from_bytes(proof.steps[0][:2], "big")
    own = int(state_path("a/1", hash_name="sha256").hex()[0], 16)
    free = next(slot for slot in range(16) if slot != own and not mask >> slot & 1)
    at = 2 + 32 * (mask & (1 << free) - 1).bit_count()
    first = (mask | 1 << free).to_bytes(2, "big") + proof.steps[0][2:at] + EMPTY + proof.steps[0][at:]
    padded = replace(proof, steps=(first, *proof.steps[1:]))
    require_refused("ledger.state_proof_malformed", padded, key="a/1", value=b"v", root=memory.root())


@pytest.mark.parametrize("key", ["", "ü", "a" * 256])
def test_what_cannot_be_a_key(memory, key):
    require_refused(
        "ledger.state_proof_malformed", StateProof(steps=(), others=b""), key=key, value=None, root=memory.root()
    )


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {"others": b""},
        {"others": b"", "steps": None},
        {"others": b"", "steps": [1]},
        {"others": b"", "steps": ["text"]},
        {"others": "text", "steps": []},
        {"others": None, "steps": []},
        {"others": bytes(63), "steps": []},
        {"others": b"", "steps": [], "more": 1},
        {"others": b"", "steps": [b"\x00\x00"] * 65},
        {"others": b"", "steps": [bytes(483)]},
    ],
)
def test_values_that_are_no_proof(value):
    with pytest.raises(IntegrityError) as caught:
        decode_state_proof(encode_cbor(value))
    assert "ledger.state_proof_malformed" == caught.value.code
    with pytest.raises(IntegrityError) as caught:
        decode_state_proof(encode_cbor(value))
    assert "ledger.state_proof_malformed" == caught.value.code


def test_bytes_that_are_no_proof(memory):
    encoded = encode_state_proof(memory.prove(KEYS[0]))
    long_form = b"\xb8\x02" + encoded[1:]
    for data in (b"", encoded[:-1], encoded + b"\x00", long_form, bytes(MAX_STATE_PROOF_BYTES + 1)):
        with pytest.raises(IntegrityError) as caught:
            decode_state_proof(data)
        assert "ledger.state_proof_malformed" == caught.value.code


def test_every_changed_byte_of_a_proof_is_found(memory):
    """[MAP-9]"""
    for key, value in ((KEYS[0], CONTENT[KEYS[0]]), (ABSENT_OTHER, None)):
        encoded = encode_state_proof(memory.prove(key))
        for at in range(len(encoded)):
            changed = encoded[:at] + bytes([encoded[at] ^ 1]) + encoded[at + 1 :]
            with pytest.raises(IntegrityError):
                verify_state_proof(
                    decode_state_proof(changed), key=key, value=value, root=memory.root(), hash_name="sha256"
                )


def test_the_value_form_is_that_of_the_specification(memory):
    proof = memory.prove(ABSENT_OTHER)
    assert {"others": proof.others, "steps": list(proof.steps)} == decode_cbor(encode_state_proof(proof))


def test_a_nibble_is_a_hex_digit_of_the_path_at_every_depth():
    """[MAP-1]"""
    path = sha256(b"path")
    assert [int(digit, 16) for digit in path.hex()] == [nibble(path, depth) for depth in range(64)]
    assert [{int(digit, 16): [path]} for digit in path.hex()] == [by_nibble([path], depth) for depth in range(64)]


def test_the_longest_key_has_its_proof():
    """[MAP-8]"""
    key = "a" * 255
    memory = StateMap({key: b"v"}, hash_name="sha256")
    verify_state_proof(memory.prove(key), key=key, value=b"v", root=memory.root(), hash_name="sha256")


def test_a_proof_has_16384_bytes_at_most():
    """[MAP-9]"""
    with pytest.raises(IntegrityError, match="16385 bytes"):
        decode_state_proof(bytes(16_385))


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
