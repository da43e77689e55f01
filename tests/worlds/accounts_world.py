"""The accounts of one institution on a database of its own, with a clock that moves when told and cheap hashes."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field

from pyotp.totp import TOTP
from sqlalchemy import Engine

from shuiqiao.base.clock import ManualClock
from shuiqiao.base.ids import MemberId, system_entropy
from shuiqiao.crypto.column_cipher import ColumnCipher
from shuiqiao.crypto.keyfile import PassphraseCost
from shuiqiao.crypto.model import SUITE_HASHES, SuiteName
from shuiqiao.members.model import Role
from shuiqiao.node.accounts.journal.service import Journal
from shuiqiao.node.accounts.passwords import PasswordHashing
from shuiqiao.node.accounts.service import AccountService
from shuiqiao.node.accounts.store import AccountStore
from shuiqiao.node.home.database import open_database

CHEAP = PassphraseCost(memory_kib=64, passes=1, lanes=1)
NOW_MS = 1_775_001_600_000
PASSWORD = "one password of mine"


@dataclass(kw_only=True)
class AccountsWorld:
    """role: what the institution is."""

    database: Engine
    suite: SuiteName = SuiteName.INTL
    role: Role = Role.BANK
    cost: PassphraseCost = CHEAP
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW_MS))

    def __post_init__(self):
        self.cipher = ColumnCipher(lambda: b"k" * 32, suite=self.suite, entropy=system_entropy)
        self.store = AccountStore(self.database, cipher=self.cipher)
        self.journal = Journal(
            self.database,
            cipher=self.cipher,
            hash_name=SUITE_HASHES[self.suite],
            clock=self.clock,
            entropy=system_entropy,
        )
        self.service = self.accounts(self.cost)

    def accounts(self, cost, *, when_hashed=lambda: None):
        """The same accounts by a program of another cost of hashing. when_hashed: done before a new hash is made."""

        def salted(count):
            when_hashed()
            return system_entropy(count)

        return AccountService(
            self.store,
            journal=self.journal,
            hashing=PasswordHashing(entropy=salted, cost=cost),
            clock=self.clock,
            entropy=system_entropy,
            member=MemberId("bank-east"),
            role=self.role,
        )

    def log_in(self, name, *, password=PASSWORD, code=""):
        return self.service.authenticate(self.service.log_in(name, password=password, code=code).token)

    def administrator(self, name="admin"):
        """The first user, with a password of its own."""
        first = self.service.add_first_user(name)
        return self.with_password(name, first)

    def with_password(self, name, first):
        self.service.change_password(self.log_in(name, password=first), old=first, new=PASSWORD)
        return self.log_in(name)

    def user(self, by, name, *roles):
        """A further user, with a password of its own."""
        return self.with_password(name, self.service.add_user(by, name, roles=roles))

    def checker(self, by, name, *roles):
        """A further user with a second factor; the clock moves on by the step whose code was used."""
        factor = self.service.make_second_factor(self.user(by, name, *roles), password=PASSWORD)
        self.service.confirm_second_factor(self.log_in(name), code=self.code(factor.secret))
        self.clock.advance(30_000)
        return self.log_in(name, code=self.code(factor.secret))

    def code(self, secret, *, drift=0):
        return TOTP(secret).generate_otp(self.clock.now_ms() // 30_000 + drift)


@contextmanager
def accounts_world(url, **more):
    database = open_database(url)
    yield AccountsWorld(database=database, **more)
    database.dispose()
