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
from shuiqiao.credit.pricing import ChurnCurve, compute_price
from shuiqiao.credit.scorecard import score_taxpayers, scorecard_digest
from shuiqiao.features.engine import FeatureEngine
from shuiqiao.lending.model import (
    ApplicantFacts,
    ApplicantFile,
    Application,
    Assessment,
    Offer,
    PaperInvoice,
    Product,
)
from shuiqiao.standards.tax_credit_grade import Grade

if TYPE_CHECKING:
    from shuiqiao.credit.development import ScoringModel
    from shuiqiao.credit.model import Score
    from shuiqiao.exchange.recipient import ReceivedData

RULE_FEATURES = frozenset({"days_since_last_sale"})
"""Features that the product's rules read beside those of the scorecards."""

FEATURE_ENGINES = 2
"""Applicants whose features are computed at once; the others under way wait for an engine."""

_DAYS_PER_MONTH = 30.4375


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

    def assess(self, application: Application, *, received: ReceivedData, file: ApplicantFile) -> Assessment:
        """Return everything that the decision on an application rests on.

        received: the acknowledged answer under the application's consent. Raises InvalidInput ``credit.*`` for records
        that cannot be computed with.
        """
        tables = received.tables
        card = self._model.card_for(application.taxpayer)
        features = self._features(tables, taxpayer=application.taxpayer)
        (row,) = features.to_pylist()
        (score,) = score_taxpayers(card, features=features)
        facts = _facts(tables, row=row, as_of=self._as_of, papers=file.papers)
        return Assessment(
            request=received.request,
            firm=received.artefact.firm,
            facts=facts,
            score=score,
            offer=self._offer(application, row=row, score=score, grade=facts.grade, file=file),
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

    def _offer(
        self,
        application: Application,
        *,
        row: Mapping[str, Any],
        score: Score,
        grade: Grade | None,
        file: ApplicantFile,
    ) -> Offer:
        limit = compute_limit(
            self._product.limit,
            request=LimitRequest(
                requested_fen=application.amount_fen,
                default_probability=score.default_probability,
                grade=grade,
                annual_tax_fen=row["tax_paid_12m_fen"],
                annual_sales_fen=row["sales_12m_fen"],
                arrears_owed_fen=max(row["arrears_owed_fen"] or 0, 0),
                other_debt_fen=file.other_debt_fen,
            ),
        )
        if limit.refusal is not None:
            return Offer(limit=limit, price=None)
        price = compute_price(
            default_probability=score.default_probability,
            limit_fen=limit.limit_fen,
            curve=self._churn[self._product.churn_band(grade)],
            terms=self._product.pricing,
        )
        return Offer(limit=limit, price=price)


def _facts(
    tables: Mapping[str, Any], *, row: Mapping[str, Any], as_of: date, papers: Sequence[PaperInvoice]
) -> ApplicantFacts:
    last_sale = row["days_since_last_sale"]
    return ApplicantFacts(
        grade=_grade(tables, as_of=as_of),
        age_months=_age_months(tables, as_of=as_of),
        has_open_arrears=(row["arrears_owed_fen"] or 0) > 0,
        days_since_last_sale=None if last_sale is None else int(last_sale),
        has_forged_paper=bool(papers and unproven_papers(papers, issued=tables["invoice_issued"])),
    )


def _grade(tables: Mapping[str, Any], *, as_of: date) -> Grade | None:
    """Return the newest grade that was published by the day of judgement; one without a day counts for nothing."""
    if "tax_credit_grade" not in tables:
        return None
    dated = (row for row in tables["tax_credit_grade"].to_pylist() if row["evaluated_on"] is not None)
    rows = [row for row in dated if row["evaluated_on"] <= as_of]
    newest = max(rows, key=lambda row: (row["year"], row["evaluated_on"]), default=None)
    return None if newest is None else Grade(newest["grade"])


def _age_months(tables: Mapping[str, Any], *, as_of: date) -> int | None:
    if "registration" not in tables or not tables["registration"].num_rows:
        return None
    registered_on: date | None = tables["registration"].column("registered_on").to_pylist()[0]
    return None if registered_on is None else int((as_of - registered_on).days / _DAYS_PER_MONTH)


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
