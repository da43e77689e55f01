"""Per-taxpayer totals over issued and received invoices, from which the invoice features are formed.

Rules: a sale counts in its net effect, so red-letter invoices (negative) stay in, with the invoices that they reverse,
and void ones stay out; an invoice that is not void is called valid here. Amounts are without VAT (``amount_fen``), as
turnover is counted. `LIMIT:` an invoice's status is the one in the record; on which day it was voided is not in it, so
a void after as_of is seen as a void.

Dates and months as in ``frames``. Every total of a taxpayer without records is zero, every date is null.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ibis
from ibis import _

from shuiqiao.credit.features.frames import (
    THREE_YEARS,
    TWO_YEARS,
    YEAR,
    FactGroup,
    Frame,
    before,
    columns_read,
    record_frame,
)

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


def invoice_facts(record_type: str, *, prefix: str, wanted: frozenset[str] | None) -> tuple[FactGroup, ...]:
    """Return the totals of one invoice direction per taxpayer, facts ``<prefix>_<name>``; wanted: None for all."""
    invoices = _invoices(record_type)
    groups = (_totals(invoices, prefix=prefix, wanted=wanted), _gaps(invoices), _partners(invoices))
    return (groups[0], *(group.prefixed(prefix) for group in groups[1:]))


def self_trading_facts() -> FactGroup:
    """Return per taxpayer the sales of 24 months that stand among its own purchases too (same number, day, total)."""
    issued = _invoices("invoice_issued")
    issued = issued.filter(issued.is_valid, issued.age < TWO_YEARS)
    received = _invoices("invoice_received")
    keys = ["uscc", "invoice_no", "issue_date", "total_fen"]
    both = issued.semi_join(received.filter(received.is_valid), keys)
    return FactGroup(records=both, facts={"self_traded_24m": both.amount_fen.abs().sum()})


def _invoices(record_type: str) -> Frame:
    invoices = before(record_frame(record_type), dated="issue_date")
    return invoices.mutate(
        is_valid=invoices.status != "void", is_red=invoices.is_red_letter & (invoices.status != "void")
    )


_MONTHLY: Mapping[str, Any] = {
    "amount": _.amount_fen.sum(where=_.is_valid),
    "tax": _.tax_fen.sum(where=_.is_valid),
    "count": _.is_valid.sum(),
    "void_count": (~_.is_valid).sum(),
    "red_count": _.is_red.sum(),
    "absolute": _.amount_fen.abs().sum(),
    "void_absolute": _.amount_fen.abs().sum(where=~_.is_valid),
    "red_absolute": _.amount_fen.abs().sum(where=_.is_red),
    "largest": _.amount_fen.max(where=_.is_valid),
    "first_day": _.issue_date.min(),
    "last_day": _.issue_date.max(where=_.is_valid),
}
"""Totals of one taxpayer's month, over its invoices."""


def _total_facts() -> Mapping[str, Any]:
    """Return the facts over a taxpayer's monthly totals."""
    capped = _.amount.clip(-_MAX_MONTH_FEN, _MAX_MONTH_FEN).cast("decimal(38, 0)")
    year, within_24m = _.age < YEAR, _.age < TWO_YEARS
    facts: dict[str, Any] = {}
    for window, (start, end) in _WINDOWS.items():
        inside = (_.age >= start) & (_.age < end)
        facts[f"amount_{window}"] = _.amount.sum(where=inside)
        facts[f"months_{window}"] = (_["count"] > 0).sum(where=inside)
    for name in ("tax", "count", "void_count", "red_count", "absolute", "void_absolute", "red_absolute"):
        facts[f"{name}_24m"] = _[name].sum(where=within_24m)
    return facts | {
        "capped_12m": capped.sum(where=year),
        "squares_12m": (capped * capped).sum(where=year),
        "peak_month_12m": _.amount.max(where=year),
        "largest_24m": _.largest.max(where=within_24m),
        "first_day": _.first_day.min(),
        "last_day": _.last_day.max(),
    }


def _totals(invoices: Frame, *, prefix: str, wanted: frozenset[str] | None) -> FactGroup:
    """Return the facts over monthly totals, over no more monthly totals than the wanted facts read."""
    months = invoices.group_by(["uscc", "as_of", "age"])
    group = FactGroup(records=months.aggregate(**_MONTHLY), facts=_total_facts()).prefixed(prefix).only(wanted)
    read = columns_read(group.rows())
    monthly = months.aggregate(**{name: total for name, total in _MONTHLY.items() if name in read})
    return FactGroup(records=monthly, facts=group.facts)


def _gaps(invoices: Frame) -> FactGroup:
    days = invoices.filter(invoices.is_valid, invoices.age < TWO_YEARS).select("uscc", "issue_date").distinct()
    window = ibis.window(group_by="uscc", order_by="issue_date")
    gaps = days.mutate(gap=days.issue_date.delta(days.issue_date.lag().over(window), unit="day"))
    return FactGroup(records=gaps, facts={"longest_gap_24m": gaps.gap.max()})


def _partners(invoices: Frame) -> FactGroup:
    recent = invoices.filter(invoices.is_valid, invoices.age < TWO_YEARS, invoices.counterparty_id.notnull())
    by_partner = recent.group_by(["uscc", "counterparty_id"]).aggregate(
        now=recent.amount_fen.sum(where=recent.age < YEAR).fill_null(0),
        then=recent.amount_fen.sum(where=recent.age >= YEAR).fill_null(0),
    )
    window = ibis.window(group_by="uscc", order_by=[ibis.desc("now"), "counterparty_id"])
    ranked = by_partner.mutate(rank=ibis.row_number().over(window))
    active, before_too = ranked.now > 0, ranked.then > 0
    return FactGroup(
        records=ranked,
        facts={
            "partners_12m": active.sum(),
            "partners_prior_12m": before_too.sum(),
            "partners_kept": (active & before_too).sum(),
            "partner_amount_12m": ranked.now.sum(where=active),
            "top5_amount_12m": ranked.now.sum(where=active & (ranked["rank"] < _TOP)),
            "kept_amount_12m": ranked.now.sum(where=active & before_too),
        },
    )
