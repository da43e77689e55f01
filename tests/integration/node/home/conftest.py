from __future__ import annotations

import os

import pytest

from postgresql_world import postgresql_server
from shuiqiao.node.home.database import open_database


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
