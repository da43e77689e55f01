"""The frozen types of the credit room: features, models, scores, limits and prices.

Money is int fen, rates and probabilities that leave the room are Decimal, points are int.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from shuiqiao.base.errors import InvalidInput

MICRO = 1_000_000
"""Feature values enter a scorecard as whole millionths, so that comparing them with cut points is exact."""


class Direction(StrEnum):
    """How the chance of default is expected to move when a feature's value rises."""

    LOWER_RISK = "lower_risk"
    HIGHER_RISK = "higher_risk"
    OPEN = "open"


class Unit(StrEnum):
    """What a feature's number counts."""

    LOG_YUAN = "log_yuan"
    YUAN = "yuan"
    SHARE = "share"
    RATIO = "ratio"
    COUNT = "count"
    MONTHS = "months"
    DAYS = "days"
    ORDINAL = "ordinal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One record type and disclosure group without which a feature stays unknown."""

    record_type: str
    group: str


class Grade(StrEnum):
    """Tax credit grade 纳税信用等级 (Announcement 2025 No. 12, article 16)."""

    A = "A"
    B = "B"
    M = "M"
    C = "C"
    D = "D"


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """One sentence in the two languages of the product."""

    en: str
    zh: str


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
