"""Invoices of both directions: drawn from the plan, numbered, with void and red-letter ones.

An invoice between two taxpayers of a neighbourhood is one invoice: drawn as the seller's, seen again as the buyer's.
A red-letter invoice has negative amounts, the partner and rate of the blue invoice it reverses, and names it. Amounts
are whole fen with amount + tax = total exactly.

Invoice numbers have 20 digits (year, bureau, channel, serial); the bureau is 99, which does not exist.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shuiqiao.sandbox.economy.behaviour import Character, Plan, invoices_expected, ticket_factor
from shuiqiao.sandbox.economy.industries import INDUSTRIES
from shuiqiao.sandbox.economy.model import (
    MONTHS_PER_YEAR,
    NEIGHBOURHOOD,
    InvoiceRows,
    TaxpayerKind,
    Window,
    day_number,
    first_day,
)
from shuiqiao.sandbox.economy.seeds import BoolArray, FloatArray, IntArray
from shuiqiao.sandbox.economy.taxpayers import (
    CUSTOMER_SLOTS,
    PUBLIC_COUNT,
    PUBLIC_FIRST,
    RESERVED_REGION,
    private_party,
)

SERIALS_PER_PARTY = 100_000
MAX_TICKET_YUAN = 50_000_000.0
_PUBLIC_SERIAL_BASE = 5_000_000_000
"""Public suppliers sell to everybody: their serials are counted per buyer, above every party number."""
_SALES_WEEKEND, _PURCHASES_WEEKEND = 0.28, 0.63
"""Share of invoices drawn on a weekend day that stay there; the others move to the Monday or the Friday."""
_OUTSIDE_VOID_RATE, _OUTSIDE_RED_RATE = 0.036, 0.010
"""Of purchases from outside, as measured on real received invoices."""
_SMALL_SCALE_ONE_PERCENT = 0.72
"""Share of a small-scale taxpayer's invoices at 1 %; the rest carry 3 %."""
_MAIN_RATE_UP_TO, _OTHER_RATE_UP_TO = 0.80, 0.95
"""A general taxpayer's main rate, its second one, and 3 % (simplified method) beyond."""
_HUNDREDS_UP_TO, _WHOLE_YUAN_UP_TO = 0.36, 0.74
"""Shares of totals in whole hundreds, and in whole yuan, as measured on real invoices."""
_SPECIAL_SHARE, _SPECIAL_SHARE_SMALL_SCALE = 0.75, 0.30
_SPECIAL_SHARE_GOODS, _SPECIAL_SHARE_EXPENSES = 0.8, 0.5
_PUBLIC_EXPENSE_SHARE = 0.6
_PARTIAL_RED_SHARE = 0.3
_EXPENSE_RATES = (np.array([3, 6, 9, 13]), np.array([0.60, 0.25, 0.09, 0.06]))
_GOODS_RATES = (np.array([13, 9, 6, 3, 1]), np.array([0.62, 0.12, 0.12, 0.10, 0.04]))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """Blue invoices before numbering; one row each."""

    partner: IntArray
    day: IntArray
    rate: IntArray
    total_fen: IntArray
    is_void: BoolArray
    is_special: BoolArray


def issue_invoices(
    generator: np.random.Generator,
    *,
    taxpayer: int,
    character: Character,
    plan: Plan,
    window: Window,
    neighbour_shares: FloatArray,
) -> InvoiceRows:
    """Draw everything that one taxpayer issues in the window, ordered by day.

    neighbour_shares: how much each member of the neighbourhood buys there; sums to 1.
    """
    months = np.repeat(np.arange(window.months), generator.poisson(invoices_expected(plan, character)))
    book = _customer_book(generator, taxpayer=taxpayer, character=character, neighbour_shares=neighbour_shares)
    partner = _customers(generator, book=book, character=character, months=months)
    yuan = character.ticket_yuan * ticket_factor(plan, months)
    yuan *= np.exp(character.ticket_spread * generator.standard_normal(len(months)))
    draft = _Draft(
        partner=partner,
        day=_days(generator, months, window, weekend=_SALES_WEEKEND),
        rate=_sale_rates(generator, character, len(months)),
        total_fen=_totals(generator, yuan),
        is_void=generator.random(len(months)) < character.void_rate,
        is_special=generator.random(len(months)) < _special_share(character),
    )
    return _number(generator, draft, owner=taxpayer, issues=True, red_rate=character.red_rate, window=window)


def receive_invoices(
    generator: np.random.Generator,
    *,
    taxpayer: int,
    character: Character,
    plan: Plan,
    window: Window,
    sold_fen: FloatArray,
    inside: InvoiceRows,
) -> InvoiceRows:
    """Draw what one taxpayer buys outside, beside what it already received inside; ordered by day.

    sold_fen: the taxpayer's own valid sales per month of the window; purchases follow them by the cost ratio.
    """
    bought_inside = monthly_total(inside, window)
    wanted = character.cost_ratio * sold_fen * np.exp(0.40 * generator.standard_normal(window.months))
    outside_fen = np.maximum(wanted - bought_inside, 0.0)
    goods = _goods(generator, taxpayer, character, outside_fen, window)
    expenses = _expenses(generator, taxpayer, character, plan, window)
    outside = _number(
        generator, _join(goods, expenses), owner=taxpayer, issues=False, red_rate=_OUTSIDE_RED_RATE, window=window
    )
    return ordered(join_rows((inside, outside)))


def _customer_book(
    generator: np.random.Generator, *, taxpayer: int, character: Character, neighbour_shares: FloatArray
) -> IntArray:
    """Return the customers of a taxpayer, largest first; neighbours buy in proportion to their size."""
    book = private_party(taxpayer, np.arange(character.customers, dtype=np.int64))
    first = taxpayer - taxpayer % NEIGHBOURHOOD
    neighbours = first + generator.choice(NEIGHBOURHOOD, p=neighbour_shares, size=character.customers)
    is_neighbour = (generator.random(character.customers) < character.inside_share) & (neighbours != taxpayer)
    customers: IntArray = np.where(is_neighbour, neighbours, book)
    return customers


def _customers(generator: np.random.Generator, *, book: IntArray, character: Character, months: IntArray) -> IntArray:
    """Return the buyer of each invoice: few large customers, many small ones, changing with the years."""
    share = np.arange(1, character.customers + 1) ** -character.concentration
    years = months // MONTHS_PER_YEAR
    draws = generator.random(len(months))
    chosen = np.zeros(len(months), dtype=np.int64)
    for year in range(int(years.max()) + 1 if len(years) else 0):
        yearly = share * np.exp(character.loyalty_spread * generator.standard_normal(character.customers))
        edges = np.cumsum(yearly) / yearly.sum()
        at = years == year
        chosen[at] = np.minimum(np.searchsorted(edges, draws[at]), character.customers - 1)
    buyers: IntArray = book[chosen]
    return buyers


def _days(generator: np.random.Generator, months: IntArray, window: Window, *, weekend: float) -> IntArray:
    """Return a day within each month, with few on weekends."""
    starts = np.array([day_number(first_day(window.first_month + m)) for m in range(window.months + 1)])
    first, length = starts[:-1][months], np.diff(starts)[months]
    day = first + (generator.random(len(months)) * length).astype(np.int64)
    stays = generator.random(len(months))
    weekday = (day + 3) % 7  # 1970-01-01 was a Thursday, so this is 0 for a Monday
    day = np.where((weekday == 5) & (stays > weekend), day - 1, day)  # noqa: PLR2004  (Saturday)
    day = np.where((weekday == 6) & (stays > weekend), day + 1, day)  # noqa: PLR2004  (Sunday)
    clipped: IntArray = np.clip(day, first, first + length - 1)
    return clipped


def _sale_rates(generator: np.random.Generator, character: Character, count: int) -> IntArray:
    draws = generator.random(count)
    if character.kind is TaxpayerKind.SMALL_SCALE:
        return np.where(draws < _SMALL_SCALE_ONE_PERCENT, 1, 3)
    trade = INDUSTRIES[character.industry]
    return np.where(draws < _MAIN_RATE_UP_TO, trade.main_rate, np.where(draws < _OTHER_RATE_UP_TO, trade.other_rate, 3))


def _special_share(character: Character) -> float:
    return _SPECIAL_SHARE_SMALL_SCALE if character.kind is TaxpayerKind.SMALL_SCALE else _SPECIAL_SHARE


def _totals(generator: np.random.Generator, yuan: FloatArray) -> IntArray:
    """Return totals in fen: people like whole yuan, and whole hundreds even more."""
    fen = np.maximum(np.rint(np.minimum(yuan, MAX_TICKET_YUAN) * 100), 100).astype(np.int64)
    habit = generator.random(len(yuan))
    step = np.where(habit < _HUNDREDS_UP_TO, 10_000, np.where(habit < _WHOLE_YUAN_UP_TO, 100, 1))
    step = np.where(fen < 10 * step, 1, step)
    totals: IntArray = fen // step * step
    return totals


def _goods(
    generator: np.random.Generator, taxpayer: int, character: Character, outside_fen: FloatArray, window: Window
) -> _Draft:
    """Draw purchases of goods and services whose monthly sum is the given one."""
    rate = 0.40 * character.volume * character.buying
    counts = np.where(outside_fen > 0, generator.poisson(rate, window.months) + 1, 0)
    months = np.repeat(np.arange(window.months), counts)
    shares = np.exp(1.1 * generator.standard_normal(len(months)))
    sums = np.bincount(months, weights=shares, minlength=window.months)
    yuan = shares / sums[months] * outside_fen[months] / 100
    slots = _ranked(generator, character.suppliers, character.concentration + 0.15, len(months))
    return _Draft(
        partner=private_party(taxpayer, CUSTOMER_SLOTS + slots),
        day=_days(generator, months, window, weekend=_PURCHASES_WEEKEND),
        rate=generator.choice(_GOODS_RATES[0], p=_GOODS_RATES[1], size=len(months)),
        total_fen=_totals(generator, yuan),
        is_void=generator.random(len(months)) < _OUTSIDE_VOID_RATE,
        is_special=generator.random(len(months)) < _SPECIAL_SHARE_GOODS,
    )


def _expenses(
    generator: np.random.Generator, taxpayer: int, character: Character, plan: Plan, window: Window
) -> _Draft:
    """Draw the small receipts of daily life: freight, telecom, tolls, courier."""
    expected = np.where(plan.is_active, 0.50 * character.volume * character.buying + 0.3, 0.0)
    months = np.repeat(np.arange(window.months), generator.poisson(expected))
    public = PUBLIC_FIRST + _ranked(generator, PUBLIC_COUNT, 1.0, len(months))
    own = private_party(taxpayer, CUSTOMER_SLOTS + character.suppliers + _ranked(generator, 12, 0.8, len(months)))
    yuan = 260.0 * np.exp(0.85 * generator.standard_normal(len(months)))
    return _Draft(
        partner=np.where(generator.random(len(months)) < _PUBLIC_EXPENSE_SHARE, public, own),
        day=_days(generator, months, window, weekend=_PURCHASES_WEEKEND),
        rate=generator.choice(_EXPENSE_RATES[0], p=_EXPENSE_RATES[1], size=len(months)),
        total_fen=_totals(generator, yuan),
        is_void=generator.random(len(months)) < _OUTSIDE_VOID_RATE,
        is_special=generator.random(len(months)) < _SPECIAL_SHARE_EXPENSES,
    )


def _ranked(generator: np.random.Generator, count: int, exponent: float, size: int) -> IntArray:
    """Draw ranks 0..count-1 by a rank-size law."""
    share = np.arange(1, count + 1) ** -exponent
    edges = np.cumsum(share) / share.sum()
    return np.minimum(np.searchsorted(edges, generator.random(size)), count - 1).astype(np.int64)


def _join(first: _Draft, second: _Draft) -> _Draft:
    return _Draft(
        partner=np.concatenate((first.partner, second.partner)),
        day=np.concatenate((first.day, second.day)),
        rate=np.concatenate((first.rate, second.rate)),
        total_fen=np.concatenate((first.total_fen, second.total_fen)),
        is_void=np.concatenate((first.is_void, second.is_void)),
        is_special=np.concatenate((first.is_special, second.is_special)),
    )


def _number(
    generator: np.random.Generator, draft: _Draft, *, owner: int, issues: bool, red_rate: float, window: Window
) -> InvoiceRows:
    """Add red-letter invoices, order by day, give serials and split totals into amount and tax."""
    blue_count = len(draft.day)
    reversed_rows, red_day, red_total = _reds(generator, draft, red_rate, window)
    source = np.concatenate((np.arange(blue_count), reversed_rows))
    day = np.concatenate((draft.day, red_day))
    total = np.concatenate((draft.total_fen, red_total))
    is_red = np.arange(len(source)) >= blue_count
    rank = np.empty(len(source), dtype=np.int64)
    rank[np.argsort(day, kind="stable")] = np.arange(len(source))
    partner, rate = draft.partner[source], draft.rate[source]
    mine = np.full(len(source), owner, dtype=np.int64)
    serial = _serial_base(partner, owner, issues=issues) + rank
    amount = _amount_without_tax(total, rate)
    return ordered(
        InvoiceRows(
            seller=mine if issues else partner,
            buyer=partner if issues else mine,
            serial=serial,
            day=day,
            rate=rate,
            amount_fen=amount,
            tax_fen=total - amount,
            total_fen=total,
            is_void=draft.is_void[source] & ~is_red,
            is_special=draft.is_special[source],
            original_serial=np.where(is_red, serial[source], -1),
            original_day=np.where(is_red, draft.day[source], -1),
        )
    )


def _reds(
    generator: np.random.Generator, draft: _Draft, red_rate: float, window: Window
) -> tuple[IntArray, IntArray, IntArray]:
    """Return which blue rows are reversed, on which day, and the negative totals; a part is reversed in part."""
    last = day_number(first_day(window.first_month + window.months)) - 1
    hit = np.flatnonzero((generator.random(len(draft.day)) < red_rate) & ~draft.is_void)
    day = draft.day[hit] + generator.integers(2, 75, size=len(hit))
    part = np.where(generator.random(len(hit)) < _PARTIAL_RED_SHARE, generator.uniform(0.1, 0.9, len(hit)), 1.0)
    total = -np.maximum(np.rint(draft.total_fen[hit] * part).astype(np.int64), 1)
    in_time = day <= last
    return hit[in_time], day[in_time], total[in_time]


def _serial_base(partner: IntArray, owner: int, *, issues: bool) -> IntArray:
    if issues:
        return np.full(len(partner), owner * SERIALS_PER_PARTY, dtype=np.int64)
    is_public = (partner >= PUBLIC_FIRST) & (partner < PUBLIC_FIRST + PUBLIC_COUNT)
    return np.where(is_public, _PUBLIC_SERIAL_BASE + owner, partner) * SERIALS_PER_PARTY


def _amount_without_tax(total: IntArray, rate: IntArray) -> IntArray:
    # total / (1 + rate) rounded half up in integers, away from zero for red ones.
    base = 100 + rate
    amount: IntArray = np.sign(total) * ((np.abs(total) * 100 + base // 2) // base)
    return amount


def ordered(rows: InvoiceRows) -> InvoiceRows:
    """Return rows by day, then serial."""
    return take(rows, np.lexsort((rows.serial, rows.day)))


def take(rows: InvoiceRows, at: IntArray) -> InvoiceRows:
    """Return the rows at the given positions."""
    return InvoiceRows(**{name: getattr(rows, name)[at] for name in _COLUMNS})


def join_rows(parts: tuple[InvoiceRows, ...]) -> InvoiceRows:
    """Return the rows of several sets, one after another; at least one set."""
    return InvoiceRows(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS})


_COLUMNS = tuple(InvoiceRows.__slots__)


def bought_from_neighbours(issued: tuple[InvoiceRows, ...], *, taxpayer: int) -> InvoiceRows:
    """Return what the taxpayers of a neighbourhood issued to one of them."""
    return join_rows(tuple(take(rows, np.flatnonzero(rows.buyer == taxpayer)) for rows in issued))


def month_positions(rows: InvoiceRows, window: Window) -> IntArray:
    """Return each row's month, counted from the window's start."""
    return rows.day.astype("M8[D]").astype("M8[M]").astype(np.int64) - window.first_month


def monthly_total(rows: InvoiceRows, window: Window) -> FloatArray:
    """Return the sum of valid totals per month of the window, in fen."""
    return _monthly(rows, rows.total_fen, window)


def monthly_amount(rows: InvoiceRows, window: Window) -> IntArray:
    """Return the sum of valid amounts without tax per month, in fen."""
    return _monthly(rows, rows.amount_fen, window).astype(np.int64)


def monthly_tax(rows: InvoiceRows, window: Window) -> IntArray:
    """Return the sum of valid tax per month, in fen."""
    return _monthly(rows, rows.tax_fen, window).astype(np.int64)


def monthly_deductible_tax(rows: InvoiceRows, window: Window) -> IntArray:
    """Return the sum of valid tax on special invoices per month, in fen: what a buyer may deduct."""
    return _monthly(rows, np.where(rows.is_special, rows.tax_fen, 0), window).astype(np.int64)


def _monthly(rows: InvoiceRows, values: IntArray, window: Window) -> FloatArray:
    # Doubles hold sums of fen exactly up to 2^53 fen, which is 90 trillion yuan.
    valid = np.where(rows.is_void, 0, values)
    sums = np.bincount(month_positions(rows, window), weights=valid.astype(np.float64), minlength=window.months)
    return sums.astype(np.float64)


def invoice_numbers(day: IntArray, serial: IntArray) -> list[str]:
    """Return 20-digit numbers: year, non-existent bureau 99, channel 1, serial."""
    years = day.astype("M8[D]").astype("M8[Y]").astype(np.int64) % 100 + 70
    return [
        f"{year % 100:02d}{RESERVED_REGION}1{number:015d}"
        for year, number in zip(years.tolist(), serial.tolist(), strict=True)
    ]
