"""Whether a database has the tables that this program works with, and how it is brought there.

Its revision stands in the table ``alembic_version``. Where it is the newest, nothing is done, and alembic is not even
loaded. An older database, or one without tables, is brought up to date by the steps in ``migrations``: all of them in
one transaction, in which nobody else changes the tables, so that it is whole or untouched whatever happens, and two
processes that open it at once do it once. A database that a newer program brought further is refused: what is written
there this program cannot know. There is no way back but a backup.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

from shuiqiao.base.errors import InvalidInput, Unavailable
from shuiqiao.base.progress import Progress, no_progress
from shuiqiao.node.home.migrations import NEWEST, WANTS_REWRITING

if TYPE_CHECKING:
    from collections.abc import Generator

    from sqlalchemy import Connection, Engine

    from shuiqiao.crypto.column_cipher import ColumnCipher

    CipherWithin = Callable[[Connection], ColumnCipher]

_SCRIPTS = "shuiqiao.node.home:migrations"
_VERSION_TABLE = "alembic_version"
_REVISION = re.compile(r"[0-9]{4}")
_ADVISORY_LOCK = 0x5153_6462
"""The key under which PostgreSQL lets one process at a time change a database's tables; chosen once, at random."""

_MIGRATING = threading.Lock()
"""alembic keeps what it works on in module variables: one migration at a time in a process."""


def migrate(
    engine: Engine, *, cipher_within: CipherWithin, was_used: bool = False, progress: Progress = no_progress
) -> None:
    """Return once the database has the tables of this program. cipher_within: what encrypts columns in a transaction.

    was_used: its home has had a database. Raises Unavailable ``node.database_missing`` for one that is empty then;
    InvalidInput ``node.database_newer``; IntegrityError ``node.database_foreign`` for tables that no release
    made; what opening the data key and the database raise, and then nothing has changed.
    """
    with engine.connect() as connection:
        is_newest = _known_revision(connection) == NEWEST
    if not is_newest:
        with _MIGRATING, _alone(engine) as connection:
            # Another process may have done it while this one waited.
            if _known_revision(connection) != NEWEST:
                # Of a database that is new there is nothing to tell.
                is_new = not inspect(connection).get_table_names()
                if is_new and was_used:
                    raise database_missing(connection.engine)
                told = no_progress if is_new else progress
                _upgrade(connection, cipher_within=cipher_within, progress=told)
    if engine.dialect.name == "sqlite":
        _rewrite_where_wanted(engine)


def shown(engine: Engine) -> str:
    """Return the URL of a database without what opens it: its query may hold a password, as libpq takes one."""
    return engine.url.set(query={}).render_as_string(hide_password=True)


def database_missing(engine: Engine) -> Unavailable:
    """Return the refusal of a database that has nothing of what its home kept."""
    return Unavailable(
        "node.database_missing",
        f"the database {shown(engine)} is empty or not there, and this home had one: "
        "its accounts, its journal and what it still had to send",
    )


def require_current(engine: Engine) -> bool:
    """Return whether there are tables at all, for who only reads a database and changes nothing.

    Raises InvalidInput ``node.database_newer``; Unavailable ``node.database_older`` for what has to be brought up to
    date first.
    """
    with engine.connect() as connection:
        revision = _known_revision(connection)
        if revision is None and not inspect(connection).get_table_names():
            return False
    if revision != NEWEST:
        raise Unavailable(
            "node.database_older",
            f"the database {shown(engine)} is at revision {revision or 'none'}, this "
            f"program reads revision {NEWEST}, and a command that only reads changes nothing",
        )
    return True


def _known_revision(connection: Connection) -> str | None:
    """Return the revision of a database, None before the first; raises InvalidInput ``node.database_newer``."""
    if not inspect(connection).has_table(_VERSION_TABLE):
        return None
    found = connection.execute(text(f"SELECT version_num FROM {_VERSION_TABLE}")).scalar()  # noqa: S608 - a constant
    if found is not None and not (_REVISION.fullmatch(str(found)) and str(found) <= NEWEST):
        raise InvalidInput(
            "node.database_newer",
            f"the database {shown(connection.engine)} is at revision "
            f"{str(found)[:32]!r}, which this program, whose newest is {NEWEST}, does not know",
        )
    return found


@contextmanager
def _alone(engine: Engine) -> Generator[Connection]:
    """Give a transaction during which no other process changes the tables."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            # Python's driver would begin no transaction for statements that change tables.
            connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        yield connection
        connection.commit()


def _rewrite_where_wanted(engine: Engine) -> None:
    """Rewrite a file in which bytes were left behind; while somebody reads it, the next opening does it again."""
    with engine.connect() as connection:
        is_wanted = connection.exec_driver_sql("PRAGMA user_version").scalar() == WANTS_REWRITING
    if not is_wanted:
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM")
        is_busy, _, _ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
        if not is_busy:
            connection.exec_driver_sql("PRAGMA user_version=0")


def _upgrade(connection: Connection, *, cipher_within: CipherWithin, progress: Progress) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", _SCRIPTS)
    config.attributes.update(connection=connection, cipher_within=cipher_within, progress=progress, newest=int(NEWEST))
    command.upgrade(config, NEWEST)
