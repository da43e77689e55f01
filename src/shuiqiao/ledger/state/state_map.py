"""The state map: one hash over everything live in the state, and short proofs that a key has a value or has none.

A sparse Merkle map of 16 ways (docs/spec/state-map.md). A key stands at a path of 64 nibbles, its hash. A place under
which nothing stands is 32 zero bytes, a place with up to six leaves is one hash over them however deep their paths go
on, and any other place is a node over 16 places. So the map has about log16(n) levels, and its root depends on nothing
but the keys and values in it [MAP-5].

Pure functions, and ``StateMap``, the whole map in memory, for replaying a ledger from its genesis. ``ledger/store``
keeps the same map on disk. A proof speaks for a root only: the checkpoint says who signed the root.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from shuiqiao.base.encoding import decode_cbor, decode_cbor_strict, encode_cbor, typed
from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.ledger.log.tree import HASH_BYTES
from shuiqiao.ledger.state.overlay import MAX_KEY_BYTES

if TYPE_CHECKING:
    from shuiqiao.base.ids import MemberId
    from shuiqiao.ledger.state.machine import ReplayRecord

WAYS: Final = 16
"""Places of a node. One hash of 16 places takes about as long as two of two places, and stands for 15 of those."""

MAX_LEAVES: Final = 6
"""Most leaves that are hashed as one. Small subtrees, which nearly every update touches, so cost one hash."""

PATH_NIBBLES: Final = 2 * HASH_BYTES
NODE_BYTES: Final = 1 + WAYS * HASH_BYTES
"""What is hashed for a node: its prefix and 16 hashes."""

RECORD_BYTES: Final = 2 * HASH_BYTES
"""A leaf: its path and its value hash [MAP-3]."""

EMPTY: Final = bytes(HASH_BYTES)
"""[MAP-4]: the hash of a place under which nothing stands, and the root of the empty map."""

MAX_STATE_PROOF_BYTES: Final = 16_384
"""Longest encoded proof, in bytes: the map of 2^53 keys stays below it."""

_LEAVES: Final = b"\x02"
_NODE: Final = b"\x03"
_PATH: Final = b"\x04"
_VALUE: Final = b"\x05"
_MASK_BYTES: Final = 2
_MAX_STEP_BYTES: Final = _MASK_BYTES + (WAYS - 1) * HASH_BYTES
_EMPTY_PLACES: Final = WAYS * EMPTY

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


def leaves_hash(records: bytes, *, new: NewHash) -> bytes:
    """Return the hash of a place with these records, at most six, in order of path."""
    return new(_LEAVES + records).digest() if records else EMPTY


def subtree_hash(records: Sequence[bytes], depth: int, *, new: NewHash) -> bytes:
    """Return the hash of the place at a depth under which exactly these records stand, in order of path [MAP-4].

    With all records and depth 0 it is the root: this is the definition of the map.
    """
    if len(records) <= MAX_LEAVES:
        return leaves_hash(b"".join(records), new=new)
    return new(_NODE + subtree_places(records, depth, new=new)).digest()


def subtree_places(records: Sequence[bytes], depth: int, *, new: NewHash) -> bytes:
    """Return the 16 hashes of the node over these records, 512 bytes.

    It calls itself once a level and ends at the last nibble: two different paths differ by then.
    """
    groups = by_nibble(records, depth)
    return b"".join([subtree_hash(groups.get(slot, ()), depth + 1, new=new) for slot in range(WAYS)])


class StateProof(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a key has its value, or none, under a root; receipts hold it as a map of its two fields [MAP-9].

    steps: for each node on the key's way, from the root down: 16 bits that name the other places which are not empty
    (the highest is place 15), then their hashes in order of place. others: the records of the other leaves at the place
    where the way ends, in order of path, 64 bytes each.
    """

    steps: tuple[bytes, ...]
    others: bytes


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


def others_of(records: Iterable[bytes], path: bytes) -> bytes:
    """Return the records, in the order given, without that of a path."""
    return b"".join([record for record in records if not record.startswith(path)])


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
    for depth in reversed(range(len(proof.steps))):
        places = _places_of_step(proof.steps[depth], slot=nibble(path, depth), own=current)
        current = new(_NODE + places).digest()
    if current != root:
        raise _broken(f"the proof of {key!r} leads to root {current.hex()}, not to {root.hex()}")


def _place_hash(proof: StateProof, *, path: bytes, value: bytes | None, new: NewHash) -> bytes:
    """Return the hash of the place where the proof ends, by what it says stands there [MAP-7]."""
    others = [proof.others[at : at + RECORD_BYTES] for at in range(0, len(proof.others), RECORD_BYTES)]
    way = path.hex()[: len(proof.steps)]
    if any(other.startswith(path) or not other.hex().startswith(way) for other in others):
        raise _broken("another leaf is the key's own, or would not stand on the key's way")
    if value is None:
        return leaves_hash(proof.others, new=new)
    own = path + new(_VALUE + value).digest()
    if len(others) == MAX_LEAVES:
        raise _broken(f"a place with more than {MAX_LEAVES} leaves is a node")
    return leaves_hash(b"".join(sorted([*others, own])), new=new)


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
    count, rest = divmod(len(proof.others), RECORD_BYTES)
    if rest or count > MAX_LEAVES:
        raise _malformed(
            f"the other leaves have {len(proof.others)} bytes, not up to {MAX_LEAVES} times {RECORD_BYTES}"
        )
    paths = [proof.others[at : at + HASH_BYTES] for at in range(0, len(proof.others), RECORD_BYTES)]
    if any(first >= second for first, second in pairwise(paths)):
        raise _malformed("the other leaves do not stand in order of path")


def encode_state_proof(proof: StateProof) -> bytes:
    """Return a proof as deterministic CBOR."""
    return encode_cbor(msgspec.to_builtins(proof, builtin_types=(bytes,)))


def decode_state_proof(data: bytes) -> StateProof:
    """Return the proof in bytes from outside; raises IntegrityError ``ledger.state_proof_malformed``."""
    try:
        proof = typed(decode_cbor_strict(data, max_bytes=MAX_STATE_PROOF_BYTES), StateProof, builtin_types=(bytes,))
    except (InvalidInput, msgspec.ValidationError) as error:
        raise _malformed(str(error)) from error
    _require_form(proof)
    return proof


def _malformed(reason: str) -> IntegrityError:
    return IntegrityError("ledger.state_proof_malformed", f"not a state proof: {reason}")


def _broken(reason: str) -> IntegrityError:
    return IntegrityError("ledger.state_proof_broken", reason)


class _Node:
    """Seven leaves or more: 16 places, each a list of up to six records or a node; its hash while nothing changed."""

    __slots__ = ("digest", "places")

    def __init__(self) -> None:
        self.places: list[list[bytes] | _Node] = [[] for _ in range(WAYS)]
        self.digest: bytes | None = None

    def few(self) -> list[bytes] | None:
        """Return all records, in order of path, if they are too few for a node."""
        found: list[bytes] = []
        for place in self.places:
            if isinstance(place, _Node):
                return None
            found += place
        return found if len(found) <= MAX_LEAVES else None


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
        few = self._top.few()
        return self._hash(self._top if few is None else few)

    def prove(self, key: str) -> StateProof:
        """Return the proof of what the map holds at a key, which may be nothing."""
        path = state_path(key, hash_name=self._hash_name)
        steps: list[bytes] = []
        few = self._top.few()
        place: list[bytes] | _Node = self._top if few is None else few
        while isinstance(place, _Node):
            slot = nibble(path, len(steps))
            steps.append(proof_step(self._places(place), slot))
            place = place.places[slot]
        return StateProof(steps=tuple(steps), others=others_of(place, path))

    def _insert(self, record: bytes) -> None:
        node, depth = self._top, 0
        while True:
            node.digest = None
            slot = nibble(record, depth)
            place = node.places[slot]
            depth += 1
            if not isinstance(place, _Node):
                standing = [other for other in place if other[:HASH_BYTES] != record[:HASH_BYTES]]
                if len(standing) < MAX_LEAVES:
                    node.places[slot] = sorted([*standing, record])
                    return
                # Seven leaves cannot be hashed as one: those that stood here go one nibble further down.
                node.places[slot] = place = _Node()
                for other in standing:
                    below = place.places[nibble(other, depth)]
                    assert isinstance(below, list)
                    below.append(other)
            node = place

    def _remove(self, path: bytes) -> None:
        way = [self._top]
        place = self._top.places[nibble(path, 0)]
        while isinstance(place, _Node):
            way.append(place)
            place = place.places[nibble(path, len(way) - 1)]
        left = [record for record in place if not record.startswith(path)]
        if len(left) == len(place):
            return
        way[-1].places[nibble(path, len(way) - 1)] = left
        for depth in reversed(range(len(way))):
            way[depth].digest = None
            few = way[depth].few()
            if few is not None and depth > 0:
                way[depth - 1].places[nibble(path, depth - 1)] = few

    def _places(self, node: _Node) -> bytes:
        return b"".join([self._hash(place) for place in node.places])

    def _hash(self, place: list[bytes] | _Node) -> bytes:
        if not isinstance(place, _Node):
            return leaves_hash(b"".join(place), new=self._new)
        if place.digest is None:
            place.digest = self._new(_NODE + self._places(place)).digest()
        return place.digest


class MemoryState:
    """The state after one block. Its map is made when a root is first asked for."""

    def __init__(self, encoded: Mapping[str, bytes]) -> None:
        self._encoded = dict(encoded)
        self._map: StateMap | None = None
        self._expiry_hours: dict[tuple[str, bytes], int] = {}
        self._ahead: Mapping[str, bytes | None] = {}
        """Writes that the map holds already and the state does not."""

    def get(self, key: str) -> Any:
        """Return the value of a key, or None if absent."""
        data = self._encoded.get(key)
        return None if data is None else decode_cbor(data)

    def encoded_value(self, key: str) -> bytes | None:
        """Return the encoded value of a key, or None if absent."""
        return self._encoded.get(key)

    def root_after(self, writes: Mapping[str, bytes | None], *, hash_name: str) -> bytes:
        """Return the root of the state map with these writes taken over; ``write`` then takes them over."""
        state_map = self._map or StateMap(self._encoded, hash_name=hash_name)
        self._map = state_map
        self._go_back()
        state_map.update(writes)
        self._ahead = dict(writes)
        return state_map.root()

    def write(self, writes: Mapping[str, bytes | None]) -> None:
        """Take over the writes of an executed block."""
        if self._ahead != writes:
            self._go_back()
            if self._map is not None:
                self._map.update(writes)
        self._ahead = {}
        for key, data in writes.items():
            if data is None:
                self._encoded.pop(key, None)
            else:
                self._encoded[key] = data

    def expiry_hour(self, author: MemberId, transaction_id: bytes) -> int | None:
        """Return the hour in which an accepted id expires, None if it is not remembered (``machine.ReplayIndex``)."""
        return self._expiry_hours.get((author, transaction_id))

    def remember(self, record: ReplayRecord) -> None:
        """Remember an accepted id."""
        self._expiry_hours[record.author, record.id] = record.expiry_hour

    def forget(self, *, before_hour: int) -> None:
        """Forget the ids that expired."""
        self._expiry_hours = {key: hour for key, hour in self._expiry_hours.items() if hour >= before_hour}

    def encoded(self) -> dict[str, bytes]:
        """Return every key with its encoded value."""
        return dict(self._encoded)

    def prove(self, key: str, *, hash_name: str) -> StateProof:
        """Return the proof of what the state holds at a key, which may be nothing."""
        self.root_after({}, hash_name=hash_name)
        assert self._map is not None
        return self._map.prove(key)

    def _go_back(self) -> None:
        """Take writes out of the map that no block followed."""
        if self._map is not None and self._ahead:
            self._map.update({key: self._encoded.get(key) for key in self._ahead})
        self._ahead = {}
