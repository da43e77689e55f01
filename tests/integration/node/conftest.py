from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

_PLACE = Path(__file__).resolve().parents[2] / "worlds" / "consortium_world.py"


def _load():
    if "consortium_world" not in sys.modules:
        spec = importlib.util.spec_from_file_location("consortium_world", _PLACE)
        module = importlib.util.module_from_spec(spec)
        sys.modules["consortium_world"] = module
        spec.loader.exec_module(module)
    return sys.modules["consortium_world"]


worlds = _load()


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch):
    for name in ("SHUIQIAO_HOME", "SHUIQIAO_PASSPHRASE_FILE", "SHUIQIAO_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module", params=["intl", "gm"])
def world(request, tmp_path_factory):
    made = worlds.ConsortiumWorld(tmp_path_factory.mktemp("consortium"), request.param)
    yield made
    made.close()


@pytest.fixture
def home(tmp_path):
    return worlds.solo_home(tmp_path / "home")
