"""The price: the annual rate with the highest expected profit, given that a dearer loan is taken up less often.

For a rate r, per yuan of limit and year:

    profit(r) = (1 - churn(r)) · ((1 - PD) · r - PD · LGD - funding - operating)

churn(r) is the share of offers that are not taken up at r: a curve, handed in as data. Rates are Decimal on the
product's grid; the best of equal profits is the lowest rate. Everything that led to the price is returned with it.
Where no rate of the grid is profitable there is no price. All arithmetic is decimal, so it is repeatable to the digit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from itertools import pairwise

from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.money import round_fen
from shuiqiao.credit.model import require_probability

MAX_GRID_RATES = 1_000
"""Most rates that are tried: a grid of 0.01 % over 10 % needs as many."""

_CONTEXT = Context(prec=28, rounding=ROUND_HALF_EVEN)
_SHARE_STEP = Decimal("0.0001")
_PROFIT_STEP = Decimal("0.00000001")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChurnCurve:
    """Share of offers not taken up, at rising annual rates; linear in between, flat outside."""

    rates: tuple[Decimal, ...]
    churn: tuple[Decimal, ...]

    def __post_init__(self) -> None:
        rising = all(left < right for left, right in pairwise(self.rates))
        if len(self.rates) != len(self.churn) or not self.rates or not rising:
            raise InvalidInput("credit.churn_curve_invalid", "a churn curve needs rising rates and one share for each")
        if not all(0 <= share <= 1 for share in self.churn):
            raise InvalidInput("credit.churn_curve_invalid", "a churn share is not between 0 and 1")

    def at(self, rate: Decimal) -> Decimal:
        """Return the churn at a rate."""
        if rate <= self.rates[0]:
            return self.churn[0]
        points = pairwise(zip(self.rates, self.churn, strict=True))
        for (left, low), (right, high) in points:
            if rate <= right:
                return low + (high - low) * (rate - left) / (right - left)
        return self.churn[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class PricingTerms:
    """What the bank puts in. rate_from, rate_to, rate_step: the grid. lgd: loss given default. Others: yearly rates."""

    rate_from: Decimal
    rate_to: Decimal
    rate_step: Decimal
    lgd: Decimal
    funding_rate: Decimal
    operating_rate: Decimal

    def grid(self) -> tuple[Decimal, ...]:
        """Return the rates to try.

        Raises InvalidInput ``credit.rate_grid_invalid`` for an empty, endless or too fine grid.
        """
        if self.rate_step <= 0 or self.rate_to < self.rate_from or self.rate_from < 0:
            raise InvalidInput(
                "credit.rate_grid_invalid", f"no rates from {self.rate_from} to {self.rate_to} by {self.rate_step}"
            )
        count = int((self.rate_to - self.rate_from) / self.rate_step) + 1
        if count > MAX_GRID_RATES:
            raise InvalidInput("credit.rate_grid_invalid", f"{count} rates where at most {MAX_GRID_RATES} are tried")
        return tuple(self.rate_from + self.rate_step * place for place in range(count))


@dataclass(frozen=True, slots=True, kw_only=True)
class RatePoint:
    """One rate tried: its churn and the expected profit per yuan of limit and year."""

    rate: Decimal
    churn: Decimal
    profit: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The price and the record of how it came about. rate is None where no rate is profitable.

    break_even_rate: the rate at which a loan that is taken up earns nothing, None at certain default.
    expected_profit_fen: of the whole limit, a year, churn included. tried: every rate of the grid.
    """

    rate: Decimal | None
    churn: Decimal
    expected_profit_fen: int
    break_even_rate: Decimal | None
    default_probability: Decimal
    limit_fen: int
    terms: PricingTerms
    tried: tuple[RatePoint, ...]


def exponential_churn(*, start: Decimal, steepness: Decimal, rates: Sequence[Decimal]) -> ChurnCurve:
    """Return churn(r) = 1 - exp(-steepness · (r - start)), nothing below ``start``, rounded to 0.0001."""
    with localcontext(_CONTEXT):
        shares = [1 - (-steepness * max(rate - start, Decimal(0))).exp() for rate in rates]
        return ChurnCurve(rates=tuple(rates), churn=tuple(share.quantize(_SHARE_STEP) for share in shares))


def compute_price(*, default_probability: Decimal, limit_fen: int, curve: ChurnCurve, terms: PricingTerms) -> Price:
    """Return the most profitable rate of the grid with the whole reasoning.

    Raises InvalidInput ``credit.probability_invalid``, ``credit.rate_grid_invalid``.
    """
    require_probability(default_probability)
    with localcontext(_CONTEXT):
        tried = tuple(
            _rate_point(rate, default_probability=default_probability, curve=curve, terms=terms)
            for rate in terms.grid()
        )
        best = max(tried, key=lambda point: (point.profit, -point.rate))
        profitable = best.profit > 0
        cost = default_probability * terms.lgd + terms.funding_rate + terms.operating_rate
        return Price(
            rate=best.rate if profitable else None,
            churn=best.churn,
            expected_profit_fen=round_fen(best.profit * limit_fen) if profitable else 0,
            break_even_rate=(cost / (1 - default_probability)).quantize(_SHARE_STEP)
            if default_probability < 1
            else None,
            default_probability=default_probability,
            limit_fen=limit_fen,
            terms=terms,
            tried=tried,
        )


def _rate_point(rate: Decimal, *, default_probability: Decimal, curve: ChurnCurve, terms: PricingTerms) -> RatePoint:
    churn = curve.at(rate)
    earned = (1 - default_probability) * rate - default_probability * terms.lgd
    profit = (1 - churn) * (earned - terms.funding_rate - terms.operating_rate)
    return RatePoint(rate=rate, churn=churn.quantize(_SHARE_STEP), profit=profit.quantize(_PROFIT_STEP))


def allocate_funding(prices: Sequence[Price], *, budget_fen: int) -> tuple[int, ...]:
    """Return how much of each offer to fund, in fen, so that expected profit is greatest under a budget.

    An offer is expected to draw (1 - churn) of its limit. The most profitable yuan drawn comes first; the last offer
    may be funded in part. Offers without a price get nothing. Ties go to the earlier offer.
    """
    if budget_fen < 0:
        raise InvalidInput("credit.budget_invalid", f"a budget of {budget_fen} fen")
    order = sorted(range(len(prices)), key=lambda place: (-_profit_per_yuan(prices[place]), place))
    funded = [0] * len(prices)
    left = Decimal(budget_fen)
    with localcontext(_CONTEXT):
        for place in order:
            price = prices[place]
            drawn_share = 1 - price.churn
            if price.rate is None or drawn_share <= 0:
                continue
            funded[place] = min(price.limit_fen, int(left / drawn_share))
            left -= funded[place] * drawn_share
    return tuple(funded)


def _profit_per_yuan(price: Price) -> Decimal:
    """Return the expected profit per yuan that is drawn."""
    drawn = Decimal(price.limit_fen) * (1 - price.churn)
    return Decimal(price.expected_profit_fen) / drawn if drawn > 0 else Decimal(0)
