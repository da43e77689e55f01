"""One database a node: SQLite in its home by default, PostgreSQL by URL. A commit that returned is on disk.

SQLite runs in WAL mode with synchronous=FULL: what a service acknowledged survives a power cut.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, MetaData, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError

from shuiqiao.base.environment import DATABASE_URL_VARIABLE
from shuiqiao.base.errors import InvalidInput, Unavailable
from shuiqiao.base.files import open_regular

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from sqlalchemy import Engine, ExceptionContext

BACKENDS = ("sqlite", "postgresql")

BUSY_TIMEOUT_MS = 30_000
"""How long a SQLite writer waits for another before it gives up, in milliseconds."""


def open_database(url: str | Path, *, metadatas: Iterable[MetaData]) -> Engine:
    """Open the database and create the tables that are missing. url: or the path of a SQLite file.

    Where the file is damaged, the disk refuses or the server is away, whatever is asked of it later raises Unavailable
    ``node.database_unavailable`` too. Raises InvalidInput ``node.database_url_invalid``; Unavailable
    ``node.database_driver_missing`` or ``node.database_unavailable``. No message shows the password in the URL.
    """
    engine = _engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "handle_error", _name_failure)
    try:
        for metadata in metadatas:
            metadata.create_all(engine)
    except Unavailable:
        engine.dispose()
        raise
    return engine


@contextmanager
def open_database_to_read(url: str | Path, *, metadatas: Iterable[MetaData]) -> Generator[Engine]:
    """Open the database for reading: a SQLite file that cannot be written too, and one that is not there as empty.

    Raises what ``open_database`` raises, InvalidInput ``base.file_special``, OSError for a file that cannot be read.
    """
    engine = _reading_engine(url) if isinstance(url, Path) else None
    engine = engine or open_database(url if isinstance(url, str) else "sqlite://", metadatas=metadatas)
    try:
        yield engine
    finally:
        engine.dispose()


def reading_uri(path: Path) -> str:
    """Return the URI by which SQLite reads a database file, and clears away its log if it may write."""
    mode = "mode=rw"
    if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        # Without a log nobody has it open, and SQLite need not make one to look.
        has_log = path.with_name(f"{path.name}-wal").exists()
        mode = "mode=ro" if has_log else "immutable=1"
    return f"{path.absolute().as_uri()}?{mode}"


def _reading_engine(path: Path) -> Engine | None:
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
        pool = {} if parsed.get_backend_name() == "sqlite" else {"pool_size": 8, "max_overflow": 8}
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
    first = f"start it, free its disk, or correct {DATABASE_URL_VARIABLE}"
    if engine.dialect.name == "sqlite":
        first = f"let this account read and write {engine.url.database} and its folder, or free their disk"
    raise Unavailable(
        "node.database_unavailable",
        f"the database {engine.url.render_as_string(hide_password=True)} cannot be used: {found}",
        next_step=f"{first}; look at the home with `shuiqiao doctor`, and restore what is damaged from a backup",
    ) from found


def _prepare_sqlite(connection: Any, _record: object) -> None:
    try:
        _set_pragmas(connection)
    except UnicodeDecodeError as error:
        raise sqlite3.DatabaseError(f"it is damaged where its tables are named: {error}") from error


def _set_pragmas(connection: Any) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={BUSY_TIMEOUT_MS}", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
