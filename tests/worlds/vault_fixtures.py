"""Vault worlds for tests, closed after each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vault_world import VaultWorld


@pytest.fixture
def open_world(tmp_path: Path) -> Iterator[Callable[..., VaultWorld]]:
    """Open worlds, by default in the test's own folder; a world opened again takes up where it was closed."""
    opened: list[VaultWorld] = []

    def open_one(suite: str = "intl", *, folder: Path | None = None, **options: Any) -> VaultWorld:
        world = VaultWorld(folder or tmp_path / "home", suite, **options)
        opened.append(world)
        return world

    yield open_one
    for world in opened:
        world.close()
