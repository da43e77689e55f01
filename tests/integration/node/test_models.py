"""A bank's model reaches its bureau over real HTTP, two people on each side let it run, and the audit replays it."""

from __future__ import annotations

import msgspec
import pytest

from accounts_world import CHEAP
from consortium_world import TAXPAYER
from models_world import BANDS, a_card
from offered_models import CHECKER, MAKER, NAME, OUTPUTS, keep_model, person, reviewing, runs_at_bureau
from peers_world import Doors
from shuiqiao.base.errors import Conflict, Denied, InvalidInput, ShuiqiaoError
from shuiqiao.base.ids import OwnedId
from shuiqiao.client.resources import models as api
from shuiqiao.client.resources.answers import ConsentRequest
from shuiqiao.client.resources.requests import UseQuery
from shuiqiao.consent.model import Mode, Output
from shuiqiao.credit.model_content import decode_content
from shuiqiao.credit.scorecard import encode_scorecard
from shuiqiao.exchange.contract import REQUEST
from shuiqiao.models.contract import REGISTER, REVIEW
from shuiqiao.models.model import RetireReason
from shuiqiao.models.roster import approved_model
from shuiqiao.node.accounts.approvals.acts import institution_acts
from shuiqiao.node.accounts.approvals.model import ApprovedAct
from shuiqiao.node.accounts.model import ActName
from shuiqiao.node.accounts.opening import InstitutionAccounts
from shuiqiao.node.auditing import audit_institution
from shuiqiao.node.operations import enterprises, models
from shuiqiao.node.operations.answers import ask_provider
from shuiqiao.node.peers.exchange_link import offer_body
from shuiqiao.node.peers.message import Act


@pytest.fixture
def doors(tmp_path):
    opened = Doors(tmp_path, "intl")
    with opened.stack:
        yield opened


def both(institution, name, body):
    approvals = InstitutionAccounts(institution, cost=CHEAP).approvals
    proposed = approvals.propose(MAKER, name, body)
    return approvals.approve(CHECKER, proposed["approval"], digest=proposed["digest"])


def carried_out_again(institution, name, body):
    (act,) = [each for each in institution_acts(institution) if each.name is name]
    return act.execute(ApprovedAct(id="again", body=body, height=0, maker="m", checker="c"))


def times(institution, kind):
    blocks = institution.engine.blocks(from_height=1)
    return sum(institution.decode(raw).kind == kind for block in blocks for raw in block.transactions)


def test_a_model_crosses_and_runs_once_two_people_on_each_side_agreed(doors):
    """[MODEL-3] [MODEL-4] [MODEL-6] [MODEL-7]"""
    world = doors.world
    bureau, bank, regulator = world.bureau, world.bank, world.regulator
    kept = keep_model(bank)

    # The owner's two people; what they agreed on is registered once, however often it is carried out.
    asked = api.ModelOffer(model=kept[:12], to=bureau.member, purpose="underwriting", outputs=OUTPUTS)
    offer = models.prepare_offer(bank, asked)
    row = both(bank, ActName.OFFER_MODEL, offer)
    assert (row["state"], row["what"]["outputs"]) == ("done", ["band", "yes_no"])
    model = OwnedId(row["outcome"]["model"])
    carried_out_again(bank, ActName.OFFER_MODEL, offer)
    assert times(bank, REGISTER) == 1

    # The content waits for a bureau that is not there, in no form that a reader of the database understands.
    bank.deliveries.deliver_due()
    waiting = bank.deliveries.waiting()
    assert {(each.receiver, each.act) for each in waiting} == {(bureau.member, Act.OFFER)}
    assert waiting[0].code == "client.unreachable"
    assert all(NAME.encode() not in body for body in bank.deliveries.bodies(Act.OFFER))
    assert NAME.encode() in bank.model_registry.handed(model)
    doors.open(bureau)
    world.clock.advance(max(each.next_ms for each in waiting) - world.clock.now_ms())
    bank.deliveries.deliver_due()
    assert bank.deliveries.waiting() == []

    # The bureau's reviewer signs a report; who reviewed does not approve, whoever proposes.
    bureau_side = InstitutionAccounts(bureau, cost=CHEAP)
    reviewed = models.review_model(
        reviewing(bureau), api.ModelReview(ledger_model=model, outcome="accepted", findings="Wide bands.")
    )
    assert [(each.provider, each.status) for each in reviewed.providers] == [(bureau.member, "reviewed")]
    approval = bureau.model_registry.approval_of(model)
    refused = both(bureau, ActName.APPROVE_RUN, approval)
    assert (refused["state"], refused["outcome"]["code"]) == ("failed", "node.same_person")
    proposed = bureau_side.approvals.propose(MAKER, ActName.APPROVE_RUN, approval)
    second = person("s" * 32, *CHECKER.permissions)
    done = bureau_side.approvals.approve(second, proposed["approval"], digest=proposed["digest"])
    assert done["state"] == "done"
    assert carried_out_again(bureau, ActName.APPROVE_RUN, approval) == {"model": model}
    assert times(bureau, REVIEW) == 1

    # It runs at this bureau, by its digest; the bank and the regulator see how it stands, and have no more of it.
    digest = approved_model(bureau.engine.state(), model, provider=bureau.member).digest
    assert decode_content(
        bureau.model_registry.runnable(model, digest=digest, provider=bureau.member)[1]
    ).card == a_card(name=NAME)
    owner, _, entry = model.partition("/")
    question = api.LedgerModelQuestion(member=owner, entry=entry)
    for institution, has_content, has_report in ((bureau, True, True), (bank, True, False), (regulator, False, False)):
        institution.catch_up_with(bureau)
        found = models.read_ledger_model(institution, question)
        assert [(each.provider, each.status) for each in found.providers] == [(bureau.member, "approved")]
        assert (NAME in found.content, found.report is not None) == (has_content, has_report)
    assert models.read_ledger_model(bureau, question).report.output_bits == {"band": 2, "yes_no": 1}

    # Replayed from genesis, nothing of it is on the ledger but digests and ids.
    assert audit_institution(regulator, visited=bureau, live=bureau.engine).problems == ()
    for block in regulator.engine.blocks(from_height=1):
        assert all(NAME.encode() not in raw and b"Wide bands." not in raw for raw in block.transactions)


def test_an_approved_model_scores_over_http_and_no_record_reaches_the_bank(doors):
    """[EXCHANGE-26] [EXCHANGE-27] [EXCHANGE-28]"""
    world = doors.world
    bureau, bank = world.bureau, world.bank
    doors.open(bureau)
    model = runs_at_bureau(doors, outputs=OUTPUTS).model
    assert [each.model for each in models.list_ledger_models(bank, api.PageQuery()).items] == [model]
    consent = world.consent(modes=(Mode.SCORE,), outputs=(Output.BAND, Output.YES_NO))
    asked = ConsentRequest(request="5c" * 16, consent=consent, model=model, outputs=("band", "yes_no"))
    told = ask_provider(bank, asked)
    assert (told.records, told.provider) == ({}, bureau.member)
    assert (told.score.model, told.score.points, told.score.reasons) == (model, None, None)
    # 600 less the points of no month, or of many months, without sales.
    assert (told.score.band, told.score.yes_no) in {("B", False), ("A", True)}
    assert ask_provider(bank, asked).score == told.score

    # In the bank's database there is nothing but the result; its manifest counts nothing.
    received = bank.recipient.load(bytes.fromhex(asked.request))
    assert received.manifest.cells == []
    (use,) = enterprises.uses_of(bureau, UseQuery(taxpayer=TAXPAYER), past=None).items
    assert (use.mode, use.model, use.outputs) == ("score", model, ("band", "yes_no"))

    # What is not granted, or names no outputs, is refused before anything is on the ledger.
    before = times(bank, REQUEST)
    for changes, code in (
        ({"outputs": ()}, "exchange.outputs_missing"),
        ({"model": None}, "exchange.outputs_missing"),
        ({"outputs": ("points",)}, "consent.not_covered"),
        ({"model": f"{bank.member}/" + "00" * 16}, "models.unknown"),
    ):
        with pytest.raises(ShuiqiaoError) as refusal:
            ask_provider(bank, asked.model_copy(update={"request": "6d" * 16, **changes}))
        assert refusal.value.code == code
    assert times(bank, REQUEST) == before


def test_encrypted_weights_cross_and_score_over_http_and_the_bureau_learns_no_points(doors):
    """[BLIND-7] [BLIND-8] [BLIND-9] [BLIND-10]"""
    world = doors.world
    bureau, bank = world.bureau, world.bank
    doors.open(bureau)
    offered = runs_at_bureau(doors, outputs=api.OutputsDeclared(**BANDS, points=True), blind=True)
    assert (offered.form, offered.outputs) == ("blind_linear", ("points",))
    owner, _, entry = offered.model.partition("/")
    seen = models.read_ledger_model(bureau, api.LedgerModelQuestion(member=owner, entry=entry))
    assert seen.report.output_bits == {"points": 12}
    assert msgspec.json.decode(seen.content) == {
        "features": [{"cuts": [2_000_000, 5_000_000], "name": "zero_sales_months_12m"}],
        "format": "shuiqiao-blind@1",
        "weights": 4,
    }

    consent = world.consent(modes=(Mode.SCORE,), outputs=(Output.POINTS,))
    told = ask_provider(
        bank, ConsentRequest(request="7e" * 16, consent=consent, model=offered.model, outputs=("points",))
    )
    plain = a_card().features[0].points
    assert min(abs(told.score.points - 600 - each) for each in plain) <= 1
    assert told.score.band in {"B", "A"}
    assert told.records == {}


def test_another_member_hands_over_no_model_of_a_bank_and_offers_nothing_of_its_own_to_a_bank(doors):
    """[MODEL-7]"""
    world = doors.world
    bureau, bank, other = world.bureau, world.bank, world.other_bank
    doors.open(bureau)
    asked = api.ModelOffer(model=keep_model(bank), to=bureau.member, purpose="loan_monitoring", outputs=OUTPUTS)
    offer = models.offer_to_provider(bank, asked)
    other.catch_up_with(bank)
    handed = bank.model_registry.handed(OwnedId(offer.model))
    body = offer_body(
        OwnedId(offer.model),
        handed,
        sender=other.member,
        provider=bureau.member,
        engine=other.engine,
        suite=other.suite,
    )
    peers = {bureau.member: f"http://127.0.0.1:{doors.ports[bureau.member]}"}
    other.settings = msgspec.structs.replace(other.settings, peers=peers)
    other.deliveries.send(bureau.member, Act.OFFER, body)
    other.deliveries.deliver_due()
    assert [each.code for each in other.deliveries.waiting()] == ["models.party_wrong"]
    with pytest.raises(Denied, match=r"members\.role_wrong"):
        models.prepare_offer(bank, asked.model_copy(update={"to": other.member}))
    with pytest.raises(InvalidInput, match=r"models\.offer_unclear"):
        models.prepare_offer(bank, asked.model_copy(update={"model": None, "scorecard": "{}"}))
    with pytest.raises(InvalidInput, match=r"credit\.content_malformed"):
        models.prepare_offer(bank, asked.model_copy(update={"outputs": api.OutputsDeclared()}))


def test_a_bureau_offers_a_model_of_its_own_to_itself_and_the_regulator_ends_it(doors):
    """[MODEL-2] [MODEL-5]"""
    bureau, regulator = doors.world.bureau, doors.world.regulator
    scorecard = encode_scorecard(a_card(name="bureau-own")).decode()
    asked = api.ModelOffer(scorecard=scorecard, to=bureau.member, purpose="underwriting", outputs=OUTPUTS)
    model = models.offer_to_provider(bureau, asked).model
    assert [each.model for each in models.list_ledger_models(bureau, api.PageQuery()).items][-1] == model
    regulator.catch_up_with(bureau)
    with pytest.raises(Conflict, match=r"models\.step_invalid"):
        regulator.model_registry.retire(OwnedId(model), reason=RetireReason.ORDERED, here_only=True)
    told = models.retire_ledger_model(
        regulator, api.ModelRetirement(ledger_model=model, reason="ordered", here_only=False)
    )
    assert told.status == "retired"
    bureau.catch_up_with(regulator)
    with pytest.raises(Denied, match=r"models\.retired"):
        bureau.model_registry.approval_of(OwnedId(model))
