from __future__ import annotations

import os
import shutil

import pytest

from accounts_world import accounts_world
from postgresql_world import postgresql_server
from shuiqiao.node.home.database import open_database


@pytest.fixture(scope="session")
def server():
    with postgresql_server() as running:
        yield running


@pytest.fixture(scope="session")
def empty(tmp_path_factory):
    """A database file with all tables and nothing in them, to be copied."""
    path = tmp_path_factory.mktemp("empty") / "node.db"
    open_database(path).dispose()
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def world(request, tmp_path, empty):
    """The accounts of a bank, on each of the two databases."""
    if request.param == "postgresql":
        url = request.getfixturevalue("server").create(f"db{os.urandom(4).hex()}")
    else:
        url = f"sqlite:///{shutil.copy(empty, tmp_path / 'node.db')}"
    with accounts_world(url) as made:
        yield made


@pytest.fixture
def bank(tmp_path, empty):
    """The accounts of a bank on SQLite, for what does not differ between databases."""
    with accounts_world(f"sqlite:///{shutil.copy(empty, tmp_path / 'node.db')}") as made:
        yield made
