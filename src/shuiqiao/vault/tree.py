"""The Merkle tree of a batch: the leaf of a record, the tree over the leaves, and one proof for many of them.

    leaf = H(0x00 || H(salt_1 || group_1) || ... || H(salt_n || group_n))        [VAULT-LEAF-1]

H is the suite hash, salts are 16 random bytes each, groups stand in catalogue order. A recipient that is not granted
a group gets H(salt || group) in its place: enough to recompute the leaf, and nothing to guess against without the salt
[VAULT-LEAF-2].

[VAULT-TREE-1] The tree over ``count`` leaves is that of RFC 6962 section 2.1 with the leaf formula's hashes in the
place of leaf hashes. Built from below, a last node without a neighbour rises unchanged to the next level, which puts
every split where the RFC does; so a full batch of 2^k leaves is one complete subtree, and a batch that is not full
needs no padding.

[VAULT-TREE-2] A multiproof for a set of leaves is, level by level from below and from left to right, the hashes of
those siblings that cannot be computed from the set: no hash too few, none too many.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from operator import add
from typing import TYPE_CHECKING, Any

from shuiqiao.base.errors import IntegrityError
from shuiqiao.vault.model import HASH_BYTES, SALT_BYTES

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

LEAF_PREFIX = b"\x00"


@dataclass(frozen=True, slots=True, kw_only=True)
class HashedRows:
    """Canonical rows with what was hashed of them, on their way into a batch.

    rows: RecordBatch. groups: per disclosure group, an Arrow binary array. salts: 16 bytes per row and group. leaves:
    one 32-byte hash a row. days: of each row's period, since 1970.
    """

    rows: Any
    groups: tuple[Any, ...]
    salts: bytes
    leaves: list[bytes]
    days: npt.NDArray[np.int32]

    def take(self, kept: npt.NDArray[np.int64]) -> HashedRows:
        """Return the rows at some positions."""
        stride = len(self.groups) * SALT_BYTES
        return HashedRows(
            rows=self.rows.take(kept),
            groups=tuple(column.take(kept) for column in self.groups),
            salts=b"".join(self.salts[at * stride : (at + 1) * stride] for at in kept.tolist()),
            leaves=[self.leaves[at] for at in kept.tolist()],
            days=self.days[kept],
        )

    def slice(self, start: int, stop: int) -> HashedRows:
        """Return the rows from one position up to, but without, another."""
        if start == 0 and stop == len(self.leaves):
            return self
        stride = len(self.groups) * SALT_BYTES
        return HashedRows(
            rows=self.rows.slice(start, stop - start),
            groups=tuple(column.slice(start, stop - start) for column in self.groups),
            salts=self.salts[start * stride : stop * stride],
            leaves=self.leaves[start:stop],
            days=self.days[start:stop],
        )


@lru_cache(maxsize=4)
def hash_function(hash_name: str) -> Callable[[bytes], bytes]:
    """Return data -> digest for a hash name."""
    if hash_name == "sha256":
        return lambda data: hashlib.sha256(data).digest()
    return lambda data: hashlib.new(hash_name, data).digest()


def group_hash(salt: bytes, group: bytes, *, hash_name: str) -> bytes:
    """Return H(salt || group) of one disclosure group."""
    return hash_function(hash_name)(salt + group)


def leaf_from_group_hashes(hashes: Sequence[bytes], *, hash_name: str) -> bytes:
    """Return H(0x00 || hash_1 || ... || hash_n) of one record."""
    return hash_function(hash_name)(LEAF_PREFIX + b"".join(hashes))


def split_salts(salts: bytes, *, groups: int) -> list[list[bytes]]:
    """Cut row-major salts (one run of ``groups`` salts a record) into one column of salts per group."""
    stride = groups * SALT_BYTES
    return [
        [salts[at : at + SALT_BYTES] for at in range(column * SALT_BYTES, len(salts), stride)]
        for column in range(groups)
    ]


def split_hashes(hashes: bytes) -> list[bytes]:
    """Cut a run of 32-byte hashes."""
    return [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]


def hash_all(messages: Iterable[bytes], *, hash_name: str) -> list[bytes]:
    """Return the digest of every message; the one loop in which an ingest spends most of its time."""
    if hash_name == "sha256":
        sha256 = hashlib.sha256
        return [sha256(message).digest() for message in messages]
    # Copying an initialised state skips looking the algorithm up for every small message: a quarter of its time.
    fresh, digests = hashlib.new(hash_name).copy, list[bytes]()
    for message in messages:
        state = fresh()
        state.update(message)
        digests.append(state.digest())
    return digests


def group_hashes(salts: Sequence[bytes], groups: Sequence[bytes], *, hash_name: str) -> list[bytes]:
    """Return H(salt || group) for a column of records."""
    if len(salts) != len(groups):
        raise ValueError(f"{len(salts)} salts for {len(groups)} groups")
    return hash_all(map(add, salts, groups), hash_name=hash_name)


def leaf_hashes(columns: Sequence[Sequence[bytes]], *, hash_name: str) -> list[bytes]:
    """Return the leaves of records whose group hashes stand in one column per group."""
    join = b"".join
    return hash_all((LEAF_PREFIX + join(parts) for parts in zip(*columns, strict=True)), hash_name=hash_name)


_NODE_PREFIX = b"\x01"


def level_sizes(count: int) -> list[int]:
    """Return the number of nodes on each level of the tree over ``count`` >= 1 leaves, leaves first."""
    sizes = [count]
    while sizes[-1] > 1:
        sizes.append((sizes[-1] + 1) // 2)
    return sizes


def tree_levels(leaves: Sequence[bytes], *, hash_name: str) -> list[list[bytes]]:
    """Return every level of the tree over at least one leaf; the last level is the root alone."""
    levels = [list(leaves)]
    while len(levels[-1]) > 1:
        below = levels[-1]
        pairs = zip(below[::2], below[1::2], strict=False)
        level = hash_all((_NODE_PREFIX + left + right for left, right in pairs), hash_name=hash_name)
        levels.append([*level, below[-1]] if len(below) % 2 else level)
    return levels


Run = tuple[int, int]
"""Neighbouring nodes of a level: the first, and the one after the last."""


def _runs(indexes: Sequence[int]) -> list[Run]:
    """Return strictly rising indexes, at least one, as runs with gaps between them: a taxpayer's are mostly one run."""
    if indexes[-1] - indexes[0] + 1 == len(indexes):
        return [(indexes[0], indexes[-1] + 1)]
    cuts = [at for at, (left, right) in enumerate(pairwise(indexes), start=1) if left + 1 != right]
    return [(indexes[start], indexes[stop - 1] + 1) for start, stop in pairwise([0, *cuts, len(indexes)])]


def _parent_runs(runs: Sequence[Run]) -> list[Run]:
    parents: list[Run] = []
    for start, stop in runs:
        first, last = start >> 1, (stop + 1) >> 1
        if parents and parents[-1][1] == first:
            first = parents.pop()[0]
        parents.append((first, last))
    return parents


def _sibling_places(indexes: Sequence[int], count: int) -> Iterator[tuple[int, int]]:
    """Yield (level, index) of the siblings that a proof for rising indexes must give, in its order."""
    runs = _runs(indexes)
    for level, size in enumerate(level_sizes(count)[:-1]):
        for start, stop in runs:
            # Within a run everything is known; what is missing stands beside a left or a right half at its ends.
            if start & 1:
                yield level, start - 1
            if stop & 1 and stop < size:
                yield level, stop
        runs = _parent_runs(runs)


def multiproof(stored: bytes | memoryview, indexes: Sequence[int], *, count: int) -> bytes:
    """Return the multiproof for strictly rising leaf indexes, at least one, as a run of hashes.

    stored: all levels of the tree, leaves first, as one run of 32-byte hashes.
    """
    starts = [0]
    for size in level_sizes(count):
        starts.append(starts[-1] + size)
    offsets = ((starts[level] + index) * HASH_BYTES for level, index in _sibling_places(indexes, count))
    return b"".join([stored[at : at + HASH_BYTES] for at in offsets])


def root_from_multiproof(
    leaves: Sequence[bytes], indexes: Sequence[int], proof: Sequence[bytes], *, count: int, hash_name: str
) -> bytes:
    """Return the root that leaves at strictly rising indexes and their multiproof lead to.

    Raises IntegrityError ``vault.proof_malformed`` for an index outside the tree, indexes that do not rise, or a
    proof with a hash too many or too few.
    """
    _check_places(leaves, indexes, count)
    siblings = iter(proof)
    runs, hashes = _runs(indexes), leaves
    try:
        for size in level_sizes(count)[:-1]:
            hashes = _climb(runs, hashes, siblings=siblings, size=size, hash_name=hash_name)
            runs = _parent_runs(runs)
    except StopIteration:
        raise IntegrityError("vault.proof_malformed", f"the proof of {len(leaves)} leaves is too short") from None
    if next(siblings, None) is not None:
        raise IntegrityError("vault.proof_malformed", f"the proof of {len(leaves)} leaves has hashes too many")
    return hashes[0]


def _check_places(leaves: Sequence[bytes], indexes: Sequence[int], count: int) -> None:
    rising = all(left < right for left, right in pairwise(indexes))
    if not indexes or len(leaves) != len(indexes) or not rising or indexes[0] < 0 or indexes[-1] >= count:
        raise IntegrityError(
            "vault.proof_malformed", f"{len(leaves)} leaves at {len(indexes)} places that do not rise below {count}"
        )


def _climb(
    runs: Sequence[Run], hashes: Sequence[bytes], *, siblings: Iterator[bytes], size: int, hash_name: str
) -> list[bytes]:
    """Return the parents of the known nodes of one level, taking unknown siblings from the proof."""
    parents: list[bytes] = []
    at = 0
    for start, stop in runs:
        nodes = list(hashes[at : at + stop - start])
        at += stop - start
        if start & 1:
            nodes.insert(0, next(siblings))
        if stop & 1 and stop < size:
            nodes.append(next(siblings))
        pairs = zip(nodes[::2], nodes[1::2], strict=False)
        parents += hash_all([_NODE_PREFIX + left + right for left, right in pairs], hash_name=hash_name)
        if len(nodes) & 1:
            # The last node of an odd level has no sibling: it rises unchanged.
            parents.append(nodes[-1])
    return parents
