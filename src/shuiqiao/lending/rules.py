"""Straight-through rules: what a product asks beside the model, applied in one order, every broken rule named.

A broken hard rule refuses; a probability of default between the thresholds refers to a person; a limit or price that
cannot be offered refuses. Rules see facts that were proven against the ledger and the model's score, nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from shuiqiao.credit.model import Grade
from shuiqiao.lending.model import Outcome, Product, RuleCode


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicantFacts:
    """What rules may know. None stands for a fact the data does not hold."""

    grade: Grade | None
    age_months: int | None
    annual_tax_fen: int | None
    has_open_arrears: bool
    days_since_last_sale: int | None
    has_forged_paper: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What credit would offer: the limit in fen, and the yearly rate, None where no allowed rate is profitable."""

    limit_fen: int
    annual_rate: Decimal | None


RECENT_SALES_DAYS = 92
"""Tax loans of the trade tolerate three months without invoices."""

_REVIEW = frozenset({RuleCode.RISK_NEEDS_REVIEW})


def broken_rules(
    product: Product, *, facts: ApplicantFacts, default_probability: Decimal, offer: Offer
) -> tuple[RuleCode, ...]:
    """Return every rule of the product that the applicant breaks, hard ones first."""
    return (
        *_eligibility(product, facts),
        *_risk(product, default_probability),
        *_offer(product, offer),
    )


def outcome_of(rules: tuple[RuleCode, ...]) -> Outcome:
    """Return what the broken rules lead to: none approves, review alone refers, any other refuses."""
    if not rules:
        return Outcome.APPROVED
    return Outcome.REFERRED if set(rules) <= _REVIEW else Outcome.REFUSED


def _eligibility(product: Product, facts: ApplicantFacts) -> Iterator[RuleCode]:
    if facts.has_forged_paper:
        yield RuleCode.DOCUMENT_FORGED
    if product.grades is not None and facts.grade not in product.grades:
        yield RuleCode.GRADE_NOT_ELIGIBLE
    if product.min_age_months and (facts.age_months is None or facts.age_months < product.min_age_months):
        yield RuleCode.TOO_YOUNG
    if facts.has_open_arrears:
        yield RuleCode.ARREARS_OPEN
    if product.needs_recent_sales and (
        facts.days_since_last_sale is None or facts.days_since_last_sale > RECENT_SALES_DAYS
    ):
        yield RuleCode.NO_RECENT_SALES
    if product.min_annual_tax_fen and (facts.annual_tax_fen or 0) < product.min_annual_tax_fen:
        yield RuleCode.TAX_TOO_LOW


def _risk(product: Product, default_probability: Decimal) -> Iterator[RuleCode]:
    if default_probability > product.refuse_above:
        yield RuleCode.RISK_TOO_HIGH
    elif default_probability > product.refer_above:
        yield RuleCode.RISK_NEEDS_REVIEW


def _offer(product: Product, offer: Offer) -> Iterator[RuleCode]:
    if offer.limit_fen < product.min_limit_fen:
        yield RuleCode.LIMIT_TOO_SMALL
    if offer.annual_rate is None:
        yield RuleCode.NO_PROFITABLE_PRICE
