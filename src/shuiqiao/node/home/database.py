"""One database a node: SQLite in its home by default, PostgreSQL by URL. A commit that returned is on disk.

SQLite runs in WAL mode with synchronous=FULL: what a service acknowledged survives a power cut. Opening brings the
tables up to date (``schema``); opening to read changes nothing.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError

from shuiqiao.base.environment import DATABASE_URL_VARIABLE
from shuiqiao.base.errors import InvalidInput, Unavailable
from shuiqiao.base.files import open_regular
from shuiqiao.base.progress import Progress, no_progress
from shuiqiao.node.home.schema import database_missing, migrate, require_current, shown

if TYPE_CHECKING:
    from collections.abc import Generator

    from sqlalchemy import Connection, Engine, ExceptionContext

    from shuiqiao.crypto.column_cipher import ColumnCipher
    from shuiqiao.node.home.data_key import DataKey

BACKENDS = ("sqlite", "postgresql")

BUSY_TIMEOUT_MS = 30_000
"""How long a SQLite writer waits for another before it gives up, in milliseconds."""

_POOL = {"pool_size": 8, "max_overflow": 48}
"""Connections that stay, and further ones for a while: a server's 32 requests at once, its jobs, what it sends to eight
members, and a second one for whoever reads a list row by row, so that none of them waits for another's."""

_BUSY_PAUSE_S = 0.01
_PRIMARY_CODE = 0xFF
"""The bits of SQLite's extended codes that say what kind of failure it is."""


def open_database(url: str | Path, *, data_key: DataKey | None = None, progress: Progress = no_progress) -> Engine:
    """Open the database and bring its tables up to date. url: or the path of a SQLite file.

    data_key: under which a step encrypts what is there in clear; None where nothing can be there. Where the home of it
    has had a database, an empty one is refused (``node.database_missing``)::

        engine = open_database(Path("my-bank/shuiqiao.db"), data_key=key)

    Where the file is damaged, the disk refuses or the server is away, whatever is asked of it later raises Unavailable
    ``node.database_unavailable`` too. Raises InvalidInput ``node.database_url_invalid``; Unavailable
    ``node.database_driver_missing`` or ``node.database_unavailable``; what ``migrate`` raises. No message shows the
    password in the URL.
    """
    engine = _engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "handle_error", _name_failure)
    try:
        migrate(
            engine,
            cipher_within=_no_key if data_key is None else data_key.cipher_within,
            was_used=data_key is not None and data_key.was_used,
            progress=progress,
        )
    except BaseException:
        engine.dispose()
        raise
    return engine


def _no_key(_connection: Connection) -> ColumnCipher:
    raise Unavailable(
        "node.data_key_missing", "the database holds what has to be encrypted, and was opened without its home's key"
    )


@contextmanager
def open_database_to_read(url: str | Path, *, was_used: bool = False) -> Generator[Engine]:
    """Open the database for reading: a SQLite file that cannot be written too, and one that is not there as empty.

    was_used: its home has had one, and nothing in its place is refused (``node.database_missing``).
    Raises what ``open_database`` raises, but Unavailable ``node.database_older`` where the tables are not up to date;
    InvalidInput ``base.file_special``, OSError for a file that cannot be read.
    """
    engine = _reading_engine(url)
    try:
        if engine is None or not require_current(engine):
            if was_used:
                raise database_missing(_engine(url))
            if engine is not None:
                engine.dispose()
            engine = open_database("sqlite://")
        yield engine
    finally:
        if engine is not None:
            engine.dispose()


def reading_uri(path: Path) -> str:
    """Return the URI by which SQLite reads a database file, and clears away its log if it may write."""
    mode = "mode=rw"
    if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        # Without a log nobody has it open, and SQLite need not make one to look.
        has_log = path.with_name(f"{path.name}-wal").exists()
        mode = "mode=ro" if has_log else "immutable=1"
    return f"{path.absolute().as_uri()}?{mode}"


def _reading_engine(url: str | Path) -> Engine | None:
    engine = _engine(url)
    if engine.dialect.name == "sqlite":
        return _reading_file(Path(engine.url.database or ""))
    event.listen(engine, "handle_error", _name_failure)
    return engine.execution_options(postgresql_readonly=True)


def _reading_file(path: Path) -> Engine | None:
    try:
        open_regular(path).close()
    except FileNotFoundError:
        return None
    # The URL names it in messages.
    url = URL.create("sqlite", database=str(path))
    engine = create_engine(url, creator=lambda: sqlite3.connect(reading_uri(path), uri=True))
    event.listen(engine, "connect", _read_alone)
    event.listen(engine, "handle_error", _name_failure)
    return engine


def _read_alone(connection: Any, _record: object) -> None:
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA query_only=ON")


def _engine(url: str | Path) -> Engine:
    try:
        # A path may hold what means something in a URL.
        parsed = URL.create("sqlite", database=str(url)) if isinstance(url, Path) else make_url(url)
        if parsed.get_backend_name() not in BACKENDS:
            raise InvalidInput(
                "node.database_url_invalid",
                f"the database is a {parsed.get_backend_name()[:40]!r} where {' or '.join(BACKENDS)} is needed",
            )
        if parsed.drivername == "postgresql":
            # As libpq and its tools write it, e.g. pg_dump; SQLAlchemy would take it for another driver than ours.
            parsed = parsed.set(drivername="postgresql+psycopg")
        # A database in memory is one connection's.
        pool = _POOL if parsed.database or parsed.get_backend_name() != "sqlite" else {}
        return create_engine(parsed, **pool)
    except ArgumentError as error:
        raise InvalidInput("node.database_url_invalid", f"{DATABASE_URL_VARIABLE} is not a database URL") from error
    except ModuleNotFoundError as error:
        raise Unavailable(
            "node.database_driver_missing",
            f"the driver {error.name} of the database in {DATABASE_URL_VARIABLE} is not installed",
            next_step="uv pip install --python .venv/bin/python 'psycopg[binary]>=3.2'",
        ) from error


def _name_failure(context: ExceptionContext) -> None:
    """Raise Unavailable ``node.database_unavailable`` for what is no mistake of the statement's."""
    found, engine = context.original_exception, context.engine
    # SQLite may be unable to put into words what is damaged.
    is_failure = type(context.sqlalchemy_exception) in {DatabaseError, OperationalError}
    if engine is None or not (is_failure or isinstance(found, UnicodeDecodeError)):
        return
    raise Unavailable(
        "node.database_unavailable",
        f"the database {shown(engine)} cannot be used: {found}",
        next_step=f"let this account read and write {engine.url.database} and its folder, or free their disk; look at "
        "the home with `shuiqiao doctor`, and restore what is damaged from a backup"
        if engine.dialect.name == "sqlite"
        else f"start it, free its disk, or correct {DATABASE_URL_VARIABLE}; look at the home with `shuiqiao doctor`, "
        "and restore what is damaged from a backup",
    ) from found


def _prepare_sqlite(connection: Any, _record: object) -> None:
    try:
        _set_pragmas(connection)
    except UnicodeDecodeError as error:
        raise sqlite3.DatabaseError(f"it is damaged where its tables are named: {error}") from error


def _set_pragmas(connection: Any) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    _write_ahead(cursor)
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _write_ahead(cursor: Any) -> None:
    """Switch to WAL mode. SQLite refuses that without waiting where two processes do it to a new file at once."""
    given_up = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & _PRIMARY_CODE != sqlite3.SQLITE_BUSY or time.monotonic() > given_up:
                raise
            time.sleep(_BUSY_PAUSE_S)
        else:
            return
