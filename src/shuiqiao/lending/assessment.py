"""A bank's assessment of an applicant: what its decision rests on, from proven records alone.

1. the features of the day of judgement, and a score by a card that never learned from this applicant's outcome;
2. papers handed in beside the application, held against proven invoices;
3. the facts that the product's rules read;
4. limit and price.

It decides nothing: ``service`` applies the product's rules to what is returned here. Nothing that the applicant says is
believed but its debts elsewhere, which only lower the limit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from datetime import date
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Self

from shuiqiao.credit.limit import LimitRequest, compute_limit
from shuiqiao.credit.model_runner import inputs_of
from shuiqiao.credit.pricing import ChurnCurve, compute_price
from shuiqiao.credit.scorecard import score_taxpayers, scorecard_digest
from shuiqiao.features.engine import FACTS, FeatureEngine
from shuiqiao.features.facts import GRADE_RANKS
from shuiqiao.lending.model import (
    ApplicantFacts,
    ApplicantFile,
    Application,
    Assessment,
    Offer,
    PaperInvoice,
    Product,
)
from shuiqiao.standards.model import CORE_GROUP
from shuiqiao.standards.tax_credit_grade import Grade

if TYPE_CHECKING:
    from shuiqiao.credit.development import ScoringModel
    from shuiqiao.exchange.recipient import ReceivedData

RULE_FEATURES = frozenset({"days_since_last_sale", "registered_months", "tax_credit_grade_rank"})
"""Features that the product's rules read beside those of the scorecards."""

FEATURE_ENGINES = 2
"""Applicants whose features are computed at once; the others under way wait for an engine."""

GRADE_OF_RANK = {rank: Grade(letter) for letter, rank in GRADE_RANKS}


class Assessor:
    """Assesses applicants for one product with one model; any number of threads may ask.

    churn: curve by risk band, ``A`` to ``C``. digest: the suite hash under which the model is registered.

    Example::

        with Assessor(product, model=model, churn=churn, as_of=today, digest=bank.suite.digest) as assessor:
            assessment = assessor.assess(application, received=received, file=ApplicantFile())
    """

    def __init__(
        self,
        product: Product,
        *,
        model: ScoringModel,
        churn: Mapping[str, ChurnCurve],
        as_of: date,
        digest: Callable[[bytes], bytes],
    ) -> None:
        """Open the feature engines, for the features that scorecards and rules read and no others."""
        self._product = product
        self._model = model
        self._churn = churn
        self._as_of = as_of
        self._digest = digest
        self._engines: SimpleQueue[FeatureEngine] = SimpleQueue()
        with ExitStack() as stack:
            for _ in range(FEATURE_ENGINES):
                engine = FeatureEngine(threads=1, features=model.feature_names | RULE_FEATURES)
                self._engines.put(stack.enter_context(engine))
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the feature engines; nobody may be using them."""
        self._stack.close()

    def assess(
        self,
        application: Application,
        *,
        received: ReceivedData,
        file: ApplicantFile,
        further: Sequence[ReceivedData] = (),
    ) -> Assessment:
        """Return everything that the decision on an application rests on.

        received: the acknowledged answer under the application's consent; there are no further ones. Raises
        InvalidInput ``credit.*`` for records that cannot be computed with.
        """
        del further
        tables = received.tables
        card = self._model.card_for(application.taxpayer)
        features = self._features(tables, taxpayer=application.taxpayer)
        (row,) = features.to_pylist()
        (score,) = score_taxpayers(card, features=features)
        facts = _facts(tables, row=row, papers=file.papers)
        wanted = LimitRequest(
            requested_fen=application.amount_fen,
            default_probability=score.default_probability,
            grade=facts.grade,
            annual_tax_fen=row["tax_paid_12m_fen"],
            annual_sales_fen=row["sales_12m_fen"],
            arrears_owed_fen=max(row["arrears_owed_fen"] or 0, 0),
            other_debt_fen=file.other_debt_fen,
        )
        return Assessment(
            request=received.request,
            firm=received.artefact.firm,
            facts=facts,
            score=score,
            offer=offer_of(self._product, wanted=wanted, churn=self._churn),
            industry=file.industry,
            province=file.province,
            model_digest=scorecard_digest(card, digest=self._digest),
        )

    def _features(self, tables: Mapping[str, Any], *, taxpayer: str) -> Any:
        engine = self._engines.get()
        try:
            return engine.compute(tables, population={taxpayer: self._as_of})
        finally:
            self._engines.put(engine)


def record_needs(model: ScoringModel | None) -> dict[str, tuple[str, ...]]:
    """Return what an assessment on records reads: record type to disclosure groups, in order [LENDING-17].

    That is what the scorecards of a model, the rules of every product, and limit and price go by. model: None where
    none was chosen yet: then what is read whichever it is.
    """
    names = RULE_FEATURES | (frozenset[str]() if model is None else model.feature_names)
    groups = {name: {*found} for name, found in inputs_of(sorted(names)).items()}
    for _, need in FACTS.values():
        groups.setdefault(need.record_type, {CORE_GROUP}).add(need.group)
    return {name: tuple(sorted(groups[name])) for name in sorted(groups)}


def offer_of(product: Product, *, wanted: LimitRequest, churn: Mapping[str, ChurnCurve]) -> Offer:
    """Return the limit that a product gives on what is known of an applicant, and its price."""
    limit = compute_limit(product.limit, request=wanted)
    if limit.refusal is not None:
        return Offer(limit=limit, price=None)
    price = compute_price(
        default_probability=wanted.default_probability,
        limit_fen=limit.limit_fen,
        curve=churn[product.churn_band(wanted.grade)],
        terms=product.pricing,
    )
    return Offer(limit=limit, price=price)


def _facts(tables: Mapping[str, Any], *, row: Mapping[str, Any], papers: Sequence[PaperInvoice]) -> ApplicantFacts:
    return ApplicantFacts(
        grade=None if row["tax_credit_grade_rank"] is None else GRADE_OF_RANK[int(row["tax_credit_grade_rank"])],
        age_months=_whole(row["registered_months"]),
        has_open_arrears=(row["arrears_owed_fen"] or 0) > 0,
        days_since_last_sale=_whole(row["days_since_last_sale"]),
        has_forged_paper=bool(papers and unproven_papers(papers, issued=tables["invoice_issued"])),
    )


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def unproven_papers(papers: Iterable[PaperInvoice], *, issued: Any) -> tuple[str, ...]:
    """Return the ids of papers that no proven record supports: an altered amount and an invented invoice look alike.

    A copy of an issued invoice is believed only if the proven records hold an invoice of the same number, day and total
    that is still valid. issued: a pyarrow table or record batch of invoice_issued with invoice_no, issue_date,
    total_fen and status, all of them proven (``ReceivedData.tables``).
    """
    claims = list(papers)
    if not claims:
        return ()
    numbers = {claim.invoice_no for claim in claims}
    columns: Sequence[Sequence[Any]] = [
        issued.column(name).to_pylist() for name in ("invoice_no", "issue_date", "total_fen", "status")
    ]
    proven = {
        (number, day, total)
        for number, day, total, status in zip(*columns, strict=True)
        if status == "valid" and number in numbers
    }
    return tuple(claim.paper for claim in claims if (claim.invoice_no, claim.issue_date, claim.total_fen) not in proven)
