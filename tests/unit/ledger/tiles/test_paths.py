"""[TILE-1]: where the static files of a log are, and which a size needs."""

from __future__ import annotations

import pytest

from shuiqiao.ledger.tiles.paths import ENTRIES, TileId, hashes_at, levels_of, tile_of_path, tiles_between


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (TileId(level=0, index=0), "tile/0/000"),
        (TileId(level=0, index=999), "tile/0/999"),
        (TileId(level=1, index=1000), "tile/1/x001/000"),
        (TileId(level=2, index=1_234_067), "tile/2/x001/x234/067"),
        (TileId(level=6, index=1_000_000_000), "tile/6/x001/x000/x000/000"),
        (TileId(level=0, index=5, width=1), "tile/0/005.p/1"),
        (TileId(level=ENTRIES, index=1_234_067, width=255), "tile/entries/x001/x234/067.p/255"),
    ],
)
def test_paths_are_those_of_the_specification(tile, path):
    """[TILE-1]"""
    assert path == tile.path
    assert tile == tile_of_path(path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "checkpoint",
        "tile",
        "tile/0",
        "tile/0/",
        "tile/0/000.p/",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/0",
        "tile/00/000",
        "tile/0/x000/001",
        "tile/0/x001/x000",
        "tile/-1/000",
        "tile/entry/000",
        "tile/0/../0/000",
        "tile/0/٠٠٠",
        "tile/0/" + "x999/" * 20 + "000",
    ],
)
def test_what_is_no_path_of_the_specification_names_no_tile(path):
    """[TILE-1]"""
    assert tile_of_path(path) is None


def test_the_tiles_of_a_log_of_seventy_thousand():
    """The example of c2sp.org/tlog-tiles."""
    found = {level: [tile.width for tile in tiles_between(0, 70_000, level=level)] for level in levels_of(70_000)}
    assert {0: [256] * 273 + [112], 1: [256, 17], 2: [1]} == found
    assert {0: [256], 1: [1]} == {
        level: [tile.width for tile in tiles_between(0, 256, level=level)] for level in levels_of(256)
    }
    assert [] == list(levels_of(0))
    assert 7 == len(list(levels_of(2**53 - 1)))
    assert [] == list(tiles_between(300, 300, level=0))
    assert [] == list(tiles_between(300, 310, level=1))
    assert 1 == hashes_at(1, size=300)
