"""What an institution keeps back: checked and kept at once, entered later by itself, hastened by nobody [CONSENT-32]."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from msgspec import structs

import consortium_world as worlds
from shuiqiao.base.clock import MS_PER_DAY, MS_PER_SECOND
from shuiqiao.base.errors import Denied, Unavailable
from shuiqiao.client.resources.consents import ConsentSubmissionMessage
from shuiqiao.consent.model import Status
from shuiqiao.consent.service import find_grant
from shuiqiao.lending.file import Step
from shuiqiao.node.jobs.duties import GRANT_CONSENT, PROCESS_APPLICATION, job_kinds
from shuiqiao.node.jobs.model import JobState
from shuiqiao.node.jobs.runner import JobRunner
from shuiqiao.node.jobs.service import JobService
from shuiqiao.node.jobs.store import JobStore
from shuiqiao.node.operations import own
from shuiqiao.node.peers.message import Act

MOST_S = 10 * 3600


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = worlds.ConsortiumWorld(tmp_path_factory.mktemp("consortium"), "intl")
    yield made
    made.close()


@contextmanager
def kept_back(institution, service):
    """Have an institution keep entries back, as one that is opened with this setting does."""
    before = institution.settings
    institution.settings = structs.replace(before, entry_delay_min=600)
    institution.__dict__.pop(service, None)
    yield
    institution.settings = before
    del institution.__dict__[service]


@pytest.fixture
def bureau(world):
    with kept_back(world.bureau, "consent_service"):
        yield world.bureau


@pytest.fixture
def bank(world):
    with kept_back(world.bank, "lending"):
        yield world.bank


def jobs_of(institution):
    around, store = institution.dependencies, JobStore(institution.database, cipher=institution.cipher)
    wanted = (GRANT_CONSENT, PROCESS_APPLICATION)
    kinds = {name: kind for name, kind in job_kinds(institution).items() if name in wanted}
    service = JobService(store, kinds=kinds, clock=around.clock, entropy=around.entropy)
    return service, JobRunner(store, service=service, kinds=kinds, clock=around.clock, entropy=around.entropy)


def waits_s(act):
    """For how many seconds an act says that its entry waits."""
    with pytest.raises(Unavailable) as refusal:
        act()
    assert refusal.value.code == "ledger.entry_waits"
    return int(refusal.value.retry_after_s)


def test_a_grant_is_checked_at_once_and_entered_by_a_job_when_its_time_has_come(world, bureau):
    """[CONSENT-32]"""
    terms = world.terms(world.bank)
    submission = world.enterprise.submission(terms, now_ms=world.clock.now_ms())
    height = bureau.engine.last_block()
    first_s = waits_s(lambda: bureau.receive_consent(submission))
    assert 0 < first_s <= MOST_S
    # Asking again hastens nothing, and the bank is not told.
    world.clock.advance(first_s // 2 * MS_PER_SECOND)
    assert waits_s(lambda: bureau.receive_consent(submission)) == first_s - first_s // 2
    message = ConsentSubmissionMessage(**{name: getattr(submission, name).hex() for name in submission.__slots__})
    pending = own.grant_consent(bureau, own.OwnScope(taxpayer=worlds.TAXPAYER), message)
    assert (pending.status, pending.granted_index) == ("pending", None)
    assert bureau.engine.last_block() == height
    assert bureau.deliveries.waiting() == []

    service, runner = jobs_of(bureau)
    job = service.ask(GRANT_CONSENT, {"grant": submission.grant.hex()}).id.hex()
    assert runner.run_one()
    waiting = service.find(job)
    assert (waiting.state, waiting.code) == (JobState.WAITING, "ledger.entry_waits")
    assert waiting.due_ms == world.clock.now_ms() + (first_s - first_s // 2) * MS_PER_SECOND
    world.clock.advance(waiting.due_ms - world.clock.now_ms() - 1)
    assert not runner.run_one()
    world.clock.advance(1)
    assert runner.run_one()
    done = service.find(job)
    assert (done.state, done.result) == (JobState.DONE, {"consent": pending.consent, "index": done.result["index"]})
    assert find_grant(bureau.engine.state(), pending.consent).status is Status.ACTIVE
    (handed,) = bureau.deliveries.waiting()
    assert (handed.act, handed.receiver) == (Act.ARTEFACT, world.bank.member)
    # The same again is answered with the place of its grant.
    assert bureau.receive_consent(submission).committed.index == done.result["index"]


def test_each_consent_waits_for_a_time_of_its_own(world, bureau):
    """[CONSENT-32]"""
    now_ms = world.clock.now_ms()
    given = [world.enterprise.submission(world.terms(world.bank), now_ms=now_ms) for _ in range(3)]
    waits = [waits_s(lambda each=each: bureau.receive_consent(each)) for each in given]
    assert len(set(waits)) == 3


@pytest.fixture
def before(world):
    """A consent that was granted at once."""
    return world.consent()


def test_what_is_refused_is_refused_at_once_and_a_withdrawal_never_waits(world, before, bureau):
    """[CONSENT-32]"""
    wanted = world.terms(world.bank, validity_ms=400 * MS_PER_DAY)
    with pytest.raises(Denied, match=r"^consent\.ceiling_exceeded"):
        bureau.receive_consent(world.enterprise.submission(wanted, now_ms=world.clock.now_ms()))
    statement = world.enterprise.revoke(before, now_ms=world.clock.now_ms())
    bureau.consent_service.relay(statement.raw)
    assert find_grant(bureau.engine.state(), before).status is Status.REVOKED


def test_an_application_is_kept_at_once_and_entered_when_its_time_has_come(world, bank):
    """[CONSENT-32] [LENDING-10]"""
    consent = world.consent()
    height = bank.engine.last_block()
    left_s = waits_s(lambda: world.applied(consent, product=worlds.INVOICE_LOAN))
    (application,) = bank.application_store.open_applications()
    assert bank.engine.last_block() == height
    assert [entry.code for entry in bank.application_store.file(application).timeline] == ["", "ledger.entry_waits"]
    with world.assessor(points=worlds.REFERRED_POINTS) as assessor:
        bank.__dict__["applications"] = world.process(assessor)
        service, runner = jobs_of(bank)
        service.ask(PROCESS_APPLICATION, {"application": application.hex()}, id=application)
        assert runner.run_one()
        assert service.find(application.hex()).due_ms == world.clock.now_ms() + left_s * MS_PER_SECOND
        assert bank.engine.last_block() == height
        world.clock.advance(left_s * MS_PER_SECOND)
        assert runner.run_one()
        assert bank.application_store.file(application).has(Step.SUBMITTED)
        assert service.find(application.hex()).result["status"] == "referred"


def test_a_job_that_names_no_grant_on_file_is_refused(world):
    nobodys = world.enterprise.submission(world.terms(world.bank), now_ms=world.clock.now_ms())
    service, runner = jobs_of(world.bureau)
    for grant, code in (("zz", "jobs.parameters_invalid"), (nobodys.grant.hex(), "jobs.parameters_invalid")):
        job = service.ask(GRANT_CONSENT, {"grant": grant}).id.hex()
        assert runner.run_one()
        failed = service.find(job)
        assert (failed.state, failed.code) == (JobState.FAILED, code)
