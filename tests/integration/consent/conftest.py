from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

_PLACE = Path(__file__).resolve().parents[2] / "worlds" / "consent_world.py"


def _load():
    if "consent_world" not in sys.modules:
        spec = importlib.util.spec_from_file_location("consent_world", _PLACE)
        module = importlib.util.module_from_spec(spec)
        sys.modules["consent_world"] = module
        spec.loader.exec_module(module)
    return sys.modules["consent_world"]


@pytest.fixture(scope="module", params=["intl", "gm"])
def world(request, tmp_path_factory):
    made = _load().ConsentWorld(tmp_path_factory.mktemp("world"), request.param)
    yield made
    made.close()
