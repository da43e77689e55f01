"""Two people of a bank decide on what the rules referred, and choose the model that decides [LENDING-12]."""

from __future__ import annotations

import pytest

import consortium_world as worlds
from accounts_world import CHEAP
from shuiqiao.credit.development import ScoringModel
from shuiqiao.lending.model import Outcome
from shuiqiao.lending.review import decode_review, propose_decision
from shuiqiao.node.accounts.approvals.bank import ModelUse
from shuiqiao.node.accounts.model import ActName, Principal, PrincipalKind, act_rules
from shuiqiao.node.accounts.opening import InstitutionAccounts


def person(name, *permissions):
    return Principal(kind=PrincipalKind.USER, id=name, name=name, person=name, permissions=frozenset(permissions))


MAKER = person("m" * 32, *(rule.make for rule in act_rules().values()))
CHECKER = person("c" * 32, *(rule.check for rule in act_rules().values()))
CARD = {"metrics": {"auc": "0.7000", "auc_ci_95": "0.6 to 0.8", "ks": "0.3000"}, "n": 2, "bad": 1}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = worlds.ConsortiumWorld(tmp_path_factory.mktemp("consortium"), "intl")
    yield made
    made.close()


def both(accounts, name, body):
    proposed = accounts.approvals.propose(MAKER, name, body)
    return accounts.approvals.approve(CHECKER, proposed["approval"], digest=proposed["digest"])


def test_a_referred_application_is_decided_by_the_bytes_that_a_second_person_approved(world):
    bank, product = world.bank, worlds.INVOICE_LOAN
    accounts = InstitutionAccounts(bank, cost=CHEAP)
    with world.assessor(points=worlds.REFERRED_POINTS) as assessor:
        process = world.process(assessor)
        application = world.applied(world.consent(), product=product)
        file = process.process(application.id).file
        raw = propose_decision(file, product=product, outcome=Outcome.APPROVED, reason="订单充足", limit_fen=20_000_000)
        body = decode_review(raw, file=file, product=product)
        row = both(accounts, ActName.DECIDE, body)
        assert (row["state"], row["outcome"]["outcome"]) == ("done", "approved")
        done = process.process(application.id)
    assert (done.file.status, done.file.review.raw) == ("approved", raw)
    assert (done.file.review.maker, done.file.review.checker) == (MAKER.id, CHECKER.id)
    again = both(accounts, ActName.DECIDE, body)
    assert again["state"] == "done"
    assert bank.application_store.file(application.id) == done.file


def test_a_model_decides_for_a_product_once_two_people_want_it(world):
    bank = world.bank
    with world.assessor(points=600) as assessor:
        model = ScoringModel(card=assessor._model.card, unseeing={})
    digest = bank.lending_models.models.keep(model, model_card=CARD, as_of=worlds.PERIOD[1], developed_ms=1)
    accounts = InstitutionAccounts(bank, cost=CHEAP)
    row = both(accounts, ActName.APPROVE_MODEL, ModelUse(product=worlds.INVOICE_LOAN.id, model=digest))
    assert row["state"] == "done"
    assert {use.rules.product.id: use.model for use in bank.products.in_use()}[worlds.INVOICE_LOAN.id] == digest
    row = both(accounts, ActName.APPROVE_MODEL, ModelUse(product="no-loan", model=digest))
    assert (row["state"], row["outcome"]["code"]) == ("failed", "lending.product_unknown")
