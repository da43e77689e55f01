"""The state map on disk: the next root before anything is written, pages in LMDB, proofs from any snapshot.

It keeps the map of ``ledger/state_map.py`` (docs/spec/state-map.md) in pages, one LMDB value each. Which pages there
are, and every byte of them, follows from the map's content alone [MAP-11]. Like the rest of the index they are derived.

``StateTree`` plans for the one thread that executes and commits. A plan writes nothing: it may be dropped, and plans
may stand on plans that are not written yet. What is remembered between plans is bound to the bytes of a top page, whose
hashes cover every other page, so it cannot be taken for another state [MAP-12].
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import lmdb

from shuiqiao.base.errors import IntegrityError
from shuiqiao.ledger.log import HASH_BYTES
from shuiqiao.ledger.state_map import (
    PATH_NIBBLES,
    StateProof,
    hash_constructor,
    nibble,
    proof_step,
    prove_among,
    state_path,
    subtree_hash,
)
from shuiqiao.ledger.store.state_page import (
    CHILD,
    EMPTY_PAGE,
    MAX_RECORDS,
    grow,
    has_child,
    is_low,
    page_hash,
    places_of,
    records_at,
    records_of,
    root_of,
    with_child_hashes,
    with_place,
)

DATABASE: Final = b"state_map"
"""Name of the LMDB database that holds the pages."""

MAX_CACHED_PAGES: Final = 16_384
"""Pages remembered between plans: about 25 MiB of them, never over 75 MiB, and what one plan itself touches."""

_TOP: Final = b""
_LENGTHS: Final = [bytes((depth,)) for depth in range(PATH_NIBBLES + 1)]
_SLOTS: Final = {digit: slot for slot, digit in enumerate(b"0123456789abcdef")}

_Pages = dict[bytes, bytes | None]
"""Pages by the hex digits of their way from the top; None: there is no such page."""

_Change = tuple[bytes, bytes, bytes | None]
"""Path in hex digits, path, and the new record or None to remove the leaf."""

_Risen = tuple[int, bytes, list[bytes] | None]
"""What a changed page means to the page above: place, its hash, and the records if the page is no more."""


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
        self._transaction = transaction
        self._db = db

    def page(self, key: bytes) -> bytes | None:
        """Return a page by its key, None if there is none."""
        return self._transaction.get(key, db=self._db)

    def pages(self, keys: Sequence[bytes]) -> Iterable[tuple[bytes, bytes]]:
        """Return (key, page) of those keys that there are pages of."""
        with self._transaction.cursor(db=self._db) as cursor:
            return cursor.getmulti(keys)


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
class _Layer:
    """The pages of one plan between the top page it stands on and the one it leads to."""

    before: bytes | None
    after: bytes | None
    pages: _Pages


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedUpdate:
    """The map after a block: its root, and what to write for it (page by key, None removes one)."""

    root: bytes
    writes: Mapping[bytes, bytes | None]
    layers: tuple[_Layer, ...]
    """This plan and those beneath it that were not written when it was made."""


class StateTree:
    """Plans the updates of the map, for one thread."""

    def __init__(self, *, hash_name: str, max_cached_pages: int = MAX_CACHED_PAGES) -> None:
        self._hash_name = hash_name
        self._new = hash_constructor(hash_name)
        self._cache = _PageCache(max_pages=max_cached_pages)
        self._start_depth = 0

    def root(self, reader: PageReader) -> bytes:
        """Return the root of the stored map."""
        return root_of(reader.page(_key(_TOP)), new=self._new)

    def plan(
        self, reader: PageReader, changes: Mapping[str, bytes | None], *, base: PlannedUpdate | None = None
    ) -> PlannedUpdate:
        """Return the map after encoded values by key (None removes one); nothing is written.

        reader: the stored state that this update, or the lowest unwritten plan beneath it, stands on. base: the plan
        this one stands on while that is not stored where the reader reads. Raises ValueError if the two do not fit,
        IntegrityError ``ledger.state_page_missing`` if the stored map is damaged.
        """
        stored = reader.page(_key(_TOP))
        layers = () if base is None else _unwritten(base.layers, stored)
        before = layers[-1].after if layers else stored
        self._cache.move_to(before, layers=layers)
        source = _Source(self._cache, reader, layers=layers)
        pages = self._changed_pages(source, self._sorted_changes(changes))
        after = pages.get(_TOP, before)
        layer = _Layer(before=before, after=after, pages=pages)
        self._cache.expect(layer)
        return PlannedUpdate(
            root=root_of(after, new=self._new),
            writes={_key(prefix): page for prefix, page in pages.items()},
            layers=(*layers, layer),
        )

    def _sorted_changes(self, changes: Mapping[str, bytes | None]) -> list[_Change]:
        new = self._new
        found: list[_Change] = []
        for key, value in changes.items():
            path = new(b"\x04" + key.encode()).digest()
            record = None if value is None else path + new(b"\x05" + value).digest()
            found.append((path.hex().encode(), path, record))
        found.sort()
        return found

    def _changed_pages(self, source: _Source, changes: Sequence[_Change]) -> _Pages:
        """Return the pages that the changes alter, from the lowest ones up, each once."""
        places = self._places_of_changes(source, changes)
        pages: _Pages = {}
        risen: dict[bytes, list[_Risen]] = {}
        for depth in range(len(places) - 1, -1, -1):
            here, from_below, risen = places[depth], risen, {}
            for prefix in {**here, **from_below}:
                before = source.page(prefix) or EMPTY_PAGE
                after = _with_risen(before, from_below.get(prefix, ()))
                if prefix in here:
                    after = self._with_leaves(prefix, after, here[prefix], pages)
                if after is before or after == before:
                    continue
                if not depth:
                    pages[prefix] = None if after == EMPTY_PAGE else after
                    continue
                outcome = self._risen(prefix, after, pages)
                risen.setdefault(prefix[:-1], []).append(outcome)
        return pages

    def _risen(self, prefix: bytes, page: bytes, pages: _Pages) -> _Risen:
        slot = _SLOTS[prefix[-1]]
        if is_low(page):
            pages[prefix] = None
            records = records_of(page)
            return slot, subtree_hash(records, len(prefix), new=self._new), records
        pages[prefix] = page
        return slot, page_hash(page, new=self._new), None

    def _places_of_changes(self, source: _Source, changes: Sequence[_Change]) -> list[dict[bytes, list[_Change]]]:
        """Return, by depth and page, the changes to leaves that stand in it."""
        depth = start = self._start_depth
        source.fetch([change[0][:start] for change in changes])
        places: list[dict[bytes, list[_Change]]] = [{}]
        lowest = PATH_NIBBLES
        for change in changes:
            digits = change[0]
            depth = start
            page = source.page(digits[:depth])
            # Pages reach up to the top without a gap, so the way to the lowest one may begin anywhere.
            while page is None and depth:
                depth -= 1
                page = source.page(digits[:depth])
            while page is not None and has_child(page, _SLOTS[digits[depth]]):
                depth += 1
                page = source.require(digits[:depth])
            while len(places) <= depth:
                places.append({})
            places[depth].setdefault(digits[:depth], []).append(change)
            lowest = min(lowest, depth)
        self._start_depth = lowest if changes else start
        return places

    def _with_leaves(self, prefix: bytes, page: bytes, changes: Sequence[_Change], pages: _Pages) -> bytes:
        """Return a page with changes to leaves that stand in it; where they get too many, the pages below are made."""
        depth = len(prefix)
        for digit, group in _by_digit(changes, depth).items():
            slot = _SLOTS[digit]
            before = records_at(page, slot)
            records = _changed_records(before, group)
            if records == before:
                continue
            mark = len(records)
            if mark > MAX_RECORDS:
                place = grow(prefix + group[0][0][depth : depth + 1], records, new=self._new, pages=pages)
                mark, records = CHILD, []
            else:
                place = subtree_hash(records, depth + 1, new=self._new)
            page = with_place(page, slot, place=place, mark=mark, records=records)
        return page


def _key(prefix: bytes) -> bytes:
    """Return the key of a page: pages of one depth stand together, so the few high ones share pages of the database."""
    return _LENGTHS[len(prefix)] + prefix


def _by_digit(changes: Sequence[_Change], depth: int) -> dict[int, Sequence[_Change]]:
    if len(changes) == 1:
        return {changes[0][0][depth]: changes}
    groups: dict[int, Sequence[_Change]] = {}
    for change in changes:
        group = groups.setdefault(change[0][depth], [])
        group.append(change)  # type: ignore[attr-defined]
    return groups


def _changed_records(records: list[bytes], changes: Iterable[_Change]) -> list[bytes]:
    by_path = {record[:HASH_BYTES]: record for record in records}
    for _, path, record in changes:
        if record is None:
            by_path.pop(path, None)
        else:
            by_path[path] = record
    return [by_path[path] for path in sorted(by_path)]


def _with_risen(page: bytes, risen: Iterable[_Risen]) -> bytes:
    hashes = [(slot, place) for slot, place, records in risen if records is None]
    if hashes:
        page = with_child_hashes(page, hashes)
    for slot, place, records in risen:
        if records is not None:
            page = with_place(page, slot, place=place, mark=len(records), records=records)
    return page


def _unwritten(layers: tuple[_Layer, ...], stored: bytes | None) -> tuple[_Layer, ...]:
    """Return those plans, lowest first, that are not in the stored map with this top page."""
    for at in range(len(layers), 0, -1):
        if layers[at - 1].after == stored:
            return layers[at:]
    if layers[0].before != stored:
        raise ValueError("the plan to stand on does not stand on the stored state that was given")
    return layers


class _PageCache:
    """Pages of exactly one content of the map, named by its top page.

    It follows a plan only when the next one stands on it, so a dropped plan leaves nothing behind. Two generations:
    what was not asked for while the younger one filled is forgotten.
    """

    def __init__(self, *, max_pages: int) -> None:
        self._half = max(1, max_pages // 2)
        self._top: bytes | None = None
        self._expected: tuple[_Layer, ...] = ()
        self.young: _Pages = {}
        self.old: _Pages = {}

    def expect(self, layer: _Layer) -> None:
        """Remember a plan that the next one may stand on."""
        self._expected = (*self._expected[-3:], layer)

    def move_to(self, top: bytes | None, *, layers: tuple[_Layer, ...]) -> None:
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

    def _way_to(self, top: bytes | None, layers: tuple[_Layer, ...]) -> tuple[_Layer, ...]:
        """Return the plans that lead from the present content to another one, none if it is not known how."""
        for layer in self._expected:
            if layer.before == self._top and layer.after == top:
                return (layer,)
        for at, layer in enumerate(layers):
            if layer.before == self._top:
                return layers[at:]
        return ()


class _Source:
    """The pages that one plan stands on: remembered, else of plans not yet written, else stored."""

    def __init__(self, cache: _PageCache, reader: PageReader, *, layers: tuple[_Layer, ...]) -> None:
        self._young = cache.young
        self._old = cache.old
        self._reader = reader
        self._layers = layers

    def page(self, prefix: bytes) -> bytes | None:
        """Return the page at the hex digits of a way, None if there is none."""
        young = self._young
        if prefix in young:
            return young[prefix]
        if prefix in self._old:
            page = self._old[prefix]
        else:
            page = self._unwritten(prefix) if self._layers else self._reader.page(_key(prefix))
        young[prefix] = page
        return page

    def require(self, prefix: bytes) -> bytes:
        """Return a page that another one says is there."""
        page = self.page(prefix)
        return _missing(prefix) if page is None else page

    def fetch(self, prefixes: Iterable[bytes]) -> None:
        """Read ahead, in one go, those of the pages that are not remembered."""
        if self._layers:
            return
        wanted = dict.fromkeys(prefixes)
        keys = [_key(prefix) for prefix in wanted if prefix not in self._young and prefix not in self._old]
        if len(keys) > 1:
            self._young.update((key[1:], page) for key, page in self._reader.pages(keys))

    def _unwritten(self, prefix: bytes) -> bytes | None:
        for layer in reversed(self._layers):
            if prefix in layer.pages:
                return layer.pages[prefix]
        return self._reader.page(_key(prefix))


def _missing(prefix: bytes) -> bytes:
    raise IntegrityError(
        "ledger.state_page_missing",
        f"the index holds no page of the state map at {prefix.decode()!r}, where the page above says there is one",
        next_step="delete the ledger's index folder: it is made again from the segments",
    )


def prove(reader: PageReader, key: str, *, hash_name: str) -> StateProof:
    """Return the proof of what the stored map holds at a key, which may be nothing.

    Takes no part in any plan: any thread may ask with its own snapshot. Raises IntegrityError
    ``ledger.state_page_missing``.
    """
    new = hash_constructor(hash_name)
    path = state_path(key, hash_name=hash_name)
    digits = path.hex().encode()
    page = reader.page(_key(_TOP))
    if page is None:
        return StateProof(steps=(), other=None)
    if is_low(page):
        return prove_among(records_of(page), path, 0, new=new)
    steps: list[bytes] = []
    while True:
        depth = len(steps)
        slot = nibble(path, depth)
        steps.append(proof_step(places_of(page), slot))
        if not has_child(page, slot):
            break
        page = reader.page(_key(digits[: depth + 1])) or _missing(digits[: depth + 1])
    below = prove_among(records_at(page, slot), path, depth + 1, new=new)
    return StateProof(steps=(*steps, *below.steps), other=below.other)
