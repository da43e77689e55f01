"""One page of the state map on disk: a node, and the leaves right below it.

```
offset  bytes
     0      1  0x03
     1    512  the hashes of the 16 places
   513     16  for each place: how many records of it stand here (0 to 6), or 128: it has a page of its own
   529   64 n  the records (path, value hash), in order of path
```

A page stays bytes as it is read and written: to change one place is to cut and join, which costs less than to take a
page apart, and what is hashed for the node is its beginning [MAP-10]. Nothing here reads or writes a store.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from shuiqiao.ledger.log.tree import HASH_BYTES
from shuiqiao.ledger.state.state_map import (
    EMPTY,
    MAX_LEAVES,
    NODE_BYTES,
    RECORD_BYTES,
    WAYS,
    NewHash,
    by_nibble,
    leaves_hash,
)
from shuiqiao.ledger.store.lmdb_file import index_damaged

CHILD: Final = 128
"""Mark of a place with a page of its own. All other marks of a page add up to less: a sum modulo 128 counts records."""

_RECORDS_AT: Final = NODE_BYTES + WAYS
LOW_BYTES: Final = _RECORDS_AT + MAX_LEAVES * RECORD_BYTES
EMPTY_PAGE: Final = b"\x03" + WAYS * EMPTY + bytes(WAYS)
_DIGITS: Final = b"0123456789abcdef"
_MARKS: Final = [bytes((mark,)) for mark in range(CHILD + 1)]


def whole(page: bytes | None) -> bytes | None:
    """Return a page as it was stored; raises IntegrityError ``ledger.index_damaged`` for one that was cut short."""
    if page is None or (len(page) >= _RECORDS_AT and not (len(page) - _RECORDS_AT) % RECORD_BYTES):
        return page
    raise index_damaged(f"a page of the state map has {len(page)} bytes, which no page has")


def page_hash(page: bytes, *, new: NewHash) -> bytes:
    """Return the hash of a page's node."""
    return new(page[:NODE_BYTES]).digest()


def root_of(page: bytes | None, *, new: NewHash) -> bytes:
    """Return the root of the map with this top page: with fewer than seven leaves there is no node to hash."""
    if page is None:
        return EMPTY
    return leaves_hash(page[_RECORDS_AT:], new=new) if is_low(page) else page_hash(page, new=new)


def places_of(page: bytes) -> bytes:
    """Return the 16 hashes of a page's node."""
    return page[1:NODE_BYTES]


def has_child(page: bytes, slot: int) -> bool:
    """Return whether a place has a page of its own."""
    return page[NODE_BYTES + slot] == CHILD


def is_low(page: bytes) -> bool:
    """Return whether so few leaves stand under a page that it has to go: they belong into the page above it."""
    return len(page) <= LOW_BYTES and CHILD not in page[NODE_BYTES:_RECORDS_AT]


def records_of(page: bytes) -> list[bytes]:
    """Return all records that stand in a page."""
    return [page[at : at + RECORD_BYTES] for at in range(_RECORDS_AT, len(page), RECORD_BYTES)]


def records_at(page: bytes, slot: int) -> list[bytes]:
    """Return the records of one place; none if it has a page of its own."""
    start, end = _record_range(page, slot)
    return [page[at : at + RECORD_BYTES] for at in range(start, end, RECORD_BYTES)]


def _record_range(page: bytes, slot: int) -> tuple[int, int]:
    mark = NODE_BYTES + slot
    start = _RECORDS_AT + RECORD_BYTES * (sum(page[NODE_BYTES:mark]) & (CHILD - 1))
    return start, start + RECORD_BYTES * (page[mark] & (CHILD - 1))


def with_place(page: bytes, slot: int, *, place: bytes, mark: int, records: Sequence[bytes]) -> bytes:
    """Return a page with one place replaced: its hash, its mark, and its records."""
    start, end = _record_range(page, slot)
    at, mark_at = HASH_BYTES * slot, NODE_BYTES + slot
    head = page[: at + 1] + place + page[at + 1 + HASH_BYTES : mark_at] + _MARKS[mark] + page[mark_at + 1 : start]
    return head + b"".join(records) + page[end:]


def with_leaf(page: bytes, slot: int, record: bytes, *, new: NewHash) -> bytes | None:
    """Return a page with one leaf put at a place; None where that place gets too many for a page.

    What ``with_place`` would give, in one go, for what nearly every change of a large map is.
    """
    mark_at = NODE_BYTES + slot
    count = page[mark_at]
    start = _RECORDS_AT + RECORD_BYTES * (sum(page[NODE_BYTES:mark_at]) & (CHILD - 1))
    end = start + RECORD_BYTES * count
    path = record[:HASH_BYTES]
    at = start
    while at < end and page[at : at + HASH_BYTES] < path:
        at += RECORD_BYTES
    # A record of the same path is replaced, any other stays behind the new one.
    behind = at + RECORD_BYTES if at < end and page[at : at + HASH_BYTES] == path else at
    standing = page[start:at] + record + page[behind:end]
    count = len(standing) // RECORD_BYTES
    if count > MAX_LEAVES:
        return None
    place = new(b"\x02" + standing).digest()
    at = 1 + HASH_BYTES * slot
    return b"".join(
        (
            page[:at],
            place,
            page[at + HASH_BYTES : mark_at],
            _MARKS[count],
            page[mark_at + 1 : start],
            standing,
            page[end:],
        )
    )


def grow(prefix: bytes, records: Sequence[bytes], *, new: NewHash, pages: dict[bytes, bytes | None]) -> bytes:
    """Make the pages for records under a place (hex digits of its way), in order of path; return the node's hash.

    It calls itself once a level and ends at the last nibble: two different paths differ by then.
    """
    depth = len(prefix)
    places, marks, standing = bytearray(WAYS * EMPTY), bytearray(WAYS), list[bytes]()
    for slot, group in by_nibble(records, depth).items():
        if len(group) > MAX_LEAVES:
            place = grow(prefix + _DIGITS[slot : slot + 1], group, new=new, pages=pages)
            marks[slot] = CHILD
        else:
            place = leaves_hash(b"".join(group), new=new)
            marks[slot] = len(group)
            standing += group
        places[HASH_BYTES * slot : HASH_BYTES * (slot + 1)] = place
    page = b"".join((b"\x03", places, marks, *standing))
    pages[prefix] = page
    return page_hash(page, new=new)
