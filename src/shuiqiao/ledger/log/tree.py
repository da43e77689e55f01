"""The Merkle log: roots, inclusion and consistency proofs over any hash ``hashlib`` knows (RFC 6962 section 2.1).

Pure functions over 32-byte hashes. A leaf is hashed as ``H(0x00 || data)``, a node as ``H(0x01 || left || right)``
[LEDGER-LOG-1]. Proofs are built from a HashReader, which knows the hash of every complete subtree, so a store that
keeps those never reads a leaf to prove one. Nothing here stores anything: ``ledger/store`` does. The vault uses the
same functions for the trees of its batches.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial, reduce
from typing import Protocol

from shuiqiao.base.errors import IntegrityError, InvalidInput

HASH_BYTES = 32
MAX_TREE_SIZE = 2**53 - 1
"""Largest number of leaves: an index fits every JSON reader exactly."""

MAX_PATH = 53
"""Longest inclusion path of a tree of MAX_TREE_SIZE leaves, in hashes; a consistency path has one more."""


class HashReader(Protocol):
    """Whatever knows the hashes of complete subtrees: a store's tiles, or a list in memory."""

    def node(self, level: int, index: int) -> bytes:
        """Return the hash of the complete subtree over leaves [index * 2^level, (index + 1) * 2^level)."""
        ...


HashFunction = Callable[[bytes | memoryview], bytes]


@lru_cache(maxsize=8)
def hash_function(hash_name: str) -> HashFunction:
    """Return data -> digest for a hash name, by the fastest constructor there is."""
    constructor = getattr(hashlib, hash_name, None) or partial(hashlib.new, hash_name)
    return lambda data: constructor(data).digest()


def leaf_hash(data: bytes, *, hash_name: str) -> bytes:
    """Return the hash of a leaf: ``H(0x00 || data)``."""
    return hash_function(hash_name)(b"\x00" + data)


def leaf_hashes(leaves: Iterable[bytes], *, hash_name: str) -> list[bytes]:
    """Return the hashes of many leaves."""
    digest = hash_function(hash_name)
    return [digest(b"\x00" + data) for data in leaves]


def node_hash(left: bytes, right: bytes, *, hash_name: str) -> bytes:
    """Return the hash of an inner node: ``H(0x01 || left || right)``."""
    return hash_function(hash_name)(b"\x01" + left + right)


def empty_root(*, hash_name: str) -> bytes:
    """Return the root of a log without leaves: the hash of nothing."""
    return hash_function(hash_name)(b"")


class Frontier:
    """The right edge of a growing log: the hashes of its complete subtrees, largest first, one per bit of the size.

    It is all that is needed to append and to tell the root. ``append`` returns the complete nodes that came into
    being, which is what a store keeps to build proofs later.
    """

    def __init__(self, *, hash_name: str, size: int = 0, hashes: Iterable[bytes] = ()) -> None:
        self._digest = hash_function(hash_name)
        self._hash_name = hash_name
        self._size = size
        self._hashes = list(hashes)
        if len(self._hashes) != size.bit_count() or not 0 <= size <= MAX_TREE_SIZE:
            raise ValueError(f"a frontier of {size} leaves has {size.bit_count()} hashes, not {len(self._hashes)}")

    @classmethod
    def from_reader(cls, reader: HashReader, *, size: int, hash_name: str) -> Frontier:
        """Return the frontier of a stored log of a size."""
        hashes = [reader.node(level, index) for level, index in complete_subtrees(0, size)]
        return cls(hash_name=hash_name, size=size, hashes=hashes)

    @property
    def size(self) -> int:
        """Number of leaves."""
        return self._size

    def copy(self) -> Frontier:
        """Return an independent frontier of the same log, to try an append on."""
        return Frontier(hash_name=self._hash_name, size=self._size, hashes=self._hashes)

    def append(self, leaf_hashes: Iterable[bytes]) -> list[tuple[int, int, bytes]]:
        """Append leaf hashes in order; return (level, index, hash) of every complete node made, leaves included."""
        digest, hashes, size = self._digest, self._hashes, self._size
        made: list[tuple[int, int, bytes]] = []
        for leaf in leaf_hashes:
            made.append((0, size, leaf))
            hashes.append(leaf)
            size += 1
            level = 0
            # Each trailing zero bit of the new size is a pair of equal subtrees that has just become complete.
            while not (size >> level) & 1:
                level += 1
                right = hashes.pop()
                node = digest(b"\x01" + hashes.pop() + right)
                hashes.append(node)
                made.append((level, (size >> level) - 1, node))
        self._size = size
        return made

    def root(self) -> bytes:
        """Return the root over all leaves so far."""
        if not self._hashes:
            return self._digest(b"")
        return _join(self._hashes, self._digest)


def _join(hashes: Sequence[bytes], digest: HashFunction) -> bytes:
    """Return the root of adjoining complete subtrees, largest first: joined from the right, as the RFC splits."""
    return reduce(lambda right, left: digest(b"\x01" + left + right), reversed(hashes[:-1]), hashes[-1])


def complete_subtrees(start: int, end: int) -> list[tuple[int, int]]:
    """Return (level, index) of the complete subtrees that cover leaves [start, end), largest first.

    start must be a multiple of the largest power of two not above end - start, as every split of the RFC is.
    """
    covers: list[tuple[int, int]] = []
    while start < end:
        level = (end - start).bit_length() - 1
        covers.append((level, start >> level))
        start += 1 << level
    return covers


def _range_hash(reader: HashReader, start: int, end: int, digest: HashFunction) -> bytes:
    return _join([reader.node(level, index) for level, index in complete_subtrees(start, end)], digest)


def root_from_reader(reader: HashReader, *, size: int, hash_name: str) -> bytes:
    """Return the root of the first ``size`` leaves of a log."""
    if size == 0:
        return empty_root(hash_name=hash_name)
    return _range_hash(reader, 0, size, hash_function(hash_name))


def _split(size: int) -> int:
    """Return the largest power of two below size (RFC 6962's k)."""
    return 1 << ((size - 1).bit_length() - 1)


def inclusion_path(reader: HashReader, *, index: int, size: int, hash_name: str) -> tuple[bytes, ...]:
    """Return the audit path of a leaf in the tree of the first ``size`` leaves, lowest sibling first.

    Raises InvalidInput ``ledger.index_unknown`` for a leaf that is not in that tree.
    """
    if not 0 <= index < size:
        raise InvalidInput("ledger.index_unknown", f"leaf {index} is not in a log of {size} leaves")
    digest = hash_function(hash_name)
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_range_hash(reader, middle, end, digest))
            end = middle
        else:
            path.append(_range_hash(reader, start, middle, digest))
            start = middle
    return tuple(reversed(path))


def consistency_path(reader: HashReader, *, old_size: int, new_size: int, hash_name: str) -> tuple[bytes, ...]:
    """Return the proof that the first ``old_size`` leaves are still the first of ``new_size`` (RFC 6962 section 2.1.2).

    Raises InvalidInput ``ledger.index_unknown`` unless 0 < old_size <= new_size.
    """
    if not 0 < old_size <= new_size:
        raise InvalidInput("ledger.index_unknown", f"no proof leads from {old_size} leaves to {new_size}")
    digest = hash_function(hash_name)
    path: list[bytes] = []
    start, end = 0, new_size
    is_old_root = True
    while old_size != end:
        middle = start + _split(end - start)
        if old_size <= middle:
            path.append(_range_hash(reader, middle, end, digest))
            end = middle
        else:
            path.append(_range_hash(reader, start, middle, digest))
            start = middle
            is_old_root = False
    # The old root itself is known to the verifier and is left out.
    if not is_old_root:
        path.append(_range_hash(reader, start, end, digest))
    return tuple(reversed(path))


def verify_inclusion(
    *, leaf_hash: bytes, index: int, size: int, path: Sequence[bytes], root: bytes, hash_name: str
) -> None:
    """Return if the leaf is at an index of the tree with that size and root (RFC 9162 section 2.1.3.2).

    Raises IntegrityError ``ledger.inclusion_broken`` [LEDGER-LOG-2].
    """
    computed = _root_from_inclusion(leaf_hash, index=index, size=size, path=path, hash_name=hash_name)
    if computed != root:
        raise IntegrityError(
            "ledger.inclusion_broken", f"the path of leaf {index} does not lead to the root of {size} leaves"
        )


def _root_from_inclusion(leaf: bytes, *, index: int, size: int, path: Sequence[bytes], hash_name: str) -> bytes | None:
    """Return the root a path leads to, or None if it has the wrong length."""
    if not 0 <= index < size or len(path) > MAX_PATH:
        return None
    digest = hash_function(hash_name)
    node, last, current = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return None
        if node & 1 or node == last:
            current = digest(b"\x01" + sibling + current)
            # At the right edge, levels where this node has no sibling are passed without a step of the path.
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            current = digest(b"\x01" + current + sibling)
        node >>= 1
        last >>= 1
    return current if last == 0 else None


def verify_consistency(
    *, old_size: int, old_root: bytes, new_size: int, new_root: bytes, path: Sequence[bytes], hash_name: str
) -> None:
    """Return if the older tree is a prefix of the newer one (RFC 9162 section 2.1.4.2).

    Raises IntegrityError ``ledger.consistency_broken`` [LEDGER-LOG-3]. The empty tree is a prefix of every tree,
    with an empty path.
    """
    if old_size == 0:
        is_prefix = not path and old_root == empty_root(hash_name=hash_name) and new_size >= 0
    elif old_size == new_size:
        is_prefix = not path and old_root == new_root
    else:
        # Where the old tree is one complete subtree its root starts the path.
        steps = [old_root, *path] if old_size & (old_size - 1) == 0 else path
        is_prefix = 0 < len(path) <= MAX_PATH + 1 and (old_root, new_root) == roots_of_path(
            old_size, new_size, steps, hash_name=hash_name
        )
    if not is_prefix:
        raise IntegrityError(
            "ledger.consistency_broken", f"the log of {new_size} leaves does not extend the log of {old_size} leaves"
        )


def roots_of_path(
    old_size: int, new_size: int, steps: Sequence[bytes], *, hash_name: str
) -> tuple[bytes, bytes] | None:
    """Return the roots of the first ``old_size`` and of all leaves that a consistency path leads to.

    steps: the path, preceded by the old root where the old tree is one complete subtree, since it then leaves that out.
    None for sizes or a length that no path has (RFC 9162 section 2.1.4.2).
    """
    if not 0 < old_size < new_size or not 0 < len(steps) <= MAX_PATH + 2:
        return None
    digest = hash_function(hash_name)
    node, last = old_size - 1, new_size - 1
    while node & 1:
        node >>= 1
        last >>= 1
    old = new = steps[0]
    for sibling in steps[1:]:
        if last == 0:
            return None
        if node & 1 or node == last:
            old = digest(b"\x01" + sibling + old)
            new = digest(b"\x01" + sibling + new)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            new = digest(b"\x01" + new + sibling)
        node >>= 1
        last >>= 1
    return (old, new) if last == 0 else None
