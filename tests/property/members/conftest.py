"""Makes the shared members world importable as ``members_world``."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

_PLACE = Path(__file__).resolve().parents[2] / "worlds" / "members_world.py"


def _load() -> Any:
    if "members_world" not in sys.modules:
        spec = importlib.util.spec_from_file_location("members_world", _PLACE)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["members_world"] = module
        spec.loader.exec_module(module)
    return sys.modules["members_world"]


_load()
