"""Where two ledgers, or a ledger and itself, first differ: a leaf of the log, a key of the state.

Both are found in order and named exactly; of values only digests are told. Pure over what is handed in, with bounded
memory: states are walked side by side in order of key, logs are descended by the hashes of their subtrees.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shuiqiao.base.progress import Progress, no_progress
from shuiqiao.ledger.log.tree import HASH_BYTES, complete_subtrees
from shuiqiao.ledger.state.state_map import state_record

if TYPE_CHECKING:
    from shuiqiao.ledger.log.tree import HashReader

TELL_EVERY: Final = 10_000
"""Keys between two calls of a progress listener."""

Items = Iterable[tuple[bytes, bytes]]
"""Keys with their encoded values, in order of key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateDifference:
    """A key that two states do not agree on. here, there: value hashes [MAP-2], None where the key is absent."""

    key: str
    here: bytes | None
    there: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StateComparison:
    """What comparing two states found. first: the first difference in order of key; differing: how many there are."""

    first: StateDifference | None
    differing: int
    compared: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafDifference:
    """The first leaf that two logs do not agree on, with both hashes."""

    index: int
    here: bytes
    there: bytes


def compare_states(here: Items, there: Items, *, hash_name: str, progress: Progress = no_progress) -> StateComparison:
    """Walk two states side by side and return the first key that differs, in order of key."""
    first: StateDifference | None = None
    differing = compared = 0
    for key, one, other in _side_by_side(iter(here), iter(there)):
        compared += 1
        if compared % TELL_EVERY == 0:
            progress("compare the states 比较状态", compared, None)
        if one == other:
            continue
        differing += 1
        if first is None:
            text = key.decode(errors="replace")
            first = StateDifference(
                key=text,
                here=_value_hash(text, one, hash_name=hash_name),
                there=_value_hash(text, other, hash_name=hash_name),
            )
    return StateComparison(first=first, differing=differing, compared=compared)


def _side_by_side(
    here: Iterator[tuple[bytes, bytes]], there: Iterator[tuple[bytes, bytes]]
) -> Iterator[tuple[bytes, bytes | None, bytes | None]]:
    one, other = next(here, None), next(there, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one[0] < other[0]):
            assert one is not None
            yield one[0], one[1], None
            one = next(here, None)
        elif one is None or other[0] < one[0]:
            yield other[0], None, other[1]
            other = next(there, None)
        else:
            yield one[0], one[1], other[1]
            one, other = next(here, None), next(there, None)


def _value_hash(key: str, value: bytes | None, *, hash_name: str) -> bytes | None:
    return None if value is None else state_record(key, value, hash_name=hash_name)[HASH_BYTES:]


def first_leaf_difference(here: HashReader, there: HashReader, *, size: int) -> LeafDifference | None:
    """Return the first of so many leaves at which two stored logs part, by O(log n) look-ups.

    Raises what the readers raise for a hash that is missing.
    """
    for level, index in complete_subtrees(0, size):
        if here.node(level, index) != there.node(level, index):
            return _descend(here, there, level=level, index=index)
    return None


def _descend(here: HashReader, there: HashReader, *, level: int, index: int) -> LeafDifference:
    while level:
        level, index = level - 1, 2 * index
        if here.node(level, index) == there.node(level, index):
            # The left half agrees, so the right one does not.
            index += 1
    return LeafDifference(index=index, here=here.node(0, index), there=there.node(0, index))
