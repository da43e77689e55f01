"""One database a node: SQLite in its home by default, PostgreSQL by URL. A commit that returned is on disk.

SQLite runs in WAL mode with synchronous=FULL: what a service acknowledged survives a power cut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import MetaData, create_engine, event

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Engine

BUSY_TIMEOUT_MS = 30_000
"""How long a SQLite writer waits for another before it gives up, in milliseconds."""


def open_database(url: str, *, metadatas: Iterable[MetaData]) -> Engine:
    """Open the database and create the tables that are missing."""
    engine = create_engine(url, pool_size=8, max_overflow=8) if not url.startswith("sqlite") else create_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    for metadata in metadatas:
        metadata.create_all(engine)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={BUSY_TIMEOUT_MS}", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
