"""Where two ledgers, or a ledger and itself, first differ: a leaf of the log, a key of the state, a page of its map.

All are found in order and named exactly; of values only digests are told. Pure over what is handed in, with bounded
memory: states are walked side by side in order of key, logs are descended by the hashes of their subtrees.

``check_state_map`` asks whether the stored state map holds: its pages under their root, and every value of the state in
it. The root is in the last block entry, and so in the signed log: with it, a value that was altered on the disk is
found without executing anything. It reads one page at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shuiqiao.base.progress import Progress, no_progress
from shuiqiao.ledger.log.tree import HASH_BYTES, complete_subtrees
from shuiqiao.ledger.state.state_map import PLACES, WAYS, NewHash, hash_constructor, leaves_hash, nibble, state_record
from shuiqiao.ledger.store.state_page import has_child, is_low, page_hash, records_at, records_of, root_of
from shuiqiao.ledger.store.state_tree import TOP, page_key

if TYPE_CHECKING:
    from shuiqiao.ledger.log.tree import HashReader
    from shuiqiao.ledger.store.index import Snapshot

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


_DIGITS: Final = b"0123456789abcdef"
_KEPT_DEPTH: Final = 2
"""Pages so far from the top, at most 273, are kept while the values are looked up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapFault:
    """What does not hold. key: the state key it was met at, empty for a page of the map."""

    key: str
    says: str


def check_state_map(
    view: Snapshot, *, root: bytes, hash_name: str, progress: Progress = no_progress
) -> MapFault | None:
    """Return the first thing that does not hold, None for a map that is what its root says.

    root: of the map, as the last block entry has it.
    """
    pages = _Pages(view, new=hash_constructor(hash_name))
    fault = pages.check(root)
    if fault is not None:
        return fault
    count = 0
    for key, value in view.state_items():
        count += 1
        if count % TELL_EVERY == 0:
            progress("check the state 核对状态", count, view.state_count())
        text = key.decode(errors="replace")
        if not pages.holds(state_record(text, value, hash_name=hash_name)):
            return MapFault(key=text, says="its stored value is not the one whose hash the state map holds")
    if count != pages.records:
        return MapFault(key="", says=f"the state has {count} keys, its map {pages.records}")
    return None


class _Pages:
    """The pages of one stored map."""

    def __init__(self, view: Snapshot, *, new: NewHash) -> None:
        self._view = view
        self._new = new
        self._kept: dict[bytes, bytes | None] = {}
        self.records = 0

    def check(self, root: bytes) -> MapFault | None:
        """Compare every page with the hash above it, the top with the root, and count the records."""
        top = self._page(TOP)
        if root_of(top, new=self._new) != root:
            return MapFault(key="", says=f"its top page does not give the root {root.hex()}")
        waiting = [] if top is None else [(TOP, top)]
        while waiting:
            prefix, page = waiting.pop()
            self.records += len(records_of(page))
            if is_low(page):
                continue
            for slot in range(WAYS):
                place = page[PLACES[slot]]
                if not has_child(page, slot):
                    if leaves_hash(b"".join(records_at(page, slot)), new=self._new) != place:
                        return MapFault(key="", says=f"place {slot} of page {prefix.decode()!r} has another hash")
                    continue
                way = prefix + _DIGITS[slot : slot + 1]
                below = self._page(way)
                if below is None or page_hash(below, new=self._new) != place:
                    return MapFault(key="", says=f"page {way.decode()!r} is not the one that the page above says")
                waiting.append((way, below))
        return None

    def holds(self, record: bytes) -> bool:
        """Return whether the map has exactly this record at its path."""
        page = self._page(TOP)
        if page is None:
            return False
        if is_low(page):
            return record in records_of(page)
        path = record[:HASH_BYTES]
        digits = path.hex().encode()
        depth, slot = 0, nibble(path, 0)
        while page is not None and has_child(page, slot):
            depth += 1
            page, slot = self._page(digits[:depth]), nibble(path, depth)
        return page is not None and record in records_at(page, slot)

    def _page(self, prefix: bytes) -> bytes | None:
        if len(prefix) > _KEPT_DEPTH:
            return self._view.page(page_key(prefix))
        if prefix not in self._kept:
            self._kept[prefix] = self._view.page(page_key(prefix))
        return self._kept[prefix]
