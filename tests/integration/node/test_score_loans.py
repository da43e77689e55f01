"""A straight-through decision with no raw record at the bank [LENDING-15]."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consortium_world import AMOUNTS_FEN, NAME, PARTNER, PARTNER_NAME, TAXPAYER
from scored_loans import LOAN, PAID_FEN, ScoredWorld
from shuiqiao.base.errors import Denied, ShuiqiaoError
from shuiqiao.base.ids import OwnedId
from shuiqiao.client.pages import PageQuery
from shuiqiao.client.resources.applications import ApplicationQuestion, HandedInApplication
from shuiqiao.client.resources.products import ProductQuestion
from shuiqiao.consent.model import Fetch, Frequency, FrequencyUnit, Mode, Output
from shuiqiao.lending.catalogue import load_products
from shuiqiao.lending.file import Step
from shuiqiao.lending.model import Outcome
from shuiqiao.lending.outputs import requests_for
from shuiqiao.lending.review import propose_decision
from shuiqiao.models.model import RetireReason
from shuiqiao.node.auditing import audit_institution
from shuiqiao.node.operations.applications import hand_in, list_referrals, read_decision
from shuiqiao.node.operations.products import list_offered, read_product
from shuiqiao.oversight.openings import indexed_transactions
from shuiqiao.sandbox.crossing import Listening, found_in, number_secret, text_secret
from shuiqiao.sandbox.scenario.consortium import REGULATOR
from shuiqiao.sandbox.scenario.enterprises import BureauLink

STRAIGHT = ["received", "submitted", "requested", "answered", "proven", "assessed", "decided", "handed_in", "closed"]
SAID = [("risk", "A", None), ("conditions", None, True), ("sales", "3", None), ("tax", "3", None)]


@pytest.fixture(params=["intl", "gm"])
def world(request, tmp_path):
    made = ScoredWorld(tmp_path / "consortium", request.param)
    yield made
    made.close()


def handed_in(world, consent, *, amount_fen=20_000_000):
    """An application at the bank's door; its id."""
    asked = HandedInApplication(product=LOAN, consent=consent, amount_fen=amount_fen, industry="C", province="44")
    return bytes.fromhex(hand_in(world.bank, asked).application)


def kinds(world):
    return [tx.kind for _, tx in indexed_transactions(world.bureau.engine, kinds=world.bureau.kinds)]


def raw_values(data):
    """Which of the applicant's raw values stand in some bytes."""
    texts = (PARTNER, PARTNER_NAME, NAME, *(f"{24_990_000_000_000_000_000 + number:020d}" for number in range(24)))
    secrets = {text: text_secret(text) for text in texts}
    secrets |= {str(amount): number_secret(amount) for amount in (*AMOUNTS_FEN, PAID_FEN)}
    return set(found_in(data, secrets))


def test_outputs_alone_decide_and_the_opening_names_them(world):
    """[LENDING-10] [LENDING-11] [LENDING-15]"""
    consent = world.scored_consent()
    application = handed_in(world, consent)
    processed = world.around().process(application)
    file = processed.file
    assert (file.status, [str(entry.step) for entry in file.timeline]) == ("approved", STRAIGHT)
    # Six times at least 402,000 yuan of tax is above what was asked for.
    decision = file.judgement.decision
    assert (decision.limit_fen, decision.outcome, decision.points) == (20_000_000, "approved", 620)
    outputs = decision.outputs
    assert [(each.job, each.band, each.yes_no) for each in outputs] == SAID

    # Each was asked with an entry of its own, and the file says at which.
    entries = dict(indexed_transactions(world.bureau.engine, kinds=world.bureau.kinds))
    assert [entries[each.entry].body.request for each in outputs] == [each.request for each in outputs]
    assert kinds(world).count("access.request") == kinds(world).count("access.acknowledge") == 4
    assert kinds(world).count("decision.record") == 1
    told = file.as_json(suite=world.suite)
    assert [row["job"] for row in told["assessment"]["outputs"]] == ["risk", "conditions", "sales", "tax"]
    assert told["request"] == outputs[0].request.hex()
    explained = read_decision(world.bank, ApplicationQuestion(application=application.hex())).explanation
    assert explained["outputs"] == told["assessment"]["outputs"]

    # The regulator opens which outputs it rests on, and finds their answers on the ledger.
    opened = world.regulator.opened_decisions()
    assert [(each.band, each.yes_no, each.request) for each in opened.decisions[0].outputs] == [
        (each.band, each.yes_no, each.request) for each in outputs
    ]
    assert opened.problems == ()
    assert audit_institution(world.regulator, visited=world.bureau, live=world.bureau.engine).problems == ()
    # Once more changes nothing.
    assert world.around().process(application).file == file


def test_no_raw_value_crosses_and_the_same_look_finds_them_where_records_are_disclosed(world):
    """What crosses is looked at as the bank reads it: its answers as kept, every seal open."""
    links = []

    def listening(_provider):
        links.append(Listening(world.bank, world.bureau))
        return links[-1]

    application = handed_in(world, world.scored_consent())
    world.around(provider=listening).process(application)
    file = world.bank.application_store.file(application)
    kept = b"".join(_kept(world, output.request) for output in file.judgement.decision.outputs)
    crossed = b"".join(part for link in links for part in (*link.to_bureau, *link.to_bank))
    assert len(crossed) > len(kept) > 0
    assert raw_values(kept) == raw_values(crossed) == set()

    records = {"invoice_issued@2": ["amounts", "core", "counterparty"], "payment@1": ["amounts", "core"]}
    world.clock.advance(1_000)
    disclosed = world.consent(items=records)
    wanted = world.bank.recipient.granted(disclosed)
    received = world.bank.recipient.obtain(wanted, provider=BureauLink(world.bank, world.bureau))
    found = raw_values(_kept(world, received.request))
    assert {PARTNER_NAME, str(PAID_FEN), *map(str, AMOUNTS_FEN)} <= found


def _kept(world, request):
    row = world.bank.recipient._store.received(request)
    return row.manifest + row.disclosure


@pytest.mark.parametrize(
    ("changes", "lacks"),
    [
        ({"modes": (Mode.DISCLOSE,), "outputs": ()}, "the mode score, the output band, the output yes_no"),
        ({"outputs": (Output.BAND,)}, "the output yes_no"),
        ({"items": {"invoice_issued@2": ["core"], "registration@1": ["core"]}}, "amounts of payment@1"),
        ({"frequency": Frequency(count=3, unit=FrequencyUnit.YEAR)}, "4 answers"),
        ({"fetch": Fetch.ONE_TIME, "frequency": Frequency(count=1, unit=FrequencyUnit.YEAR)}, "4 answers"),
    ],
    ids=["disclose", "no condition", "records", "answers", "once"],
)
def test_a_consent_that_grants_too_little_is_refused_with_what_to_consent_to(tmp_path, changes, lacks):
    world = ScoredWorld(tmp_path / "consortium", "intl")
    consent = world.scored_consent(**changes)
    before = len(kinds(world))
    with pytest.raises(Denied, match=r"lending\.consent_too_narrow") as refused:
        handed_in(world, consent)
    assert lacks in refused.value.message
    assert "--mode score --output band --output yes_no --item arrears@1=amounts,core" in refused.value.message
    # One that is on file already ends there, with the cause, and nothing is on the ledger.
    application = world.bank.lending.receive(world.loan, taxpayer=TAXPAYER, consent=consent, amount_fen=20_000_000)
    file = world.around().process(application.id).file
    assert (file.status, file.timeline[-1].code) == ("closed", "lending.consent_too_narrow")
    assert len(kinds(world)) == before
    world.close()


def test_data_that_are_too_old_and_models_that_were_not_chosen_refuse(tmp_path):
    world = ScoredWorld(tmp_path / "consortium", "intl")
    with pytest.raises(Denied, match=r"lending\.data_too_old"):
        handed_in(world, world.scored_consent(period_to=world.terms(world.bank).period_to.replace(month=10)))
    unchosen, recipient, today = load_products()[LOAN], world.bank.recipient, world.bank.today()
    with pytest.raises(Denied, match=r"lending\.model_missing"):
        requests_for(unchosen, consent=OwnedId("b/0"), recipient=recipient, today=today)
    world.close()


def test_people_decide_what_is_referred_by_outputs_alone(tmp_path):
    """[LENDING-12]"""
    world = ScoredWorld(tmp_path / "consortium", "intl", base=540)
    application = handed_in(world, world.scored_consent())
    steps = world.around()
    file = steps.process(application).file
    assert (file.status, file.judgement.decision.rules) == ("referred", ("risk_needs_review",))
    (referral,) = list_referrals(world.bank, PageQuery()).items
    assert (referral.points, [row["job"] for row in referral.outputs]) == (530, ["risk", "conditions", "sales", "tax"])
    proposal = propose_decision(file, product=world.loan, outcome=Outcome.APPROVED, reason="seen", limit_fen=5_000_000)
    world.bank.lending.review(application, proposal, product=world.loan, maker="li", checker="wu")
    assert steps.process(application).file.status == "approved"
    (opened,) = world.regulator.opened_decisions().decisions
    assert (opened.amount_fen, len(opened.outputs)) == (5_000_000, 4)
    world.close()


def test_a_bureau_that_refuses_one_output_ends_the_file_and_is_asked_for_no_more(tmp_path):
    world = ScoredWorld(tmp_path / "consortium", "intl")
    consent = world.scored_consent()
    application = handed_in(world, consent)
    model = world.loan.score.asks[1].model
    world.bureau.model_registry.retire(model, reason=RetireReason.ORDERED, here_only=True)
    world.bank.catch_up_with(world.bureau)
    with pytest.raises(ShuiqiaoError) as failed:
        world.around().process(application)
    file = world.bank.application_store.file(application)
    assert failed.value.code == file.timeline[-1].code == "models.not_approved"
    assert kinds(world).count("access.request") == 1
    assert not file.has(Step.PROVEN)
    world.close()


def test_the_doors_say_the_mode_and_what_a_consent_needs(tmp_path):
    world = ScoredWorld(tmp_path / "consortium", "intl")
    (offered,) = [each for each in list_offered(world.bank).items if each.product == LOAN]
    assert (offered.mode, offered.outputs, offered.answers) == ("score", ("band", "yes_no"), 4)
    assert sorted(offered.items) == [
        "arrears@1", "invoice_issued@2", "payment@1", "registration@1", "tax_credit_grade@1",
    ]  # fmt: skip
    shown = read_product(world.bank, ProductQuestion(product=LOAN))
    assert (shown.mode, [each["job"] for each in shown.score["asks"]]) == (
        "score",
        ["risk", "conditions", "sales", "tax"],
    )
    # One whose models nobody chose is not offered.
    assert LOAN not in [each.product for each in list_offered(world.other_bank).items]
    world.close()


def test_the_audit_names_a_decision_that_rests_on_other_answers_than_it_says(tmp_path):
    """[LENDING-15]: an answer of another application, one that never came, one under which the ledger has no decision."""
    world = ScoredWorld(tmp_path / "consortium", "intl")
    consent = world.scored_consent(frequency=Frequency(count=20, unit=FrequencyUnit.YEAR))
    steps, bank = world.around(), world.bank
    first = handed_in(world, consent)
    used = steps.process(first).file.judgement.decision.outputs

    def decided(amount_fen, change):
        application = handed_in(world, consent, amount_fen=amount_fen)
        file = steps.process(application, until=Step.ASSESSED).file
        outputs = change(file.judgement.decision.outputs)
        judgement = replace(file.judgement, decision=replace(file.judgement.decision, outputs=outputs))
        recorded = bank.lending.decide(file.application, judgement=judgement, regulator=REGULATOR)
        world.hand_in(recorded)
        return application

    wrong = {
        decided(19_000_000, lambda own: (own[0], used[1], *own[2:])): "on which another application was decided",
        decided(18_000_000, lambda own: (own[0], replace(own[1], request=bytes(16)), *own[2:])): "which is no answer",
        decided(17_000_000, lambda own: (own[1], own[0], *own[2:])): "names other requests than its decision",
    }
    opened = world.regulator.opened_decisions()
    assert [each.application for each in opened.decisions] == [first]
    for (application, words), problem in zip(wrong.items(), opened.problems, strict=True):
        assert application.hex() in problem.says
        assert words in problem.says
    world.close()
