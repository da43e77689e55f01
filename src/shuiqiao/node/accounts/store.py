"""The tables of accounts: users, machine clients, failures to log in, and tokens.

A password and a secret are kept as hashes, a token as its hash, what makes a user's codes encrypted. Whose a token is
is encrypted too, for an enterprise's is its taxpayer number; a keyed tag beside it finds all tokens of one holder.
What belongs together is done in one transaction, which ``begin`` gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    LargeBinary,
    MetaData,
    RowMapping,
    String,
    Table,
    Text,
    and_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError as AlreadyThere

from shuiqiao.base.errors import Conflict
from shuiqiao.crypto.column_cipher import LOOKUP_TAG_BYTES, EncryptedColumns

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from shuiqiao.crypto.column_cipher import ColumnCipher

metadata = MetaData()

UNKNOWN_NAMES = 4096
"""Rows in which failures under names that nobody has are counted."""

ID_CHARACTERS = 32
"""Of the random id of a user or machine client, in hex."""

_user = Table(
    "accounts_user",
    metadata,
    Column("id", String(ID_CHARACTERS), primary_key=True),
    Column("name", String(32), nullable=False, unique=True),
    Column("password", Text, nullable=False),
    Column("must_change", Boolean, nullable=False),
    Column("roles", Text, nullable=False),
    Column("secret", LargeBinary),
    Column("is_secret_confirmed", Boolean, nullable=False),
    Column("last_step", BigInteger, nullable=False),
    Column("is_disabled", Boolean, nullable=False),
    Column("added_ms", BigInteger, nullable=False),
)
_USER_SECRETS = EncryptedColumns(table="accounts_user", key="id", columns={"secret": str})

_client = Table(
    "accounts_client",
    metadata,
    Column("id", String(ID_CHARACTERS), primary_key=True),
    Column("name", String(32), nullable=False, unique=True),
    Column("owner", String(ID_CHARACTERS), nullable=False),
    Column("secret_hash", LargeBinary(32), nullable=False),
    Column("roles", Text, nullable=False),
    Column("is_disabled", Boolean, nullable=False),
    Column("added_ms", BigInteger, nullable=False),
)

_attempt = Table(
    "accounts_attempt",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("failures", BigInteger, nullable=False),
    Column("locked_until_ms", BigInteger, nullable=False),
)

_token = Table(
    "accounts_token",
    metadata,
    Column("hash", LargeBinary(32), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("holder_tag", LargeBinary(LOOKUP_TAG_BYTES), nullable=False, index=True),
    Column("holder", LargeBinary, nullable=False),
    Column("issued_ms", BigInteger, nullable=False),
    Column("used_ms", BigInteger, nullable=False),
    Column("ends_ms", BigInteger, nullable=False),
)
_TOKEN_SECRETS = EncryptedColumns(table="accounts_token", key="hash", columns={"holder": str})

# Statements are built once: SQLAlchemy then finds each one's compiled text without walking it again.
_USERS = select(_user)
_USER_BY_NAME = select(_user).where(_user.c.name == bindparam("of_name"))
_USER_BY_ID = select(_user).where(_user.c.id == bindparam("of_id"))
_COUNT_USERS = select(func.count()).select_from(_user)
_USE_STEP = (
    update(_user)
    .where(and_(_user.c.id == bindparam("of_id"), _user.c.last_step < bindparam("step")))
    .values(last_step=bindparam("step"))
)
_RENEW_HASH = (
    update(_user)
    .where(and_(_user.c.id == bindparam("of_id"), _user.c.password == bindparam("seen")))
    .values(password=bindparam("now"))
)
_CLIENTS = select(_client)
_CLIENTS_OF = _CLIENTS.where(_client.c.owner == bindparam("of_owner"))
_CLIENT_BY_ID = select(_client).where(_client.c.id == bindparam("of_id"))
_CLIENT_BY_NAME = select(_client).where(_client.c.name == bindparam("of_name"))
_ATTEMPT = select(_attempt).where(_attempt.c.name == bindparam("of_name"))
_COUNT_ATTEMPT = (
    update(_attempt)
    .where(
        and_(
            _attempt.c.name == bindparam("of_name"),
            _attempt.c.failures == bindparam("seen"),
            _attempt.c.locked_until_ms == bindparam("seen_until_ms"),
        )
    )
    .values(failures=bindparam("failures"), locked_until_ms=bindparam("until_ms"))
)
_UNCOUNT_ATTEMPTS = delete(_attempt).where(
    and_(_attempt.c.name == bindparam("of_name"), _attempt.c.failures == bindparam("seen"))
)
_CLEAR_ATTEMPTS = delete(_attempt).where(_attempt.c.name == bindparam("of_name"))
_TOKEN = select(_token).where(_token.c.hash == bindparam("of_hash"))
_USE_TOKEN = update(_token).where(_token.c.hash == bindparam("of_hash")).values(used_ms=bindparam("now_ms"))
_REVOKE = delete(_token).where(_token.c.hash == bindparam("of_hash"))
_REVOKE_ALL = delete(_token).where(_token.c.holder_tag == bindparam("of_tag"))
_TOKENS_OF = (
    select(_token.c.hash)
    .where(_token.c.holder_tag == bindparam("of_tag"))
    .order_by(_token.c.issued_ms.desc(), _token.c.hash)
)
_FORGET_ENDED = delete(_token).where(
    or_(_token.c.ends_ms <= bindparam("now_ms"), _token.c.used_ms <= bindparam("idle_since_ms"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person who has an account here."""

    id: str
    name: str
    password: str
    """The hash of it."""
    must_change: bool
    """Whether somebody else knows the password, so that nothing is allowed until it is changed."""
    roles: tuple[str, ...]
    secret: str | None
    """What makes the codes of its second factor; left out of the printed form."""
    is_secret_confirmed: bool
    last_step: int
    is_disabled: bool
    added_ms: int

    def __repr__(self) -> str:
        return f"User(id={self.id!r}, name={self.name!r}, roles={self.roles!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineClient:
    """A program that has an account here. owner: the id of the user who answers for it."""

    id: str
    name: str
    owner: str
    secret_hash: bytes
    roles: tuple[str, ...]
    is_disabled: bool
    added_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """Failures to log in under a name, and until when nobody may try: where the last one locks none, its own moment."""

    failures: int
    locked_until_ms: int


NO_ATTEMPTS = Attempts(failures=0, locked_until_ms=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRow:
    """A token by its hash. holder: the id of a user or machine client, or what an enterprise proved."""

    hash: bytes
    kind: str
    holder: str
    issued_ms: int
    used_ms: int
    ends_ms: int


class AccountStore:
    """The accounts of one institution."""

    def __init__(self, engine: Engine, *, cipher: ColumnCipher) -> None:
        self._engine = engine
        self._cipher = cipher

    def begin(self) -> AbstractContextManager[Connection]:
        """Give a transaction: what is done in it is done whole, durably, or not at all.

        The data key is opened before it, for the first time that may write.
        """
        self._cipher.tag("")
        return self._engine.begin()

    # Users

    def add_user(self, connection: Connection, user: User) -> None:
        """Keep a new user; raises Conflict ``node.user_exists``."""
        try:
            connection.execute(insert(_user), self._cipher.encrypt_row(_USER_SECRETS, _values(user)))
        except AlreadyThere as error:
            raise Conflict("node.user_exists", f"there is a user {user.name} already") from error

    def change_user(self, connection: Connection, user: User) -> None:
        """Keep what became of a user; raises Conflict ``node.user_exists`` for the name of another.

        Which code was used last is for ``use_step``; with the secret it is forgotten.
        """
        values = self._cipher.encrypt_row(_USER_SECRETS, {**_values(user), "last_step": 0})
        if user.secret is not None:
            del values["last_step"]
        try:
            connection.execute(update(_user).where(_user.c.id == user.id).values(**values))
        except AlreadyThere as error:
            raise Conflict("node.user_exists", f"there is a user {user.name} already") from error

    def user_named(self, name: str) -> User | None:
        """Return the user of a name, or None."""
        return self._user(_USER_BY_NAME, {"of_name": name})

    def user(self, identifier: str, connection: Connection | None = None) -> User | None:
        """Return the user of an id, or None. connection: of the transaction that is to see it."""
        if connection is None:
            return self._user(_USER_BY_ID, {"of_id": identifier})
        row = connection.execute(_USER_BY_ID, {"of_id": identifier}).mappings().first()
        return None if row is None else self._to_user(row)

    def name_of(self, identifier: str) -> str:
        """Return the name of a user or program; of who has no account here (the owner, nobody) the id itself."""
        found = self.user(identifier) or self.client(identifier)
        return identifier if found is None else found.name

    def renew_hash(self, identifier: str, *, seen: str, now: str) -> None:
        """Keep another hash of a user's password, unless another password was kept meanwhile."""
        with self._engine.begin() as connection:
            connection.execute(_RENEW_HASH, {"of_id": identifier, "seen": seen, "now": now})

    def users(self) -> list[User]:
        """Return every user there ever was, by name."""
        with self._engine.connect() as connection:
            return sorted(map(self._to_user, connection.execute(_USERS).mappings()), key=_by_name)

    def count_users(self, connection: Connection | None = None) -> int:
        """Return how many users there are."""
        if connection is not None:
            return int(connection.execute(_COUNT_USERS).scalar_one())
        with self._engine.connect() as opened:
            return int(opened.execute(_COUNT_USERS).scalar_one())

    def use_step(self, identifier: str, step: int) -> bool:
        """Note that a user's code of a step was used; tell whether none of it or of a later one was before."""
        with self._engine.begin() as connection:
            return connection.execute(_USE_STEP, {"of_id": identifier, "step": step}).rowcount == 1

    def _user(self, statement: Any, parameters: Mapping[str, Any]) -> User | None:
        with self._engine.connect() as connection:
            row = connection.execute(statement, parameters).mappings().first()
        return None if row is None else self._to_user(row)

    def _to_user(self, row: RowMapping) -> User:
        found: dict[str, Any] = self._cipher.decrypt_row(_USER_SECRETS, dict(row))
        found["roles"] = tuple(found["roles"].split())
        return User(**found)

    # Machine clients

    def add_client(self, connection: Connection, client: MachineClient) -> None:
        """Keep a new machine client; raises Conflict ``node.user_exists``."""
        try:
            connection.execute(insert(_client), _values(client))
        except AlreadyThere as error:
            raise Conflict("node.user_exists", f"there is a machine client {client.name} already") from error

    def change_client(self, connection: Connection, client: MachineClient) -> None:
        """Keep what became of a machine client."""
        connection.execute(update(_client).where(_client.c.id == client.id).values(**_values(client)))

    def client(self, identifier: str) -> MachineClient | None:
        """Return the machine client of an id, or None."""
        return self._client(_CLIENT_BY_ID, {"of_id": identifier})

    def client_named(self, name: str) -> MachineClient | None:
        """Return the machine client of a name, or None."""
        return self._client(_CLIENT_BY_NAME, {"of_name": name})

    def clients(self) -> list[MachineClient]:
        """Return every machine client there ever was, by name."""
        with self._engine.connect() as connection:
            return sorted(map(_to_client, connection.execute(_CLIENTS).mappings()), key=_by_name)

    def clients_of(self, connection: Connection, owner: str) -> list[MachineClient]:
        """Return every machine client that a user answers for, by the user's id."""
        return [_to_client(row) for row in connection.execute(_CLIENTS_OF, {"of_owner": owner}).mappings()]

    def _client(self, statement: Any, parameters: Mapping[str, Any]) -> MachineClient | None:
        with self._engine.connect() as connection:
            row = connection.execute(statement, parameters).mappings().first()
        return None if row is None else _to_client(row)

    # Failures to log in

    def row_of_unknown(self, name: str) -> str:
        """Return where failures under a name that nobody has are counted: strangers fill no table.

        Which of these names are counted together nobody outside can tell, for the tag is keyed.
        """
        tag = self._cipher.tag(f"unknown/{name}")
        return f"unknown/{int.from_bytes(tag[:8], 'big') % UNKNOWN_NAMES}"

    def attempts(self, name: str) -> Attempts:
        """Return the failures in a row under a name."""
        with self._engine.connect() as connection:
            row = connection.execute(_ATTEMPT, {"of_name": name}).first()
        if row is None:
            return NO_ATTEMPTS
        return Attempts(failures=row.failures, locked_until_ms=row.locked_until_ms)

    def count_attempt(self, name: str, *, seen: Attempts, now: Attempts) -> bool:
        """Put the failures under a name in the place of those that were seen; tell whether they still were those."""
        try:
            with self._engine.begin() as connection:
                if seen == NO_ATTEMPTS:
                    connection.execute(insert(_attempt), {"name": name, **_values(now)})
                    return True
                if now == NO_ATTEMPTS:
                    gone = connection.execute(_UNCOUNT_ATTEMPTS, {"of_name": name, "seen": seen.failures})
                    return gone.rowcount == 1
                counted = connection.execute(
                    _COUNT_ATTEMPT,
                    {
                        "of_name": name,
                        "seen": seen.failures,
                        "seen_until_ms": seen.locked_until_ms,
                        "failures": now.failures,
                        "until_ms": now.locked_until_ms,
                    },
                )
        except AlreadyThere:
            return False
        return counted.rowcount == 1

    def clear_attempts(self, name: str) -> None:
        """Forget the failures under a name."""
        with self._engine.begin() as connection:
            connection.execute(_CLEAR_ATTEMPTS, {"of_name": name})

    # Tokens

    def add_token(self, token: TokenRow, *, idle_since_ms: int, at_most: int) -> None:
        """Keep a token; forget those that have ended, and the oldest of this holder beyond ``at_most``."""
        tag = self._tag(token.kind, token.holder)
        row = self._cipher.encrypt_row(_TOKEN_SECRETS, {**_values(token), "holder_tag": tag})
        with self.begin() as connection:
            connection.execute(_FORGET_ENDED, {"now_ms": token.issued_ms, "idle_since_ms": idle_since_ms})
            for old in [*connection.execute(_TOKENS_OF, {"of_tag": tag}).scalars()][at_most - 1 :]:
                connection.execute(_REVOKE, {"of_hash": old})
            connection.execute(insert(_token), row)

    def token(self, digest: bytes) -> TokenRow | None:
        """Return the token of a hash, or None."""
        with self._engine.connect() as connection:
            row = connection.execute(_TOKEN, {"of_hash": digest}).mappings().first()
        if row is None:
            return None
        found = self._cipher.decrypt_row(_TOKEN_SECRETS, dict(row))
        return TokenRow(**{name: found[name] for name in TokenRow.__slots__})

    def use_token(self, digest: bytes, *, now_ms: int) -> None:
        """Note when a token was used last."""
        with self._engine.begin() as connection:
            connection.execute(_USE_TOKEN, {"of_hash": digest, "now_ms": now_ms})

    def revoke_token(self, digest: bytes) -> None:
        """Forget a token."""
        with self._engine.begin() as connection:
            connection.execute(_REVOKE, {"of_hash": digest})

    def revoke_tokens_of(self, connection: Connection, kind: str, holder: str) -> None:
        """Forget every token of a holder."""
        connection.execute(_REVOKE_ALL, {"of_tag": self._tag(kind, holder)})

    def _tag(self, kind: str, holder: str) -> bytes:
        return self._cipher.tag(f"token/{kind}/{holder}")


def _values(row: User | MachineClient | Attempts | TokenRow) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in type(row).__slots__}
    if "roles" in values:
        values["roles"] = " ".join(values["roles"])
    return values


def _by_name(account: User | MachineClient) -> str:
    """By the bytes of names: databases have texts in the order of their country."""
    return account.name


def _to_client(row: RowMapping) -> MachineClient:
    found: dict[str, Any] = {**row, "roles": tuple(row["roles"].split())}
    return MachineClient(**found)
