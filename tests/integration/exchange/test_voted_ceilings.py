"""[CONSENT-30]: what members vote to be fair use counts on the ledger, at the bureau and at the bank."""

from __future__ import annotations

from contextlib import suppress

import pytest

from consent_world import BANK_A, BANK_B, BUREAU, PRODUCT, REGULATOR
from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.base.errors import Conflict, Denied, ShuiqiaoError
from shuiqiao.client.problem import status_of
from shuiqiao.consent.model import FieldCode, Frequency, FrequencyUnit, field_code
from shuiqiao.members.action import SetCeiling, act_digest
from shuiqiao.members.contract import PROPOSE, VOTE, MemberProposeBody, MemberVoteBody

TABLE = {
    "max_period_months": 60,
    "max_answers_per_year": 150,
    "max_data_life_days": 365,
    "max_validity_days": 180,
}


def voted(world, *, product="", record_type="", recipient="", **bounds):
    """Have the members decide a rule of fair use for underwriting."""
    about = {"recipient": recipient, "product": product, "record_type": record_type}
    action = SetCeiling(purpose="underwriting", **about, **TABLE | bounds)
    body = MemberProposeBody(action=action, deadline_ms=world.clock.now_ms() + MS_PER_DAY)
    world.submitters[BUREAU].submit(PROPOSE, body)
    proposal = act_digest(body, kind=PROPOSE, author=BUREAU, network=world.network, suite=world.suite)
    for member in (BANK_A, BANK_B, REGULATOR, BUREAU):
        # The last ones find it decided.
        with suppress(Conflict, Denied):
            world.submitters[member].submit(VOTE, MemberVoteBody(proposal=proposal, approve=True))
    rules = world.ledger.state().get("members/ceiling/underwriting")
    assert about in [{name: rule[name] for name in about} for rule in rules]


@pytest.fixture
def own(world):
    """A product of this test's own, so that nothing that it has voted is about another one's."""
    return world.entropy(8).hex()


def refused(act) -> ShuiqiaoError:
    with pytest.raises(Denied) as refusal:
        act()
    return refusal.value


def test_a_consent_is_held_against_what_was_voted(world, own):
    world.granted(product=own)
    voted(world, product=own, max_data_life_days=30)
    error = refused(lambda: world.granted(product=own))
    assert (error.code, field_code(error), status_of(error)) == (
        "consent.ceiling_exceeded",
        FieldCode.CEILING_EXCEEDED,
        412,
    )
    assert world.granted(product=own, data_life_days=30)
    assert world.granted(product=PRODUCT)


def test_a_request_is_held_against_what_was_voted_since_at_both_sides(world, own):
    consent = world.granted(product=own)
    waiting = world.asked(consent)
    voted(world, product=own, max_period_months=12)
    assert refused(lambda: world.asked(consent)).code == "consent.ceiling_exceeded"
    assert refused(lambda: world.provider.answer(waiting.message)).code == "consent.ceiling_exceeded"
    assert world.entry(waiting.request)["status"] == "refused"


def test_answers_and_life_follow_what_was_voted(world, own):
    voted(world, product=own, max_answers_per_year=1, max_data_life_days=2, max_validity_days=60)
    terms = {"frequency": Frequency(count=1, unit=FrequencyUnit.YEAR), "data_life_days": 2}
    window = {"valid_from_ms": world.clock.now_ms(), "valid_to_ms": world.clock.now_ms() + 60 * MS_PER_DAY}
    consent = world.granted(product=own, **terms, **window)
    world.provider.answer(world.asked(consent).message)
    again = refused(lambda: world.provider.answer(world.asked(consent).message))
    assert (again.code, status_of(again)) == ("exchange.frequency_exceeded", 412)


def test_the_most_specific_rule_counts(world, own):
    voted(world, product=own, max_data_life_days=10)
    voted(world, product=own, recipient=BANK_A, max_data_life_days=90)
    assert world.granted(product=own, data_life_days=90)
    refused(lambda: world.granted(product=own, recipient=BANK_B, data_life_days=11))
    voted(world, product=own, recipient=BANK_A, record_type="tax_credit_grade", max_data_life_days=5)
    refused(lambda: world.granted(product=own, data_life_days=90))
    assert world.granted(product=own, data_life_days=90, items={"invoice_issued@2": ["core", "amounts"]})


def test_the_ledger_takes_the_longer_validity_that_was_voted_and_no_longer(world, own):
    voted(world, product=own, max_validity_days=400)
    starts_ms = world.clock.now_ms()

    def lasting(days, product=own):
        window = {"valid_from_ms": starts_ms, "valid_to_ms": starts_ms + days * MS_PER_DAY}
        return world.granted(product=product, **window)

    assert lasting(400)
    assert refused(lambda: lasting(401)).code == "consent.ceiling_exceeded"
    assert refused(lambda: lasting(181, PRODUCT)).code == "consent.ceiling_exceeded"
