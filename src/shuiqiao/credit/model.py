"""The frozen types of the credit room: features, models, scores, limits and prices.

Money is int fen, rates and probabilities that leave the room are Decimal, points are int.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.words import Words

MICRO = 1_000_000
"""Feature values enter a scorecard as whole millionths, so that comparing them with cut points is exact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A two-sided confidence interval of a share or an area, 0..1."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One reason why points were lost: which feature, how many points, and what would change it."""

    feature: str
    points_lost: int
    words: Words
    change: Words


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The outcome of scoring one taxpayer: points, the probability of default, and the reasons."""

    points: int
    default_probability: Decimal
    reasons: tuple[Reason, ...]


def require_probability(probability: Decimal) -> None:
    """Return if a number is a probability, else raise InvalidInput ``credit.probability_invalid``."""
    if not probability.is_finite() or not 0 <= probability <= 1:
        raise InvalidInput("credit.probability_invalid", f"probability {probability} is not between 0 and 1")
