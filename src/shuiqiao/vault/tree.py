"""The tree of a batch: RFC 6962 over its leaves, kept level by level, with one proof for many leaves.

[VAULT-TREE-1] The tree over ``count`` leaves is that of RFC 6962 section 2.1 with the leaf formula's hashes in the
place of leaf hashes. Built from below, a last node without a neighbour rises unchanged to the next level, which puts
every split where the RFC does; so a full batch of 2^k leaves is one complete subtree, and a batch that is not full
needs no padding.

[VAULT-TREE-2] A multiproof for a set of leaves is, level by level from below and from left to right, the hashes of
those siblings that cannot be computed from the set: no hash too few, none too many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from shuiqiao.base.errors import IntegrityError
from shuiqiao.vault.leaves import hash_all, hash_function
from shuiqiao.vault.model import HASH_BYTES

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


def _sibling_places(indexes: Sequence[int], count: int) -> list[tuple[int, int]]:
    """Return (level, index) of the siblings that a proof for sorted indexes must give, in its order."""
    places: list[tuple[int, int]] = []
    known = list(indexes)
    for level, size in enumerate(level_sizes(count)[:-1]):
        members = set(known)
        places.extend((level, index ^ 1) for index in known if (index ^ 1) not in members and (index ^ 1) < size)
        known = list(dict.fromkeys(index >> 1 for index in known))
    return places


def multiproof(stored: bytes, indexes: Sequence[int], *, count: int) -> bytes:
    """Return the multiproof for strictly rising leaf indexes as a run of hashes.

    stored: all levels of the tree, leaves first, as one run of 32-byte hashes.
    """
    starts = [0]
    for size in level_sizes(count):
        starts.append(starts[-1] + size)
    offsets = ((starts[level] + index) * HASH_BYTES for level, index in _sibling_places(indexes, count))
    return b"".join(stored[at : at + HASH_BYTES] for at in offsets)


def root_from_multiproof(
    leaves: Sequence[bytes], indexes: Sequence[int], proof: Sequence[bytes], *, count: int, hash_name: str
) -> bytes:
    """Return the root that leaves at strictly rising indexes and their multiproof lead to.

    Raises IntegrityError ``vault.proof_malformed`` for an index outside the tree, indexes that do not rise, or a
    proof with a hash too many or too few.
    """
    _check_places(leaves, indexes, count)
    digest, siblings = hash_function(hash_name), iter(proof)
    known, hashes = list(indexes), list(leaves)
    try:
        for size in level_sizes(count)[:-1]:
            known, hashes = _climb(known, hashes, siblings=siblings, size=size, digest=digest)
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
    known: list[int], hashes: list[bytes], *, siblings: Iterator[bytes], size: int, digest: Callable[[bytes], bytes]
) -> tuple[list[int], list[bytes]]:
    """Return the parents of the known nodes of one level, taking unknown siblings from the proof."""
    parents: list[bytes] = []
    at, last = 0, len(known)
    while at < last:
        index, node = known[at], hashes[at]
        at += 1
        if index & 1:
            parents.append(digest(_NODE_PREFIX + next(siblings) + node))
        elif at < last and known[at] == index + 1:
            parents.append(digest(_NODE_PREFIX + node + hashes[at]))
            at += 1
        else:
            # The last node of an odd level has no sibling: it rises unchanged.
            parents.append(digest(_NODE_PREFIX + node + next(siblings)) if index + 1 < size else node)
    return list(dict.fromkeys(index >> 1 for index in known)), parents
