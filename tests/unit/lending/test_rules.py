"""Every rule of a product breaks on its own fact, at its own edge, and only review refers."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from shuiqiao.credit.limit import Limit, LimitRefusal
from shuiqiao.credit.pricing import Price
from shuiqiao.lending.catalogue import load_products
from shuiqiao.lending.model import RULE_WORDS, ApplicantFacts, Offer, Outcome, RuleCode
from shuiqiao.lending.rules import broken_rules, outcome_of
from shuiqiao.standards.tax_credit_grade import Grade

PRODUCT = load_products()["tax-credit-loan"]
INVOICE_PRODUCT = load_products()["invoice-loan"]
GOOD = ApplicantFacts(
    grade=Grade.A, age_months=24, has_open_arrears=False, days_since_last_sale=92, has_forged_paper=False
)
PRICE = Price(
    rate=Decimal("0.0465"),
    churn=Decimal("0.5"),
    expected_profit_fen=1_000,
    break_even_rate=Decimal("0.03"),
    default_probability=Decimal("0.01"),
    limit_fen=10_000_000,
    terms=load_products()["tax-credit-loan"].pricing,
    tried=(),
)
OFFER = Offer(limit=Limit(limit_fen=10_000_000, parts=(), bound_by="cap", refusal=None), price=PRICE)


def rules_for(facts=GOOD, *, probability="0.01", offer=OFFER, product=PRODUCT):
    return broken_rules(product, facts=facts, default_probability=Decimal(probability), offer=offer)


def refused_limit(refusal):
    return Offer(limit=Limit(limit_fen=0, parts=(), bound_by="", refusal=refusal), price=None)


def test_a_good_applicant_at_every_edge_breaks_nothing_and_is_approved():
    assert rules_for(probability=str(PRODUCT.refer_above)) == ()
    assert outcome_of(()) is Outcome.APPROVED


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"has_forged_paper": True}, RuleCode.DOCUMENT_FORGED),
        ({"age_months": 23}, RuleCode.TOO_YOUNG),
        ({"age_months": None}, RuleCode.TOO_YOUNG),
        ({"has_open_arrears": True}, RuleCode.ARREARS_OPEN),
        ({"days_since_last_sale": 93}, RuleCode.NO_RECENT_SALES),
        ({"days_since_last_sale": None}, RuleCode.NO_RECENT_SALES),
    ],
)
def test_one_fact_breaks_one_rule_and_refuses(change, rule):
    rules = rules_for(replace(GOOD, **change))
    assert rules == (rule,)
    assert outcome_of(rules) is Outcome.REFUSED


@pytest.mark.parametrize("refusal", list(LimitRefusal))
def test_every_reason_for_no_limit_is_a_rule_that_refuses(refusal):
    rules = rules_for(offer=refused_limit(refusal))
    assert len(rules) == 1
    assert outcome_of(rules) is Outcome.REFUSED


@pytest.mark.parametrize(
    ("refusal", "rule"),
    [
        (LimitRefusal.GRADE_UNKNOWN, RuleCode.GRADE_NOT_ELIGIBLE),
        (LimitRefusal.GRADE_EXCLUDED, RuleCode.GRADE_NOT_ELIGIBLE),
        (LimitRefusal.RISK_TOO_HIGH, RuleCode.RISK_TOO_HIGH),
        (LimitRefusal.TAX_UNKNOWN, RuleCode.TAX_TOO_LOW),
        (LimitRefusal.TAX_TOO_LOW, RuleCode.TAX_TOO_LOW),
        (LimitRefusal.SALES_UNKNOWN, RuleCode.NO_RECENT_SALES),
        (LimitRefusal.BELOW_FLOOR, RuleCode.LIMIT_TOO_SMALL),
    ],
)
def test_each_reason_for_no_limit_is_its_own_rule(refusal, rule):
    assert rules_for(offer=refused_limit(refusal)) == (rule,)


def test_a_product_that_asks_for_no_sales_or_age_breaks_on_neither():
    product = replace(PRODUCT, min_age_months=0, max_days_without_sales=None)
    facts = replace(GOOD, age_months=None, days_since_last_sale=None)
    assert rules_for(facts, product=product) == ()
    assert rules_for(replace(facts, age_months=0), product=replace(product, min_age_months=1)) == (RuleCode.TOO_YOUNG,)


def test_review_beside_any_other_rule_is_a_refusal():
    assert outcome_of((RuleCode.RISK_NEEDS_REVIEW, RuleCode.LIMIT_TOO_SMALL)) is Outcome.REFUSED


def test_an_offer_without_a_rate_that_pays_is_refused():
    for price in (None, replace(PRICE, rate=None)):
        assert rules_for(offer=replace(OFFER, price=price)) == (RuleCode.NO_PROFITABLE_PRICE,)


def test_doubt_alone_refers_to_a_person_and_never_overrides_a_refusal():
    doubtful = str(PRODUCT.refer_above + Decimal("0.0001"))
    assert rules_for(probability=doubtful) == (RuleCode.RISK_NEEDS_REVIEW,)
    assert outcome_of((RuleCode.RISK_NEEDS_REVIEW,)) is Outcome.REFERRED
    both = rules_for(replace(GOOD, has_open_arrears=True), probability=doubtful)
    assert both == (RuleCode.ARREARS_OPEN, RuleCode.RISK_NEEDS_REVIEW)
    assert outcome_of(both) is Outcome.REFUSED


def test_a_rule_that_breaks_twice_is_named_once():
    facts = replace(GOOD, days_since_last_sale=None)
    assert rules_for(facts, offer=refused_limit(LimitRefusal.SALES_UNKNOWN)) == (RuleCode.NO_RECENT_SALES,)


def test_a_product_on_invoices_alone_asks_neither_grade_nor_age():
    facts = replace(GOOD, grade=None, age_months=None)
    assert rules_for(facts, product=INVOICE_PRODUCT) == ()


def test_every_rule_has_its_words_in_both_languages():
    assert set(RULE_WORDS) == set(RuleCode)
    assert all(words.en and words.zh for words in RULE_WORDS.values())
