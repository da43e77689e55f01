"""Where a home lets in others than its owner [STORE-28]; what is published is for them anyway."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.base.files import OTHERS
from shuiqiao.node.home.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from shuiqiao.node.home.settings import Home


def readable_by_others(home: Home) -> list[Path]:
    """Return the files and folders of a home that others than its owner can reach.

    E.g. ``readable_by_others(Home(Path("my-bank"))) == []``.
    """
    return [path for path in _inside(home.folder, beside=_published(home)) if path.lstat().st_mode & OTHERS]


def _inside(folder: Path, *, beside: Path | None) -> Iterator[Path]:
    """Iterate over what can be reached in a folder: into one that lets nobody in, nobody gets."""
    yield folder
    if folder.stat().st_mode & OTHERS:
        for path in sorted(folder.iterdir()):
            # A link has the mode of nobody: what it leads to is looked at where it lies.
            if path.is_dir() and not path.is_symlink() and path != beside:
                yield from _inside(path, beside=beside)
            elif path.is_file() and not path.is_symlink():
                yield path


def _published(home: Home) -> Path | None:
    try:
        return home.tiles(load_settings(home))
    except ShuiqiaoError:
        return None
