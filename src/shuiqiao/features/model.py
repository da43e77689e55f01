"""What a feature is: a name, its Chinese name, its window, a formula in words and the Ibis expression of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from ibis import Deferred

from shuiqiao.base.words import Words


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


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureDefinition:
    """One feature, declared once.

    window: the months before as_of that it looks at. formula: the same in words. needs: the record types and groups
    without which it is unknown. expected: how the chance of default should move when it rises. expression: over the
    per-taxpayer facts of ``facts.py``. reason, change: what is said when it costs points, and what would alter it.
    """

    name: str
    name_zh: str
    window: str
    formula: str
    needs: tuple[Need, ...]
    unit: Unit
    expected: Direction
    expression: Deferred = field(repr=False, compare=False)
    reason: Words
    change: Words


def needs(*pairs: str) -> tuple[Need, ...]:
    """Return needs written as ``record_type/group``."""
    split = [pair.split("/") for pair in pairs]
    return tuple(Need(record_type=record_type, group=group) for record_type, group in split)


def words(en: str, zh: str) -> Words:
    """Return one sentence in both languages."""
    return Words(en=en, zh=zh)
