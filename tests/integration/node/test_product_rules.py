"""A bank changes the rules of its products and its models' uses, as two people want it [LENDING-13]."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

import consortium_world as worlds
from accounts_world import CHEAP
from shuiqiao.base.errors import Conflict, Denied, InvalidInput
from shuiqiao.credit.development import ScoringModel
from shuiqiao.credit.pricing import ChurnCurve
from shuiqiao.lending.catalogue import load_product_texts
from shuiqiao.lending.model import Outcome
from shuiqiao.lending.models import Assessors
from shuiqiao.lending.product_rules import MAX_RULES_CHARS
from shuiqiao.lending.review import decode_review, propose_decision
from shuiqiao.node.accounts.approvals.bank import ChurnChange, ModelUse, ProductChange, RulesChange
from shuiqiao.node.accounts.model import ActName, Principal, PrincipalKind, act_rules
from shuiqiao.node.accounts.opening import InstitutionAccounts

LOAN = worlds.INVOICE_LOAN.id
CARD = {"metrics": {"auc": "0.7000", "auc_ci_95": "0.6 to 0.8", "ks": "0.3000"}, "n": 2, "bad": 1}


def person(name, *permissions):
    return Principal(kind=PrincipalKind.USER, id=name, name=name, person=name, permissions=frozenset(permissions))


MAKER = person("m" * 32, *(rule.make for rule in act_rules().values()))
CHECKER = person("c" * 32, *(rule.check for rule in act_rules().values()))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = worlds.ConsortiumWorld(tmp_path_factory.mktemp("consortium"), "intl")
    yield made
    made.close()


@pytest.fixture
def both(world):
    """What becomes of an act that one person proposes and another approves."""
    accounts = InstitutionAccounts(world.bank, cost=CHEAP)

    def act(name, body):
        proposed = accounts.approvals.propose(MAKER, name, body)
        return accounts.approvals.approve(CHECKER, proposed["approval"], digest=proposed["digest"])

    return act


def code_of(act):
    with pytest.raises((Conflict, Denied, InvalidInput)) as caught:
        act()
    return caught.value.code


def test_rules_are_changed_from_those_that_were_in_force_and_stay_so(world, both):
    # Of a product whose rules nothing else here changes.
    products, loan = world.bank.products, worlds.PRODUCT.id
    before = products.in_force(loan)
    assert (before.text, before.since_ms) == (load_product_texts()[loan], None)
    text = before.text.replace('refer_above = "0.12"', 'refer_above = "0.10"')
    body = ProductChange(change=RulesChange(product=loan, rules=text, replaces=before.digest))
    row = both(ActName.CHANGE_PRODUCT, body)
    assert (row["state"], row["what"]["rules"]) == ("done", text)
    after = products.in_force(loan)
    assert (str(after.product.refer_above), after.digest.hex()) == ("0.10", row["outcome"]["digest"])
    assert after.since_ms is not None
    # The same again changes nothing, and what was compared with other rules is refused.
    assert products.change(loan, text, replaces=before.digest) == after
    assert code_of(lambda: products.change(loan, before.text, replaces=before.digest)) == "lending.product_changed"
    assert products.change(loan, before.text, replaces=after.digest).product == worlds.PRODUCT


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda text: text.replace("invoice-loan", "tax-credit-loan"), "lending.product_invalid"),
        (lambda text: text.replace('"0.12"', '"7"', 1), "lending.product_invalid"),
        (lambda text: text + "#" * MAX_RULES_CHARS, "lending.product_invalid"),
        (lambda _text: "= 1", "lending.product_invalid"),
    ],
)
def test_rules_that_are_none_are_refused_and_the_old_ones_stay(world, change, code):
    products = world.bank.products
    before = products.in_force(LOAN)
    assert code_of(lambda: products.change(LOAN, change(before.text), replaces=before.digest)) == code
    assert products.in_force(LOAN) == before
    assert code_of(lambda: products.change("no-loan", before.text, replaces=before.digest)) == "lending.product_unknown"


def test_curves_are_kept_and_a_model_is_chosen_and_retired_by_two(world, both):
    bank = world.bank
    curves = {band: {"0.03": "0", "0.15": "0.5"} for band in "ABC"}
    assert both(ActName.CHANGE_PRODUCT, ProductChange(change=ChurnChange(curves=curves)))["outcome"] == {
        "bands": ["A", "B", "C"]
    }
    falling = ProductChange(change=ChurnChange(curves={"A": {"0.03": "2"}}))
    assert both(ActName.CHANGE_PRODUCT, falling)["outcome"]["code"] == "credit.churn_curve_invalid"
    with world.assessor(points=600) as assessor:
        model = ScoringModel(card=assessor._model.card, unseeing={})
    digest = bank.lending_models.models.keep(model, model_card=CARD, as_of=worlds.PERIOD[1], developed_ms=1)
    both(ActName.APPROVE_MODEL, ModelUse(product=LOAN, model=digest))
    assert bank.lending_models.uses() == {digest: (LOAN,)}
    both(ActName.APPROVE_MODEL, ModelUse(product=LOAN, model=None))
    assert bank.lending_models.uses() == {}
    assert code_of(lambda: bank.lending_models.assessor(LOAN, as_of=date(2026, 1, 1))) == "lending.model_missing"


def test_an_assessor_is_opened_anew_once_what_it_goes_by_changed(world):
    bank, day = world.bank, [worlds.PERIOD[1]]
    with world.assessor(points=610) as flat:
        model = ScoringModel(card=flat._model.card, unseeing={})
    digest = bank.lending_models.models.keep(model, model_card=CARD, as_of=worlds.PERIOD[1], developed_ms=1)
    bank.lending_models.use(digest, product=LOAN)
    bank.products.set_churn(dict.fromkeys("ABC", ChurnCurve(rates=(Decimal("0.03"),), churn=(Decimal(0),))))
    assessors = Assessors(bank.lending_models, day=lambda: day[0])
    with assessors.using(LOAN) as first, assessors.using(LOAN) as second:
        assert first is second
        day[0] = date(2026, 1, 1)
        with assessors.using(LOAN) as third:
            assert third is not first
        # The first one is still in use: its engines are there.
        assert first._engines.qsize() == 2
    assessors.close()
    bank.lending_models.retire(LOAN)


def test_what_two_people_approved_by_earlier_rules_is_recorded_by_later_ones(world, both):
    bank, product = world.bank, worlds.INVOICE_LOAN
    with world.assessor(points=worlds.REFERRED_POINTS) as assessor:
        process = world.process(assessor)
        application = world.applied(world.consent(), product=product)
        file = process.process(application.id).file
        raw = propose_decision(file, product=product, outcome=Outcome.APPROVED, reason="seen", limit_fen=20_000_000)
        bank.lending.review(application.id, raw, product=product, maker="li", checker="wu")
        before = bank.products.in_force(LOAN)
        lower = before.text.replace("cap_fen = 100_000_000", "cap_fen = 10_000_000")
        bank.products.change(LOAN, lower, replaces=before.digest)
        assert bank.products.product(LOAN).limit.cap_fen == 10_000_000
        decided = process.process(application.id).file
    assert (decided.status, decided.decision.limit_fen) == ("approved", 20_000_000)
    later = bank.products.product(LOAN)
    file = bank.application_store.file(application.id)
    assert code_of(lambda: decode_review(raw, file=file, product=later)) == "lending.not_referred"
    bank.products.change(LOAN, before.text, replaces=bank.products.in_force(LOAN).digest)
