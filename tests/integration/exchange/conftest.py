from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

_WORLDS = Path(__file__).resolve().parents[2] / "worlds"


def _load(name):
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, _WORLDS / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="module", params=["intl", "gm"])
def world(request, tmp_path_factory):
    _load("consent_world")
    made = _load("exchange_world").ExchangeWorld(tmp_path_factory.mktemp("world"), request.param)
    yield made
    made.close()
