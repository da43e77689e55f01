"""Assesses an applicant from what models said at the bureau: everything that a decision without records rests on.

Rule: docs/spec/lending.md [LENDING-15]. Every output is taken by its lower edge: the probability of default and the
multiples follow from the worst points behind the band of risk, the limit from the least amounts behind the others, and
a condition is met only if some output shows it. So a limit made of outputs is never above the one that the records
would give. It decides nothing: ``service`` applies the product's rules to what is returned here.

LIMIT: papers that an applicant hands in count for nothing here, for there is no record to hold them against; and a
decision gives no reasons beyond the rules and the outputs, since no feature is seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuiqiao.base.errors import Conflict
from shuiqiao.credit.limit import LimitRequest
from shuiqiao.credit.model import MICRO, Score
from shuiqiao.credit.model_runner import decode_kept_content
from shuiqiao.credit.output_bounds import Bounds, feature_bounds, least_fen, points_range
from shuiqiao.credit.scorecard import default_probability
from shuiqiao.lending.assessment import GRADE_OF_RANK, offer_of
from shuiqiao.lending.model import ApplicantFacts, ApplicantFile, Application, Assessment, Product, ScoredOutput

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    from shuiqiao.credit.model_content import ModelContent
    from shuiqiao.credit.pricing import ChurnCurve
    from shuiqiao.exchange.recipient import ReceivedData, Recipient

_MONTHS = 12
TAX, SALES = "log_annual_tax_12m", "log_monthly_sales_12m"
GRADE, AGE, LAST_SALE, ARREARS = (
    "tax_credit_grade_rank",
    "registered_months",
    "days_since_last_sale",
    "log_arrears_owed",
)
"""The features by which outputs say something of a limit or of a condition."""


class OutputAssessor:
    """Assesses applicants for one product in the mode *score*; any number of threads may ask.

    Example::

        assessor = OutputAssessor(product, recipient=bank.recipient, churn=churn, as_of=today)
        assessment = assessor.assess(application, received=risk, further=others, file=ApplicantFile())
    """

    def __init__(self, product: Product, *, recipient: Recipient, churn: Mapping[str, ChurnCurve], as_of: date) -> None:
        self._product = product
        self._recipient = recipient
        self._churn = churn
        self._as_of = as_of

    def close(self) -> None:
        """Let go of nothing: it computes no feature."""

    def assess(
        self,
        application: Application,
        *,
        received: ReceivedData,
        file: ApplicantFile,
        further: Sequence[ReceivedData] = (),
    ) -> Assessment:
        """Return everything that the decision on an application rests on.

        received: the acknowledged answer on the risk. further: the others, in the order of the product's asks. Raises
        Conflict ``lending.product_changed`` where they are not what the product asks for.
        """
        answers = (received, *further)
        self._expect_asked(answers)
        contents = [self._content(answer) for answer in answers]
        bounds = _together(
            feature_bounds(content, answer.score.output) for content, answer in zip(contents, answers, strict=True)
        )
        points, _ = points_range(contents[0], received.score.output)
        facts = self._facts(bounds, judged_on=received.manifest.period_to)
        probability = default_probability(points)
        wanted = LimitRequest(
            requested_fen=application.amount_fen,
            default_probability=probability,
            grade=facts.grade,
            annual_tax_fen=least_fen(bounds.get(TAX, Bounds()), months=_MONTHS),
            annual_sales_fen=least_fen(bounds.get(SALES, Bounds()), months=_MONTHS),
            # Where an output does not show that there are none, the rules refuse.
            arrears_owed_fen=0,
            other_debt_fen=file.other_debt_fen,
        )
        return Assessment(
            request=received.request,
            firm=received.artefact.firm,
            facts=facts,
            score=Score(points=points, default_probability=probability, reasons=()),
            offer=offer_of(self._product, wanted=wanted, churn=self._churn),
            industry=file.industry,
            province=file.province,
            model_digest=received.score.digest,
            outputs=tuple(self._outputs(answers)),
        )

    def _expect_asked(self, answers: Sequence[ReceivedData]) -> None:
        asked = [] if self._product.score is None else [(ask.model, [ask.output]) for ask in self._product.score.asks]
        if [(answer.score.model, answer.score.output.given) for answer in answers] != asked:
            raise Conflict(
                "lending.product_changed", f"{self._product.id} asks for other outputs than when data was asked for"
            )

    def _content(self, answer: ReceivedData) -> ModelContent:
        return decode_kept_content(self._recipient.model_card(answer.score.model, digest=answer.score.digest))

    def _facts(self, bounds: Mapping[str, Bounds], *, judged_on: date) -> ApplicantFacts:
        grade, arrears, last_sale = (bounds.get(name, Bounds()) for name in (GRADE, ARREARS, LAST_SALE))
        rank = _least(grade)
        # The bureau counted to the last day of the data; nothing is known of the days since.
        later = max((self._as_of - judged_on).days, 0)
        return ApplicantFacts(
            grade=None if rank is None else GRADE_OF_RANK.get(rank),
            age_months=_least(bounds.get(AGE, Bounds())),
            has_open_arrears=arrears.most is None or arrears.most > 0,
            days_since_last_sale=None if last_sale.most is None else last_sale.most // MICRO + later,
            has_forged_paper=False,
        )

    def _outputs(self, answers: Sequence[ReceivedData]) -> Iterable[ScoredOutput]:
        asks = () if self._product.score is None else self._product.score.asks
        for ask, answer in zip(asks, answers, strict=True):
            yield ScoredOutput(
                job=ask.job,
                request=answer.request,
                model=ask.model,
                band=answer.score.output.band,
                yes_no=answer.score.output.yes_no,
                entry=answer.entry,
            )


def _together(said: Iterable[Mapping[str, Bounds]]) -> dict[str, Bounds]:
    """Return what several outputs say for sure of each feature."""
    found: dict[str, Bounds] = {}
    for bounds in said:
        for name, new in bounds.items():
            old = found.get(name, Bounds())
            least = [edge for edge in (old.least, new.least) if edge is not None]
            most = [edge for edge in (old.most, new.most) if edge is not None]
            found[name] = Bounds(least=max(least, default=None), most=min(most, default=None))
    return found


def _least(bounds: Bounds) -> int | None:
    """Return the least whole number at or above a lower edge: the feature counts in whole numbers."""
    return None if bounds.least is None else -(-bounds.least // MICRO)
