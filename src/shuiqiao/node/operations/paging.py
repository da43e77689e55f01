"""Cuts a whole list into pages by the place of each item, so that a page goes on rightly while items come and go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from shuiqiao.client.pages import PageQuery

_Row = TypeVar("_Row")

MAX_PROVEN: Final = 100
"""Receipts of one page."""


def page_of(
    rows: Iterable[_Row], asked: PageQuery, *, place: Callable[[_Row], str]
) -> tuple[Sequence[_Row], str | None]:
    """Return the rows of a page in order of their places, and the cursor of the next one.

    place: of a row in the list, a text of the letters that a cursor may have; no two rows share one.

    ::

        page_of(uses, PageQuery(limit=2), place=lambda use: time_place(use.asked_ms, use.request))
    """
    after = asked.cursor or ""
    left = sorted((row for row in rows if place(row) > after), key=place)
    page = left[: asked.limit]
    return page, place(page[-1]) if len(left) > len(page) else None


def time_place(time_ms: int, name: str) -> str:
    """Return the place of what came at a time, in a list by time."""
    return f"{time_ms:016d}@{name}"


def page_after(
    items: Sequence[_Row], asked: PageQuery, *, name: Callable[[_Row], str]
) -> tuple[tuple[_Row, ...], str | None]:
    """Return the items of a page of a list in an order of its own, and the cursor of the next one, None for the last.

    name: what a cursor calls an item. A cursor that names none of them begins anew::

        items, following = page_after(rows, asked, name=lambda row: row.id)
    """
    names = [name(item) for item in items] if asked.cursor else []
    later = items[names.index(asked.cursor) + 1 :] if asked.cursor in names else items
    found = tuple(later[: asked.limit])
    return found, name(found[-1]) if len(later) > asked.limit else None
