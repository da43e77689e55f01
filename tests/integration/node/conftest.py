from __future__ import annotations

import os

import pytest

import consortium_world as worlds
from postgresql_world import postgresql_server
from shuiqiao.node.home.database import open_database


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch):
    for name in ("SHUIQIAO_HOME", "SHUIQIAO_PASSPHRASE_FILE", "SHUIQIAO_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module", params=["intl", "gm"])
def world(request, tmp_path_factory):
    made = worlds.ConsortiumWorld(tmp_path_factory.mktemp("consortium"), request.param)
    yield made
    made.close()


@pytest.fixture(scope="session")
def closed(tmp_path_factory):
    """The homes of a network after a decision, all institutions closed; whoever changes one copies it first."""
    folder = tmp_path_factory.mktemp("closed")
    world = worlds.ConsortiumWorld(folder, "intl")
    world.decided()
    world.consortium.settle()
    world.bureau.engine.receipt(0)
    world.close()
    return folder


@pytest.fixture
def home(tmp_path):
    return worlds.solo_home(tmp_path / "home")


@pytest.fixture(scope="session")
def server():
    with postgresql_server() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """Where a database may be made: none is there yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'node.db'}"
    return request.getfixturevalue("server").create(f"db{os.urandom(4).hex()}")


@pytest.fixture
def database(url):
    engine = open_database(url)
    yield engine
    engine.dispose()
