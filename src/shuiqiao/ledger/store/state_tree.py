"""The state map on disk: the next root before anything is written, pages in LMDB, proofs from any snapshot.

It keeps the map of ``ledger/state/state_map`` (docs/spec/state-map.md) in pages, one LMDB value each. Which pages there
are, and every byte of them, follows from the map's content alone [MAP-11]. Like the rest of the index they are derived.

``StateTree`` plans for the one thread that executes and commits. A plan writes nothing: it may be dropped, and plans
may stand on plans that are not written yet. Pages that are remembered between plans are bound to the bytes of a top
page, whose hashes cover every other page: they belong to every state with that top page and to no other [MAP-12].
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn, Protocol

import lmdb

from shuiqiao.base.errors import IntegrityError
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
    whole,
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


TOP: Final = b""
"""The hex digits of the way to the top page."""

_LENGTHS: Final = [bytes((depth,)) for depth in range(64)]

Pages = dict[bytes, bytes | None]
"""Pages by the hex digits of their way from the top; None: there is no such page."""


def page_key(prefix: bytes) -> bytes:
    """Return the key of a page: pages of one depth stand together, so the few high ones share pages of the database."""
    return _LENGTHS[len(prefix)] + prefix


class PageReader(Protocol):
    """Whatever reads stored pages of one state: a snapshot of the index, or its write transaction."""

    def page(self, key: bytes) -> bytes | None:
        """Return a page by its key, None if there is none."""
        ...

    def pages(self, keys: Sequence[bytes]) -> Iterable[tuple[bytes, bytes]]:
        """Return (key, page) of those keys that there are pages of."""
        ...


class TransactionPages:
    """A PageReader over an LMDB transaction, for the thread that has it."""

    def __init__(self, transaction: lmdb.Transaction, *, db: Any) -> None:
        # LMDB's types cover buffers too, which are not asked for here.
        self._transaction: Any = transaction
        self._db = db

    def page(self, key: bytes) -> bytes | None:
        """Return a page by its key, None if there is none."""
        return whole(self._transaction.get(key, db=self._db))

    def pages(self, keys: Sequence[bytes]) -> Iterable[tuple[bytes, bytes]]:
        """Return (key, page) of those keys that there are pages of."""
        with self._transaction.cursor(db=self._db) as cursor:
            found: list[tuple[bytes, bytes]] = cursor.getmulti(keys)
        for _, page in found:
            whole(page)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """The pages of one plan between the top page it stands on and the one it leads to."""

    before: bytes | None
    after: bytes | None
    pages: Pages


class PageCache:
    """Pages of exactly one content of the map, named by its top page.

    It follows a plan only when the next one stands on it, so a dropped plan leaves nothing behind. Two generations:
    what was not asked for while the younger one filled is forgotten.
    """

    # Not a cache of cachetools: a plan may lose no page that it touched, and its inner loops read the dictionaries.

    def __init__(self, *, max_pages: int) -> None:
        self._half = max(1, max_pages // 2)
        self._top: bytes | None = None
        self._expected: tuple[Layer, ...] = ()
        self.young: Pages = {}
        self.old: Pages = {}

    def expect(self, layer: Layer) -> None:
        """Remember a plan that the next one may stand on."""
        self._expected = (*self._expected[-3:], layer)

    def move_to(self, top: bytes | None, *, layers: tuple[Layer, ...]) -> None:
        """Hold pages of the content with this top page from now on; layers: the unwritten plans that lead to it."""
        if len(self.young) > self._half:
            self.old, self.young = self.young, {}
        if top == self._top:
            return
        way = self._way_to(top, layers)
        if not way:
            self.young, self.old = {}, {}
        for layer in way:
            self.young.update(layer.pages)
        self._top = top

    def _way_to(self, top: bytes | None, layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
        """Return the plans that lead from the present content to another one, none if it is not known how."""
        for layer in self._expected:
            if layer.before == self._top and layer.after == top:
                return (layer,)
        for at, layer in enumerate(layers):
            if layer.before == self._top:
                return layers[at:]
        return ()


class PageSource:
    """The pages that one plan stands on: remembered, else of plans not yet written, else stored."""

    def __init__(self, cache: PageCache, reader: PageReader, *, layers: tuple[Layer, ...]) -> None:
        self.young = cache.young
        self._old = cache.old
        self._reader = reader
        self._layers = layers

    def page(self, prefix: bytes) -> bytes | None:
        """Return the page at the hex digits of a way, None if there is none."""
        young = self.young
        if prefix in young:
            return young[prefix]
        if prefix in self._old:
            page = self._old[prefix]
        else:
            page = self._unwritten(prefix) if self._layers else self._reader.page(page_key(prefix))
        young[prefix] = page
        return page

    def require(self, prefix: bytes) -> bytes:
        """Return a page that another one says is there."""
        page = self.page(prefix)
        if page is None:
            missing_page(prefix)
        return page

    def fetch(self, prefixes: Iterable[bytes]) -> None:
        """Read ahead, in one go, those of the pages that are not remembered."""
        wanted = [prefix for prefix in set(prefixes) if prefix not in self.young and prefix not in self._old]
        for layer in self._layers:
            wanted = [prefix for prefix in wanted if prefix not in layer.pages]
        if len(wanted) > 1:
            keys = sorted([page_key(prefix) for prefix in wanted])
            self.young.update([(key[1:], page) for key, page in self._reader.pages(keys)])

    def _unwritten(self, prefix: bytes) -> bytes | None:
        for layer in reversed(self._layers):
            if prefix in layer.pages:
                return layer.pages[prefix]
        return self._reader.page(page_key(prefix))


def missing_page(prefix: bytes) -> NoReturn:
    """Raise IntegrityError ``ledger.state_page_missing`` for a page that another one says is there."""
    raise IntegrityError(
        "ledger.state_page_missing",
        f"the index holds no page of the state map at {prefix.decode()!r}, where the page above says there is one",
        next_step="delete the ledger's index folder: it is made again from the segments",
    )


def unwritten(layers: tuple[Layer, ...], stored: bytes | None) -> tuple[Layer, ...]:
    """Return those plans, lowest first, that are not in the stored map with this top page."""
    for at in range(len(layers), 0, -1):
        if layers[at - 1].after == stored:
            return layers[at:]
    if layers[0].before != stored:
        raise ValueError("the plan to stand on does not stand on the stored state that was given")
    return layers
