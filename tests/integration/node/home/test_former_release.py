"""Homes that an earlier release left, with all that was in them, are brought up to date and go on."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from consortium_world import TAXPAYER
from shuiqiao.base.clock import ManualClock
from shuiqiao.base.ids import system_entropy
from shuiqiao.crypto.model import SuiteName
from shuiqiao.lending.store import LendingStore
from shuiqiao.node.home.data_key import DataKey
from shuiqiao.node.home.database import open_database
from shuiqiao.node.home.keys import find_passphrase
from shuiqiao.node.home.migrations import NEWEST
from shuiqiao.node.home.settings import Home
from shuiqiao.node.institution import Institution
from shuiqiao.node.services import Dependencies

HOMES = Path(__file__).parents[3] / "vectors" / "homes"
REVISION = "0022"


@pytest.fixture
def former(tmp_path, monkeypatch):
    """Unpack a home as the earlier release left it, its passphrase at hand."""

    def unpack(name):
        with tarfile.open(HOMES / f"{name}.tar.xz") as packed:
            packed.extractall(tmp_path, filter="data")
        monkeypatch.setenv("SHUIQIAO_PASSPHRASE_FILE", str(tmp_path / f"{name}.passphrase"))
        return tmp_path / name

    return unpack


def revision_of(home):
    engine = create_engine(f"sqlite:///{home.database}")
    with engine.connect() as connection:
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
    engine.dispose()
    return found


def test_a_bureau_goes_on_with_what_it_had(former, here, tmp_path):
    file = tmp_path / "more.csv"
    file.write_text("uscc,year,grade\n91000000000000001A,2018,A\n", encoding="utf-8")
    home = Home(former("bureau"))
    assert revision_of(home) == REVISION < NEWEST
    audited = here("audit", "--home", home.folder, "--json")
    assert (audited.code, audited.json["problems"]) == (0, [])
    # Looking changes nothing.
    assert revision_of(home) == REVISION
    clock = ManualClock(0)
    with Institution.open(home, dependencies=Dependencies(clock=clock, entropy=system_entropy)) as bureau:
        height, block_ms = bureau.engine.last_block()
        clock.advance(block_ms + 1_000)
        (consent, *_) = bureau.consent_service.artefacts_of(TAXPAYER)
        assert consent.taxpayer == TAXPAYER
        assert bureau.consent_service.artefact(consent.name) == consent
        taken = bureau.vault.ingest([file], anchor=bureau.outbox, record_type=None)
    assert revision_of(home) == NEWEST
    again = here("audit", "--home", home.folder, "--json")
    assert (again.code, again.json["problems"], taken.records_ingested) == (0, [], 1)
    assert again.json["records_anchored"] == audited.json["records_anchored"] + 1
    assert (audited.json["replayed"], again.json["replayed"]) == (height, height + 1)


def test_a_bank_reads_what_was_encrypted_then(former):
    home = Home(former("bank-east"))
    key = DataKey(home, suite=SuiteName.INTL, passphrase=lambda: find_passphrase(home), entropy=system_entropy)
    engine = open_database(home.database, data_key=key)
    lending = LendingStore(engine, cipher=key.cipher(engine))
    try:
        kept = [lending.file(row.application.id) for row in lending.applications()]
        assert kept
        assert all(file.application.product and file.timeline for file in kept)
        assert lending.decisions()
    finally:
        engine.dispose()
    assert revision_of(home) == NEWEST
