"""Lists in pages: each answer names the cursor of the next one, and the reader goes on until there is none.

A cursor is the server's own and means nothing to others. While the list changes, what comes after it is what came after
the last item seen; a list in an order of its own begins anew where that item is gone, so an item may come twice.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Annotated, Any, Final, Generic, Protocol, TypeVar

from pydantic import Field, StringConstraints

from shuiqiao.base.errors import Unavailable
from shuiqiao.client.operation import Operation, Sent, Told
from shuiqiao.client.wire import Wire, example

MAX_ITEMS: Final = 500
"""Most items of one page."""

DEFAULT_ITEMS: Final = 100

CURSOR_FORM: Final = r"^[A-Za-z0-9_.@:~/-]{1,200}$"

Cursor = Annotated[str, StringConstraints(pattern=CURSOR_FORM)]

Item = TypeVar("Item")
PageType = TypeVar("PageType", bound="Page[Any]")
QueryType = TypeVar("QueryType", bound="PageQuery")


class PageQuery(Wire):
    """Which page of a list; a list that can be narrowed adds its filters."""

    model_config = example(limit=100, cursor=None)

    limit: Annotated[int, Field(ge=1, le=MAX_ITEMS)] = DEFAULT_ITEMS
    cursor: Cursor | None = None
    """Where the page before says that the list goes on."""


class Page(Wire, Generic[Item]):
    """Some items of a list, and where the list goes on."""

    items: Annotated[tuple[Item, ...], Field(max_length=MAX_ITEMS)]
    next: Cursor | None
    """What to send as ``cursor`` for the items after these; none after the last."""


class Performer(Protocol):
    """Whoever performs operations: a server's client, or a home at work."""

    def perform(self, operation: Operation[Sent, Told], message: Sent) -> Told:
        """Perform an operation and return what is told of it."""
        ...


def read_pages(
    at: Performer, operation: Operation[QueryType, PageType], query: QueryType, *, max_pages: int = 10_000
) -> Generator[PageType]:
    """Yield the pages of a list until there is no further one.

    ::

        items = [item for page in read_pages(client, LIST_DISPUTES, PageQuery()) for item in page.items]

    Raises what ``perform`` raises; Unavailable ``client.answer_foreign`` for a list that goes round, or on beyond
    max_pages.
    """
    seen = set[str]()
    for _ in range(max_pages):
        page = at.perform(operation, query)
        yield page
        if page.next is None:
            return
        if page.next in seen:
            break
        query = query.model_copy(update={"cursor": page.next})
        seen.add(page.next)
    raise Unavailable("client.answer_foreign", f"the pages of {operation.path} have no end")
