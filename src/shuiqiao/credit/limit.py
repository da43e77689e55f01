"""The credit limit by the trade's formulas: a multiple of annual tax, a share of revenue, debts, caps.

The rules of a product are data (``LimitRules``). The limit is the least of its parts, in whole fen:

    tax part      annual tax · multiple of the grade (or of the risk band where the product has no grade gate)
    revenue part  annual sales · revenue share of the risk band
    debt part     annual sales · debt ceiling - debts elsewhere - tax owed
    cap           of the product
    request       what was asked for

rounded down to the product's step; below its floor there is no offer. Parts that the product does not use are left
out; a part that it uses but that is unknown stops the offer, since a limit is never made of a guess. Source of the
formulas: docs/explanation/credit-model.md (banks multiply annual tax by 6 to 15 and keep debts under 70 %).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from enum import StrEnum

from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.money import MAX_FEN, format_yuan
from shuiqiao.base.words import Words
from shuiqiao.credit.model import require_probability
from shuiqiao.standards.tax_credit_grade import Grade


class LimitRefusal(StrEnum):
    """Why there is no offer."""

    GRADE_UNKNOWN = "grade_unknown"
    GRADE_EXCLUDED = "grade_excluded"
    RISK_TOO_HIGH = "risk_too_high"
    TAX_UNKNOWN = "tax_unknown"
    TAX_TOO_LOW = "tax_too_low"
    SALES_UNKNOWN = "sales_unknown"
    BELOW_FLOOR = "below_floor"


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskBand:
    """Probabilities of default up to and including ``to_probability`` and what they are worth."""

    to_probability: Decimal
    tax_multiple: Decimal
    revenue_share: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRules:
    """The limit rules of one product.

    grade_multiples: multiple of annual tax per admitted grade; None: no grade gate. uses_tax: whether the tax part
    counts. bands: rising risk bands; a probability beyond the last is refused. debt_ceiling: debts as a share of
    annual sales. minimum_tax_fen: least annual tax. cap_fen, floor_fen, step_fen: of the limit.
    """

    uses_tax: bool
    grade_multiples: Mapping[Grade, Decimal] | None
    bands: tuple[RiskBand, ...]
    debt_ceiling: Decimal
    minimum_tax_fen: int
    cap_fen: int
    floor_fen: int
    step_fen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRequest:
    """What is known of an applicant; None where it is not known. Debts elsewhere are what the applicant declared."""

    requested_fen: int
    default_probability: Decimal
    grade: Grade | None
    annual_tax_fen: int | None
    annual_sales_fen: int | None
    arrears_owed_fen: int
    other_debt_fen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitPart:
    """One part of the calculation with its amount and its formula in numbers."""

    name: str
    names: Words
    amount_fen: int
    formula: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The outcome: the limit in fen (0 with a refusal), every part, and the part that bound it."""

    limit_fen: int
    parts: tuple[LimitPart, ...]
    bound_by: str
    refusal: LimitRefusal | None


def compute_limit(rules: LimitRules, *, request: LimitRequest) -> Limit:
    """Return the limit of an applicant under the rules of a product.

    Raises InvalidInput ``credit.limit_amount_invalid``, ``credit.probability_invalid`` for impossible input.
    """
    _require_possible(request)
    band = next((band for band in rules.bands if request.default_probability <= band.to_probability), None)
    if band is None:
        return _refused(LimitRefusal.RISK_TOO_HIGH)
    refusal = _gate(rules, request=request)
    if refusal is not None:
        return _refused(refusal)
    parts = _parts(rules, request=request, band=band)
    least = min(parts, key=lambda part: part.amount_fen)
    limit_fen = max(least.amount_fen, 0) // rules.step_fen * rules.step_fen
    if limit_fen < max(rules.floor_fen, 1):
        return Limit(limit_fen=0, parts=parts, bound_by=least.name, refusal=LimitRefusal.BELOW_FLOOR)
    return Limit(limit_fen=limit_fen, parts=parts, bound_by=least.name, refusal=None)


def _gate(rules: LimitRules, *, request: LimitRequest) -> LimitRefusal | None:
    if rules.grade_multiples is not None:
        if request.grade is None:
            return LimitRefusal.GRADE_UNKNOWN
        if request.grade not in rules.grade_multiples:
            return LimitRefusal.GRADE_EXCLUDED
    if rules.uses_tax and request.annual_tax_fen is None:
        return LimitRefusal.TAX_UNKNOWN
    if (request.annual_tax_fen or 0) < rules.minimum_tax_fen:
        return LimitRefusal.TAX_TOO_LOW
    return LimitRefusal.SALES_UNKNOWN if request.annual_sales_fen is None else None


def _parts(rules: LimitRules, *, request: LimitRequest, band: RiskBand) -> tuple[LimitPart, ...]:
    sales_fen = max(request.annual_sales_fen or 0, 0)
    parts = [
        _share("revenue", en="Share of revenue", zh="销售收入比例", base_fen=sales_fen, factor=band.revenue_share),
        _debt_part(rules, request=request, sales_fen=sales_fen),
        _fixed("cap", en="Cap of the product", zh="产品上限", amount_fen=rules.cap_fen),
        _fixed("request", en="Amount asked for", zh="申请金额", amount_fen=request.requested_fen),
    ]
    if rules.uses_tax:
        multiple = band.tax_multiple
        if rules.grade_multiples is not None and request.grade is not None:
            # A good grade does not undo a bad score: the smaller of the two multiples counts.
            multiple = min(multiple, rules.grade_multiples[request.grade])
        tax_fen = max(request.annual_tax_fen or 0, 0)
        parts.insert(
            0, _share("tax", en="Multiple of annual tax", zh="年纳税额倍数", base_fen=tax_fen, factor=multiple)
        )
    return tuple(parts)


def _share(name: str, *, en: str, zh: str, base_fen: int, factor: Decimal) -> LimitPart:
    amount_fen = int((Decimal(base_fen) * factor).to_integral_value(rounding=ROUND_FLOOR))
    return LimitPart(
        name=name, names=Words(en=en, zh=zh), amount_fen=amount_fen, formula=f"{format_yuan(base_fen)} × {factor}"
    )


def _debt_part(rules: LimitRules, *, request: LimitRequest, sales_fen: int) -> LimitPart:
    room = (Decimal(sales_fen) * rules.debt_ceiling).to_integral_value(rounding=ROUND_FLOOR)
    return LimitPart(
        name="debt",
        names=Words(en="Room under the debt ceiling", zh="负债上限余量"),
        amount_fen=int(room) - request.other_debt_fen - request.arrears_owed_fen,
        formula=f"{format_yuan(sales_fen)} × {rules.debt_ceiling} - {format_yuan(request.other_debt_fen)}"
        f" - {format_yuan(request.arrears_owed_fen)}",
    )


def _fixed(name: str, *, en: str, zh: str, amount_fen: int) -> LimitPart:
    return LimitPart(name=name, names=Words(en=en, zh=zh), amount_fen=amount_fen, formula=format_yuan(amount_fen))


def _refused(refusal: LimitRefusal) -> Limit:
    return Limit(limit_fen=0, parts=(), bound_by="", refusal=refusal)


def _require_possible(request: LimitRequest) -> None:
    """Sums of records may be negative (returns), what a party states may not; nothing is beyond the national total."""
    stated = (request.requested_fen, request.arrears_owed_fen, request.other_debt_fen)
    summed = (request.annual_tax_fen or 0, request.annual_sales_fen or 0)
    for least, amounts in ((0, stated), (-MAX_FEN, summed)):
        for amount_fen in amounts:
            if not least <= amount_fen <= MAX_FEN:
                raise InvalidInput(
                    "credit.limit_amount_invalid", f"{amount_fen} fen is not between {least} and {MAX_FEN}"
                )
    require_probability(request.default_probability)
