"""An application goes from receipt to its end in steps that are done once, whatever fails in between [LENDING-10]."""

from __future__ import annotations

import threading

import pytest

import consortium_world as worlds
from shuiqiao.base.errors import Conflict, Denied, InvalidInput, Unavailable
from shuiqiao.lending.file import Step
from shuiqiao.lending.model import ApplicantFile, Outcome, PaperInvoice
from shuiqiao.lending.processing import MAX_ATTEMPTS
from shuiqiao.lending.review import propose_decision
from shuiqiao.lending.store import LendingStore
from shuiqiao.node.auditing import audit_institution
from shuiqiao.oversight.openings import indexed_transactions

STRAIGHT = ["received", "submitted", "requested", "answered", "proven", "assessed", "decided", "handed_in", "closed"]
REVIEWED = [*STRAIGHT[:6], "referred", "reviewed", *STRAIGHT[6:]]


@pytest.fixture(params=["intl", "gm"])
def world(request, tmp_path):
    made = worlds.ConsortiumWorld(tmp_path / "consortium", request.param)
    yield made
    made.close()


@pytest.fixture
def assessed(world):
    """Make a process whose assessor gives every firm some points."""
    opened = []

    def process(points):
        opened.append(world.assessor(points=points))
        return world.process(opened[-1])

    yield process
    for assessor in opened:
        assessor.__exit__()


def code_of(act):
    with pytest.raises((Denied, Conflict, InvalidInput, Unavailable)) as caught:
        act()
    return caught.value.code


def steps(file):
    return [str(entry.step) for entry in file.timeline if not entry.code]


def entries_of(world, application):
    """The bodies on the ledger that name an application or its request, by kind."""
    file = LendingStore(world.bank.database, cipher=world.bank.cipher).file(application)
    request = file.request_id(world.suite)
    found = {}
    for index, tx in indexed_transactions(world.bureau.engine, kinds=world.bureau.kinds):
        named = getattr(tx.body, "application", None) == application
        asked = getattr(tx.body, "request", None) in {request, f"{world.bank.member}/{request.hex()}"}
        if named or asked:
            found.setdefault(tx.kind, []).append(index)
    return found


def applied(world, **more):
    return world.applied(world.consent(), product=worlds.INVOICE_LOAN, **more)


@pytest.mark.parametrize(
    ("points", "outcome"), [(worlds.APPROVED_POINTS, "approved"), (worlds.REFUSED_POINTS, "refused")]
)
def test_an_application_goes_to_its_end_in_one_call_and_again_changes_nothing(world, assessed, points, outcome):
    process, application = assessed(points), applied(world)
    done = process.process(application.id)
    assert (done.file.status, steps(done.file)) == (outcome, STRAIGHT)
    entries = entries_of(world, application.id)
    assert {kind: len(found) for kind, found in entries.items()} == dict.fromkeys(
        ["application.submit", "access.request", "access.deliver", "access.acknowledge", "decision.record"], 1
    )
    by_step = {str(entry.step): entry.entry_index for entry in done.file.timeline}
    assert [by_step[step] for step in ("submitted", "requested", "decided")] == [
        entries[kind][0] for kind in ("application.submit", "access.request", "decision.record")
    ]
    assert process.process(application.id).file == done.file
    assert process.open_applications() == []
    assert audit_institution(world.regulator).problems == ()


def test_what_the_bank_knows_beside_the_records_is_on_file_and_counts(world, assessed):
    paper = PaperInvoice(paper="p1", invoice_no="0" * 20, issue_date=worlds.PERIOD[1], total_fen=1)
    applicant = ApplicantFile(papers=(paper,), other_debt_fen=7, industry="C", province="44")
    application = world.bank.lending.apply(
        worlds.INVOICE_LOAN,
        taxpayer=worlds.TAXPAYER,
        consent=world.consent(),
        amount_fen=50_000_000,
        applicant=applicant,
    )
    file = assessed(worlds.APPROVED_POINTS).process(application.id).file
    assert (file.applicant, file.status) == (applicant, "refused")
    assert file.judgement.decision.rules == ("document_forged",)
    assert '"industry"' not in file.decision.explanation


def test_a_referred_application_waits_for_two_persons(world, assessed):
    """[LENDING-12]"""
    process, application = assessed(worlds.REFERRED_POINTS), applied(world)
    file = process.process(application.id).file
    assert (file.status, steps(file), file.decision) == ("referred", REVIEWED[:7], None)
    assert process.process(application.id).file == file
    lending, bare = world.bank.lending, {"product": worlds.INVOICE_LOAN}
    proposal = propose_decision(file, outcome=Outcome.APPROVED, reason="订单充足", limit_fen=20_000_000, **bare)
    alone = {"maker": "li", "checker": "li", **bare}
    assert code_of(lambda: lending.review(application.id, proposal, **alone)) == "lending.checker_is_maker"
    assert code_of(lambda: lending.review(application.id, proposal[:-1], **alone | {"checker": "wu"})) == (
        "base.cbor_malformed"
    )
    lending.review(application.id, proposal, maker="li", checker="wu", **bare)
    other = propose_decision(file, outcome=Outcome.REFUSED, reason="no", **bare)
    assert code_of(lambda: lending.review(application.id, other, maker="li", checker="wu", **bare)) == (
        "lending.review_on_file"
    )
    done = process.process(application.id)
    assert (done.file.status, steps(done.file)) == ("approved", REVIEWED)
    assert done.file.decision.limit_fen == 20_000_000
    assert done.recorded.decision.persons.reason == "订单充足"
    assert world.regulator.opened_decisions().decisions[-1].amount_fen == 20_000_000
    assert code_of(lambda: lending.review(application.id, other, maker="li", checker="wu", **bare))


def test_a_bureau_that_is_away_costs_time_alone(world, assessed):
    """The failure stands in the timeline, once however often it comes, and the next call goes on."""
    process, application = assessed(worlds.APPROVED_POINTS), applied(world)

    class Away:
        def ask(self, message):
            raise Unavailable("client.unreachable", "nobody answers at bureau")

    there, process._around = process._around, replaced(process._around, provider=lambda _: Away())
    for _ in range(2):
        assert code_of(lambda: process.process(application.id)) == "client.unreachable"
    process._around = there
    file = process.process(application.id).file
    (failed,) = [entry for entry in file.timeline if entry.code]
    assert (failed.step, failed.code, failed.times) == (Step.ANSWERED, "client.unreachable", 2)
    assert (file.status, sorted(steps(file))) == ("approved", sorted(STRAIGHT))
    assert len(entries_of(world, application.id)["access.request"]) == 1


def replaced(around, **changes):
    from dataclasses import replace

    return replace(around, **changes)


def test_a_file_whose_consent_ended_ends_with_the_cause(world, assessed):
    process, consent = assessed(worlds.APPROVED_POINTS), world.consent()
    application = world.applied(consent, product=worlds.INVOICE_LOAN)
    world.bureau.consent_service.relay(world.enterprise.revoke(consent, now_ms=world.clock.now_ms()).raw)
    world.bank.catch_up_with(world.bureau)
    file = process.process(application.id).file
    assert (file.status, file.timeline[-1].step, file.timeline[-1].code) == ("closed", "closed", "consent.revoked")
    assert process.open_applications() == []
    assert process.process(application.id).file == file


def test_a_file_that_the_provider_refused_ends_with_the_cause(world, assessed):
    process, consent = assessed(worlds.APPROVED_POINTS), world.consent()
    application = world.applied(consent, product=worlds.INVOICE_LOAN)
    process.process(application.id, until=Step.SUBMITTED)
    file = LendingStore(world.bank.database, cipher=world.bank.cipher).file(application.id)
    ((name, wanted),) = process.wanted(file)
    world.bank.recipient.request(wanted, request=file.request_id(world.suite, name))
    world.bureau.consent_service.relay(world.enterprise.pause(consent, now_ms=world.clock.now_ms()).raw)
    world.bank.catch_up_with(world.bureau)
    file = process.process(application.id).file
    assert (file.status, file.timeline[-1].code) == ("closed", "consent.paused")
    assert len(entries_of(world, application.id)["access.refuse"]) == 1


def test_data_is_asked_for_anew_where_an_answer_is_of_no_use_and_not_for_ever(world, assessed):
    """[LENDING-11]"""
    process, application = assessed(worlds.APPROVED_POINTS), applied(world)
    store = LendingStore(world.bank.database, cipher=world.bank.cipher)
    seen = {store.file(application.id).request_id(world.suite)}
    for _ in range(MAX_ATTEMPTS - 1):
        process.ask_anew(application.id)
        seen.add(store.file(application.id).request_id(world.suite))
    assert len(seen) == MAX_ATTEMPTS
    assert code_of(lambda: process.ask_anew(application.id)) == "lending.attempts_over"
    file = process.process(application.id).file
    assert file.status == "approved"
    assert code_of(lambda: process.ask_anew(application.id)) == "lending.application_judged"


def test_the_banks_people_end_a_file_that_is_not_decided(world, assessed):
    process, application = assessed(worlds.REFERRED_POINTS), applied(world)
    process.process(application.id)
    file = process.close(application.id, reason="withdrawn by the enterprise")
    assert (file.status, file.timeline[-1].cause) == ("closed", "withdrawn by the enterprise")
    assert code_of(lambda: process.close(application.id, reason="again")) == "lending.application_judged"
    assert code_of(lambda: process.close(b"?" * 16, reason="no")) == "lending.application_not_here"


def test_one_thread_at_a_time_has_an_application(world, assessed):
    process, application = assessed(worlds.APPROVED_POINTS), applied(world)
    inside, go = threading.Event(), threading.Event()
    link = process._around.provider("bureau")

    class Slow:
        def ask(self, message):
            inside.set()
            go.wait(60)
            return link.ask(message)

    process._around = replaced(process._around, provider=lambda _: Slow())
    other = threading.Thread(target=process.process, args=(application.id,))
    other.start()
    inside.wait(60)
    assert code_of(lambda: process.process(application.id)) == "lending.application_busy"
    go.set()
    other.join()
    assert process.process(application.id).file.status == "approved"
