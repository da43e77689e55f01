"""Products, applications, assessments and decisions as frozen types. Money is int fen, rates are Decimal a year."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Any

from shuiqiao.base.ids import OwnedId
from shuiqiao.base.words import Words
from shuiqiao.consent.model import Mode, Output
from shuiqiao.credit.limit import Limit, LimitRules
from shuiqiao.credit.model import Reason, Score
from shuiqiao.credit.pricing import Price, PricingTerms
from shuiqiao.privacy.credentials.presentation import ProveRules
from shuiqiao.standards.tax_credit_grade import Grade


class Outcome(StrEnum):
    """What a bank decided."""

    APPROVED = "approved"
    REFUSED = "refused"
    REFERRED = "referred"


class RuleCode(StrEnum):
    """Why a product's own rules, before or beside the model, decided as they did."""

    GRADE_NOT_ELIGIBLE = "grade_not_eligible"
    TOO_YOUNG = "too_young"
    ARREARS_OPEN = "arrears_open"
    NO_RECENT_SALES = "no_recent_sales"
    TAX_TOO_LOW = "tax_too_low"
    DOCUMENT_FORGED = "document_forged"
    RISK_TOO_HIGH = "risk_too_high"
    RISK_NEEDS_REVIEW = "risk_needs_review"
    LIMIT_TOO_SMALL = "limit_too_small"
    NO_PROFITABLE_PRICE = "no_profitable_price"
    CONDITION_NOT_SHOWN = "condition_not_shown"


RULE_WORDS: dict[RuleCode, Words] = {
    RuleCode.GRADE_NOT_ELIGIBLE: Words(
        en="the tax credit grade is not among those of the product", zh="纳税信用等级不在本产品准入范围"
    ),
    RuleCode.TOO_YOUNG: Words(en="the business is younger than the product asks", zh="经营年限未达到产品要求"),
    RuleCode.ARREARS_OPEN: Words(en="tax arrears are open", zh="存在未缴清的欠税"),
    RuleCode.NO_RECENT_SALES: Words(en="no valid sales invoice in the last three months", zh="近三个月无有效销项发票"),
    RuleCode.TAX_TOO_LOW: Words(
        en="tax paid in the last twelve months is below the floor", zh="近十二个月纳税额低于下限"
    ),
    RuleCode.DOCUMENT_FORGED: Words(
        en="a paper that was handed in contradicts the tax records", zh="提交的材料与税务记录不符"
    ),
    RuleCode.RISK_TOO_HIGH: Words(en="the estimated chance of default is too high", zh="预测违约概率过高"),
    RuleCode.RISK_NEEDS_REVIEW: Words(
        en="the estimated chance of default needs a person's judgement", zh="预测违约概率需人工复核"
    ),
    RuleCode.LIMIT_TOO_SMALL: Words(
        en="the limit that results is below the product's smallest loan", zh="测算额度低于产品起贷额"
    ),
    RuleCode.NO_PROFITABLE_PRICE: Words(
        en="no rate the product allows covers the expected loss", zh="产品利率区间内无法覆盖预期损失"
    ),
    RuleCode.CONDITION_NOT_SHOWN: Words(
        en="what the tax bureau computed does not show that a condition of the product is met",
        zh="税务局的计算结果未能表明满足产品的某项准入条件",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreAsk:
    """One output of one of the bank's models on the ledger. job: what it is for, in the product's own word."""

    job: str
    model: OwnedId
    output: Output

    @property
    def name(self) -> str:
        """What is asked, as one text: the id of its request follows from it [LENDING-11]."""
        return f"{self.model}/{self.output}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRules:
    """What a product asks of models that run at the bureau, in the mode *score*, in the place of records.

    asks: the risk first; none before the bank chose models. max_days_old: from the last day of the data, which is the
    day that the models judge as of, to the day of decision.
    """

    asks: tuple[ScoreAsk, ...]
    max_days_old: int

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        asks = [{"job": ask.job, "model": ask.model, "output": str(ask.output)} for ask in self.asks]
        return {"max_days_old": self.max_days_old, "asks": asks}


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A loan product: how credit computes its limit and price, and what the bank asks beside them.

    refer_above: probability of default from which a person decides; beyond the last risk band of ``limit`` the product
    refuses. max_days_without_sales: None where it does not matter. churn_bands, other_churn_band: which of the bank's
    churn curves is that of a firm of a grade, and of any other firm. prove: what it asks a credential to say. score:
    what models at the bureau say of a firm, None where it is decided on records. A bank names the product in the
    consent, so the enterprise knows which rules apply.
    """

    id: str
    names: Words
    limit: LimitRules
    pricing: PricingTerms
    min_age_months: int
    max_days_without_sales: int | None
    refer_above: Decimal
    churn_bands: Mapping[Grade, str]
    other_churn_band: str
    prove: ProveRules = field(default_factory=ProveRules)
    score: ScoreRules | None = None

    @property
    def mode(self) -> Mode:
        """How the bureau answers."""
        return Mode.DISCLOSE if self.score is None else Mode.SCORE

    def churn_band(self, grade: Grade | None) -> str:
        """Return the name of the churn curve for a firm of a grade, None for one without."""
        return self.other_churn_band if grade is None else self.churn_bands.get(grade, self.other_churn_band)


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """An enterprise's wish for a loan, at one bank."""

    id: bytes
    product: str
    taxpayer: str
    consent: OwnedId
    amount_fen: int
    submitted_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperInvoice:
    """What a paper copy of an issued invoice claims."""

    paper: str
    invoice_no: str
    issue_date: date
    total_fen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicantFile:
    """What a bank has of an applicant besides proven records.

    papers: handed in with the application. other_debt_fen: debts elsewhere, as declared. industry: A-T or None.
    province: two digits or None.
    """

    papers: tuple[PaperInvoice, ...] = ()
    other_debt_fen: int = 0
    industry: str | None = None
    province: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicantFacts:
    """What rules may know. None stands for a fact the data does not hold."""

    grade: Grade | None
    age_months: int | None
    has_open_arrears: bool
    days_since_last_sale: int | None
    has_forged_paper: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What credit would offer: the limit with its parts, and the price with its reasoning (None without a limit)."""

    limit: Limit
    price: Price | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredOutput:
    """One output that a decision rests on. entry: leaf index of its request on the ledger, where it is known."""

    job: str
    request: bytes
    model: OwnedId
    band: str | None = None
    yes_no: bool | None = None
    entry: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object: the output that was asked for, and no other."""
        said = {"band": self.band} if self.yes_no is None else {"yes_no": self.yes_no}
        return {"job": self.job, "model": self.model, "request": self.request.hex(), "entry": self.entry, **said}


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """Everything a decision rests on.

    request: the acknowledged answer. firm: the tag in the consent. industry: A-T or None. province: two digits or None.
    outputs: in the mode *score*, the first of them being of ``request``.
    """

    request: bytes
    firm: bytes
    facts: ApplicantFacts
    score: Score
    offer: Offer
    industry: str | None
    province: str | None
    model_digest: bytes
    outputs: tuple[ScoredOutput, ...] = ()


class PersonsReason(StrEnum):
    """Why two persons decided so on a referred application, for its applicant; their own words stay with the bank."""

    BUSINESS_CONFIRMED = "business_confirmed"
    PAPERS_INSUFFICIENT = "papers_insufficient"
    BUSINESS_UNCLEAR = "business_unclear"
    DEBTS_TOO_HIGH = "debts_too_high"
    CASH_FLOW_WEAK = "cash_flow_weak"
    OUTSIDE_POLICY = "outside_policy"
    DECIDED_BY_PERSONS = "decided_by_persons"


PERSONS_WORDS: dict[PersonsReason, Words] = {
    PersonsReason.BUSINESS_CONFIRMED: Words(en="the bank's people confirmed the business", zh="银行人员已核实经营情况"),
    PersonsReason.PAPERS_INSUFFICIENT: Words(en="the papers handed in do not suffice", zh="提交的材料不足"),
    PersonsReason.BUSINESS_UNCLEAR: Words(en="the business could not be confirmed", zh="经营情况无法核实"),
    PersonsReason.DEBTS_TOO_HIGH: Words(en="the debts are too high for the loan", zh="现有负债过高"),
    PersonsReason.CASH_FLOW_WEAK: Words(en="the cash flow does not carry the loan", zh="现金流不足以覆盖还款"),
    PersonsReason.OUTSIDE_POLICY: Words(en="the bank does not lend for this purpose or trade", zh="不符合本行信贷政策"),
    PersonsReason.DECIDED_BY_PERSONS: Words(
        en="two people of the bank looked at the application and decided so", zh="经银行两名人员人工审批后决定"
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonsDecision:
    """Who decided on a referred application, and why: the maker proposed it, the checker approved it.

    reason: in their own words. codes: for the applicant.
    """

    maker: str
    checker: str
    reason: str
    codes: tuple[PersonsReason, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object; one without codes as an earlier release had it."""
        told: dict[str, Any] = {"maker": self.maker, "checker": self.checker, "reason": self.reason}
        return told | {"codes": [str(code) for code in self.codes]} if self.codes else told


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A bank's answer with everything needed to explain it. persons: None where the product's rules decided alone.

    points: in the mode *score* the least behind the band of risk. outputs: what it rests on there.
    """

    application: bytes
    outcome: Outcome
    points: int
    default_probability: Decimal
    limit_fen: int
    annual_rate: Decimal | None
    rules: tuple[RuleCode, ...]
    reasons: tuple[Reason, ...]
    grade: Grade | None
    industry: str
    province: str
    model_digest: bytes
    persons: PersonsDecision | None = None
    outputs: tuple[ScoredOutput, ...] = ()

    def explanation(self) -> dict[str, Any]:
        """Return the decision as text, integers and lists: what is kept, shown, and committed to on the ledger."""
        persons = {} if self.persons is None else {"persons": self.persons.as_json()}
        outputs = {"outputs": [output.as_json() for output in self.outputs]} if self.outputs else {}
        return {
            "application": self.application.hex(),
            "outcome": str(self.outcome),
            "points": self.points,
            "default_probability": str(self.default_probability),
            "limit_fen": self.limit_fen,
            "annual_rate": None if self.annual_rate is None else str(self.annual_rate),
            "rules": [str(rule) for rule in self.rules],
            "reasons": [{"feature": reason.feature, "points_lost": reason.points_lost} for reason in self.reasons],
            "model": self.model_digest.hex(),
            **outputs,
            **persons,
        }
