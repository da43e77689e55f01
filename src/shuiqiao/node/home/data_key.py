"""The data key of a home: the one secret under which columns and batch files are encrypted, wrapped by the passphrase.

``keys/data.key.json`` is a key file as the others are. It is made when the first column is encrypted, and opened when
one is first read or written, for that costs the work of a passphrase. The database names the key that it is encrypted
under, so that a home whose key file was lost, or is another's, is told so, and no second key is ever made. And the key
file tells of the database: where it lies, there was one, and an empty one in its place is not taken for new.
LIMIT: a home that never kept anything of a person, no account and no entry of its journal, has no key to tell by.
LIMIT: the key is not replaced: whoever once had it and gets the database reads it. Another passphrase only wraps it
anew.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from sqlalchemy import Column, Integer, LargeBinary, MetaData, Table, insert, select
from sqlalchemy.exc import IntegrityError as AlreadyThere

from shuiqiao.base.errors import Conflict, IntegrityError, Unavailable
from shuiqiao.crypto.column_cipher import ColumnCipher
from shuiqiao.crypto.file_cipher import data_key_id
from shuiqiao.crypto.kdf import SEED_BYTES
from shuiqiao.crypto.keyfile import load_cost, save_key_file
from shuiqiao.node.home.keys import DATA_FILE, SIGNING_FILE, had_database, load_seed

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Engine

    from shuiqiao.base.ids import Entropy
    from shuiqiao.crypto.model import SuiteName
    from shuiqiao.node.home.settings import Home

metadata = MetaData()

_data_key = Table(
    "node_data_key",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("key_id", LargeBinary(16), nullable=False),
)
_PURPOSE: Final = "data"
_ONLY: Final = 1
"""A database is encrypted under one key; a second row would be of a second one."""

_NAME = insert(_data_key)
_NAMED = select(_data_key.c.key_id).where(_data_key.c.number == _ONLY)


class DataKey:
    """The data key of one home, as far as a database names it.

    ::

        cipher = DataKey(home, suite=suite, passphrase=lambda: secret, entropy=system_entropy).cipher(engine)
    """

    def __init__(
        self,
        home: Home,
        *,
        suite: SuiteName,
        passphrase: Callable[[], bytes],
        entropy: Entropy,
        reads_only: bool = False,
    ) -> None:
        """passphrase: asked for when the key is opened. reads_only: no key is made and nothing is written."""
        self._home = home
        self._suite = suite
        self.passphrase = passphrase
        """Returns the passphrase of this home's keys."""
        self._entropy = entropy
        self._reads_only = reads_only

    @property
    def was_used(self) -> bool:
        """Whether the home of this key has had a database."""
        return had_database(self._home)

    def cipher(self, engine: Engine) -> ColumnCipher:
        """Return what encrypts the columns of a database; it opens the key at its first use, outside transactions.

        Its use raises what ``open`` raises.
        """
        return ColumnCipher(lambda: self.open(engine), suite=self._suite, entropy=self._entropy)

    def open(self, engine: Engine) -> bytes:
        """Return the data key that a database names, outside transactions; made where there is none yet.

        Raises Unavailable ``node.data_key_missing``, IntegrityError ``node.data_key_foreign``, and what
        ``load_key_file`` raises.
        """

        def named() -> bytes | None:
            with engine.connect() as connection:
                return connection.scalar(_NAMED)

        def note(key_id: bytes) -> None:
            with suppress(AlreadyThere), engine.begin() as connection:
                connection.execute(_NAME, {"number": _ONLY, "key_id": key_id})

        return self._open(named, note)

    def cipher_within(self, connection: Connection) -> ColumnCipher:
        """Return the same within a transaction that goes on and keeps others out: one that changes the tables."""

        def note(key_id: bytes) -> None:
            connection.execute(_NAME, {"number": _ONLY, "key_id": key_id})

        open_key = partial(self._open, lambda: connection.scalar(_NAMED), note)
        return ColumnCipher(open_key, suite=self._suite, entropy=self._entropy)

    def _open(self, named: Callable[[], bytes | None], note: Callable[[bytes], None]) -> bytes:
        before = named()
        seed = self._seed(may_make=before is None and not self._reads_only)
        found = data_key_id(seed, suite=self._suite)
        if before is None and not self._reads_only:
            note(found)
        self._require_same(named(), found)
        return seed

    def _seed(self, *, may_make: bool) -> bytes:
        if may_make:
            self._make()
        path = self._home.keys / DATA_FILE
        if not path.is_file():
            raise Unavailable(
                "node.data_key_missing",
                f"{path} is not there, and the database of this home is encrypted under the key in it",
            )
        return load_seed(path, purpose=_PURPOSE, passphrase=self.passphrase())[0]

    def _require_same(self, named: bytes | None, found: bytes) -> None:
        if named != found:
            raise IntegrityError(
                "node.data_key_foreign",
                f"the database is encrypted under data key {'none' if named is None else named.hex()}, "
                f"{self._home.keys / DATA_FILE} holds {found.hex()}",
            )

    def _make(self) -> None:
        """Write the key file, as costly to guess as the others; one that is there, from a try that ended, stays."""
        keys = self._home.keys
        if (keys / DATA_FILE).exists():
            return
        with suppress(Conflict):
            save_key_file(
                keys / DATA_FILE,
                seed=self._entropy(SEED_BYTES),
                suite=self._suite,
                purpose=_PURPOSE,
                passphrase=self.passphrase(),
                entropy=self._entropy,
                cost=load_cost(keys / SIGNING_FILE),
            )
