"""A bank develops a model on its loan book, lets it decide for a product, and keeps what it needs for that."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

import consortium_world as worlds
from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.base.errors import Denied, IntegrityError, InvalidInput
from shuiqiao.client.resources.applications import HandedInApplication
from shuiqiao.credit.development import ScoringModel
from shuiqiao.credit.scorecard import Scorecard
from shuiqiao.lending.files import churn_from_csv, outcomes_from_csv
from shuiqiao.node.applications import DeliveredOpenings, find_application
from shuiqiao.node.operations.applications import hand_in

CARD = {"metrics": {"auc": "0.7000", "auc_ci_95": "0.6 to 0.8", "ks": "0.3000"}, "n": 2, "bad": 1}
CURVES = "annual_rate,churn_A,churn_B,churn_C\n0.03,0,0,0\n0.15,0.5,0.6,0.7\n"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = worlds.ConsortiumWorld(tmp_path_factory.mktemp("consortium"), "intl")
    yield made
    made.close()


def code_of(act):
    with pytest.raises((Denied, InvalidInput, IntegrityError)) as caught:
        act()
    return caught.value.code


def kept_model(world, *, points):
    feature = world.assessor(points=points)._model.card.features
    card = Scorecard(name="flat", base_points=points, features=feature, n=1, bad=0)
    model = ScoringModel(card=card, unseeing={worlds.TAXPAYER: replace_name(card)})
    models = world.bank.lending_models.models
    return model, models.keep(model, model_card=CARD, as_of=worlds.PERIOD[1], developed_ms=1)


def replace_name(card):
    return Scorecard(name="flat-fold0", base_points=card.base_points, features=card.features, n=1, bad=0)


def test_a_model_is_kept_by_its_digest_with_the_cards_that_never_saw_a_firm(world):
    model, digest = kept_model(world, points=640)
    models = world.bank.lending_models.models
    assert models.load(digest) == model
    assert models.find(digest.hex()[:12]).as_json()["auc"] == "0.7000"
    assert models.load(digest).card_for(worlds.TAXPAYER).name == "flat-fold0"
    assert code_of(lambda: models.load(bytes(32))) == "credit.model_unclear"
    assert code_of(lambda: models.find("")) == "credit.model_unclear"
    with world.bank.database.begin() as connection:
        stored = connection.exec_driver_sql("SELECT unseeing FROM credit_model WHERE digest = ?", (digest,)).one()
        assert worlds.TAXPAYER.encode() not in stored.unseeing
        connection.exec_driver_sql("DELETE FROM credit_scorecard WHERE digest = ?", (digest,))
    assert code_of(lambda: models.load(digest)) == "credit.model_damaged"


def test_a_product_is_decided_by_the_model_that_was_chosen_and_priced_by_the_banks_curves(world, tmp_path):
    bank, product = world.bank, worlds.INVOICE_LOAN.id
    _, digest = kept_model(world, points=641)
    models = bank.lending_models
    day = worlds.PERIOD[1]
    assert code_of(lambda: models.assessor(product, as_of=day)) == "lending.model_missing"
    assert code_of(lambda: models.use(digest, product="no-loan")) == "lending.product_unknown"
    assert code_of(lambda: models.use(bytes(32), product=product)) == "credit.model_unclear"
    models.use(digest, product=product)
    assert code_of(lambda: models.assessor(product, as_of=day)) == "lending.churn_missing"
    path = tmp_path / "churn.csv"
    path.write_text(CURVES)
    bank.products.set_churn(churn_from_csv(path))
    application = world.applied(world.consent(), product=worlds.INVOICE_LOAN)
    assert find_application(bank.application_store, application.id.hex()[:8]) == application.id
    assert code_of(lambda: find_application(bank.application_store, "")) == "node.application_unclear"
    with models.assessor(product, as_of=day) as assessor:
        file = world.process(assessor).process(application.id).file
    assert file.status == "approved"
    assert file.judgement.decision.model_digest == digest or file.judgement.decision.points == 641
    uses = {use.rules.product.id: use.as_json(whole=True) for use in bank.products.in_use()}
    assert uses[product]["model"] == digest.hex()
    json.dumps(uses)
    assert bank.applications.process(application.id).file == file
    # Its opening goes to the regulator to which it was sealed.
    link = DeliveredOpenings(deliveries=bank.deliveries, bank=bank.member, engine=bank.engine)
    link.hand_in(application.id, b"sealed")
    assert [each.receiver for each in bank.deliveries.waiting()] == ["regulator"]


def test_the_same_wish_is_one_application_while_it_is_open_and_for_a_day(world):
    bank = world.bank
    wanted = HandedInApplication(product=worlds.INVOICE_LOAN.id, consent=world.consent(), amount_fen=50_000_000)
    first = hand_in(bank, wanted).application
    assert hand_in(bank, wanted).application == first
    assert hand_in(bank, wanted.model_copy(update={"amount_fen": 40_000_000})).application != first
    assert hand_in(bank, wanted.model_copy(update={"application": "7b" * 16})).application == "7b" * 16
    # It was taken to its end before an answer came; somebody who asks again is told so.
    bank.applications.close(bytes.fromhex(first), reason="withdrawn by the enterprise")
    again = hand_in(bank, wanted)
    assert (again.application, again.status) == (first, "closed")
    world.clock.advance(MS_PER_DAY)
    another = hand_in(bank, wanted).application
    assert another != first
    # That one is open, however long.
    world.clock.advance(2 * MS_PER_DAY)
    assert hand_in(bank, wanted).application == another


@pytest.mark.parametrize(
    ("text", "reader", "code"),
    [
        ("uscc,defaulted\nA1,1\nA1,0\n", outcomes_from_csv, "lending.outcomes_invalid"),
        ("uscc,defaulted\nA1,maybe\n", outcomes_from_csv, "lending.outcomes_invalid"),
        ("uscc,defaulted\n,1\n", outcomes_from_csv, "lending.outcomes_invalid"),
        ("rate\n1\n", churn_from_csv, "lending.churn_invalid"),
        ("annual_rate,churn_A\nx,1\n", churn_from_csv, "lending.churn_invalid"),
        ("annual_rate,churn_A\n0.1,2\n", churn_from_csv, "credit.churn_curve_invalid"),
        ("annual_rate,churn_A\n0.1\n", churn_from_csv, "lending.churn_invalid"),
    ],
)
def test_files_of_a_bank_are_read_or_refused_with_the_place(tmp_path, text, reader, code):
    path = tmp_path / "file.csv"
    path.write_text(text)
    assert code_of(lambda: reader(path)) == code


def test_files_of_a_bank_are_read(tmp_path):
    path = tmp_path / "file.csv"
    path.write_text("\ufeffuscc,defaulted\nA1,1\nA2,no\n", encoding="utf-8")
    assert outcomes_from_csv(path) == {"A1": True, "A2": False}
    path.write_text(CURVES)
    assert churn_from_csv(path)["B"].at(Decimal("0.15")) == Decimal("0.6")


def test_a_loan_book_without_records_develops_nothing(world):
    models = world.bank.lending_models
    refused = code_of(lambda: models.develop({worlds.TAXPAYER: True}, as_of=worlds.PERIOD[1], seed=1))
    assert refused == "lending.loan_book_empty"


def test_an_application_is_for_the_product_that_its_consent_names(world):
    """[CONSENT-28]: a consent for one product is none for another, and nothing is kept of it."""
    wanted = HandedInApplication(product=worlds.PRODUCT.id, consent=world.consent(), amount_fen=50_000_000)
    before = len(world.bank.application_store.applications())
    with pytest.raises(Denied, match=r"^consent\.product_wrong.*tax-credit-loan.*invoice-loan"):
        hand_in(world.bank, wanted)
    assert before == len(world.bank.application_store.applications())
