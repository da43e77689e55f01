"""The node's database: durable SQLite by default, other backends by their name, and no password in a message."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, create_engine, event, insert, select
from sqlalchemy.exc import IntegrityError

from patience import PATIENCE_S
from shuiqiao.base.errors import InvalidInput, Unavailable
from shuiqiao.node.home.database import BUSY_TIMEOUT_MS, _prepare_sqlite, open_database

METADATA = MetaData()
TABLE = Table("thing", METADATA, Column("digit", Integer, primary_key=True))


def test_sqlite_keeps_what_was_acknowledged(tmp_path):
    engine = open_database(f"sqlite:///{tmp_path}/a.db")
    METADATA.create_all(engine)
    with engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")
        }
        pragmas["busy_timeout"] = connection.exec_driver_sql("PRAGMA busy_timeout").scalar()
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "busy_timeout": BUSY_TIMEOUT_MS}
    with engine.begin() as connection:
        connection.execute(insert(TABLE).values(digit=7))
    engine.dispose()
    again = open_database(f"sqlite:///{tmp_path}/a.db")
    with again.connect() as connection:
        assert connection.execute(select(TABLE.c.digit)).scalars().all() == [7]
    again.dispose()


def test_connections_that_make_the_file_at_once_wait_for_one_another(tmp_path):
    # SQLite itself answers such a switch to WAL mode at once: "database is locked".
    together = threading.Barrier(6)

    def connect(number: int) -> str:
        together.wait(PATIENCE_S)
        engine = create_engine(f"sqlite:///{tmp_path}/{number // 6}.db")
        event.listen(engine, "connect", _prepare_sqlite)
        try:
            with engine.begin() as connection:
                connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS thing (digit INTEGER)")
                return str(connection.exec_driver_sql("PRAGMA journal_mode").scalar())
        except BaseException:
            together.abort()
            raise
        finally:
            engine.dispose()

    with ThreadPoolExecutor(max_workers=6) as pool:
        assert list(pool.map(connect, range(240))) == ["wal"] * 240


@pytest.mark.parametrize("url", ["", "nothing", "mysql://u:hidden@h/d", "oracle://u:hidden@h/d", "sqlite"])
def test_what_is_no_database_of_ours_is_refused(url):
    with pytest.raises(InvalidInput) as caught:
        open_database(url)
    assert caught.value.code == "node.database_url_invalid"
    assert "hidden" not in str(caught.value)


def test_a_file_that_may_not_be_written_is_no_matter_of_a_url(whole):
    with pytest.raises(Unavailable) as caught:
        open_database(f"sqlite:///file:{whole}?mode=ro&uri=true")
    assert "readonly database" in caught.value.message
    assert f"let this account read and write file:{whole}" in caught.value.next_step
    assert "SHUIQIAO_DATABASE_URL" not in caught.value.next_step


def test_a_driver_that_is_not_installed_is_named():
    with pytest.raises(Unavailable) as caught:
        open_database("postgresql+psycopg2://u:hidden@h/d")
    assert caught.value.code == "node.database_driver_missing"
    assert "psycopg2" in caught.value.message
    assert "hidden" not in str(caught.value)


def test_a_url_as_the_tools_of_postgresql_take_it_is_of_our_driver(tmp_path):
    with pytest.raises(Unavailable) as caught:
        open_database(f"postgresql://user@/none?host={tmp_path}")
    assert caught.value.code == "node.database_unavailable"


def test_a_file_that_cannot_be_made_is_unavailable(tmp_path):
    with pytest.raises(Unavailable) as caught:
        open_database(f"sqlite:///{tmp_path}/no/such/folder/a.db")
    assert caught.value.code == "node.database_unavailable"


def numbers_in(path):
    engine = open_database(path)
    try:
        with engine.connect() as connection:
            return connection.execute(select(TABLE.c.digit)).scalars().all()
    finally:
        engine.dispose()


@pytest.fixture
def whole(tmp_path):
    """A database with one table more than a home's, in one file."""
    path = tmp_path / "a.db"
    engine = open_database(path)
    METADATA.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(TABLE), [{"digit": number} for number in range(3000)])
    engine.dispose()
    with closing(sqlite3.connect(path)) as plain:
        # As a copy that another program made: SQLite then reads its tables at the first pragma already.
        plain.execute("PRAGMA journal_mode=DELETE")
    return path


def test_a_page_that_is_damaged_is_named_when_it_is_read(whole):
    data = bytearray(whole.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    whole.write_bytes(data)
    with pytest.raises(Unavailable) as caught:
        numbers_in(whole)
    assert (caught.value.code, str(whole) in caught.value.message) == ("node.database_unavailable", True)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"CREATE TABLE thing", b"CREATE TABLE \xff\xffing"),
        (b"tablethingthing", b"table\xff\xffing\xff\xffing"),
        (b"digit INTEGER", b"digid INTEGER"),
    ],
    ids=["a statement that is not UTF-8", "a name that is not UTF-8", "a column of another name"],
)
def test_tables_that_are_damaged_are_named(whole, before, after):
    data = whole.read_bytes()
    assert data.count(before) == 1
    whole.write_bytes(data.replace(before, after))
    with pytest.raises(Unavailable) as caught:
        numbers_in(whole)
    assert (caught.value.code, str(whole) in caught.value.message) == ("node.database_unavailable", True)


def test_a_mistake_of_the_statement_is_none_of_the_database(whole):
    engine = open_database(whole)
    with engine.begin() as connection, pytest.raises(IntegrityError):
        connection.execute(insert(TABLE).values(digit=1))
    engine.dispose()


def test_a_file_that_is_no_database_is_unavailable(tmp_path):
    (tmp_path / "a.db").write_bytes(b"not a database at all, but long enough to be read as one" * 20)
    with pytest.raises(Unavailable) as caught:
        open_database(f"sqlite:///{tmp_path}/a.db")
    assert caught.value.code == "node.database_unavailable"


def test_as_many_have_a_connection_at_once_as_a_server_has_threads(tmp_path):
    """None of them waits for another's, though it has a second one while it reads a list."""
    engine = open_database(tmp_path / "node.db")
    with ExitStack() as stack:
        held = [stack.enter_context(engine.connect()) for _ in range(50)]
        assert {each.execute(select(1)).scalar() for each in held} == {1}
    engine.dispose()
