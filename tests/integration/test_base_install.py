"""What `pip install shuiqiao` brings onto a disk, measured by the files of the packages in the lock."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

LOCK = Path(__file__).parents[2] / "locks" / "base.txt"
MAX_MB = 540
BUILD = {"editables", "hatchling", "pathspec", "pluggy", "trove-classifiers"}
"""What makes the editable install of a checkout; no part of what a user installs."""

LOADED_BY_NOTHING = {"pandas", "scipy", "scikit-learn", "psycopg"}


def locked_names() -> list[str]:
    return re.findall(r"^([a-z0-9][a-z0-9._-]*)==", LOCK.read_text(), flags=re.MULTILINE)


def installed_bytes(name: str) -> int:
    try:
        files = distribution(name).files or []
    except PackageNotFoundError:
        # The lock is for every platform; this one leaves it out.
        return 0
    return sum(path.stat().st_size for path in (Path(str(each.locate())) for each in files) if path.is_file())


def test_the_base_install_stays_small():
    sizes = {name: installed_bytes(name) for name in locked_names() if name not in BUILD}
    assert sizes["pyarrow"] > 50_000_000, "the packages are installed, so that their files can be measured"
    assert sum(sizes.values()) <= MAX_MB * 1_000_000, sorted(sizes.items(), key=lambda each: -each[1])[:10]


@pytest.mark.parametrize("name", sorted(LOADED_BY_NOTHING))
def test_what_nothing_needs_is_not_installed_with_it(name):
    assert name not in locked_names()
