"""Straight-through rules: what a product asks beside the model, applied in one order, every broken rule named.

A broken hard rule refuses; a probability of default above the product's threshold refers to a person; a limit or price
that cannot be offered refuses. Rules see facts that were proven against the ledger, the score and the offer, nothing
else. In the mode *score* a fact that no output shows counts as not there, and the enterprise is told just that.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from shuiqiao.credit.limit import LimitRefusal
from shuiqiao.lending.model import ApplicantFacts, Offer, Outcome, Product, RuleCode

_REVIEW = frozenset({RuleCode.RISK_NEEDS_REVIEW})

_OF_RECORDS = frozenset(
    {
        RuleCode.GRADE_NOT_ELIGIBLE,
        RuleCode.TOO_YOUNG,
        RuleCode.ARREARS_OPEN,
        RuleCode.NO_RECENT_SALES,
        RuleCode.TAX_TOO_LOW,
    }
)
"""What a bank says of records that it read; of outputs it says only that they do not show the opposite."""

_LIMIT_RULES = {
    LimitRefusal.GRADE_UNKNOWN: RuleCode.GRADE_NOT_ELIGIBLE,
    LimitRefusal.GRADE_EXCLUDED: RuleCode.GRADE_NOT_ELIGIBLE,
    LimitRefusal.RISK_TOO_HIGH: RuleCode.RISK_TOO_HIGH,
    LimitRefusal.TAX_UNKNOWN: RuleCode.TAX_TOO_LOW,
    LimitRefusal.TAX_TOO_LOW: RuleCode.TAX_TOO_LOW,
    LimitRefusal.SALES_UNKNOWN: RuleCode.NO_RECENT_SALES,
    LimitRefusal.BELOW_FLOOR: RuleCode.LIMIT_TOO_SMALL,
}


def broken_rules(
    product: Product, *, facts: ApplicantFacts, default_probability: Decimal, offer: Offer
) -> tuple[RuleCode, ...]:
    """Return every rule of the product that the applicant breaks, each once, hard ones first."""
    found = (
        *_eligibility(product, facts),
        *_offer(offer),
        *((RuleCode.RISK_NEEDS_REVIEW,) if default_probability > product.refer_above else ()),
    )
    if product.score is not None:
        found = tuple(RuleCode.CONDITION_NOT_SHOWN if rule in _OF_RECORDS else rule for rule in found)
    return tuple(dict.fromkeys(found))


def outcome_of(rules: tuple[RuleCode, ...]) -> Outcome:
    """Return what the broken rules lead to: none approves, review alone refers, any other refuses."""
    if not rules:
        return Outcome.APPROVED
    return Outcome.REFERRED if set(rules) <= _REVIEW else Outcome.REFUSED


def _eligibility(product: Product, facts: ApplicantFacts) -> Iterator[RuleCode]:
    if facts.has_forged_paper:
        yield RuleCode.DOCUMENT_FORGED
    if product.min_age_months and (facts.age_months is None or facts.age_months < product.min_age_months):
        yield RuleCode.TOO_YOUNG
    if facts.has_open_arrears:
        yield RuleCode.ARREARS_OPEN
    most = product.max_days_without_sales
    if most is not None and (facts.days_since_last_sale is None or facts.days_since_last_sale > most):
        yield RuleCode.NO_RECENT_SALES


def _offer(offer: Offer) -> Iterator[RuleCode]:
    if offer.limit.refusal is not None:
        yield _LIMIT_RULES[offer.limit.refusal]
    elif offer.price is None or offer.price.rate is None:
        yield RuleCode.NO_PROFITABLE_PRICE
