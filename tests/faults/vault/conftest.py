"""Makes the shared vault world importable as ``vault_world`` and gives each test worlds that are closed after it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

_PLACE = Path(__file__).resolve().parents[2] / "worlds" / "vault_world.py"


def _load() -> Any:
    if "vault_world" not in sys.modules:
        spec = importlib.util.spec_from_file_location("vault_world", _PLACE)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["vault_world"] = module
        spec.loader.exec_module(module)
    return sys.modules["vault_world"]


_load()


@pytest.fixture
def open_world(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Open worlds, by default in the test's own folder; a world opened again takes up where it was closed."""
    opened: list[Any] = []

    def open_one(suite: str = "intl", *, folder: Path | None = None, **options: Any) -> Any:
        world = _load().VaultWorld(folder or tmp_path / "home", suite, **options)
        opened.append(world)
        return world

    yield open_one
    for world in opened:
        world.close()
