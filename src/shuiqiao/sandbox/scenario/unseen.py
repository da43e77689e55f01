"""One applicant is lent to with no record at the bank: models run at the bureau, and agreed outputs alone leave.

The bank registers three models, the bureau reviews and approves them; the enterprise consents to what the product asks;
the application is processed as any other, in the mode *score* [LENDING-15]. It is the product's own use cases in order,
and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shuiqiao.base.errors import Denied
from shuiqiao.base.ids import OwnedId, owned_id
from shuiqiao.consent.model import Mode, Purpose
from shuiqiao.credit.model_content import ModelContent, encode_content, read_outputs
from shuiqiao.credit.scorecard import Scorecard, ScorecardFeature
from shuiqiao.lending.catalogue import load_product_texts, product_from_toml
from shuiqiao.lending.model import ApplicantFile, Decision, Product
from shuiqiao.lending.output_assessment import OutputAssessor
from shuiqiao.lending.outputs import score_needs
from shuiqiao.lending.processing import Surroundings
from shuiqiao.models.contract import APPROVE, REGISTER
from shuiqiao.models.model import ModelForm, ReviewOutcome
from shuiqiao.sandbox.scenario.consortium import REGULATOR
from shuiqiao.sandbox.scenario.enterprises import BureauLink, ConsentWanted, EnterpriseOwner, OpeningLink

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from shuiqiao.credit.pricing import ChurnCurve
    from shuiqiao.node.institution import Institution
    from shuiqiao.sandbox.scenario.consortium import Consortium

LOAN = "tax-credit-score-loan"

_RISK_BANDS = {"bands": ["E", "D", "C", "B", "A"], "cuts": [520, 560, 600, 640]}
"""Of the points of the bank's card: 40 points halve the odds of a default."""

_SALES_CUTS = tuple(range(8_000_000, 17_000_000, 1_000_000))
"""ln(1 + yuan a year / 12) in millionths: from about 36,000 to 107 million yuan of sales."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnseenTerms:
    """What the bank lends by. card: its scorecard, which never learned from this applicant's outcome."""

    card: Scorecard
    churn: Mapping[str, ChurnCurve]
    as_of: date
    period: tuple[date, date]
    amount_fen: int


def lend_unseen(consortium: Consortium, owner: EnterpriseOwner, *, bank: Institution, terms: UnseenTerms) -> Decision:
    """Take one applicant from models to a decision that rests on their outputs.

    Raises Denied ``sandbox.application_ended`` where nothing was decided, what any party refuses with.
    """
    bureau = consortium.bureau
    contents = {"risk": read_outputs(_RISK_BANDS, card=terms.card), "sales": _sales(), "conditions": _conditions()}
    models = {
        job: let_run(encode_content(content), form=ModelForm.SCORECARD, bank=bank, bureau=bureau)
        for job, content in contents.items()
    }
    product = _product(models)
    consent = _consent(owner, product, bank=bank, period=terms.period)
    application = bank.lending.receive(
        product,
        taxpayer=owner.applicant.uscc,
        consent=consent,
        amount_fen=terms.amount_fen,
        applicant=ApplicantFile(industry=owner.applicant.section, province=owner.applicant.province_code),
    )
    assessor = OutputAssessor(product, recipient=bank.recipient, churn=terms.churn, as_of=terms.as_of)
    process = bank.application_process(
        Surroundings(
            provider=lambda _provider: BureauLink(bank, bureau),
            product=lambda _product: product,
            assessor=lambda _product: assessor,
            regulator=lambda: REGULATOR,
            regulator_link=OpeningLink(bank, consortium.regulator),
            today=lambda: terms.as_of,
        )
    )
    judgement = process.process(application.id).file.judgement
    if judgement is None:
        raise Denied("sandbox.application_ended", f"application {application.id.hex()} ended without a decision")
    return judgement.decision


def let_run(data: bytes, *, form: ModelForm, bank: Institution, bureau: Institution) -> OwnedId:
    """Register a model of the bank's, hand it to the bureau, and let the bureau review and approve it.

    data: its content. Raises what either refuses with.
    """
    registry, at_bureau = bank.model_registry, bureau.model_registry
    body = registry.prepare(data, form=form, purpose=Purpose.UNDERWRITING)
    if not registry.is_registered(body):
        bank.outbox.submit(REGISTER, body)
    model = owned_id(bank.member, body.model)
    bureau.catch_up_with(bank)
    at_bureau.receive(model, registry.handed(model), sender=bank.member)
    at_bureau.review(model, outcome=ReviewOutcome.ACCEPTED, findings="Each output has few values.", reviewer="reviewer")
    bureau.outbox.submit(APPROVE, at_bureau.approval_of(model))
    bank.catch_up_with(bureau)
    return model


def _product(models: Mapping[str, OwnedId]) -> Product:
    """Return the loan without records by sales alone, which every source of data has."""
    text = load_product_texts()[LOAN].replace("uses_tax = true", "uses_tax = false")
    text = text.replace("minimum_tax_fen = 1_000_000", "minimum_tax_fen = 0")
    text = text.replace("min_age_months = 24", "min_age_months = 0")
    kept = [line for line in text.splitlines() if not line.startswith("grade_multiples")]
    asks = [
        f'{job} = {{ model = "{model}", output = "{"yes_no" if job == "conditions" else "band"}" }}'
        for job, model in models.items()
    ]
    return product_from_toml("\n".join([*kept, "[score.asks]", *asks, ""]), where=LOAN)


def _consent(owner: EnterpriseOwner, product: Product, *, bank: Institution, period: tuple[date, date]) -> OwnedId:
    """Let the enterprise consent to exactly what the product asks."""
    if product.score is None:
        raise Denied("lending.model_missing", f"{product.id} asks for no outputs")
    needs = score_needs(product.score, recipient=bank.recipient)
    wanted = ConsentWanted(
        recipient=bank.member,
        purpose=Purpose.UNDERWRITING,
        items={name: list(groups) for name, groups in needs.items.items()},
        period=period,
        product=product.id,
        modes=(Mode.SCORE,),
        outputs=needs.outputs,
    )
    return owner.consent(wanted, bank=bank).artefact.name


def _sales() -> ModelContent:
    feature = _untrained("log_monthly_sales_12m", cuts=_SALES_CUTS, points=tuple(range(len(_SALES_CUTS) + 1)))
    declared = {
        "bands": [f"S{band}" for band in range(len(_SALES_CUTS) + 1)],
        "cuts": list(range(1, len(_SALES_CUTS) + 1)),
    }
    return read_outputs(declared, card=_card("sales", feature))


def _conditions() -> ModelContent:
    """Yes: a sale in the last 92 days, and no tax owed."""
    features = (
        _untrained("days_since_last_sale", cuts=(93_000_000,), points=(1, 0)),
        _untrained("log_arrears_owed", cuts=(1,), points=(1, 0)),
    )
    return read_outputs({"yes_from": len(features)}, card=_card("conditions", *features))


def _card(name: str, *features: ScorecardFeature) -> Scorecard:
    return Scorecard(name=name, base_points=0, features=features, n=0, bad=0)


def _untrained(name: str, *, cuts: tuple[int, ...], points: tuple[int, ...]) -> ScorecardFeature:
    nobody = (0,) * (len(points) + 1)
    return ScorecardFeature(name=name, cuts=cuts, points=points, unknown_points=0, counts=nobody, bad=nobody)
