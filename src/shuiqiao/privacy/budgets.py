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
class Budget:
    """bits, rank: for one recipient. all_bits, all_rank: for all of them together."""

    bits: int
    rank: int
    all_bits: int
    all_rank: int


BUDGETS: Mapping[Purpose | None, Budget] = {
    # A file is judged a few times: a band of eight is 3 bits, a score at most 12; three issues of credentials are 54.
    # A year of invoices holds tens of thousands. Three banks ask at the most.
    Purpose.UNDERWRITING: Budget(bits=72, rank=8, all_bits=144, all_rank=24),
    # One look a month by one model: a band of eight each time, and one look more.
    Purpose.LOAN_MONITORING: Budget(bits=48, rank=13, all_bits=96, all_rank=39),
    # A model that is developed elsewhere learns from records or jointly; nobody is scored for it.
    Purpose.MODEL_DEVELOPMENT: Budget(bits=0, rank=0, all_bits=0, all_rank=0),
    # One look: a score at its finest, or a credential.
    Purpose.ONE_TIME: Budget(bits=24, rank=1, all_bits=48, all_rank=3),
    # Credentials, which any bank may be shown: what they say counts against every recipient and purpose.
    None: Budget(bits=96, rank=0, all_bits=96, all_rank=0),
}
