"""No bad news ever betters an outcome."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from shuiqiao.credit.limit import Limit, LimitRefusal
from shuiqiao.credit.pricing import Price
from shuiqiao.lending.catalogue import load_products
from shuiqiao.lending.model import ApplicantFacts, Offer, Outcome
from shuiqiao.lending.rules import broken_rules, outcome_of

SEVERITY = {Outcome.APPROVED: 0, Outcome.REFERRED: 1, Outcome.REFUSED: 2}


WORST = ApplicantFacts(
    grade=None, age_months=None, has_open_arrears=True, days_since_last_sale=None, has_forged_paper=True
)


PRICE = Price(
    rate=Decimal("0.05"),
    churn=Decimal(0),
    expected_profit_fen=1,
    break_even_rate=None,
    default_probability=Decimal(0),
    limit_fen=1,
    terms=load_products()["tax-credit-loan"].pricing,
    tried=(),
)


FACTS = st.builds(
    ApplicantFacts,
    grade=st.none(),
    age_months=st.none() | st.integers(0, 600),
    has_open_arrears=st.booleans(),
    days_since_last_sale=st.none() | st.integers(0, 400),
    has_forged_paper=st.booleans(),
)


LIMITS = st.one_of(
    st.builds(Limit, limit_fen=st.integers(1, 10**9), parts=st.just(()), bound_by=st.just("cap"), refusal=st.none()),
    st.builds(
        Limit, limit_fen=st.just(0), parts=st.just(()), bound_by=st.just(""), refusal=st.sampled_from(LimitRefusal)
    ),
)


OFFERS = st.builds(Offer, limit=LIMITS, price=st.sampled_from([None, PRICE, replace(PRICE, rate=None)]))


PROBABILITIES = st.decimals(0, 1, places=6)


PRODUCTS = st.sampled_from(list(load_products().values()))


def decided(product, facts, probability, offer):
    rules = broken_rules(product, facts=facts, default_probability=probability, offer=offer)
    assert len(set(rules)) == len(rules)
    return outcome_of(rules)


@given(PRODUCTS, FACTS, PROBABILITIES, OFFERS, st.sampled_from(WORST.__slots__))
def test_bad_news_never_betters_an_outcome(product, facts, probability, offer, field):
    before = decided(product, facts, probability, offer)
    worse = replace(facts, **{field: getattr(WORST, field)})
    assert SEVERITY[decided(product, worse, probability, offer)] >= SEVERITY[before]
    assert SEVERITY[decided(product, facts, Decimal(1), offer)] >= SEVERITY[before]


@given(PRODUCTS, FACTS, PROBABILITIES, OFFERS)
def test_only_an_offer_that_can_be_made_is_approved(product, facts, probability, offer):
    if decided(product, facts, probability, offer) is Outcome.APPROVED:
        assert offer.limit.refusal is None
        assert offer.price is not None
        assert offer.price.rate is not None
        assert probability <= product.refer_above
        assert not facts.has_open_arrears
        assert not facts.has_forged_paper
