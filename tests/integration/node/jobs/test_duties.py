"""The duties of a bureau and a bank, done by a runner over real homes."""

from __future__ import annotations

import msgspec
import pytest
from sqlalchemy import text

import consortium_world as worlds
from consent_world import a_charge
from shuiqiao.base.clock import MS_PER_DAY, MS_PER_HOUR, ManualClock
from shuiqiao.base.ids import owned_id, system_entropy
from shuiqiao.exchange.model import request_key
from shuiqiao.exchange.store import ReceivedRow, RecipientStore
from shuiqiao.node.backup.reading import verify_backup
from shuiqiao.node.home.settings import encode_settings, load_settings
from shuiqiao.node.jobs.duties import DESTROY, job_kinds
from shuiqiao.node.jobs.ingests import INGEST
from shuiqiao.node.jobs.model import JobState
from shuiqiao.node.jobs.runner import JobRunner
from shuiqiao.node.jobs.service import JobService, duty_id
from shuiqiao.node.jobs.store import JobStore


class Jobs:
    """The jobs of one institution, by a clock of the test's."""

    def __init__(self, institution, clock):
        self.store = JobStore(institution.database, cipher=institution.cipher)
        kinds = job_kinds(institution)
        self.service = JobService(self.store, kinds=kinds, clock=clock, entropy=system_entropy)
        self.runner = JobRunner(self.store, service=self.service, kinds=kinds, clock=clock, entropy=system_entropy)
        self.service.add_duties()

    def all_done(self):
        while self.runner.run_one():
            pass

    def duty(self, kind):
        return self.store.job(duty_id(kind))


@pytest.fixture
def clock():
    return ManualClock(worlds.NOW_MS)


def test_an_ingest_that_is_asked_for_tells_how_it_went(home, tmp_path, clock):
    files = worlds.record_files(tmp_path / "files")
    with worlds.open_solo(home, clock) as bureau:
        jobs = Jobs(bureau, clock)
        good = jobs.service.ask(INGEST, {"files": [str(files["invoice_issued"])], "record_type": "invoice_issued"}).id
        missing = jobs.service.ask(INGEST, {"files": [str(tmp_path / "none.csv")], "record_type": None}).id
        wrong = jobs.service.ask(INGEST, {"file": "x"}).id
        jobs.all_done()
        done = jobs.store.job(good)
        assert (done.state, done.code, done.message) == (JobState.DONE, "", "")
        assert done.result["records_ingested"] == worlds.INVOICES
        assert done.step
        away = jobs.store.job(missing)
        assert (away.state, "none.csv cannot be read" in away.message) == (JobState.WAITING, True)
        assert jobs.store.job(wrong).code == "jobs.parameters_invalid"


def test_a_home_is_backed_up_and_the_newest_few_are_kept(home, clock):
    settings = msgspec.structs.replace(
        load_settings(home), backup_folder="backups", backups_kept=2, backup_interval_h=1
    )
    home.settings.write_text(encode_settings(settings))
    with worlds.open_solo(home, clock) as bureau:
        bureau.outbox.submit("anchor.commit", worlds.anchor_body(bytes(16)))
        jobs, folder = Jobs(bureau, clock), home.folder / "backups"
        folder.mkdir()
        (folder / "of-the-operator.tar").write_bytes(b"x")
        made = []
        for _ in range(3):
            jobs.all_done()
            duty = jobs.duty("home.backup")
            assert (duty.state, duty.code) == (JobState.WAITING, "")
            made.append(duty.result["file"])
            clock.advance(MS_PER_HOUR)
        assert sorted(str(path) for path in folder.iterdir()) == [*made[1:], str(folder / "of-the-operator.tar")]
        assert verify_backup(folder / made[-1]).manifest.database


@pytest.fixture
def bank(world):
    """The bank without an answer that it keeps, and before any job."""
    with world.bank.database.begin() as connection:
        for table in ("exchange_received", "node_job"):
            connection.execute(text(f"DELETE FROM {table}"))
    return world.bank


def keep(bank, count, *, erase_after_ms):
    store = RecipientStore(bank.database, cipher=bank.cipher)
    for request in [system_entropy(16) for _ in range(count)]:
        store.save_received(
            ReceivedRow(
                request=request,
                consent=owned_id("tax-bureau", bytes(16)),
                taxpayer="E1",
                manifest=b"m",
                disclosure=b"d",
                received_ms=0,
                erase_after_ms=erase_after_ms,
            ),
            charge=a_charge(request),
        )


def test_a_bank_destroys_by_block_time_tells_the_ledger_and_asks_where_it_is_much(world, bank, clock):
    """[EXCHANGE-23], [EXCHANGE-24]"""
    jobs = Jobs(bank, clock)
    request = world.evidence(world.consent())
    store = RecipientStore(bank.database, cipher=bank.cipher)
    store.erase_due(now_ms=store.received(request).erase_after_ms)
    jobs.all_done()
    duty = jobs.duty(DESTROY)
    assert (duty.code, duty.result["recorded"] >= 1) == ("", True)
    assert bank.engine.state().get(request_key(owned_id(bank.member, request)))["status"] == "destroyed"

    block_ms = bank.engine.last_block()[1]
    keep(bank, 30, erase_after_ms=block_ms)
    keep(bank, 30, erase_after_ms=block_ms + MS_PER_DAY)
    clock.advance(MS_PER_HOUR)
    jobs.all_done()
    held = jobs.duty(DESTROY)
    assert (held.state, held.code) == (JobState.HELD, "jobs.confirmation_needed")
    assert (held.result["due"], held.result["until_ms"]) == (30, block_ms)
    assert store.count_due(now_ms=block_ms).due == 30


def test_data_goes_at_its_end_though_the_ledger_cannot_be_told_of_an_erasure_before(world, bank, clock):
    """[EXCHANGE-15], [EXCHANGE-23]: one erasure that has no request on the ledger keeps nothing else back."""
    jobs, store = Jobs(bank, clock), RecipientStore(bank.database, cipher=bank.cipher)
    keep(bank, 1, erase_after_ms=1)
    (foreign,) = store.erase_due(now_ms=1)
    request = world.evidence(world.consent())
    with bank.database.begin() as connection:
        connection.execute(text("UPDATE exchange_received SET erase_after_ms = 1"))
    clock.advance(MS_PER_HOUR)
    jobs.all_done()
    assert jobs.duty(DESTROY).code == "exchange.erasure_unpaired"
    assert (store.is_received(request), store.is_erased(request)) == (False, True)
    assert bank.engine.state().get(request_key(owned_id(bank.member, request)))["status"] == "destroyed"
    assert [row.request for row in store.unrecorded_erasures(at_most=100)] == [foreign.request]
    store.mark_recorded(foreign.request, now_ms=1)


def test_a_bureau_releases_what_banks_took_in_and_both_name_consents_that_end(world, clock):
    consent = world.consent(validity_ms=5 * MS_PER_DAY)
    world.consent(validity_ms=60 * MS_PER_DAY)
    world.evidence(consent)
    clock.advance(2 * MS_PER_DAY)
    for member in (world.bureau, world.bank):
        if member is world.bank:
            member.catch_up_with(world.bureau)
        jobs = Jobs(member, clock)
        jobs.all_done()
        named = jobs.duty("consent.expiry").result
        assert consent in {each["consent"] for each in named["consents"]}
        assert named["ending"] == len(named["consents"])
    assert Jobs(world.bureau, clock).duty("exchange.release").result is not None
    assert world.bureau.provider.release_acknowledged() == 0
