"""A firm's hidden health, the conduct that it leads to month by month, and whether the firm will default.

health[t] = sqrt(w) * firm + sqrt(1 - w) * drift[t], drift[t] = r * drift[t-1] + sqrt(1 - r^2) * noise[t].

Both parts are standard normal over the population, and so is their sum; it is never written to any file. The lasting
part is drawn by strata (one firm per 25th part of the distribution in every neighbourhood), so that small economies are
representative too.

Every observable depends on health, on the firm's own character and on chance, so that no single one tells who will
default. The coefficients are assumptions, listed with their effects on the page about the synthetic economy.

risk = 1 / (1 + exp(-(INTERCEPT - SLOPE * health + SHOCK * noise))), health at the end of the window. Within a
neighbourhood the draw is systematic: every firm keeps exactly its own probability, but the number of defaults is the
rounded sum of the risks, so that a run with 200 taxpayers has neither 15 nor 45 bad ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from shuiqiao.sandbox.economy.industries import INDUSTRIES, SEASON
from shuiqiao.sandbox.economy.model import MONTHS_PER_YEAR, NEIGHBOURHOOD, HiddenLife, TaxpayerKind, Window
from shuiqiao.sandbox.economy.seeds import BoolArray, FloatArray, IntArray, Purpose, stream

LASTING_SHARE = 0.70
"""w: share of the variance that does not change."""
PERSISTENCE = 0.93
"""r: what remains of the drift after a month; half of a shock is gone after about ten months."""
FINAL_MONTHS = 6


def stratified_normals(generator: np.random.Generator) -> FloatArray:
    """Return one standard normal per member of a neighbourhood, one from each stratum, in random order."""
    strata = generator.permutation(NEIGHBOURHOOD) + generator.random(NEIGHBOURHOOD)
    quantile = NormalDist().inv_cdf
    # The bounds keep a draw of exactly 0 from becoming minus infinity.
    return np.array([quantile(min(max(u / NEIGHBOURHOOD, 1e-9), 1 - 1e-9)) for u in strata])


def live(seed: int, index: int, *, firm: float, months: int) -> HiddenLife:
    """Return the hidden life of one taxpayer over the window."""
    noise = stream(seed, index, Purpose.HEALTH).standard_normal(months)
    drift = np.empty(months)
    drift[0] = noise[0]
    for month in range(1, months):
        drift[month] = PERSISTENCE * drift[month - 1] + (1 - PERSISTENCE**2) ** 0.5 * noise[month]
    monthly = LASTING_SHARE**0.5 * firm + (1 - LASTING_SHARE) ** 0.5 * drift
    return HiddenLife(monthly=monthly, firm=firm, final=float(monthly[-FINAL_MONTHS:].mean()))


MEDIAN_INVOICES_PER_MONTH = 3.4
"""About a quarter of the real median, so that a demo stays short; tickets are larger instead."""
_VOLUME_SPREAD = 1.15
_SIZE_FROM_HEALTH = 0.40
"""Correlation of a firm's volume with the lasting part of its health."""
_SMALL_SCALE_YUAN_PER_YEAR = 5_000_000
_MAX_INVOICES_PER_MONTH = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Character:
    """What stays the same about a firm over the window."""

    industry: int
    """Position in INDUSTRIES."""
    first_month: int
    """First month of trade, counted from the window's start."""
    volume: float
    """Invoices issued in an average month."""
    ticket_yuan: float
    ticket_spread: float
    customers: int
    suppliers: int
    concentration: float
    """Exponent of the customers' rank-size law."""
    loyalty_spread: float
    """How much customers' shares change from year to year."""
    inside_share: float
    buying: float
    """Purchases per sale against the average firm, in number."""
    cost_ratio: float
    void_rate: float
    red_rate: float
    kind: TaxpayerKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Expected conduct per month of the window."""

    is_active: BoolArray
    level: FloatArray
    """Sales against the firm's own average, as a factor."""
    late_filing: FloatArray
    """Probability that a return of that month is late."""
    late_payment: FloatArray
    violation: FloatArray
    """Probability of a violation in the month."""


def form_character(
    generator: np.random.Generator, *, industry: int, volume_draw: float, life: HiddenLife, first_month: int
) -> Character:
    """Draw a firm's character. volume_draw: a standard normal."""
    trade = INDUSTRIES[industry]
    firm = life.firm
    size = _SIZE_FROM_HEALTH * firm + (1 - _SIZE_FROM_HEALTH**2) ** 0.5 * volume_draw
    volume = MEDIAN_INVOICES_PER_MONTH * float(np.exp(_VOLUME_SPREAD * size))
    draws = generator.standard_normal(8)
    ticket = trade.ticket_yuan * float(np.exp(1.05 * draws[0]))
    yearly = MONTHS_PER_YEAR * volume * ticket
    small = yearly * float(np.exp(0.4 * draws[1])) < _SMALL_SCALE_YUAN_PER_YEAR / 2
    return Character(
        industry=industry,
        first_month=first_month,
        volume=volume,
        ticket_yuan=ticket,
        ticket_spread=float(np.clip(0.95 + 0.2 * draws[2], 0.4, 1.6)),
        customers=_count(volume * 36, 2.3, 0.55, draws[3]),
        suppliers=_count(volume * 36, 2.0, 0.50, draws[4]),
        concentration=float(np.clip(0.95 - 0.34 * firm + 0.25 * draws[5], 0.2, 2.4)),
        loyalty_spread=float(np.exp(-0.5 - 0.35 * firm)),
        inside_share=0.12,
        buying=float(np.exp(0.6 * generator.standard_normal() - 0.1)),
        cost_ratio=float(trade.cost_ratio * np.exp(0.10 * draws[6] - 0.08 * firm)),
        void_rate=float(_sigmoid(np.array(-2.55 - 0.60 * firm + 0.65 * draws[7]))),
        red_rate=float(_sigmoid(np.array(-4.5 - 0.75 * firm + 0.9 * generator.standard_normal()))),
        kind=TaxpayerKind.SMALL_SCALE if small else TaxpayerKind.GENERAL,
    )


def _count(invoices: float, factor: float, power: float, draw: float) -> int:
    return int(np.clip(round(factor * invoices**power * float(np.exp(0.5 * draw))), 2, 1200))


def make_plan(generator: np.random.Generator, *, character: Character, life: HiddenLife, window: Window) -> Plan:
    """Draw a firm's conduct month by month."""
    months = np.arange(window.months)
    health = life.monthly
    season = INDUSTRIES[character.industry].swing * SEASON[(window.first_month + months) % MONTHS_PER_YEAR]
    noise = float(generator.uniform(0.30, 0.60) * np.exp(-0.32 * life.firm)) * generator.standard_normal(window.months)
    # Health moves sales twice: at once by its level, and over time by its recent change.
    trend = 0.75 * (health - LASTING_SHARE**0.5 * life.firm) + 0.15 * health
    level = np.exp(season + noise + trend - 0.20)
    quiet = _sigmoid(-3.1 - 1.15 * health)
    is_active = (months >= character.first_month) & (generator.random(window.months) >= quiet)
    habits = 0.5 * generator.standard_normal(3)
    return Plan(
        is_active=is_active,
        level=np.minimum(level, _MAX_INVOICES_PER_MONTH / character.volume),
        late_filing=_sigmoid(-3.2 - 1.55 * health + habits[0]),
        late_payment=_sigmoid(-3.4 - 1.55 * health + habits[1]),
        violation=_sigmoid(-4.6 - 1.30 * health + habits[2]),
    )


def invoices_expected(plan: Plan, character: Character) -> FloatArray:
    """Return the expected number of issued invoices per month."""
    # More trade means both more and larger invoices.
    return np.where(plan.is_active, character.volume * plan.level**0.6, 0.0)


def ticket_factor(plan: Plan, months: IntArray) -> FloatArray:
    """Return the factor on the ticket for invoices issued in the given months of the window."""
    return plan.level[months] ** 0.4


def _sigmoid(values: FloatArray) -> FloatArray:
    return 1.0 / (1.0 + np.exp(-values))


INTERCEPT = -3.6
SLOPE = 3.1
SHOCK = 0.4


def default_risk(generator: np.random.Generator, final_health: FloatArray) -> FloatArray:
    """Return each firm's probability of default within twelve months."""
    noise = SHOCK * generator.standard_normal(len(final_health))
    return 1.0 / (1.0 + np.exp(-(INTERCEPT - SLOPE * final_health + noise)))


def draw_defaults(generator: np.random.Generator, risk: FloatArray) -> BoolArray:
    """Draw defaults by systematic sampling in random order: firm i is drawn with probability risk[i] exactly."""
    order = generator.permutation(len(risk))
    edges = np.cumsum(risk[order]) + generator.random()
    defaulted = np.zeros(len(risk), dtype=np.bool_)
    defaulted[order] = np.floor(edges) > np.floor(np.concatenate((edges[:1] - risk[order][:1], edges[:-1])))
    return defaulted
