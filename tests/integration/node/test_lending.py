"""The bank's desk on a real ledger, and what the regulator learns of its decisions."""

from __future__ import annotations

from dataclasses import replace

import pytest

import consortium_world as worlds
from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.base.encoding import encode_json
from shuiqiao.base.errors import Conflict, Denied, InvalidInput
from shuiqiao.base.ids import MemberId
from shuiqiao.base.money import MAX_FEN
from shuiqiao.lending.amounts import AmountOpening, open_amount
from shuiqiao.lending.contract import DecisionRecordBody, decision_key
from shuiqiao.lending.model import Outcome
from shuiqiao.lending.store import LendingStore
from shuiqiao.oversight.statistics import OutcomeRow, check_amounts, indexed_transactions, outcome_statistics

REGULATOR = MemberId("regulator")


def code_of(act, *errors):
    with pytest.raises(errors or (Denied, Conflict, InvalidInput)) as caught:
        act()
    return caught.value.code


def applications(world):
    return dict(LendingStore(world.bank.database).applications())


def decisions(world):
    return dict(LendingStore(world.bank.database).decisions())


def totals(world, openings):
    regulator = world.regulator
    return check_amounts(
        regulator.engine, kinds=regulator.kinds, openings=openings, key=regulator.keys.sealing, suite=world.suite
    )


def body_of(world, recorded):
    found = dict(indexed_transactions(world.bureau.engine, kinds=world.bureau.kinds))
    return found[recorded.committed.index].body


def test_a_decision_is_on_the_ledger_on_file_and_with_the_regulator(world):
    recorded = world.decided(limit_fen=12_300_000)
    decision = recorded.decision
    body = body_of(world, recorded)
    assert (decision.outcome, decision.limit_fen) == (Outcome.APPROVED, 12_300_000)
    assert (body.outcome, body.grade, body.industry, body.province) == (Outcome.APPROVED, "A", "C", "44")
    assert decisions(world)[decision.application] == applications(world)[decision.application] == "approved"
    opening = open_amount(
        recorded.sealed_opening,
        key=world.regulator.keys.sealing,
        network=world.bureau.parameters.network,
        application=decision.application,
    )
    assert opening.amount_fen == 12_300_000
    state = world.regulator.engine.state().get(decision_key(decision.application))
    assert state["amount_commitment"] == opening.commitment(world.suite)
    assert state["opening_digest"] == world.suite.digest(recorded.sealed_opening)


def test_the_reasons_given_are_those_the_ledger_commits_to(world):
    recorded = world.decided()
    with world.bank.database.connect() as connection:
        row = connection.exec_driver_sql(
            "SELECT explanation, reasons_salt FROM lending_decision WHERE application = ?",
            (recorded.decision.application,),
        ).one()
    assert row.explanation.encode() == encode_json(recorded.decision.explanation())
    digest = world.suite.digest(row.reasons_salt + row.explanation.encode())
    assert body_of(world, recorded).reasons_digest == digest


def test_the_amount_wanted_can_be_opened_later(world):
    application = world.applied(world.consent(), amount_fen=77_000_000)
    with world.bank.database.connect() as connection:
        salt = connection.exec_driver_sql(
            "SELECT amount_salt FROM lending_application WHERE application = ?", (application.id,)
        ).scalar_one()
    opening = AmountOpening(application=application.id, amount_fen=77_000_000, salt=salt)
    bodies = [tx.body for _, tx in indexed_transactions(world.bureau.engine, kinds=world.bureau.kinds)]
    (body,) = [body for body in bodies if getattr(body, "application", None) == application.id]
    assert body.amount_commitment == opening.commitment(world.suite)


def test_a_refused_applicant_gets_nothing_and_no_rate(world):
    recorded = world.decided(arrears=True)
    decision = recorded.decision
    assert (decision.outcome, decision.limit_fen, decision.annual_rate) == (Outcome.REFUSED, 0, None)
    assert body_of(world, recorded).outcome is Outcome.REFUSED


def test_no_decision_without_an_acknowledged_answer_and_the_application_stays_open(world):
    application = world.applied(world.consent())
    desk = world.bank.lending_desk
    assessment = world.assessment(b"\x00" * 16)
    refused = code_of(
        lambda: desk.decide(application, product=worlds.PRODUCT, assessment=assessment, regulator=REGULATOR)
    )
    assert refused == "lending.evidence_missing"
    assert application.id not in decisions(world)
    assert applications(world)[application.id] == "submitted"


def test_a_refused_decision_can_be_made_again_on_evidence(world):
    consent = world.consent()
    application = world.applied(consent)
    desk = world.bank.lending_desk
    bare = {"product": worlds.PRODUCT, "regulator": REGULATOR}
    assert code_of(lambda: desk.decide(application, assessment=world.assessment(bytes(16)), **bare), Denied)
    recorded = desk.decide(application, assessment=world.assessment(world.evidence(consent)), **bare)
    assert applications(world)[application.id] == "approved"
    assert recorded.decision.application == application.id
    world.hand_in(recorded)


def test_evidence_under_another_consent_is_foreign(world):
    application = world.applied(world.consent())
    request = world.evidence(world.consent())
    assessment = world.assessment(request)
    desk = world.bank.lending_desk
    refused = code_of(
        lambda: desk.decide(application, product=worlds.PRODUCT, assessment=assessment, regulator=REGULATOR)
    )
    assert refused == "lending.evidence_foreign"


def test_an_application_is_decided_once(world):
    consent = world.consent()
    application = world.applied(consent)
    assessment = world.assessment(world.evidence(consent))
    desk, terms = world.bank.lending_desk, {"product": worlds.PRODUCT, "regulator": REGULATOR}
    first = desk.decide(application, assessment=assessment, **terms)
    changed = replace(assessment, industry=None)
    assert code_of(lambda: desk.decide(application, assessment=changed, **terms)) == "lending.decision_on_file"
    assert decisions(world)[application.id] == str(first.decision.outcome)
    world.hand_in(first)


def test_an_application_under_anothers_consent_leaves_nothing_on_file(world):
    consent = world.consent()
    before = dict(LendingStore(world.other_bank.database).applications())
    assert code_of(lambda: world.applied(consent, bank=world.other_bank)) == "lending.consent_not_ours"
    assert dict(LendingStore(world.other_bank.database).applications()) == before


def test_an_application_under_a_revoked_consent_is_refused(world):
    consent = world.consent()
    bureau = world.bureau
    statement = world.enterprise.revoke(consent, relay=bureau.member, now_ms=world.clock.now_ms())
    bureau.consent_desk.relay(statement.raw)
    assert code_of(lambda: world.applied(consent)) == "consent.revoked"


def test_an_application_under_an_expired_consent_is_refused(world):
    consent = world.consent(validity_ms=MS_PER_DAY)
    world.clock.advance(MS_PER_DAY + 1)
    assert code_of(lambda: world.applied(consent)) == "consent.expired"


@pytest.mark.parametrize("amount_fen", [-1, 0, MAX_FEN + 1])
def test_an_impossible_amount_is_refused_before_anything_is_kept(world, amount_fen):
    before = applications(world)
    assert code_of(lambda: world.applied(bytes(16), amount_fen=amount_fen)) == "lending.amount_invalid"
    assert applications(world) == before


def test_an_opening_is_handed_in_once_and_not_changed(world):
    recorded = world.decided()
    application = recorded.decision.application
    openings, bank = world.regulator.openings, world.bank.member
    openings.add(application, bank=bank, sealed=recorded.sealed_opening)
    for changed in ({"bank": bank, "sealed": b"other"}, {"bank": "bank-north", "sealed": recorded.sealed_opening}):
        assert code_of(lambda changed=changed: openings.add(application, **changed)) == "lending.opening_differs"
    assert openings.all()[application] == recorded.sealed_opening


def test_statistics_come_from_the_ledger_alone(world):
    before = outcome_statistics(world.regulator.engine, kinds=world.regulator.kinds)
    world.decided()
    world.decided(arrears=True)
    after = outcome_statistics(world.regulator.engine, kinds=world.regulator.kinds)

    def counts(rows):
        return {row.stratum: (row.approved, row.refused, row.referred) for row in rows}

    for name, stratum in (("by_grade", "A"), ("by_industry", "C"), ("by_province", "44"), ("by_bank", "bank-east")):
        old = counts(getattr(before, name)).get(stratum, (0, 0, 0))
        assert counts(getattr(after, name))[stratum] == (old[0] + 1, old[1] + 1, old[2])
        assert all(isinstance(row, OutcomeRow) for row in getattr(after, name))
    kinds = after.transactions_by_kind
    assert kinds["decision.record"] == before.transactions_by_kind.get("decision.record", 0) + 2
    assert sum(kinds.values()) == len(world.transactions())


def test_totals_are_right_to_the_fen(world):
    before = totals(world, world.regulator.openings.all())
    world.decided(limit_fen=10_000_001)
    world.decided(limit_fen=20_000_002)
    world.decided(limit_fen=40_000_000, arrears=True)
    after = totals(world, world.regulator.openings.all())
    assert after.problems == before.problems == ()
    assert after.approved_fen - before.approved_fen == 30_000_003
    assert after.openings_checked - before.openings_checked == 3


def test_a_missing_a_swapped_and_a_broken_opening_are_problems(world):
    one, other = (world.decided(limit_fen=limit).decision.application for limit in (10_000_000, 20_000_000))
    openings = world.regulator.openings.all()
    missing = {key: value for key, value in openings.items() if key != one}
    assert totals(world, missing).problems == (f"the opening of decision {one.hex()} by bank-east is missing",)
    swapped = openings | {one: openings[other], other: openings[one]}
    assert totals(world, swapped).problems == tuple(
        f"the opening of decision {name.hex()} is not the one whose digest bank-east recorded" for name in (one, other)
    )
    broken = openings | {one: openings[one][:-1]}
    assert len(totals(world, broken).problems) == 1


def record_dishonestly(world, *, sealed_of):
    """A decision whose bank recorded the digest of a bad opening itself, so that the digest fits."""
    consent = world.consent()
    application = world.applied(consent)
    request = world.evidence(consent)
    true = AmountOpening(application=application.id, amount_fen=10_000_000, salt=b"t" * 32)
    sealed = sealed_of(application.id)
    world.bank.outbox.submit(
        "decision.record",
        DecisionRecordBody(
            application=application.id,
            request=request,
            outcome=Outcome.APPROVED,
            grade="A",
            industry="C",
            province="44",
            model_digest=bytes(32),
            reasons_digest=bytes(32),
            amount_commitment=true.commitment(world.suite),
            opening_digest=world.suite.digest(sealed),
        ),
    )
    world.regulator.openings.add(application.id, bank=world.bank.member, sealed=sealed)
    world.regulator.catch_up_with(world.bureau)
    return application.id


def test_a_bank_that_seals_another_amount_or_rubbish_is_found(world_of_lies):
    world = world_of_lies
    key = world.regulator.keys.sealing.public_key
    network = world.bureau.parameters.network

    def smaller(application):
        lie = AmountOpening(application=application, amount_fen=1, salt=b"t" * 32)
        return lie.seal(world.suite, regulator_key=key, network=network)

    def to_another_network(application):
        true = AmountOpening(application=application, amount_fen=10_000_000, salt=b"t" * 32)
        return true.seal(world.suite, regulator_key=key, network=bytes(32))

    lied = record_dishonestly(world, sealed_of=smaller)
    unreadable = record_dishonestly(world, sealed_of=to_another_network)
    found = totals(world, world.regulator.openings.all())
    assert found.problems == (
        f"the opening of decision {lied.hex()} does not open its commitment",
        f"the opening of decision {unreadable.hex()} cannot be read: crypto.seal_broken",
    )
    assert (found.approved_fen, found.openings_checked) == (0, 0)


@pytest.fixture
def world_of_lies(tmp_path):
    made = worlds.ConsortiumWorld(tmp_path / "lies", "intl")
    yield made
    made.close()
