"""A bank's lending on a real ledger, and what the regulator learns of its decisions."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from types import SimpleNamespace

import pytest

import consortium_world as worlds
from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.base.encoding import encode_json
from shuiqiao.base.errors import Conflict, Denied, IntegrityError, InvalidInput, Unavailable
from shuiqiao.base.ids import MemberId, owned_id
from shuiqiao.base.money import MAX_FEN
from shuiqiao.client.wire import Nothing
from shuiqiao.crypto.column_cipher import EncryptedColumns
from shuiqiao.lending.contract import DecisionRecordBody, decision_key
from shuiqiao.lending.file import ApplicationStatus, Step, TimelineEntry
from shuiqiao.lending.model import Outcome
from shuiqiao.lending.openings import ApplicationOpening, DecisionOpening, open_decision
from shuiqiao.lending.service import MAX_OF_A_DAY, MAX_UNDER_WAY, LendingService, OpeningService
from shuiqiao.lending.store import LendingStore, OpeningStore
from shuiqiao.node.auditing import audit_institution
from shuiqiao.node.operations.applications import hand_in_openings
from shuiqiao.node.peers.message import Act
from shuiqiao.oversight.openings import AuditProblem, indexed_transactions, open_decisions
from shuiqiao.oversight.statistics import transactions_by_kind

REGULATOR = MemberId("regulator")


def code_of(act, *errors):
    with pytest.raises(errors or (Denied, Conflict, InvalidInput)) as caught:
        act()
    return caught.value.code


def statuses(bank):
    return {row.application.id: row.status for row in LendingStore(bank.database, cipher=bank.cipher).applications()}


def applications(world):
    return statuses(world.bank)


def decisions(world):
    store = LendingStore(world.bank.database, cipher=world.bank.cipher)
    kept = {row.application.id: store.file(row.application.id).decision for row in store.applications()}
    return {application: decision.outcome for application, decision in kept.items() if decision is not None}


def on_file(world, table, application, **columns):
    """Return encrypted columns of the row of an application, each by what it holds, in the order asked."""
    with world.bank.database.connect() as connection:
        statement = f"SELECT * FROM {table} WHERE application = ?"
        row = connection.exec_driver_sql(statement, (application,)).mappings().one()
    secrets = EncryptedColumns(table=table, key="application", columns=columns)
    found = world.bank.cipher.decrypt_row(secrets, dict(row))
    return tuple(found[name] for name in columns)


def terms_on_file(world, decision):
    return on_file(world, "lending_decision", decision.application, limit_fen=int, annual_rate=str)


def opened(world, openings=None):
    regulator = world.regulator
    return open_decisions(
        regulator.engine,
        kinds=regulator.kinds,
        regulator=regulator.member,
        key=regulator.keys.sealing,
        openings=regulator.openings.all() if openings is None else openings,
    )


def body_of(world, recorded):
    found = dict(indexed_transactions(world.bureau.engine, kinds=world.bureau.kinds))
    return found[recorded.committed.index].body


def test_a_decision_is_on_the_ledger_on_file_and_with_the_regulator(world):
    recorded = world.decided(limit_fen=12_300_000)
    decision = recorded.decision
    body = body_of(world, recorded)
    assert (decision.outcome, decision.limit_fen) == (Outcome.APPROVED, 12_300_000)
    assert decision.annual_rate == world.assessment(bytes(16)).offer.price.rate
    assert terms_on_file(world, decision) == (12_300_000, "0.0465")
    assert decisions(world)[decision.application] == applications(world)[decision.application] == "approved"
    opening = open_decision(
        recorded.sealed_opening,
        key=world.regulator.keys.sealing,
        network=world.bureau.parameters.network,
        bank=world.bank.member,
        application=decision.application,
    )
    assert (opening.outcome, opening.amount_fen, opening.product) == (Outcome.APPROVED, 12_300_000, worlds.PRODUCT.id)
    assert (opening.grade, opening.industry, opening.province, opening.firm) == ("A", "C", "44", b"f" * 32)
    state = world.regulator.engine.state().get(decision_key(world.bank.member, decision.application))
    assert state["commitment"] == body.commitment == opening.commitment(world.suite)
    assert state["opening_digest"] == body.opening_digest == world.suite.digest(recorded.sealed_opening)


def test_the_reasons_given_are_those_the_ledger_commits_to(world):
    recorded = world.decided()
    explanation, reasons_salt = on_file(
        world, "lending_decision", recorded.decision.application, explanation=str, reasons_salt=bytes
    )
    assert explanation.encode() == encode_json(recorded.decision.explanation())
    digest = world.suite.digest(reasons_salt + explanation.encode())
    assert body_of(world, recorded).reasons_digest == digest


def test_what_was_wanted_can_be_opened_later(world):
    application = world.applied(world.consent(), amount_fen=77_000_000)
    (salt,) = on_file(world, "lending_application", application.id, salt=bytes)
    opening = ApplicationOpening(
        bank=world.bank.member,
        application=application.id,
        product=worlds.PRODUCT.id,
        amount_fen=77_000_000,
        salt=salt,
    )
    bodies = [tx.body for _, tx in indexed_transactions(world.bureau.engine, kinds=world.bureau.kinds)]
    (body,) = [body for body in bodies if getattr(body, "application", None) == application.id]
    assert body.commitment == opening.commitment(world.suite)


def test_a_refused_applicant_gets_nothing_and_no_rate(world):
    recorded = world.decided(arrears=True)
    decision = recorded.decision
    assert (decision.outcome, decision.limit_fen, decision.annual_rate) == (Outcome.REFUSED, 0, None)
    assert terms_on_file(world, decision) == (0, None)
    assert opened(world).decisions[-1].outcome is Outcome.REFUSED


def test_no_decision_without_an_acknowledged_answer_and_the_application_stays_open(world):
    application = world.applied(world.consent())
    assessment = world.assessment(b"\x00" * 16)
    refused = code_of(lambda: world.decide(application, assessment))
    assert refused == "lending.evidence_missing"
    assert application.id not in decisions(world)
    assert applications(world)[application.id] == "submitted"


def test_a_refused_decision_can_be_made_again_on_evidence(world):
    consent = world.consent()
    application = world.applied(consent)
    assert code_of(lambda: world.decide(application, world.assessment(bytes(16))), Denied)
    recorded = world.decide(application, world.assessment(world.evidence(consent)))
    assert applications(world)[application.id] == "approved"
    assert recorded.decision.application == application.id
    world.hand_in(recorded)


def test_evidence_under_another_consent_is_foreign(world):
    application = world.applied(world.consent())
    request = world.evidence(world.consent())
    assessment = world.assessment(request)
    assert code_of(lambda: world.decide(application, assessment)) == "lending.evidence_foreign"


def test_an_application_is_decided_once(world):
    consent = world.consent()
    application = world.applied(consent)
    assessment = world.assessment(world.evidence(consent))
    first = world.decide(application, assessment)
    changed = replace(assessment, industry=None)
    assert code_of(lambda: world.decide(application, changed)) == "lending.decision_on_file"
    assert decisions(world)[application.id] == str(first.decision.outcome)
    world.hand_in(first)


def test_an_application_under_anothers_consent_leaves_nothing_on_file(world):
    consent = world.consent()
    before = statuses(world.other_bank)
    assert code_of(lambda: world.applied(consent, bank=world.other_bank)) == "lending.consent_not_ours"
    assert statuses(world.other_bank) == before


def test_an_application_under_a_revoked_consent_is_refused(world):
    consent = world.consent()
    bureau = world.bureau
    statement = world.enterprise.revoke(consent, now_ms=world.clock.now_ms())
    bureau.consent_service.relay(statement.raw)
    assert code_of(lambda: world.applied(consent)) == "consent.revoked"


def test_an_application_under_an_expired_consent_is_refused(world):
    consent = world.consent(validity_ms=MS_PER_DAY)
    world.clock.advance(MS_PER_DAY + 1)
    assert code_of(lambda: world.applied(consent)) == "consent.expired"


def test_an_enterprise_hands_in_so_many_under_one_consent_and_no_more_until_one_ends_and_a_day_is_over(world):
    """[LENDING-16]"""
    consent, lending, store = world.consent(), world.bank.lending, world.bank.application_store
    handed_in = []

    def hand_in():
        lending.require_room(consent)
        handed_in.append(
            lending.receive(worlds.INVOICE_LOAN, taxpayer=worlds.TAXPAYER, consent=consent, amount_fen=1_000_000).id
        )

    def end(application):
        entry = TimelineEntry(step=Step.CLOSED, time_ms=world.clock.now_ms())
        store.close(application, entry, status=ApplicationStatus.CLOSED)

    for _ in range(MAX_UNDER_WAY):
        hand_in()
    assert code_of(hand_in) == "lending.applications_many"
    lending.require_room(world.consent())  # Another consent has room of its own.
    for application in handed_in:
        end(application)
    for _ in range(MAX_OF_A_DAY - MAX_UNDER_WAY):
        hand_in()
        end(handed_in[-1])
    assert code_of(hand_in) == "lending.applications_many"
    world.clock.advance(MS_PER_DAY + 1)
    hand_in()
    end(handed_in[-1])


@pytest.mark.parametrize("amount_fen", [-1, 0, MAX_FEN + 1])
def test_an_impossible_amount_is_refused_before_anything_is_kept(world, amount_fen):
    before = applications(world)
    assert (
        code_of(lambda: world.applied(owned_id("bureau", bytes(16)), amount_fen=amount_fen)) == "lending.amount_invalid"
    )
    assert applications(world) == before


@pytest.mark.parametrize("amount_fen", [1, MAX_FEN])
def test_the_least_and_the_most_may_be_applied_for(world, amount_fen):
    assert world.applied(world.consent(), amount_fen=amount_fen).amount_fen == amount_fen


class AnswersTooLate:
    """A bank's way to the ledger on which no answer comes back in time."""

    def __init__(self, bank):
        self._outbox = bank.outbox

    def __getattr__(self, name):
        return getattr(self._outbox, name)

    def submit(self, kind, body):
        raise Unavailable("ledger.commit_late", f"no answer on a {kind} came")


def answered_too_late(bank):
    """A bank's lending over a ledger that may get what it is given, and does not say so."""
    return LendingService(
        submitter=AnswersTooLate(bank),
        store=LendingStore(bank.database, cipher=bank.cipher),
        suite=bank.suite,
        entropy=bank.dependencies.entropy,
    )


def test_what_may_still_reach_the_ledger_stays_on_file(world):
    """[LENDING-1]: the salts that open it are nowhere else."""
    bank, consent = world.bank, world.consent()
    late = answered_too_late(bank)
    before, wanted = applications(world), {"taxpayer": worlds.TAXPAYER, "consent": consent, "amount_fen": 1}
    assert code_of(lambda: late.apply(worlds.PRODUCT, **wanted), Unavailable) == "ledger.commit_late"
    (kept,) = applications(world).keys() - before.keys()
    assert applications(world)[kept] == "submitted"
    application = world.applied(consent)
    assessment = world.assessment(world.evidence(consent))
    judgement = late.judge(application, product=worlds.PRODUCT, assessment=assessment)
    terms = {"judgement": judgement, "regulator": REGULATOR}
    assert code_of(lambda: late.decide(application, **terms), Unavailable) == "ledger.commit_late"
    assert decisions(world)[application.id] == applications(world)[application.id] == "approved"


def test_an_opening_is_handed_in_as_the_ledger_names_it(world):
    """[LENDING-5]: no other bytes and no other bank take its place, before or after; the same again changes nothing."""
    recorded = world.decided()
    application = recorded.decision.application
    openings, bank = world.regulator.openings, world.bank.member
    before = openings.all()
    openings.receive(application, bank=bank, sealed=recorded.sealed_opening)
    refused = code_of(lambda: openings.receive(application, bank=bank, sealed=b"other"), IntegrityError)
    assert refused == "lending.opening_differs"
    for changed in ({"bank": MemberId("bank-north")}, {"application": bytes(16)}):
        terms = {"application": application, "bank": bank, "sealed": recorded.sealed_opening} | changed
        named = terms.pop("application")
        assert code_of(lambda named=named, terms=terms: openings.receive(named, **terms)) == "lending.decision_unknown"
    assert openings.all() == before
    assert openings.all()[owned_id(bank, application)] == recorded.sealed_opening


def test_an_opening_sealed_to_a_regulator_is_taken_in_by_nobody_else(world):
    """[LENDING-5]"""
    recorded = world.decided()
    bank = world.bank
    elsewhere = OpeningService(submitter=bank.outbox, store=OpeningStore(bank.database), suite=world.suite)
    before, terms = elsewhere.all(), {"bank": bank.member, "sealed": recorded.sealed_opening}
    assert code_of(lambda: elsewhere.receive(recorded.decision.application, **terms)) == "lending.opening_not_ours"
    assert bank.lending.openings_for(bank.member) == {}
    assert elsewhere.all() == before


def test_a_bank_hands_in_again_what_it_sealed(world):
    """[LENDING-5]: who crashed before handing an opening in has it on file."""
    recorded = world.decided()
    regulator, bank, consent = world.regulator, world.bank, world.consent()
    application, late = world.applied(consent), answered_too_late(bank)
    assessment = world.assessment(world.evidence(consent))
    judgement = late.judge(application, product=worlds.PRODUCT, assessment=assessment)
    code_of(lambda: late.decide(application, judgement=judgement, regulator=REGULATOR), Unavailable)
    sealed = LendingStore(bank.database, cipher=bank.cipher).sealed_openings()
    assert sealed[recorded.decision.application] == recorded.sealed_opening
    state = bank.engine.state()
    on_ledger = {at: raw for at, raw in sealed.items() if state.get(decision_key(bank.member, at))}
    # A decision that the ledger may still get stands in nobody's copy yet, so no regulator would take its opening in.
    assert 0 < len(on_ledger) < len(sealed)
    emptied = OpeningService(submitter=regulator.outbox, store=OpeningStore(bank.database), suite=world.suite)
    assert bank.lending.openings_for(REGULATOR) == on_ledger
    for openings in (regulator.openings, emptied, emptied):
        for at, raw in on_ledger.items():
            openings.receive(at, bank=bank.member, sealed=raw)
    assert emptied.all() == {owned_id(bank.member, at): raw for at, raw in on_ledger.items()}


def test_a_regulator_that_lost_its_openings_is_handed_them_again_each_once(world):
    """[LENDING-5]: those that wait for it already are not kept a second time, however often a bank is asked."""
    world.decided()
    bank = world.bank
    count = len(bank.lending.openings_for(REGULATOR))
    told = [hand_in_openings(bank, Nothing()).count for _ in range(2)]
    waiting = [each for each in bank.deliveries.waiting() if each.act is Act.OPENING]
    for each in waiting:
        bank.deliveries.abandon(each.id)
    assert (told, len(waiting)) == ([count, 0], count)


def test_anybody_counts_transactions_by_kind(world):
    before = transactions_by_kind(world.regulator.engine, kinds=world.regulator.kinds)
    world.decided()
    kinds = transactions_by_kind(world.regulator.engine, kinds=world.regulator.kinds)
    assert kinds["decision.record"] == before.get("decision.record", 0) + 1
    assert sum(kinds.values()) == len(world.transactions())


def test_every_transaction_of_a_block_is_told_with_its_leaf(world):
    engine = world.regulator.engine
    one, other = islice(engine.blocks(from_height=1), 2)
    both = replace(one, first_index=7, transactions=(*one.transactions, *other.transactions))
    of_one_block = SimpleNamespace(
        parameters=engine.parameters, blocks=lambda *, from_height: [both][from_height - 1 :]
    )
    told = list(indexed_transactions(of_one_block, kinds=world.regulator.kinds))
    assert [(index, tx.raw) for index, tx in told] == list(enumerate(both.transactions, 7))
    assert len(told) > 1


def test_two_decisions_differ_on_the_ledger_in_random_bytes_alone(world):
    """[LENDING-3]: approved or refused, on whom and for how much, nobody can tell."""
    one, other = body_of(world, world.decided(limit_fen=90_000_000)), body_of(world, world.decided(arrears=True))
    same = [name for name in one.__struct_fields__ if getattr(one, name) == getattr(other, name)]
    assert same == ["regulator"]


def test_totals_are_right_to_the_fen(world):
    """[LENDING-6]"""
    before = opened(world)
    world.decided(limit_fen=10_000_001)
    world.decided(limit_fen=20_000_002)
    world.decided(limit_fen=40_000_000, arrears=True)
    after = opened(world)
    assert after.problems == before.problems == ()
    assert after.approved_fen - before.approved_fen == 30_000_003
    assert len(after.decisions) - len(before.decisions) == 3


def test_a_missing_a_swapped_and_a_broken_opening_are_problems(world):
    """[LENDING-6]"""
    ids = [world.decided(limit_fen=limit).decision.application for limit in (10_000_000, 20_000_000)]
    one, other = (owned_id(world.bank.member, each) for each in ids)
    openings = world.regulator.openings.all()
    missing = {key: value for key, value in openings.items() if key != one}
    assert opened(world, missing).problems == (
        AuditProblem(f"the opening of decision {ids[0].hex()} by bank-east is missing"),
    )
    swapped = openings | {one: openings[other], other: openings[one]}
    assert opened(world, swapped).problems == tuple(
        AuditProblem(f"the opening of decision {name.hex()} by bank-east is not the one whose digest the bank recorded")
        for name in ids
    )
    broken = openings | {one: openings[one][:-1]}
    assert len(opened(world, broken).problems) == 1


def test_another_regulators_openings_are_not_this_ones_to_miss(world):
    """[LENDING-4]"""
    world.decided()
    regulator = world.regulator
    found = open_decisions(
        regulator.engine,
        kinds=regulator.kinds,
        regulator=MemberId("regulator-west"),
        key=regulator.keys.sealing,
        openings={},
    )
    assert (found.decisions, found.problems) == ((), ())


def record_dishonestly(world, *, sealed_of):
    """A decision whose bank recorded the digest of a bad opening itself, so that the digest fits."""
    consent = world.consent()
    application = world.applied(consent)
    request = world.evidence(consent)
    sealed = sealed_of(application.id)
    world.bank.outbox.submit(
        "decision.record",
        DecisionRecordBody(
            application=application.id,
            request=request,
            regulator=world.regulator.member,
            commitment=opening_of(application.id).commitment(world.suite),
            opening_digest=world.suite.digest(sealed),
            reasons_digest=bytes(32),
        ),
    )
    world.regulator.catch_up_with(world.bureau)
    world.regulator.openings.receive(application.id, bank=world.bank.member, sealed=sealed)
    return application.id


def opening_of(application, **changes):
    fields = {
        "bank": "bank-east",
        "application": application,
        "firm": b"f" * 32,
        "product": worlds.PRODUCT.id,
        "outcome": Outcome.APPROVED,
        "amount_fen": 10_000_000,
        "grade": "A",
        "industry": "C",
        "province": "44",
        "model_digest": bytes(32),
        "salt": b"t" * 32,
    }
    return DecisionOpening(**(fields | changes))


def test_a_bank_that_seals_something_else_or_rubbish_is_found_by_the_audit(world_of_lies):
    """[LENDING-6]"""
    world = world_of_lies
    key = world.regulator.keys.sealing.public_key
    network = world.bureau.parameters.network

    def smaller(application):
        return opening_of(application, amount_fen=1).seal(world.suite, regulator_key=key, network=network)

    def better_grade(application):
        return opening_of(application, grade="B").seal(world.suite, regulator_key=key, network=network)

    def to_another_network(application):
        return opening_of(application).seal(world.suite, regulator_key=key, network=bytes(32))

    lies = [record_dishonestly(world, sealed_of=lie) for lie in (smaller, better_grade, to_another_network)]
    report = audit_institution(world.regulator)
    assert report.problems == (
        f"the opening of decision {lies[0].hex()} by bank-east does not open its commitment",
        f"the opening of decision {lies[1].hex()} by bank-east does not open its commitment",
        f"the opening of decision {lies[2].hex()} by bank-east cannot be read: crypto.seal_broken",
    )
    assert report.codes == ("", "", "crypto.seal_broken")
    assert report.openings_checked == 0
    assert audit_institution(world.bank).problems == ()


@pytest.fixture
def world_of_lies(tmp_path):
    made = worlds.ConsortiumWorld(tmp_path / "lies", "intl")
    yield made
    made.close()
