"""What a database holds of taxpayers is encrypted, that of an earlier release in place, and no plain text is left."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import date

import pytest
from sqlalchemy import text

import consortium_world as worlds
from older_database import database_at
from shuiqiao.base.errors import Denied, IntegrityError, Unavailable
from shuiqiao.base.ids import owned_id, system_entropy
from shuiqiao.consent.store import ConsentStore
from shuiqiao.crypto.model import SuiteName
from shuiqiao.exchange.store import ProviderStore, RecipientStore
from shuiqiao.node.home.data_key import DataKey
from shuiqiao.node.home.database import open_database
from shuiqiao.node.home.keys import DATA_FILE, find_passphrase

TAXPAYER, REFERENCE = "91440300MA5LEAKME7", "check-of-Zhang-San-17"
AMOUNT_FEN, LIMIT_FEN = 54_321_098_765, 123_456_700
ARTEFACT, DISCLOSURE = b"artefact of the enterprise " * 9, b"invoice 24990000000000000000 " * 4000
CONSENT, REQUEST, ID = owned_id("bureau", bytes(16)), owned_id("bank", bytes(16)), bytes(16)
SECRETS = [
    TAXPAYER.encode(),
    REFERENCE.encode(),
    AMOUNT_FEN.to_bytes(6, "big"),
    LIMIT_FEN.to_bytes(4, "big"),
    ARTEFACT[:26],
    DISCLOSURE[:28],
    b'"invoice_issued@2":417',
    b"reason in words",
]
ROWS = {
    "consent_enrolment": {
        "taxpayer": TAXPAYER,
        "enrolment_key": b"k" * 32,
        "identity_reference": REFERENCE,
        "identity_checked_ms": 5,
    },
    "consent_artefact": {"consent": CONSENT, "taxpayer": TAXPAYER, "raw": ARTEFACT, "received_ms": 6},
    "exchange_asked": {
        "request": REQUEST,
        "consent": CONSENT,
        "taxpayer": TAXPAYER,
        "recipient": "bank",
        "purpose": "underwriting",
        "period_from": date(2024, 1, 1),
        "period_to": date(2025, 12, 31),
        "message": b"m",
        "attempt": bytes(16),
        "asked_ms": 7,
        "outcome": "delivered",
        "field_code": "00",
        "answered_ms": 8,
        "counts": b'{"invoice_issued@2":417}',
        "leaves": b"leaves",
        "answer": b"sealed",
    },
    "exchange_request": {"request": ID, "consent": CONSENT, "message": b"m", "made_ms": 8},
    "exchange_received": {
        "request": ID,
        "consent": CONSENT,
        "taxpayer": TAXPAYER,
        "manifest": b"manifest",
        "disclosure": DISCLOSURE,
        "received_ms": 9,
        "erase_after_ms": 10,
    },
    "lending_application": {
        "application": ID,
        "product": "tax-credit-loan",
        "taxpayer": TAXPAYER,
        "consent": CONSENT,
        "amount_fen": AMOUNT_FEN,
        "salt": b"s" * 32,
        "submitted_ms": 11,
        "status": "approved",
    },
    "lending_decision": {
        "application": ID,
        "outcome": "approved",
        "limit_fen": LIMIT_FEN,
        "annual_rate": "0.0465",
        "explanation": '{"reasons":["reason in words"]}',
        "reasons_salt": b"r" * 32,
        "sealed_opening": b"sealed",
    },
}


@pytest.fixture
def home(tmp_path):
    return worlds.solo_home(tmp_path / "home")


def key_of(home, **changes):
    secret = find_passphrase(home)
    fields = {"suite": SuiteName.INTL, "passphrase": lambda: secret, "entropy": system_entropy} | changes
    return DataKey(home, **fields)


def fill(engine, rows):
    with engine.begin() as connection:
        for name, row in rows.items():
            names = ", ".join(f":{column}" for column in row)
            connection.execute(text(f"INSERT INTO {name} ({', '.join(row)}) VALUES ({names})"), row)


def plain_text_in(folder):
    """Which secrets stand in any byte of a database's files."""
    data = b"\x00".join(path.read_bytes() for path in folder.glob("node.db*"))
    assert len(data) > 4096
    return [secret for secret in SECRETS if secret in data]


def stored(connection, name):
    return connection.execute(text(f"SELECT * FROM {name}")).mappings().all()


def test_what_an_older_database_holds_is_encrypted_in_place(url, home, tmp_path):
    with database_at(url, "0001") as old:
        fill(old, ROWS)
    is_sqlite = url.startswith("sqlite")
    if is_sqlite:
        assert plain_text_in(tmp_path) == SECRETS
    key = key_of(home)
    engine = open_database(url, data_key=key)
    cipher = key.cipher(engine)
    kept = ConsentStore(engine, cipher=cipher)
    assert kept.enrolment(TAXPAYER).identity_check.reference == REFERENCE
    assert [(each.raw, each.endorsement) for each in kept.artefacts_of(TAXPAYER)] == [(ARTEFACT, None)]
    (asked,) = ProviderStore(engine, cipher=cipher).asked_of(TAXPAYER)
    assert (asked.counts, asked.leaves, asked.period_to) == ({"invoice_issued@2": 417}, b"leaves", date(2025, 12, 31))
    ((_, received),) = RecipientStore(engine, cipher=cipher).all_received(after_ms=0, taxpayer=TAXPAYER)
    assert (received.disclosure, received.manifest) == (DISCLOSURE, b"manifest")
    (places,) = RecipientStore(engine, cipher=cipher).places(after_ms=0, taxpayer=TAXPAYER)
    assert (places.leaves, places.disclosure) == (None, DISCLOSURE)
    with engine.connect() as connection:
        for name in ROWS:
            (found,) = stored(connection, name)
            cells = b"\x00".join(bytes(cell) for cell in found.values() if isinstance(cell, bytes | memoryview))
            assert [secret for secret in SECRETS if secret in cells] == [], name
            assert not {str(cell) for cell in found.values()} & {TAXPAYER, REFERENCE, str(AMOUNT_FEN)}, name
    if is_sqlite:
        assert plain_text_in(tmp_path) == []
    engine.dispose()


def test_plain_text_that_a_crash_left_goes_when_the_home_is_opened_next(home, tmp_path):
    """The steps are committed, the file not yet rewritten: pages that were free before still hold what they held."""
    url = f"sqlite:///{tmp_path / 'node.db'}"
    with database_at(url, "0001") as old:
        fill(old, ROWS)
        fill(old, {"lending_application": ROWS["lending_application"] | {"application": b"x" * 16}})
        with old.begin() as connection:
            connection.execute(text("PRAGMA secure_delete=OFF"))
            connection.execute(text("DELETE FROM exchange_received"))
    with database_at(url, "0002", cipher_within=key_of(home).cipher_within):
        pass
    assert DISCLOSURE[:28] in plain_text_in(tmp_path)
    with closing(sqlite3.connect(tmp_path / "node.db")) as reader:
        open_database(url, data_key=key_of(home)).dispose()
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM lending_decision").fetchone()
    open_database(url, data_key=key_of(home)).dispose()
    assert plain_text_in(tmp_path) == []
    with closing(sqlite3.connect(tmp_path / "node.db")) as plain:
        assert plain.execute("PRAGMA user_version").fetchone() == (0,)


def test_a_home_with_nothing_to_encrypt_needs_no_data_key_yet(url, home):
    with database_at(url, "0001"):
        pass
    open_database(url, data_key=key_of(home)).dispose()
    assert not (home.keys / DATA_FILE).exists()
    open_database(url).dispose()


def test_what_has_to_be_encrypted_stays_untouched_without_a_key(url):
    with database_at(url, "0001") as old:
        fill(old, ROWS)
        with pytest.raises(Unavailable, match=r"^node\.data_key_missing"):
            open_database(url)
        with old.connect() as connection:
            assert stored(connection, "lending_application")[0]["taxpayer"] == TAXPAYER
            assert stored(connection, "alembic_version")[0]["version_num"] == "0001"


def code_of(error, engine, key):
    with pytest.raises(error) as caught:
        ConsentStore(engine, cipher=key.cipher(engine)).enrolment(TAXPAYER)
    return caught.value.code


def test_another_key_no_key_and_another_passphrase_are_told_apart(url, home, tmp_path):
    with database_at(url, "0001") as old:
        fill(old, ROWS)
    engine = open_database(url, data_key=key_of(home))
    own = (home.keys / DATA_FILE).read_bytes()
    assert code_of(Denied, engine, key_of(home, passphrase=lambda: b"wrong")) == "crypto.passphrase_wrong"
    other = worlds.solo_home(tmp_path / "other")
    elsewhere = open_database(f"sqlite:///{tmp_path / 'other.db'}")
    key_of(other).cipher(elsewhere).tag("a")
    elsewhere.dispose()
    shutil.copyfile(other.keys / DATA_FILE, home.keys / DATA_FILE)
    foreign = key_of(home, passphrase=lambda: find_passphrase(other))
    assert code_of(IntegrityError, engine, foreign) == "node.data_key_foreign"
    (home.keys / DATA_FILE).unlink()
    assert code_of(Unavailable, engine, key_of(home)) == "node.data_key_missing"
    assert not (home.keys / DATA_FILE).exists()
    (home.keys / DATA_FILE).write_bytes(own)
    assert ConsentStore(engine, cipher=key_of(home).cipher(engine)).enrolment(TAXPAYER) is not None
    engine.dispose()


def test_who_only_reads_makes_no_key(url, home):
    engine = open_database(url)
    assert code_of(Unavailable, engine, key_of(home, reads_only=True)) == "node.data_key_missing"
    assert not (home.keys / DATA_FILE).exists()
    engine.dispose()


def test_processes_that_encrypt_first_at_once_do_it_under_one_key(url, home):
    open_database(url).dispose()
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from shuiqiao.base.ids import system_entropy\n"
        "from shuiqiao.node.home.data_key import DataKey\n"
        "from shuiqiao.node.home.database import open_database\n"
        "from shuiqiao.node.home.keys import find_passphrase\n"
        "from shuiqiao.node.home.settings import Home\n"
        "home = Home(Path(sys.argv[2]))\nengine = open_database(sys.argv[1])\n"
        "key = DataKey(home, suite='intl', passphrase=lambda: find_passphrase(home), entropy=system_entropy)\n"
        "cipher = key.cipher(engine)\nsys.stdin.readline()\nprint(cipher.tag('a').hex())"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, url, str(home.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in started:
        process.stdin.write("go\n")
        process.stdin.flush()
    tags = {process.communicate()[0] for process in started}
    assert [process.returncode for process in started] == [0] * 4
    assert len(tags) == 1
