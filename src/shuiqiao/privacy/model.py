"""The frozen types of the leakage account 泄露账户: what one answer reveals of a taxpayer, and what a recipient knows.

Bits are counted in thousandths, rounded up, so that sums are whole numbers and the same everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from shuiqiao.base.ids import MemberId
from shuiqiao.consent.model import Mode, Purpose

MILLI = 1_000

Row = Mapping[str, int]
"""A linear form with whole coefficients, by coordinate: what a score is a sum of. Coordinates without one are zero.

A coordinate is an *indicator*, named by ``indicator``; any other one is of no feature.
"""

_CUT, _UNKNOWN, _DAY = ">=", "?", "@"


def indicator(feature: str, *, cut: int | None, since: date, as_of: date) -> str:
    """Return the name of what is yes or no about a feature on a day: at or above a cut, or (None) not known.

    since: the first day of the records that it is computed from; from other records it is another number.

    ::

        days = {"since": date(2025, 1, 1), "as_of": date(2026, 6, 30)}
        assert indicator("sales_12m", cut=500, **days) == "sales_12m>=500@2025-01-01/2026-06-30"
    """
    asked = _UNKNOWN if cut is None else f"{_CUT}{cut}"
    return f"{feature}{asked}{_DAY}{since}/{as_of}"


@lru_cache(maxsize=1 << 14)  # The same few cards are run on a day, and to take 40 names apart is the most of a check.
def feature_and_cut(name: str) -> tuple[str, str] | None:
    """Return the feature of an indicator and which cut it is of, whatever the day; None for any other coordinate."""
    asked, _, _ = name.rpartition(_DAY)
    feature, is_cut, cut = asked.partition(_CUT)
    if is_cut:
        return feature, cut
    return (asked.removesuffix(_UNKNOWN), _UNKNOWN) if asked.endswith(_UNKNOWN) else None


def millibits_of(values: int) -> int:
    """Return what one of so many values reveals at most, in thousandths of a bit, rounded up."""
    return math.ceil(math.log2(values) * MILLI) if values > 1 else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Revealed:
    """What an answer reveals at most, known before it is made.

    fields: shown in the clear, ``invoice_issued.total_fen``; how much is in them is known afterwards. millibits, row:
    of what was computed.
    """

    fields: frozenset[str] = frozenset()
    millibits: int = 0
    row: Row | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """One entry of an account: what was revealed of a taxpayer, to whom, for what.

    reference: what it was for, by name: a request, an issue of credentials. recipient, purpose: None for every one that
    there is. mode: None for credentials. A charge in the mode *disclose* is counted and bounded by no budget: what may
    be disclosed the consent and the ceilings of its purpose say, field by field.
    """

    reference: str
    taxpayer: str
    recipient: MemberId | None
    purpose: Purpose | None
    mode: Mode | None
    charged_ms: int
    revealed: Revealed

    @property
    def is_budgeted(self) -> bool:
        """Whether a budget bounds it."""
        return self.mode is not Mode.DISCLOSE


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountLine:
    """What one recipient learned of a taxpayer in one mode for one purpose in the last 365 days.

    fields: how many different ones were shown. rank: how many independent sums of what the models read.
    """

    recipient: MemberId | None
    purpose: Purpose | None
    mode: Mode | None
    answers: int
    fields: int
    millibits: int
    rank: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetUse:
    """How much of a budget is used up. recipient: None for all of them together, who may share what they know.

    feature: the one that can be placed the finest by the cuts that were asked of it, None where none was asked for;
    feature_millibits: how finely.
    """

    recipient: MemberId | None
    purpose: Purpose | None
    millibits: int
    most_millibits: int
    rank: int
    most_rank: int
    feature: str | None
    feature_millibits: int
    most_feature_millibits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What is known of a taxpayer, by recipient, purpose and mode, and how much more may be."""

    lines: tuple[AccountLine, ...]
    budgets: tuple[BudgetUse, ...]
