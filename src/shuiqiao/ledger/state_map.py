"""The state map: one hash over everything live in the state, and short proofs that a key has a value or has none.

A sparse Merkle map of 16 ways (docs/spec/state-map.md). A key stands at a path of 64 nibbles, its hash. A place under
which nothing stands is 32 zero bytes, a place with one leaf is that leaf's hash however deep the leaf's path goes on,
and any other place is a node over 16 places. So the map has about log16(n) levels, and its root depends on nothing but
the keys and values in it [MAP-5].

Pure functions, and ``StateMap``, the whole map in memory, for replaying a ledger from its genesis. ``ledger/store``
keeps the same map on disk. A proof speaks for a root only: who vouches for the root is the checkpoint's matter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Protocol

from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor
from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.ledger.log import HASH_BYTES
from shuiqiao.ledger.state import MAX_KEY_BYTES

WAYS: Final = 16
"""Places of a node. Eight hashes of two ways cost four times the processor time of two of 16 over the same leaves."""

PATH_NIBBLES: Final = 2 * HASH_BYTES
NODE_BYTES: Final = 1 + WAYS * HASH_BYTES
"""What is hashed for a node: its prefix and 16 hashes."""

RECORD_BYTES: Final = 2 * HASH_BYTES
"""A leaf without its prefix: path and value hash [MAP-3]."""

EMPTY: Final = bytes(HASH_BYTES)
"""[MAP-4]: the hash of a place under which nothing stands, and the root of the empty map."""

MAX_STATE_PROOF_BYTES: Final = 16_384
"""Longest encoded proof, in bytes: the map of 2^53 keys stays below it."""

_LEAF: Final = b"\x02"
_NODE: Final = b"\x03"
_PATH: Final = b"\x04"
_VALUE: Final = b"\x05"
_MASK_BYTES: Final = 2
_MAX_STEP_BYTES: Final = _MASK_BYTES + (WAYS - 1) * HASH_BYTES
_EMPTY_PLACES: Final = WAYS * EMPTY
_EMPTY_NODE: Final = _NODE + _EMPTY_PLACES

PLACES: Final = tuple(slice(1 + HASH_BYTES * slot, 1 + HASH_BYTES * (slot + 1)) for slot in range(WAYS))
"""Where the hash of each place stands in what is hashed for a node."""


class Digested(Protocol):
    """What a hash constructor returns."""

    def digest(self) -> bytes:
        """Return the hash."""
        ...


NewHash = Callable[[bytes | bytearray], Digested]
"""Called as ``new(data).digest()``: for SHA-256 that is ``hashlib``'s own constructor with nothing around it."""


@lru_cache(maxsize=8)
def hash_constructor(hash_name: str) -> NewHash:
    """Return the fastest constructor of a hash that ``hashlib`` knows."""
    constructor = getattr(hashlib, hash_name, None)
    if constructor is not None:
        return constructor  # type: ignore[no-any-return]  # hashlib's constructors by name
    fresh = hashlib.new(hash_name)

    def copied(data: bytes | bytearray) -> Digested:
        # Looking an algorithm up by name takes longer than hashing a node; a copy of a fresh one does not look it up.
        started = fresh.copy()
        started.update(data)
        return started

    return copied


def state_path(key: str, *, hash_name: str) -> bytes:
    """Return the 32 bytes at whose nibbles a key stands [MAP-1]."""
    return hash_constructor(hash_name)(_PATH + key.encode()).digest()


def state_record(key: str, value: bytes, *, hash_name: str) -> bytes:
    """Return path and value hash [MAP-2] of an entry, 64 bytes; value is the encoded state value."""
    new = hash_constructor(hash_name)
    return new(_PATH + key.encode()).digest() + new(_VALUE + value).digest()


def nibble(path: bytes, depth: int) -> int:
    """Return the nibble of a path at a depth, the high half of a byte first."""
    byte = path[depth >> 1]
    return byte & 15 if depth & 1 else byte >> 4


def by_nibble(records: Iterable[bytes], depth: int) -> dict[int, list[bytes]]:
    """Return records by their nibble at a depth, in the order they came in."""
    byte, low = depth >> 1, depth & 1
    groups: dict[int, list[bytes]] = {}
    for record in records:
        slot = record[byte] & 15 if low else record[byte] >> 4
        if slot in groups:
            groups[slot].append(record)
        else:
            groups[slot] = [record]
    return groups


def subtree_hash(records: Sequence[bytes], depth: int, *, new: NewHash) -> bytes:
    """Return the hash of the place at a depth under which exactly these records stand [MAP-4].

    With all records and depth 0 it is the root: this is the definition of the map.
    """
    if not records:
        return EMPTY
    if len(records) == 1:
        return new(_LEAF + records[0]).digest()
    return new(_node_bytes(records, depth, new)).digest()


def subtree_places(records: Sequence[bytes], depth: int, *, new: NewHash) -> bytes:
    """Return the 16 hashes of the node over these records, 512 bytes."""
    return bytes(_node_bytes(records, depth, new)[1:])


def _node_bytes(records: Sequence[bytes], depth: int, new: NewHash) -> bytearray:
    """Return what is hashed for the node over these records.

    It calls itself once a level and ends at the last nibble: two different paths differ by then.
    """
    byte, low = depth >> 1, depth & 1
    node, seen = bytearray(_EMPTY_NODE), 0
    for record in records:
        slot = record[byte] & 15 if low else record[byte] >> 4
        if seen >> slot & 1:
            break
        seen |= 1 << slot
        node[PLACES[slot]] = new(_LEAF + record).digest()
    else:
        # Each leaf has a place of its own: so it nearly always is.
        return node
    for slot, group in by_nibble(records, depth).items():
        node[PLACES[slot]] = subtree_hash(group, depth + 1, new=new)
    return node


@dataclass(frozen=True, slots=True, kw_only=True)
class StateProof:
    """Why a key has its value, or none, under a root.

    steps: for each node on the key's way, from the root down: 16 bits that name the other places which are not empty
    (the highest is place 15), then their hashes in order of place. other: where another leaf stands at the key's
    place, its record (path and value hash, 64 bytes); None for a present key and for an empty place.
    """

    steps: tuple[bytes, ...]
    other: bytes | None


def proof_step(places: bytes, slot: int) -> bytes:
    """Return the step of a proof through one place of a node, from its 16 hashes [MAP-6]."""
    mask, hashes = 0, []
    for other in range(WAYS):
        at = other * HASH_BYTES
        place = places[at : at + HASH_BYTES]
        if other != slot and place != EMPTY:
            mask |= 1 << other
            hashes.append(place)
    return mask.to_bytes(_MASK_BYTES, "big") + b"".join(hashes)


def prove_among(records: Sequence[bytes], path: bytes, depth: int, *, new: NewHash) -> StateProof:
    """Return the part of a proof below a place, from all the records that stand under it."""
    steps: list[bytes] = []
    while len(records) > 1:
        slot = nibble(path, depth)
        steps.append(proof_step(subtree_places(records, depth, new=new), slot))
        records = by_nibble(records, depth).get(slot, [])
        depth += 1
    is_other = bool(records) and not records[0].startswith(path)
    return StateProof(steps=tuple(steps), other=records[0] if is_other else None)


def verify_state_proof(proof: StateProof, *, key: str, value: bytes | None, root: bytes, hash_name: str) -> None:
    """Return if the map with this root holds exactly this encoded value at the key; None: holds nothing there.

    Raises IntegrityError ``ledger.state_proof_malformed`` or ``ledger.state_proof_broken`` [MAP-8].
    """
    _require_form(proof)
    if not key or not key.isascii() or len(key) > MAX_KEY_BYTES:
        raise _malformed(f"a state key is 1 to {MAX_KEY_BYTES} ASCII characters")
    new = hash_constructor(hash_name)
    path = state_path(key, hash_name=hash_name)
    current = _place_hash(proof, path=path, value=value, new=new)
    for depth in range(len(proof.steps) - 1, -1, -1):
        places = _places_of_step(proof.steps[depth], slot=nibble(path, depth), own=current)
        current = new(_NODE + places).digest()
    if current != root:
        raise _broken(f"the proof of {key!r} leads to root {current.hex()}, not to {root.hex()}")


def _place_hash(proof: StateProof, *, path: bytes, value: bytes | None, new: NewHash) -> bytes:
    """Return the hash of the place where the proof ends, by what it says stands there [MAP-7]."""
    if value is not None:
        if proof.other is not None:
            raise _broken("a proof that another leaf stands at a place is no proof of a value")
        return new(_LEAF + path + new(_VALUE + value).digest()).digest()
    if proof.other is None:
        return EMPTY
    depth = len(proof.steps)
    if proof.other.startswith(path) or proof.other.hex()[:depth] != path.hex()[:depth]:
        raise _broken("the other leaf is the key's own, or would not stand on the key's way")
    return new(_LEAF + proof.other).digest()


def _places_of_step(step: bytes, *, slot: int, own: bytes) -> bytes:
    """Return the 16 hashes of a node from a proof's step and the hash at the key's own place."""
    mask = int.from_bytes(step[:_MASK_BYTES], "big")
    if mask >> slot & 1:
        raise _malformed("a step gives a hash for the key's own place")
    if len(step) != _MASK_BYTES + mask.bit_count() * HASH_BYTES:
        raise _malformed(f"a step of {mask.bit_count()} hashes has {len(step)} bytes")
    places = bytearray(_EMPTY_PLACES)
    places[slot * HASH_BYTES : (slot + 1) * HASH_BYTES] = own
    at = _MASK_BYTES
    for other in range(WAYS):
        if mask >> other & 1:
            place = step[at : at + HASH_BYTES]
            if place == EMPTY:
                raise _malformed("a step names an empty place")
            places[other * HASH_BYTES : (other + 1) * HASH_BYTES] = place
            at += HASH_BYTES
    return bytes(places)


def _require_form(proof: StateProof) -> None:
    if len(proof.steps) > PATH_NIBBLES:
        raise _malformed(f"{len(proof.steps)} steps where a path has {PATH_NIBBLES} nibbles")
    if any(not _MASK_BYTES <= len(step) <= _MAX_STEP_BYTES for step in proof.steps):
        raise _malformed(f"a step has {_MASK_BYTES} to {_MAX_STEP_BYTES} bytes")
    if proof.other is not None and len(proof.other) != RECORD_BYTES:
        raise _malformed(f"the other leaf has {len(proof.other)} bytes, not {RECORD_BYTES}")


def state_proof_value(proof: StateProof) -> dict[str, Any]:
    """Return a proof as the CBOR map that receipts hold [MAP-9]."""
    return {"other": proof.other, "steps": list(proof.steps)}


def state_proof_from_value(value: object) -> StateProof:
    """Return the proof in a decoded CBOR value from outside; IntegrityError ``ledger.state_proof_malformed``."""
    if not isinstance(value, dict) or value.keys() != {"other", "steps"}:
        raise _malformed("a proof is a map of other and steps")
    other, steps = value["other"], value["steps"]
    if not isinstance(steps, list) or not all(isinstance(step, bytes) for step in steps):
        raise _malformed("steps is a list of byte strings")
    if other is not None and not isinstance(other, bytes):
        raise _malformed("other is null or a byte string")
    proof = StateProof(steps=tuple(steps), other=other)
    _require_form(proof)
    return proof


def encode_state_proof(proof: StateProof) -> bytes:
    """Return a proof as deterministic CBOR."""
    return encode_cbor(state_proof_value(proof))


def decode_state_proof(data: bytes) -> StateProof:
    """Return the proof in bytes from outside; raises IntegrityError ``ledger.state_proof_malformed``."""
    try:
        value = decode_cbor_strict(data, max_bytes=MAX_STATE_PROOF_BYTES)
    except InvalidInput as error:
        raise _malformed(error.message) from error
    return state_proof_from_value(value)


def _malformed(reason: str) -> IntegrityError:
    return IntegrityError("ledger.state_proof_malformed", f"not a state proof: {reason}")


def _broken(reason: str) -> IntegrityError:
    return IntegrityError("ledger.state_proof_broken", reason)


class _Node:
    """Two leaves or more: 16 places, each empty, one leaf's record, or a node; its hash while nothing changed."""

    __slots__ = ("digest", "places")

    def __init__(self) -> None:
        self.places: list[bytes | _Node | None] = [None] * WAYS
        self.digest: bytes | None = None

    def only_leaf(self) -> bytes | None:
        """Return the record if it is all there is."""
        filled = [place for place in self.places if place is not None]
        return filled[0] if len(filled) == 1 and isinstance(filled[0], bytes) else None


class StateMap:
    """The whole map in memory."""

    def __init__(self, encoded: Mapping[str, bytes] | None = None, *, hash_name: str) -> None:
        self._hash_name = hash_name
        self._new = hash_constructor(hash_name)
        self._top = _Node()
        self.update(encoded or {})

    def update(self, changes: Mapping[str, bytes | None]) -> None:
        """Take over encoded values; None removes a key."""
        for key, value in changes.items():
            if value is None:
                self._remove(state_path(key, hash_name=self._hash_name))
            else:
                self._insert(state_record(key, value, hash_name=self._hash_name))

    def root(self) -> bytes:
        """Return the root over all that is in the map."""
        if all(place is None for place in self._top.places):
            return EMPTY
        leaf = self._top.only_leaf()
        return self._hash(self._top if leaf is None else leaf)

    def prove(self, key: str) -> StateProof:
        """Return the proof of what the map holds at a key, which may be nothing."""
        path = state_path(key, hash_name=self._hash_name)
        steps: list[bytes] = []
        place: bytes | _Node | None = self._top.only_leaf() or self._top
        while isinstance(place, _Node) and (steps or self.root() != EMPTY):
            slot = nibble(path, len(steps))
            steps.append(proof_step(self._places(place), slot))
            place = place.places[slot]
        is_other = isinstance(place, bytes) and not place.startswith(path)
        return StateProof(steps=tuple(steps), other=place if isinstance(place, bytes) and is_other else None)

    def _insert(self, record: bytes) -> None:
        node, depth = self._top, 0
        while True:
            node.digest = None
            slot = nibble(record, depth)
            place = node.places[slot]
            if place is None or (isinstance(place, bytes) and place[:HASH_BYTES] == record[:HASH_BYTES]):
                node.places[slot] = record
                return
            depth += 1
            if isinstance(place, bytes):
                # Two leaves cannot share a place: the one that stood here goes one nibble further down.
                below = _Node()
                below.places[nibble(place, depth)] = place
                node.places[slot] = place = below
            node = place

    def _remove(self, path: bytes) -> None:
        way = [self._top]
        place = self._top.places[nibble(path, 0)]
        while isinstance(place, _Node):
            way.append(place)
            place = place.places[nibble(path, len(way) - 1)]
        if place is None or not place.startswith(path):
            return
        way[-1].places[nibble(path, len(way) - 1)] = None
        for depth in range(len(way) - 1, -1, -1):
            way[depth].digest = None
            leaf = way[depth].only_leaf()
            if leaf is not None and depth > 0:
                way[depth - 1].places[nibble(path, depth - 1)] = leaf

    def _places(self, node: _Node) -> bytes:
        return b"".join([self._hash(place) for place in node.places])

    def _hash(self, place: bytes | _Node | None) -> bytes:
        if place is None:
            return EMPTY
        if isinstance(place, bytes):
            return self._new(_LEAF + place).digest()
        if place.digest is None:
            place.digest = self._new(_NODE + self._places(place)).digest()
        return place.digest
