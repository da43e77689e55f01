"""Every database comes to the tables that the stores name, by alembic alone, whole or not at all, on both databases."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, create_engine, inspect, text

import shuiqiao
from consent_world import a_cipher
from older_database import database_at
from shuiqiao.base.errors import IntegrityError, InvalidInput, Unavailable
from shuiqiao.crypto.column_cipher import EncryptedColumns
from shuiqiao.node.home.database import open_database, open_database_to_read
from shuiqiao.node.home.migrations import NEWEST, NEWEST_STEP
from shuiqiao.node.jobs.store import JobStore

SOURCE = Path(shuiqiao.__file__).parent
TAXPAYER = "91440300MA5EXAMPL1"


def stores():
    """Every module that declares tables."""
    for path in sorted(SOURCE.rglob("*.py")):
        if re.search(r"^metadata = MetaData\(\)", path.read_text(encoding="utf-8"), re.MULTILINE):
            yield importlib.import_module(".".join(path.relative_to(SOURCE.parent).with_suffix("").parts))


def names_in(engine):
    return set(inspect(engine).get_table_names())


def test_the_tables_are_those_that_the_stores_name(database):
    whole = MetaData()
    for store in stores():
        for table in store.metadata.tables.values():
            table.to_metadata(whole)
    assert len(whole.tables) > 10
    with database.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), whole) == []


def test_the_steps_are_one_line_and_the_last_one_is_the_newest():
    config = Config()
    config.set_main_option("script_location", "shuiqiao.node.home:migrations")
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_heads() == [NEWEST]
    steps = [*scripts.walk_revisions()][::-1]
    assert [step.revision for step in steps] == [f"{number:04}" for number in range(1, len(steps) + 1)]
    assert [Path(step.path).name[:5] for step in steps] == [f"r{step.revision}" for step in steps]
    assert Path(steps[-1].path).stem == NEWEST_STEP


def test_a_database_that_an_earlier_release_made_is_recognised(url):
    with database_at(url, None) as old, old.begin() as connection:
        connection.execute(text("INSERT INTO oversight_release VALUES (7, 8, 'of then')"))
        connection.execute(text("DROP TABLE node_outbox"))
    engine = open_database(url)
    assert {"node_outbox", "alembic_version"} <= names_in(engine)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT * FROM oversight_release")).all() == [(7, 8, "of then")]
    engine.dispose()


def test_a_job_of_a_program_that_kept_no_requests_goes_on(url):
    """[API-21]: of what was asked for before nothing is known; what is asked for now has its request."""
    cipher, now_ms = a_cipher(), 1_775_001_600_000
    secrets = EncryptedColumns(table="node_job", key="id", columns={"parameters": bytes})
    row = cipher.encrypt_row(secrets, {"id": bytes(16), "parameters": b'{"number":1}'})
    with database_at(url, "0015") as old, old.begin() as connection:
        words = "'kept', :parameters, 'waiting', 1, 1, 0, 5, '', 0, '', :no"
        names = (
            "id, kind, parameters, state, created_ms, due_ms, attempts, max_attempts, step, done, code, cancel_asked"
        )
        connection.execute(text(f"INSERT INTO node_job ({names}) VALUES (:id, {words})"), {**row, "no": False})
    engine = open_database(url)
    store = JobStore(engine, cipher=cipher)
    [before] = store.jobs(at_most=2)
    assert (before.parameters, before.state, before.request_id) == ({"number": 1}, "waiting", None)
    assert store.add(replace(before, id=b"\x01" * 16, request_id="5a" * 16))
    claimed = [store.claim(owner="test", kinds=["kept"], now_ms=now_ms, until_ms=now_ms + 1) for _ in range(2)]
    assert {job.id[0]: job.request_id for job in claimed} == {0: None, 1: "5a" * 16}
    engine.dispose()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("ALTER TABLE lending_opening RENAME COLUMN sealed TO opened", "lending_opening"),
        ("ALTER TABLE node_outbox ADD COLUMN more INTEGER", "node_outbox"),
        ("DROP INDEX ix_exchange_received_erase_after_ms", "exchange_received"),
    ],
)
def test_tables_that_no_release_made_are_refused_and_stay_as_they_are(url, change, said):
    with database_at(url, None) as old:
        with old.begin() as connection:
            connection.execute(text(change))
            connection.execute(text("DROP TABLE oversight_release"))
        with pytest.raises(IntegrityError, match=r"^node\.database_foreign") as caught:
            open_database(url)
        assert said in caught.value.message
        assert not {"alembic_version", "oversight_release"} & names_in(old)


def test_a_database_of_a_newer_program_is_refused(url):
    open_database(url).dispose()
    with database_at(url, NEWEST) as engine:
        for found in (f"{int(NEWEST) + 1:04}", "of a fork"):
            with engine.begin() as connection:
                connection.execute(text("UPDATE alembic_version SET version_num = :found"), {"found": found})
            with pytest.raises(InvalidInput, match=r"^node\.database_newer") as caught:
                open_database(url)
            assert found in caught.value.message
            with pytest.raises(InvalidInput, match=r"^node\.database_newer"), open_database_to_read(url):
                pass


def test_who_only_reads_changes_nothing_and_says_what_to_do(url):
    with database_at(url, None) as old:
        with pytest.raises(Unavailable, match=r"^node\.database_older"), open_database_to_read(url):
            pass
        assert "alembic_version" not in names_in(old)
    open_database(url).dispose()
    with open_database_to_read(url) as engine, engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM lending_opening")).scalar() == 0


def test_what_has_no_tables_yet_reads_as_empty_and_is_not_made(url, tmp_path):
    with open_database_to_read(tmp_path / "none.db") as engine:
        assert "node_outbox" in names_in(engine)
    assert [*tmp_path.glob("none.db*")] == []
    with open_database_to_read(url) as engine:
        assert "node_outbox" in names_in(engine)
    plain = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    assert names_in(plain) == set()
    plain.dispose()


def test_a_migration_that_is_interrupted_leaves_all_as_it_was(url):
    def interrupt(_step, done, total):
        if done == total:
            raise KeyboardInterrupt

    told = []
    with database_at(url, None) as old:
        before = names_in(old)
        with pytest.raises(KeyboardInterrupt):
            open_database(url, progress=interrupt)
        assert names_in(old) == before
        open_database(url, progress=lambda *words: told.append(words)).dispose()
        assert names_in(old) > before
    assert [done for _, done, _ in told] == [*range(1, int(NEWEST) + 1)]


def test_processes_that_open_it_at_once_make_it_once(url):
    program = (
        "import sys\nfrom shuiqiao.node.home.database import open_database\n"
        "sys.stdin.readline()\ntold = []\n"
        "open_database(sys.argv[1], progress=lambda *words: told.append(words)).dispose()\nprint(len(told))"
    )
    with database_at(url, None):
        pass
    started = [
        subprocess.Popen([sys.executable, "-c", program, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for process in started:
        process.stdin.write("go\n")
        process.stdin.flush()
    told = sorted(int(process.communicate()[0]) for process in started)
    assert [process.returncode for process in started] == [0] * 4
    assert told == [0, 0, 0, int(NEWEST)]


def test_a_database_that_is_up_to_date_is_opened_without_alembic(url):
    open_database(url).dispose()
    program = (
        "import sys\nfrom shuiqiao.node.home.database import open_database, open_database_to_read\n"
        "open_database(sys.argv[1]).dispose()\n"
        "with open_database_to_read(sys.argv[1]):\n    print('alembic' in sys.modules)"
    )
    output = subprocess.run([sys.executable, "-c", program, url], capture_output=True, text=True, check=True).stdout
    assert output == "False\n"
