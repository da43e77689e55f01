"""Databases as earlier programs left them: at an older revision, or made before revisions were kept at all."""

from __future__ import annotations

from contextlib import contextmanager

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, make_url, text

from shuiqiao.base.progress import no_progress


@contextmanager
def database_at(url, revision, **attributes):
    """Bring a database to a revision, and give an engine over it; revision None: the tables without their revision."""
    parsed = make_url(url)
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    engine = create_engine(parsed)
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", "shuiqiao.node.home:migrations")
        config.attributes.update(connection=connection, progress=no_progress, newest=0, **attributes)
        command.upgrade(config, revision or "0001")
        if revision is None:
            connection.execute(text("DROP TABLE alembic_version"))
    yield engine
    engine.dispose()
