"""Per-taxpayer totals over issued and received invoices, from which the invoice features are formed.

Rules: a sale counts in its net effect, so red-letter invoices (negative) stay in and void ones stay out; amounts are
without VAT (``amount_fen``), as turnover is counted. `LIMIT:` an invoice's status is the one in the record; on which
day it was voided is not in it, so a void after as_of is seen as a void.

Dates and months as in ``frames``. Every total of a taxpayer without records is zero, every date is null.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ibis

from shuiqiao.credit.features.frames import THREE_YEARS, TWO_YEARS, YEAR, Frame, before, join_all, record_frame

_MAX_MONTH_FEN = 10**15
"""Monthly sums are cut at ±10^13 yuan before they are squared, so that 36 squares fit 127 bits."""

_TOP = 5
"""Partners that count as the largest."""

_WINDOWS: Mapping[str, tuple[int, int]] = {
    "6m": (0, 6),
    "prior_6m": (6, 12),
    "12m": (0, 12),
    "prior_12m": (12, 24),
    "24m": (0, 24),
    "36m": (0, THREE_YEARS),
}


def invoice_facts(record_type: str, *, prefix: str, knows_partners: bool) -> Frame:
    """Return one row per taxpayer with the totals of one invoice direction, columns ``<prefix>_<fact>``.

    knows_partners: False leaves out what is counted over counterparties, about half of the work.
    """
    invoices = _invoices(record_type)
    parts: tuple[Frame, ...] = (_totals(_monthly(invoices)), _gaps(invoices))
    if knows_partners:
        parts = (*parts, _partners(invoices))
    joined = join_all(parts[0], parts[1:])
    return joined.rename({f"{prefix}_{name}": name for name in joined.columns if name != "uscc"})


def self_trading_facts() -> Frame:
    """Return per taxpayer the sales of 24 months that stand among its own purchases too (same number, day, total)."""
    issued = _invoices("invoice_issued")
    issued = issued.filter(issued.is_valid, issued.age < TWO_YEARS)
    received = _invoices("invoice_received")
    keys = ["uscc", "invoice_no", "issue_date", "total_fen"]
    both = issued.semi_join(received.filter(received.is_valid), keys)
    return both.group_by("uscc").aggregate(self_traded_24m=both.amount_fen.abs().sum())


def _invoices(record_type: str) -> Frame:
    invoices = before(record_frame(record_type), dated="issue_date")
    return invoices.mutate(
        is_valid=invoices.status == "valid", is_red=invoices.is_red_letter & (invoices.status == "valid")
    )


def _monthly(invoices: Frame) -> Frame:
    valid, red = invoices.is_valid, invoices.is_red
    return invoices.group_by(["uscc", "as_of", "age"]).aggregate(
        amount=invoices.amount_fen.sum(where=valid),
        tax=invoices.tax_fen.sum(where=valid),
        count=valid.sum(),
        void_count=(~valid).sum(),
        red_count=red.sum(),
        absolute=invoices.amount_fen.abs().sum(),
        void_absolute=invoices.amount_fen.abs().sum(where=~valid),
        red_absolute=invoices.amount_fen.abs().sum(where=red),
        largest=invoices.amount_fen.max(where=valid),
        first_day=invoices.issue_date.min(),
        last_day=invoices.issue_date.max(where=valid),
    )


def _totals(monthly: Frame) -> Frame:
    capped = monthly.amount.clip(-_MAX_MONTH_FEN, _MAX_MONTH_FEN).cast("decimal(38, 0)")
    year = monthly.age < YEAR
    within_24m = monthly.age < TWO_YEARS
    sums: dict[str, Any] = {}
    for window, (start, end) in _WINDOWS.items():
        inside = (monthly.age >= start) & (monthly.age < end)
        sums[f"amount_{window}"] = monthly.amount.sum(where=inside)
        sums[f"months_{window}"] = (monthly["count"] > 0).sum(where=inside)
    for fact in ("tax", "count", "void_count", "red_count", "absolute", "void_absolute", "red_absolute"):
        sums[f"{fact}_24m"] = monthly[fact].sum(where=within_24m)
    return monthly.group_by("uscc").aggregate(
        **sums,
        capped_12m=capped.sum(where=year),
        squares_12m=(capped * capped).sum(where=year),
        peak_month_12m=monthly.amount.max(where=year),
        largest_24m=monthly.largest.max(where=within_24m),
        first_day=monthly.first_day.min(),
        last_day=monthly.last_day.max(),
    )


def _gaps(invoices: Frame) -> Frame:
    days = invoices.filter(invoices.is_valid, invoices.age < TWO_YEARS).select("uscc", "issue_date").distinct()
    window = ibis.window(group_by="uscc", order_by="issue_date")
    gaps = days.mutate(gap=days.issue_date.delta(days.issue_date.lag().over(window), unit="day"))
    return gaps.group_by("uscc").aggregate(longest_gap_24m=gaps.gap.max())


def _partners(invoices: Frame) -> Frame:
    recent = invoices.filter(invoices.is_valid, invoices.age < TWO_YEARS, invoices.counterparty_id.notnull())
    by_partner = recent.group_by(["uscc", "counterparty_id"]).aggregate(
        now=recent.amount_fen.sum(where=recent.age < YEAR).fill_null(0),
        then=recent.amount_fen.sum(where=recent.age >= YEAR).fill_null(0),
    )
    window = ibis.window(group_by="uscc", order_by=[ibis.desc("now"), "counterparty_id"])
    ranked = by_partner.mutate(rank=ibis.row_number().over(window))
    active, before_too = ranked.now > 0, ranked.then > 0
    return ranked.group_by("uscc").aggregate(
        partners_12m=active.sum(),
        partners_prior_12m=before_too.sum(),
        partners_kept=(active & before_too).sum(),
        partner_amount_12m=ranked.now.sum(where=active),
        top5_amount_12m=ranked.now.sum(where=active & (ranked["rank"] < _TOP)),
        kept_amount_12m=ranked.now.sum(where=active & before_too),
    )
