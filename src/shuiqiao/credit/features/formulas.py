"""The few formulas that features share, over deferred facts (``_.sales_amount_12m``)."""

from __future__ import annotations

from typing import Any

from ibis import Deferred


def ratio(part: Deferred, whole: Deferred) -> Any:
    """Return part / whole as a double, null where the whole is zero (engines differ on a division by zero)."""
    return part.cast("float64") / whole.cast("float64").nullif(0.0)


def symmetric_growth(now: Deferred, then: Deferred) -> Any:
    """Return (now - then) / (|now| + |then|), which stays within -1..1 however small the base."""
    return ratio(now - then, now.abs() + then.abs())


def log_monthly_yuan(amount_fen: Deferred, *, months: int) -> Any:
    """Return ln(1 + monthly yuan) of a sum in fen, negative sums counting as zero."""
    return (amount_fen.clip(lower=0).cast("float64") / (100.0 * months) + 1.0).ln()
