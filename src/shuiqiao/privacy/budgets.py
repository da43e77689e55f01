"""Budgets of the leakage account: the most that may be computed from one taxpayer's data in 365 days.

Rule: docs/spec/leakage.md [LEAK-4]. What the table does not name is refused. The numbers are our own choice, with the
reason beside each; there is no rule of the field for them yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.consent.model import Purpose

WINDOW_MS = 365 * MS_PER_DAY
"""What is older counts no more, as with answers [EXCHANGE-19]: facts of the year before tell little of today."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """bits: of all answers. rank: independent sums. feature_bits: how finely any one feature may be placed."""

    bits: int
    rank: int
    feature_bits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """each: for one recipient. together: for all of them, who may share what they know."""

    each: Limits
    together: Limits


_NOTHING = Limits(bits=0, rank=0, feature_bits=0)

BUDGETS: Mapping[Purpose | None, Budget] = {
    # A file is judged a few times: a band of eight is 3 bits, a score at most 12; three issues of credentials are 54.
    # A year of invoices holds tens of thousands. Three banks ask at the most. A feature is placed by two cards with
    # fifteen bins, "not known" among them, 8 bits; by the cards of three banks 12. What is asked beyond is bisection.
    Purpose.UNDERWRITING: Budget(
        each=Limits(bits=72, rank=8, feature_bits=8), together=Limits(bits=144, rank=24, feature_bits=12)
    ),
    # One look a month by one model: a band of eight each time, and one look more. The model's cuts stay.
    Purpose.LOAN_MONITORING: Budget(
        each=Limits(bits=48, rank=13, feature_bits=8), together=Limits(bits=96, rank=39, feature_bits=12)
    ),
    # A model that is developed elsewhere learns from records or jointly; nobody is scored for it.
    Purpose.MODEL_DEVELOPMENT: Budget(each=_NOTHING, together=_NOTHING),
    # One look: a score at its finest, or a credential.
    Purpose.ONE_TIME: Budget(
        each=Limits(bits=24, rank=1, feature_bits=8), together=Limits(bits=48, rank=3, feature_bits=12)
    ),
    # Credentials, which any bank may be shown: what they say counts against every recipient and purpose. Their cuts are
    # the same for everybody and do not move.
    None: Budget(each=Limits(bits=96, rank=0, feature_bits=0), together=Limits(bits=96, rank=0, feature_bits=0)),
}
