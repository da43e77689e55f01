"""A bank's scorecard that a bureau has reviewed and approved, handed over by HTTP."""

from __future__ import annotations

from typing import Any

from accounts_world import CHEAP
from models_world import BANDS, a_card
from peers_world import Doors
from shuiqiao.client.resources import models as api
from shuiqiao.credit.scorecard import encode_scorecard
from shuiqiao.node.accounts.model import Principal, PrincipalKind, act_rules
from shuiqiao.node.accounts.opening import InstitutionAccounts
from shuiqiao.node.institution import Institution
from shuiqiao.node.operations import models
from shuiqiao.node.operations.calling import Call
from shuiqiao.node.past import PastReader

OUTPUTS = api.OutputsDeclared(**BANDS)
NAME = "leak-me-7"


def person(name: str, *permissions: str) -> Principal:
    """A user."""
    return Principal(kind=PrincipalKind.USER, id=name, name=name, person=name, permissions=frozenset(permissions))


MAKER = person("m" * 32, *(rule.make for rule in act_rules().values()))
CHECKER = person("c" * 32, *(rule.check for rule in act_rules().values()))


def keep_model(bank: Institution, **card: Any) -> str:
    """Keep the bank's scorecard there; give its digest."""
    scorecard = encode_scorecard(a_card(**{"name": NAME, **card})).decode()
    given = api.ModelRegistration(scorecard=scorecard, data="Loans.", auc="0.71", auc_ci_95="0.6 to 0.8", ks="0.3")
    return models.register_model(bank, given).digest


def runs_at_bureau(doors: Doors, *, model: str | None = None, **declared: Any) -> api.LedgerModelRecord:
    """Hand the bank's scorecard over to a bureau that answers, reviews and approves it; give the model."""
    bureau, bank = doors.world.bureau, doors.world.bank
    asked = api.ModelOffer(model=model or keep_model(bank), to=bureau.member, purpose="underwriting", **declared)
    offered = models.offer_to_provider(bank, asked)
    bank.deliveries.deliver_due()
    assert bank.deliveries.waiting() == []
    models.review_model(
        reviewing(bureau), api.ModelReview(ledger_model=offered.model, outcome="accepted", findings="Few cuts.")
    )
    models.approve_model_run(bureau, api.LedgerModelChoice(ledger_model=offered.model))
    bank.catch_up_with(bureau)
    return offered


def reviewing(bureau: Institution) -> Call:
    """Who reviews at the bureau."""
    past = PastReader(bureau.engine, parameters=bureau.parameters)
    accounts = InstitutionAccounts(bureau, cost=CHEAP)
    return Call(institution=bureau, accounts=accounts, caller=CHECKER, past=past)
