"""Lists in pages: each answer names the cursor of the next one, and the reader goes on until there is none.

A cursor is the server's own and means nothing to others. It stays good while the server changes: what comes after it is
what came after the last item seen.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Annotated, Any, Final, Generic, TypeVar

from pydantic import Field, StringConstraints

from shuiqiao.base.errors import Unavailable
from shuiqiao.client.wire import Wire

if TYPE_CHECKING:
    from shuiqiao.client.http import HttpClient, Parameters

MAX_ITEMS: Final = 500
"""Most items of one page."""

DEFAULT_ITEMS: Final = 100

CURSOR_FORM: Final = r"^[A-Za-z0-9_.@:~/-]{1,200}$"

Cursor = Annotated[str, StringConstraints(pattern=CURSOR_FORM)]

Item = TypeVar("Item")
PageType = TypeVar("PageType", bound="Page[Any]")


class Page(Wire, Generic[Item]):
    """Some items of a list, and where the list goes on."""

    items: Annotated[tuple[Item, ...], Field(max_length=MAX_ITEMS)]
    next: Cursor | None
    """What to send as ``cursor`` for the items after these; none after the last."""


def read_pages(
    client: HttpClient,
    path: str,
    form: type[PageType],
    *,
    parameters: Parameters | None = None,
    max_pages: int = 10_000,
) -> Generator[PageType]:
    """Yield the pages of a list until there is no further one.

    ::

        items = [item for page in read_pages(client, "/api/v1/members", MemberPage) for item in page.items]

    Raises what ``HttpClient.request`` raises; Unavailable ``client.answer_foreign`` for a list that goes round, or on
    beyond max_pages.
    """
    cursor, seen = "", set[str]()
    for _ in range(max_pages):
        asked = {**(parameters or {}), **({"cursor": cursor} if cursor else {})}
        page = client.get(path, parameters=asked).read_as(form)
        yield page
        if page.next is None:
            return
        if page.next in seen:
            break
        cursor = page.next
        seen.add(cursor)
    raise Unavailable("client.answer_foreign", f"{client.place} names pages of {path} without an end")
