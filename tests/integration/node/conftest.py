from __future__ import annotations

import pytest

import consortium_world as worlds


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
