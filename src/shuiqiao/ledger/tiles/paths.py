"""Where the static files of a log are: paths, widths and which tiles a size needs (c2sp.org/tlog-tiles).

::

    checkpoint
    tile/<L>/<N>            256 hashes: MTH of leaves [(256 N + i) 256^L, (256 N + i + 1) 256^L) for i from 0 to 255
    tile/<L>/<N>.p/<W>      its first W hashes, while the log has no more of them
    tile/entries/<N>[.p/<W>]  the leaves themselves, each after its length as 16 bits, big-endian

N is written in groups of three digits, all but the last led by an x: 1234067 is x001/x234/067 [TILE-1].
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from shuiqiao.ledger.log.tree import HASH_BYTES

CHECKPOINT_PATH: Final = "checkpoint"
TILE_WIDTH: Final = 256
TILE_HEIGHT: Final = 8
"""Levels of the tree that one tile spans: 2^8 = 256."""

ENTRIES: Final = -1
"""Stands for the level of entry bundles."""

MAX_ENTRY_BYTES: Final = 0xFFFF
LENGTH_BYTES: Final = 2
MAX_TILE_BYTES: Final = TILE_WIDTH * HASH_BYTES
MAX_BUNDLE_BYTES: Final = TILE_WIDTH * (LENGTH_BYTES + MAX_ENTRY_BYTES)

_GROUP = 1000
_MAX_PATH: Final = 64
"""Characters of the longest path: 53 bits of leaves need some thirty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TileId:
    """One tile or entry bundle."""

    level: int
    """0 and above, or ENTRIES."""
    index: int
    width: int = TILE_WIDTH

    @property
    def path(self) -> str:
        """Its path below the log's folder or URL prefix."""
        groups = [f"{self.index % _GROUP:03d}"]
        rest = self.index // _GROUP
        while rest:
            groups.insert(0, f"x{rest % _GROUP:03d}")
            rest //= _GROUP
        suffix = "" if self.is_full else f".p/{self.width}"
        level = "entries" if self.level == ENTRIES else str(self.level)
        return f"tile/{level}/{'/'.join(groups)}{suffix}"

    @property
    def is_full(self) -> bool:
        """Whether the tile is full, and so never changes again."""
        return self.width == TILE_WIDTH

    @property
    def full(self) -> TileId:
        """The full tile that this one becomes."""
        return TileId(level=self.level, index=self.index)

    @property
    def first(self) -> int:
        """Index of its first hash within its level, or of its first leaf."""
        return self.index * TILE_WIDTH


def tile_of_path(path: str) -> TileId | None:
    """Return the tile or entry bundle that a path names, None for a path that is no tile's.

    E.g. ``tile_of_path("tile/entries/x001/067.p/5").width == 5``.
    """
    if len(path) > _MAX_PATH:
        return None
    place, _, width = path.partition(".p/")
    room, _, rest = place.partition("/")
    level, _, number = rest.partition("/")
    digits = number.replace("/", "").replace("x", "")
    if room != "tile" or not all(part.isascii() and part.isdigit() for part in (digits, width or "0")):
        return None
    if level != "entries" and not (level.isascii() and level.isdigit()):
        return None
    found = TileId(
        level=ENTRIES if level == "entries" else int(level), index=int(digits), width=int(width or TILE_WIDTH)
    )
    # Every tile has one path, so that what is no path of its own is no path at all.
    return found if found.path == path and 0 < found.width <= TILE_WIDTH else None


def hashes_at(level: int, *, size: int) -> int:
    """Return how many hashes the tiles of a level hold in a log of a size [TILE-2]."""
    return size >> (TILE_HEIGHT * max(level, 0))


def levels_of(size: int) -> Iterator[int]:
    """Iterate over the levels that hold any hash in a log of a size, lowest first."""
    level = 0
    while hashes_at(level, size=size):
        yield level
        level += 1


def tile_holding(level: int, index: int, *, size: int) -> TileId:
    """Return the tile that holds a hash of a level, as wide as it is in a log of a size."""
    number = index // TILE_WIDTH
    return TileId(level=level, index=number, width=min(TILE_WIDTH, hashes_at(level, size=size) - number * TILE_WIDTH))


def tiles_between(old_size: int, new_size: int, *, level: int) -> Iterator[TileId]:
    """Iterate over the tiles of a level that a log of new_size needs and one of old_size has not, in order."""
    old, new = hashes_at(level, size=old_size), hashes_at(level, size=new_size)
    if old == new:
        return
    for number in range(old // TILE_WIDTH, -(-new // TILE_WIDTH)):
        yield tile_holding(level, number * TILE_WIDTH, size=new_size)
