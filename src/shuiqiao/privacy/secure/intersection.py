"""Which items two banks both have, told to the one that asks and to nobody else.

Rule: docs/spec/psi.md [PSI-1] to [PSI-4]. An item is 32 bytes, a digest that both sides make alike. It is keyed anew in
each run by what only the two workers know, so neither a file nor a digest of a run can be held against another list.
The library is not loaded here; ``psi_library`` knows it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from shuiqiao.base.encoding import encode_cbor
from shuiqiao.base.errors import InvalidInput
from shuiqiao.privacy.secure.model import LIBRARY_VERSION

if TYPE_CHECKING:
    from shuiqiao.base.ids import Entropy

ITEM_BYTES: Final = 32
MAX_ITEMS: Final = 131_072
"""Of one side; as many take about a second and 200 MB in each worker."""

SIZE_STEP: Final = 1_024
"""The asked side's number of items is filled up to a multiple of it, so that its size tells little."""

PLACE_BYTES: Final = 4

INTERSECTION: Final = encode_cbor(
    {"library": LIBRARY_VERSION, "parties": 2, "protocol": "RR22", "receiver": 0, "size_step": SIZE_STEP}
)
"""What both sides compare beside the request: the protocol, and that the side that asks alone is told."""


def require_items(items: Sequence[bytes], *, rank: int) -> None:
    """Return if these may go into a run; raises InvalidInput ``privacy.secure_items_wrong``.

    The side that is asked (rank 1) may have none: the other one learns nothing of it.
    """
    if not 1 - rank <= len(items) <= MAX_ITEMS:
        problem = f"{len(items)} items, where {1 - rank} to {MAX_ITEMS} are compared"
    elif len(set(items)) != len(items):
        problem = "an item twice"
    elif any(len(each) != ITEM_BYTES for each in items):
        problem = f"an item that has not {ITEM_BYTES} bytes"
    else:
        return
    raise InvalidInput("privacy.secure_items_wrong", f"a list to compare has {problem}")


def filled_size(count: int, *, rank: int) -> int:
    """Return how many items a side puts in with what fills it up: one more at least, at the asked side a full step.

    The library tells each side a digest of the other's whole list, to find equal ones early. With a random item in it
    that digest can be held against no list.
    """
    return count + 1 if rank == 0 else (count // SIZE_STEP + 1) * SIZE_STEP


def keyed_items(items: Sequence[bytes], *, key: bytes, rank: int, entropy: Entropy) -> list[tuple[bytes, int]]:
    """Return what goes into the library, in its own order: each keyed item with its place, -1 for what fills up."""
    filling = filled_size(len(items), rank=rank) - len(items)
    keyed = [(hmac.digest(key, each, hashlib.sha256), place) for place, each in enumerate(items)]
    random = entropy(ITEM_BYTES * filling)
    keyed += [(random[first : first + ITEM_BYTES], -1) for first in range(0, len(random), ITEM_BYTES)]
    return sorted(keyed)


def encode_places(places: Sequence[int]) -> bytes:
    """Return places in a list as 4 bytes each, big-endian."""
    return b"".join(place.to_bytes(PLACE_BYTES, "big") for place in places)


def decode_places(raw: bytes) -> list[int]:
    """Return the places that ``encode_places`` wrote."""
    return [int.from_bytes(raw[first : first + PLACE_BYTES], "big") for first in range(0, len(raw), PLACE_BYTES)]
