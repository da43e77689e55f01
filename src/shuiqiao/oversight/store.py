"""The regulator's releases of statistics, in its database: what was published, and which decisions it counted."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from sqlalchemy import BigInteger, Column, Engine, Integer, LargeBinary, MetaData, Table, Text, insert, select

from shuiqiao.base.encoding import typed
from shuiqiao.oversight.model import Release

metadata = MetaData()

_releases = Table(
    "oversight_release",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("published_ms", BigInteger, nullable=False),
    Column("content", Text, nullable=False),
)

_counted = Table(
    "oversight_counted",
    metadata,
    Column("bank", LargeBinary(32), primary_key=True),
    Column("application", LargeBinary(16), primary_key=True),
    Column("release", Integer, nullable=False),
)


class ReleaseStore:
    """What one regulator has published."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, release: Release, *, decisions: Iterable[tuple[str, bytes]]) -> None:
        """Keep a release with the (bank, application) of every decision it counts; all of it or nothing."""
        rows = [
            {"bank": bank.encode(), "application": application, "release": release.number}
            for bank, application in decisions
        ]
        content = msgspec.json.encode(release).decode()
        with self._engine.begin() as connection:
            connection.execute(
                insert(_releases),
                {"number": release.number, "published_ms": release.published_ms, "content": content},
            )
            connection.execute(insert(_counted), rows)

    def counted(self) -> set[tuple[str, bytes]]:
        """Return the (bank, application) of every decision that some release counts."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(_counted.c.bank, _counted.c.application)).all()
        return {(row.bank.decode(), row.application) for row in rows}

    def releases(self) -> tuple[Release, ...]:
        """Return every release, the first one first."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(_releases.c.content).order_by(_releases.c.number)).all()
        return tuple(typed(msgspec.json.decode(row.content), Release) for row in rows)
