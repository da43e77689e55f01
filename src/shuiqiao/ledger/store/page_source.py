"""Where the pages of the state map come from while a block is planned: remembered, planned, or stored.

Bound to content, not to time: a top page's hashes cover every other page, so pages remembered beside the bytes of a top
page belong to every state with that top page and to no other [MAP-12]. Nothing here knows what a page means.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn, Protocol

import lmdb

from shuiqiao.base.errors import IntegrityError
from shuiqiao.ledger.store.state_page import whole

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
