"""The jobs of a bank that take its applications to their end, whoever stopped before [LENDING-14]."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

import consortium_world as worlds
from shuiqiao.base.errors import InvalidInput, Unavailable
from shuiqiao.client.pages import PageQuery
from shuiqiao.exchange.model import RequestStatus
from shuiqiao.exchange.store import RecipientStore
from shuiqiao.lending.file import Step
from shuiqiao.lending.model import Outcome
from shuiqiao.lending.review import propose_decision
from shuiqiao.node.jobs.duties import PROCESS_APPLICATION, Duties, job_kinds
from shuiqiao.node.jobs.runner import JobRunner
from shuiqiao.node.jobs.service import JobService
from shuiqiao.node.jobs.store import JobStore
from shuiqiao.node.operations import own


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = worlds.ConsortiumWorld(tmp_path_factory.mktemp("consortium"), "intl")
    yield made
    made.close()


@pytest.fixture
def bank(world):
    """The bank, its applications going to bureau and regulator within this process; none stays open afterwards."""
    with world.assessor(points=worlds.REFERRED_POINTS) as assessor:
        world.bank.__dict__["applications"] = world.process(assessor)
        yield world.bank
        for application in world.bank.application_store.open_applications():
            world.bank.applications.close(application, reason="withdrawn")
    del world.bank.__dict__["applications"]


def jobs_of(bank):
    around, store = bank.dependencies, JobStore(bank.database, cipher=bank.cipher)
    kinds = {name: kind for name, kind in job_kinds(bank).items() if name.startswith("lending.")}
    service = JobService(store, kinds=kinds, clock=around.clock, entropy=around.entropy)
    return service, JobRunner(store, service=service, kinds=kinds, clock=around.clock, entropy=around.entropy)


def running(**parameters):
    return SimpleNamespace(job=SimpleNamespace(parameters=parameters), progress=lambda *_: None)


def test_an_application_is_taken_to_the_people_who_decide_and_then_to_its_end(world, bank):
    service, runner = jobs_of(bank)
    application = world.applied(world.consent(), product=worlds.INVOICE_LOAN).id
    job = service.ask(PROCESS_APPLICATION, {"application": application.hex()}, id=application)
    assert service.ask(PROCESS_APPLICATION, {"application": application.hex()}, id=application) == job
    assert runner.run_one()
    assert service.find(job.id.hex()).result == {"application": application.hex(), "status": "referred"}
    # Whoever waits for people is left alone until they decided.
    assert bank.application_store.open_applications() == [application]
    assert bank.application_store.open_applications(but_for_people=True) == []
    file = bank.application_store.file(application)
    raw = propose_decision(file, product=worlds.INVOICE_LOAN, outcome=Outcome.REFUSED, reason="no order book")
    bank.lending.review(application, raw, product=worlds.INVOICE_LOAN, maker="li", checker="wu")
    told = Duties(bank).process_open(running())
    assert told == {"open": 1, "ended": 1, "stopped": 0, "causes": {}}
    assert bank.application_store.file(application).status == "refused"


def test_what_stops_one_application_stops_no_other(world, bank, monkeypatch):
    applications = [world.applied(world.consent(), product=worlds.INVOICE_LOAN).id for _ in range(2)]
    process = bank.applications.process

    def fails(application, **more):
        if application == applications[0]:
            raise Unavailable("client.unreachable", "nobody answers at bureau")
        return process(application, **more)

    monkeypatch.setattr(bank.applications, "process", fails)
    told = Duties(bank).process_open(running())
    assert (told["open"], told["stopped"]) == (2, 1)
    assert told["causes"] == {applications[0].hex(): "client.unreachable"}
    assert bank.application_store.file(applications[1]).has(Step.REFERRED)


def test_a_job_that_names_no_application_is_refused(bank):
    with pytest.raises(InvalidInput, match=r"jobs\.parameters_invalid"):
        Duties(bank).process_application(running(application="none"))


def test_a_server_takes_over_at_once_what_a_dead_one_left(world, bank):
    """[LENDING-14]: nobody waits until the lease of a process that is gone would have ended."""
    service, dead = jobs_of(bank)
    application = world.applied(world.consent(), product=worlds.INVOICE_LOAN).id
    service.ask(PROCESS_APPLICATION, {"application": application.hex()}, id=application)
    store, now_ms = JobStore(bank.database, cipher=bank.cipher), world.clock.now_ms()
    claimed = store.claim(owner=dead.owner, kinds=[PROCESS_APPLICATION], now_ms=now_ms, until_ms=now_ms + 30_000)
    assert claimed is not None
    _, alive = jobs_of(bank)
    assert not alive.run_one()
    store.end_leases(but=alive.owner, now_ms=now_ms)
    assert alive.run_one()
    assert service.find(application.hex()).result["status"] == "referred"


def destroyed(bank, application):
    """Let the data life of an application's answer be over, and the ledger say so."""
    store = RecipientStore(bank.database, cipher=bank.cipher)
    request = bank.application_store.file(application).request_id(bank.suite)
    store.erase_due(now_ms=store.received(request).erase_after_ms)
    bank.recipient.record_erasures()
    assert bank.recipient.status(request) is RequestStatus.DESTROYED


@pytest.mark.parametrize(
    ("until", "code"), [(Step.PROVEN, "exchange.data_life_over"), (Step.CLOSED, "lending.evidence_missing")]
)
def test_a_file_whose_data_was_destroyed_before_it_was_decided_ends_with_the_cause(world, bank, until, code):
    """[LENDING-10]: neither one that waited for a model, nor one that waited for people, is tried for ever."""
    application = world.applied(world.consent(), product=worlds.INVOICE_LOAN).id
    file = bank.applications.process(application, until=until).file
    destroyed(bank, application)
    if until is Step.CLOSED:
        raw = propose_decision(file, product=worlds.INVOICE_LOAN, outcome=Outcome.REFUSED, reason="no order book")
        bank.lending.review(application, raw, product=worlds.INVOICE_LOAN, maker="li", checker="wu")
    ended = bank.applications.process(application).file
    assert (str(ended.status), ended.timeline[-1].code, ended.decision) == ("closed", code, None)
    assert application not in bank.application_store.open_applications()


def test_an_applicant_is_told_a_decision_once_the_ledger_has_it(world):
    """[API-13]: the ledger may refuse what the bank keeps until then, and the application is open again."""
    bank, consent = world.bank, world.consent()
    application = world.applied(consent, product=worlds.INVOICE_LOAN).id
    scope = own.OwnScope(consent=consent)

    def told():
        [row] = own.list_applications(bank, scope, PageQuery()).items
        file = own.read_application(bank, scope, application)
        assert row.status == file.status
        return file.status, None if file.decision is None else file.decision.outcome

    with world.assessor(points=worlds.APPROVED_POINTS) as assessor:
        process = world.process(assessor)
        file = process.process(application, until=Step.ASSESSED).file
        prepared = bank.lending.prepare(file.application, judgement=file.judgement, regulator=worlds.REGULATOR)
        bank.application_store.add_decision(prepared)
        assert bank.application_store.file(application).status == "approved"
        assert told() == ("submitted", None)
        process.process(application)
    assert told() == ("approved", "approved")
