from __future__ import annotations

import os

import pytest

from accounts_world import NOW_MS
from postgresql_world import postgresql_server
from shuiqiao.base.clock import ManualClock
from shuiqiao.base.ids import system_entropy
from shuiqiao.crypto.column_cipher import ColumnCipher
from shuiqiao.crypto.model import SuiteName
from shuiqiao.node.home.database import open_database
from shuiqiao.node.registers.service import Registers
from shuiqiao.node.registers.store import RegisterStore


@pytest.fixture(scope="session")
def server():
    with postgresql_server() as running:
        yield running


class Registered:
    """The registers of one institution by a clock of the test's."""

    def __init__(self, url):
        self.clock = ManualClock(NOW_MS)
        self.database = open_database(url)
        cipher = ColumnCipher(lambda: b"k" * 32, suite=SuiteName.INTL, entropy=system_entropy)
        self.store = RegisterStore(self.database, cipher=cipher)
        self.registers = self.open()

    def open(self, **settings):
        return Registers(self.store, now_ms=self.clock.now_ms, entropy=system_entropy, **settings)


@pytest.fixture(params=["sqlite", "postgresql"])
def world(request, tmp_path):
    """Registers on each of the two databases."""
    if request.param == "postgresql":
        url = request.getfixturevalue("server").create(f"db{os.urandom(4).hex()}")
    else:
        url = f"sqlite:///{tmp_path / 'node.db'}"
    made = Registered(url)
    yield made
    made.database.dispose()
