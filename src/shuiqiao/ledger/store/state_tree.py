"""The state map on disk: the next root before anything is written, pages in LMDB, proofs from any snapshot.

It keeps the map of ``ledger/state/state_map.py`` (docs/spec/state-map.md) in pages, one LMDB value each. Which pages
there are, and every byte of them, follows from the map's content alone [MAP-11]. Like the rest of the index they
are derived.

``StateTree`` plans for the one thread that executes and commits. A plan writes nothing: it may be dropped, and plans
may stand on plans that are not written yet. What is remembered between plans is bound to the bytes of a top page, whose
hashes cover every other page, so it cannot be taken for another state [MAP-12].
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import lmdb

from shuiqiao.ledger.log.tree import HASH_BYTES
from shuiqiao.ledger.state.state_map import (
    MAX_LEAVES,
    NODE_BYTES,
    PATH_NIBBLES,
    PLACES,
    NewHash,
    StateProof,
    hash_constructor,
    leaves_hash,
    nibble,
    others_of,
    proof_step,
    state_path,
)
from shuiqiao.ledger.store.page_source import (
    TOP,
    Layer,
    PageCache,
    PageReader,
    Pages,
    PageSource,
    missing_page,
    page_key,
    unwritten,
)
from shuiqiao.ledger.store.state_page import (
    CHILD,
    EMPTY_PAGE,
    LOW_BYTES,
    grow,
    has_child,
    is_low,
    places_of,
    records_at,
    records_of,
    root_of,
    with_leaf,
    with_place,
)

DATABASE: Final = b"state_map"
"""Name of the LMDB database that holds the pages."""

MAX_CACHED_PAGES: Final = 16_384
"""Pages remembered between plans: about 25 MiB of them, never over 105 MiB, and what one plan itself touches."""

_SLOTS: Final = {digit: slot for slot, digit in enumerate(b"0123456789abcdef")}
_PLACES: Final = {digit: PLACES[slot] for digit, slot in _SLOTS.items()}

_Change = tuple[bytes, bytes, bytes | None]
"""Path in hex digits, path, and the new record or None to remove the leaf."""

_Low = tuple[int, list[bytes]]
"""What a page that is no more leaves to the page above: its place there, and its records."""


def write_pages(writer: lmdb.Transaction, writes: Mapping[bytes, bytes | None], *, db: Any) -> None:
    """Store the pages of a plan: ``PlannedUpdate.writes``, of several plans in their order."""
    # Sorted keys touch each page of the database once.
    items = sorted(writes.items())
    with writer.cursor(db=db) as cursor:
        cursor.putmulti([(key, page) for key, page in items if page is not None])
    for key, page in items:
        if page is None:
            writer.delete(key, db=db)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedUpdate:
    """The map after a block: its root, and what to write for it (page by key, None removes one)."""

    root: bytes
    writes: Mapping[bytes, bytes | None]
    layers: tuple[Layer, ...]
    """This plan and those beneath it that were not written when it was made."""


class StateTree:
    """Plans the updates of the map, for one thread."""

    def __init__(self, *, hash_name: str, max_cached_pages: int = MAX_CACHED_PAGES) -> None:
        self._hash_name = hash_name
        self._new = hash_constructor(hash_name)
        self._cache = PageCache(max_pages=max_cached_pages)
        self._start_depth = 0

    def root(self, reader: PageReader) -> bytes:
        """Return the root of the stored map."""
        return root_of(reader.page(page_key(TOP)), new=self._new)

    def plan(
        self, reader: PageReader, changes: Mapping[str, bytes | None], *, base: PlannedUpdate | None = None
    ) -> PlannedUpdate:
        """Return the map after encoded values by key (None removes one); nothing is written.

        reader: the stored state that this update, or the lowest unwritten plan beneath it, stands on. base: the plan
        this one stands on while that is not stored where the reader reads. Raises ValueError if the two do not fit,
        IntegrityError ``ledger.state_page_missing`` if the stored map is damaged.
        """
        stored = reader.page(page_key(TOP))
        layers = () if base is None else unwritten(base.layers, stored)
        before = layers[-1].after if layers else stored
        self._cache.move_to(before, layers=layers)
        source = PageSource(self._cache, reader, layers=layers)
        changed = _Pass(source, new=self._new)
        changed.run(self._places_of_changes(source, self._digested(changes)))
        pages = changed.pages
        after = pages.get(TOP, before)
        layer = Layer(before=before, after=after, pages=pages)
        self._cache.expect(layer)
        return PlannedUpdate(
            root=root_of(after, new=self._new),
            writes={page_key(prefix): page for prefix, page in pages.items()},
            layers=(*layers, layer),
        )

    def _digested(self, changes: Mapping[str, bytes | None]) -> list[_Change]:
        new = self._new
        found: list[_Change] = []
        for key, value in changes.items():
            path = new(b"\x04" + key.encode()).digest()
            record = None if value is None else path + new(b"\x05" + value).digest()
            found.append((path.hex().encode(), path, record))
        return found

    def _places_of_changes(self, source: PageSource, changes: Sequence[_Change]) -> list[dict[bytes, list[_Change]]]:
        """Return, by depth and page, the changes to leaves that stand in it."""
        start = self._start_depth
        source.fetch([change[0][:start] for change in changes])
        places: list[dict[bytes, list[_Change]]] = [{} for _ in range(start + 1)]
        young, lowest = source.young, PATH_NIBBLES
        for change in changes:
            digits = change[0]
            prefix = digits[:start]
            page = young[prefix] if prefix in young else source.page(prefix)
            if page is None or page[NODE_BYTES + _SLOTS[digits[start]]] == CHILD:
                prefix = _way_to_leaf(source, digits, start)
                places += [{} for _ in range(len(places), len(prefix) + 1)]
            depth = len(prefix)
            here = places[depth]
            if prefix in here:
                here[prefix].append(change)
            else:
                here[prefix] = [change]
            if depth < lowest:  # noqa: PLR1730 - a call of min costs more than all the rest of finding a page
                lowest = depth
        self._start_depth = lowest if changes else start
        return places


class _Pass:
    """One pass over the changed pages of a plan, from the lowest ones up, each once."""

    def __init__(self, source: PageSource, *, new: NewHash) -> None:
        self.pages: Pages = {}
        self._source = source
        self._new = new
        self._nodes: dict[bytes, bytearray] = {}
        self._above: dict[bytes, bytearray] = {}
        self._low: dict[bytes, list[_Low]] = {}

    def run(self, places: Sequence[dict[bytes, list[_Change]]]) -> None:
        """Apply changes given by depth and page, and carry their hashes up to the top page."""
        for depth in range(len(places) - 1, -1, -1):
            here = places[depth]
            self._nodes, self._above = self._above, {}
            low, self._low = self._low, {}
            if low:
                self._dissolve(low, here)
            if here:
                self._change_leaves(here)
            self._change_nodes()

    def _change_nodes(self) -> None:
        """Finish the pages of one level in which nothing changed but hashes of pages below."""
        new, pages, rise = self._new, self.pages, self._rise
        for prefix, changed in self._nodes.items():
            pages[prefix] = bytes(changed)
            if prefix:
                rise(prefix, new(changed[:NODE_BYTES]).digest())

    def _rise(self, prefix: bytes, place: bytes) -> None:
        """Put the new hash of a page into the page above."""
        above = prefix[:-1]
        changed = self._above.get(above)
        if changed is None:
            changed = self._above[above] = bytearray(self._source.require(above))
        changed[_PLACES[prefix[-1]]] = place

    def _change_leaves(self, here: dict[bytes, list[_Change]]) -> None:
        page_of, nodes = self._source.page, self._nodes
        for prefix, changes in here.items():
            before = page_of(prefix) or EMPTY_PAGE
            page = bytes(nodes.pop(prefix)) if prefix in nodes else before
            page = self._with_changes(prefix, page, changes)
            if page != before:
                self._finish(prefix, page)

    def _with_changes(self, prefix: bytes, page: bytes, changes: list[_Change]) -> bytes:
        """Return a page with changes to leaves that stand in it: leaf by leaf while no more than that happens."""
        depth = len(prefix)
        for at, (digits, _, record) in enumerate(changes):
            changed = None
            if record is not None:
                changed = with_leaf(page, _SLOTS[digits[depth]], record, new=self._new)
            if changed is None:
                return self._with_leaves(prefix, page, changes[at:])
            page = changed
        return page

    def _finish(self, prefix: bytes, page: bytes) -> None:
        """Keep a changed page, or dissolve it into the one above if too few leaves are left under it."""
        if not prefix:
            self.pages[prefix] = None if page == EMPTY_PAGE else page
        elif len(page) <= LOW_BYTES and is_low(page):
            self.pages[prefix] = None
            self._low.setdefault(prefix[:-1], []).append((_SLOTS[prefix[-1]], records_of(page)))
        else:
            self.pages[prefix] = page
            self._rise(prefix, self._new(page[:NODE_BYTES]).digest())

    def _dissolve(self, low: Mapping[bytes, list[_Low]], here: dict[bytes, list[_Change]]) -> None:
        """Take the records of pages that are no more into the pages above them, which may go the same way."""
        for prefix, rows in low.items():
            page = bytes(self._nodes.pop(prefix, b"")) or self._source.require(prefix)
            for slot, records in rows:
                place = leaves_hash(b"".join(records), new=self._new)
                page = with_place(page, slot, place=place, mark=len(records), records=records)
            self._finish(prefix, self._with_leaves(prefix, page, here.pop(prefix, [])))

    def _with_leaves(self, prefix: bytes, page: bytes, changes: list[_Change]) -> bytes:
        """Return a page with changes to leaves that stand in it; where they get too many, the pages below are made."""
        depth = len(prefix)
        for digit, group in _by_digit(changes, depth).items():
            slot = _SLOTS[digit]
            before = records_at(page, slot)
            records = _changed_records(before, group)
            if records == before:
                continue
            mark = len(records)
            if mark > MAX_LEAVES:
                place = grow(prefix + group[0][0][depth : depth + 1], records, new=self._new, pages=self.pages)
                mark, records = CHILD, []
            else:
                place = leaves_hash(b"".join(records), new=self._new)
            page = with_place(page, slot, place=place, mark=mark, records=records)
        return page


def _way_to_leaf(source: PageSource, digits: bytes, start: int) -> bytes:
    """Return the digits of the page that holds, or would hold, the leaf at a path."""
    depth = start
    page = source.page(digits[:depth])
    # Pages reach up to the top without a gap, so the way to the lowest one may begin anywhere.
    while page is None and depth:
        depth -= 1
        page = source.page(digits[:depth])
    while page is not None and has_child(page, _SLOTS[digits[depth]]):
        depth += 1
        page = source.require(digits[:depth])
    return digits[:depth]


def _by_digit(changes: list[_Change], depth: int) -> dict[int, list[_Change]]:
    if len(changes) == 1:
        return {changes[0][0][depth]: changes}
    groups: dict[int, list[_Change]] = {}
    for change in changes:
        groups.setdefault(change[0][depth], []).append(change)
    return groups


def _changed_records(records: list[bytes], changes: Iterable[_Change]) -> list[bytes]:
    by_path = {record[:HASH_BYTES]: record for record in records}
    for _, path, record in changes:
        if record is None:
            by_path.pop(path, None)
        else:
            by_path[path] = record
    return [by_path[path] for path in sorted(by_path)]


def prove(reader: PageReader, key: str, *, hash_name: str) -> StateProof:
    """Return the proof of what the stored map holds at a key, which may be nothing.

    Takes no part in any plan: any thread may ask with its own snapshot. Raises IntegrityError
    ``ledger.state_page_missing``.
    """
    path = state_path(key, hash_name=hash_name)
    digits = path.hex().encode()
    page = reader.page(page_key(TOP))
    if page is None:
        return StateProof(steps=(), others=b"")
    if is_low(page):
        return StateProof(steps=(), others=others_of(records_of(page), path))
    steps: list[bytes] = []
    while True:
        slot = nibble(path, len(steps))
        steps.append(proof_step(places_of(page), slot))
        if not has_child(page, slot):
            return StateProof(steps=tuple(steps), others=others_of(records_at(page, slot), path))
        way = digits[: len(steps)]
        page = reader.page(page_key(way)) or missing_page(way)
