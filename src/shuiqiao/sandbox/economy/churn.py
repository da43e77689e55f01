"""The churn curve of the synthetic economy: how many customers leave at an annual rate, by risk band. An assumption.

Shape: nobody leaves at 4 %, nearly everybody would at 15 %, better customers sooner:
churn = 1 - exp(-k * (rate - 4 %)) with k = 24, 21 and 20 for the bands A, B and C.
"""

from __future__ import annotations

import math
from decimal import Decimal

from shuiqiao.sandbox.economy.model import ChurnPoint

_FROM_PERCENT_X4, _TO_PERCENT_X4 = 16, 60
_STEEPNESS = {"A": 24.0, "B": 21.0, "C": 20.0}
_PLACES = Decimal("0.0001")


def assumed_churn_curve() -> tuple[ChurnPoint, ...]:
    """Return the curve at every quarter of a percent from 4 % to 15 %, rounded to four places."""
    return tuple(
        _point(Decimal(quarter_percent) / 400) for quarter_percent in range(_FROM_PERCENT_X4, _TO_PERCENT_X4 + 1)
    )


def _point(rate: Decimal) -> ChurnPoint:
    above = float(rate) - _FROM_PERCENT_X4 / 400
    return ChurnPoint(
        annual_rate=rate,
        churn={
            band: Decimal(repr(1 - math.exp(-steepness * above))).quantize(_PLACES)
            for band, steepness in _STEEPNESS.items()
        },
    )
