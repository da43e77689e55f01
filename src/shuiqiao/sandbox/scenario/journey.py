"""One applicant's way from application to decision at one bank, as a straight line.

1. the enterprise consents (underwriting, this bank, this product, the least groups that serve);
2. the application goes on the ledger;
3. the bank asks, the bureau answers, the bank proves every record;
4. features, score by a card that never saw the applicant, papers held against proven invoices, limit, price;
5. the decision goes on the ledger, what it says sealed to the regulator.

Timed from 2 to the end of 5, waiting for durable commits included; the enterprise's own time to sign is not.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from shuiqiao.base.ids import MemberId, OwnedId
from shuiqiao.consent.model import Purpose
from shuiqiao.credit.limit import LimitRequest, compute_limit
from shuiqiao.credit.model import Score
from shuiqiao.credit.pricing import ChurnCurve, PricingTerms, compute_price
from shuiqiao.credit.scorecard_file import scorecard_digest
from shuiqiao.credit.scoring import score_taxpayers
from shuiqiao.lending.model import Application, Product
from shuiqiao.lending.papers import PaperInvoice, unproven_papers
from shuiqiao.lending.rules import ApplicantFacts, Offer
from shuiqiao.lending.service import Assessment, RecordedDecision
from shuiqiao.node.institution import Institution
from shuiqiao.sandbox.scenario.cast import REGULATOR
from shuiqiao.sandbox.scenario.development import DevelopedModel
from shuiqiao.sandbox.scenario.enterprises import EnterpriseOwner, Wish
from shuiqiao.sandbox.scenario.evidence import Evidence, gather
from shuiqiao.standards.tax_credit_grade import Grade

if TYPE_CHECKING:
    from shuiqiao.features.engine import FeatureEngine

RULE_FEATURES = frozenset({"days_since_last_sale"})
"""Features that the product's rules read beside those of the scorecards."""

_DAYS_PER_MONTH = 30.4375
_CHURN_BANDS = {Grade.A: "A", Grade.B: "B"}
_WORST_BAND = "C"


@dataclass(frozen=True, slots=True, kw_only=True)
class Underwriting:
    """What every applicant of a run is judged with."""

    bureau: Institution
    product: Product
    items: Mapping[str, list[str]]
    period: tuple[date, date]
    as_of: date
    engines: SimpleQueue[FeatureEngine]
    """One engine computes one applicant at a time."""
    model: DevelopedModel
    churn: Mapping[str, ChurnCurve]
    papers: Mapping[str, tuple[PaperInvoice, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Journey:
    """How it ended. unproven: papers that contradict the records. milliseconds: from application to durable record."""

    owner: EnterpriseOwner
    bank: MemberId
    consent: OwnedId
    consent_index: int
    application: Application
    evidence: Evidence
    recorded: RecordedDecision
    unproven: tuple[str, ...]
    milliseconds: float


def travel(owner: EnterpriseOwner, *, bank: Institution, terms: Underwriting, amount_fen: int) -> Journey:
    """Take one applicant through; raises what any party refuses with."""
    granted = owner.consent(_wish(bank, terms), bank=bank)
    consent = granted.artefact.name
    started = time.perf_counter()
    application = bank.lending_desk.apply(
        terms.product, taxpayer=owner.applicant.uscc, consent=consent, amount_fen=amount_fen
    )
    evidence = gather(bank, bureau=terms.bureau, consent=consent, items=terms.items, period=terms.period)
    assessment, unproven = assess(owner, bank=bank, terms=terms, evidence=evidence, application=application)
    recorded = bank.lending_desk.decide(application, product=terms.product, assessment=assessment, regulator=REGULATOR)
    milliseconds = (time.perf_counter() - started) * 1000
    return Journey(
        owner=owner,
        bank=bank.member,
        consent=consent,
        consent_index=granted.committed.index,
        application=application,
        evidence=evidence,
        recorded=recorded,
        unproven=unproven,
        milliseconds=milliseconds,
    )


def assess(
    owner: EnterpriseOwner, *, bank: Institution, terms: Underwriting, evidence: Evidence, application: Application
) -> tuple[Assessment, tuple[str, ...]]:
    """Return everything the decision rests on, from proven records alone, and the papers that nothing proves."""
    tables = evidence.tables
    taxpayer = owner.applicant.uscc
    card = terms.model.card_for(taxpayer)
    features = _features(tables, taxpayer=taxpayer, terms=terms)
    row: dict[str, Any] = features.to_pylist()[0]
    (score,) = score_taxpayers(card, features=features)
    grade = _grade(tables, as_of=terms.as_of)
    papers = terms.papers.get(taxpayer, ())
    unproven = unproven_papers(papers, issued=tables["invoice_issued"]) if papers else ()
    facts = ApplicantFacts(
        grade=grade,
        age_months=_age_months(tables, as_of=terms.as_of),
        has_open_arrears=(row["arrears_owed_fen"] or 0) > 0,
        days_since_last_sale=None if row["days_since_last_sale"] is None else int(row["days_since_last_sale"]),
        has_forged_paper=bool(unproven),
    )
    offer = _offer(owner, terms=terms, row=row, score=score, grade=grade, amount_fen=application.amount_fen)
    assessment = Assessment(
        request=evidence.received.request,
        firm=bank.consent_file.artefact(application.consent).firm,
        facts=facts,
        score=score,
        offer=offer,
        industry=owner.applicant.section,
        province=owner.applicant.province_code,
        model_digest=scorecard_digest(card, digest=bank.suite.digest),
    )
    return assessment, unproven


def _features(tables: Mapping[str, Any], *, taxpayer: str, terms: Underwriting) -> Any:
    engine = terms.engines.get()
    try:
        return engine.compute(tables, population={taxpayer: terms.as_of})
    finally:
        terms.engines.put(engine)


def _wish(bank: Institution, terms: Underwriting) -> Wish:
    return Wish(
        recipient=bank.member,
        purpose=Purpose.UNDERWRITING,
        items=dict(terms.items),
        period_from=terms.period[0],
        period_to=terms.period[1],
        product=terms.product.id,
    )


def _offer(
    owner: EnterpriseOwner,
    *,
    terms: Underwriting,
    row: Mapping[str, Any],
    score: Score,
    grade: Grade | None,
    amount_fen: int,
) -> Offer:
    view = owner.applicant.bank_view
    limit = compute_limit(
        terms.product.limit,
        request=LimitRequest(
            requested_fen=amount_fen,
            default_probability=score.default_probability,
            grade=grade,
            annual_tax_fen=row["tax_paid_12m_fen"],
            annual_sales_fen=row["sales_12m_fen"],
            arrears_owed_fen=max(row["arrears_owed_fen"] or 0, 0),
            other_debt_fen=0 if view is None else view.other_debt_fen,
        ),
    )
    if limit.refusal is not None:
        return Offer(limit=limit, price=None)
    curve = terms.churn[_WORST_BAND if grade is None else _CHURN_BANDS.get(grade, _WORST_BAND)]
    price = compute_price(
        default_probability=score.default_probability, limit_fen=limit.limit_fen, curve=curve, terms=PricingTerms()
    )
    return Offer(limit=limit, price=price)


def _grade(tables: Mapping[str, Any], *, as_of: date) -> Grade | None:
    """Return the newest grade that was published by the day of judgement."""
    if "tax_credit_grade" not in tables:
        return None
    rows = [row for row in tables["tax_credit_grade"].to_pylist() if row["evaluated_on"] <= as_of]
    newest = max(rows, key=lambda row: (row["year"], row["evaluated_on"]), default=None)
    return None if newest is None else Grade(newest["grade"])


def _age_months(tables: Mapping[str, Any], *, as_of: date) -> int | None:
    if "registration" not in tables or not tables["registration"].num_rows:
        return None
    registered_on: date = tables["registration"].column("registered_on").to_pylist()[0]
    return int((as_of - registered_on).days / _DAYS_PER_MONTH)
