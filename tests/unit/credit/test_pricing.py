"""The price is the best rate of the grid by the written formula; funding goes to the most profitable yuan first."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from shuiqiao.base.errors import InvalidInput
from shuiqiao.credit.pricing import (
    MAX_GRID_RATES,
    ChurnCurve,
    PricingTerms,
    allocate_funding,
    compute_price,
    exponential_churn,
)

D = Decimal
CURVE = ChurnCurve(rates=(D("0.04"), D("0.08")), churn=(D("0"), D("0.80")))
TERMS = PricingTerms(
    rate_from=D("0.04"),
    rate_to=D("0.08"),
    rate_step=D("0.01"),
    lgd=D("0.5"),
    funding_rate=D("0.018"),
    operating_rate=D("0.005"),
)
STEEP = exponential_churn(start=D("0.04"), steepness=D("19.5"), rates=[D(4 + place) / 100 for place in range(12)])
FREE = replace(TERMS, funding_rate=D(0), operating_rate=D(0))


def price(probability: str, *, terms=TERMS, curve=CURVE, limit_fen=100_000_000):
    return compute_price(default_probability=D(probability), limit_fen=limit_fen, curve=curve, terms=terms)


def test_churn_is_linear_between_its_points_and_flat_outside():
    assert [CURVE.at(D(rate)) for rate in ("0.01", "0.04", "0.05", "0.08", "0.2")] == [
        0,
        0,
        D("0.20"),
        D("0.8"),
        D("0.8"),
    ]


def test_the_best_rate_by_the_formula():
    found = price("0.02")
    assert [(point.rate, point.profit) for point in found.tried] == [
        (D("0.04"), D("0.0062")),  # 1.0 x (0.98 x 0.04 - 0.033)
        (D("0.05"), D("0.0128")),  # 0.8 x (0.98 x 0.05 - 0.033)
        (D("0.06"), D("0.01548")),
        (D("0.07"), D("0.01424")),
        (D("0.08"), D("0.00908")),
    ]
    assert (found.rate, found.churn, found.expected_profit_fen) == (D("0.06"), D("0.4"), 1_548_000)


def test_equal_profits_go_to_the_lower_rate():
    flat = ChurnCurve(rates=(D("0.04"), D("0.05")), churn=(D("0"), D("0.2")))
    terms = replace(FREE, rate_to=D("0.05"))
    assert price("0", terms=terms, curve=flat).rate == D("0.04")


def test_more_risk_never_lowers_the_price_until_there_is_none():
    rates = [
        price(probability, curve=STEEP, terms=replace(TERMS, rate_to=D("0.15"), rate_step=D("0.0005"))).rate
        for probability in ("0.001", "0.01", "0.03", "0.06", "0.12")
    ]
    assert rates == sorted(rates)
    hopeless = price("0.4")
    assert (hopeless.rate, hopeless.expected_profit_fen) == (None, 0)
    assert hopeless.break_even_rate > D("0.08")
    assert (price("1").rate, price("1").break_even_rate) == (None, None)


def test_the_record_repeats_what_went_in():
    found = price("0.02")
    assert (found.terms, found.default_probability, found.limit_fen) == (TERMS, D("0.02"), 100_000_000)
    assert found.break_even_rate == D("0.0337")  # (0.01 + 0.023) / 0.98


def test_funding_goes_to_the_most_profitable_yuan_first():
    good, fair, none = price("0.001"), price("0.02"), price("0.4")
    drawn = int(good.limit_fen * (1 - good.churn))
    assert allocate_funding([fair, none, good], budget_fen=drawn) == (0, 0, good.limit_fen)
    half = allocate_funding([fair, none, good], budget_fen=drawn + 40_000_000)
    assert half[0] == int(D(40_000_000) / (1 - fair.churn))
    assert allocate_funding([fair, good], budget_fen=10**12) == (fair.limit_fen, good.limit_fen)


def test_a_grid_has_both_its_ends_and_at_most_a_thousand_rates():
    grid = TERMS.grid()
    assert (grid[0], grid[-1], len(grid)) == (D("0.04"), D("0.08"), 5)
    assert MAX_GRID_RATES == 1_000
    longest = replace(TERMS, rate_from=D(0), rate_to=D("0.0999"), rate_step=D("0.0001"))
    assert len(longest.grid()) == MAX_GRID_RATES
    with pytest.raises(InvalidInput, match=r"credit\.rate_grid_invalid: 1001 rates"):
        replace(longest, rate_to=D("0.1000")).grid()
    assert replace(TERMS, rate_to=D("0.04")).grid() == (D("0.04"),)
    assert replace(TERMS, rate_to=D("0.0499")).grid() == (D("0.04"),)


def test_a_rate_that_earns_nothing_is_no_price():
    """(1 - 0) x 0.04 - 0.04 of funding: nothing, at every rate of the grid or below."""
    terms = replace(FREE, rate_to=D("0.04"), funding_rate=D("0.04"))
    assert (price("0", terms=terms).rate, price("0", terms=terms).expected_profit_fen) == (None, 0)
    barely = price("0", terms=replace(terms, funding_rate=D("0.0399")))
    assert (barely.rate, barely.expected_profit_fen) == (D("0.04"), 10_000)


def test_an_exponential_curve_starts_at_nothing_and_never_goes_below():
    curve = exponential_churn(start=D("0.05"), steepness=D(20), rates=[D("0.01"), D("0.05"), D("0.10")])
    assert (curve.rates, curve.churn) == ((D("0.01"), D("0.05"), D("0.10")), (D(0), D(0), D("0.6321")))


def test_a_certain_customer_and_a_lost_one_are_both_possible():
    assert ChurnCurve(rates=(D("0.04"), D("0.05")), churn=(D(0), D(1))).at(D("0.05")) == 1
    gone = price("0", terms=replace(FREE, rate_to=D("0.04")), curve=ChurnCurve(rates=(D("0.04"),), churn=(D(1),)))
    assert gone.rate is None
    assert allocate_funding([gone], budget_fen=10**9) == (0,)


def test_funding_goes_by_profit_on_what_is_drawn_and_ties_to_the_earlier_offer():
    """Half the limit is drawn of the one, all of the other: per yuan drawn the one earns more, in all it earns less."""
    half = replace(price("0.02"), churn=D("0.5"), expected_profit_fen=600, limit_fen=100_000, rate=D("0.05"))
    whole = replace(half, churn=D(0), expected_profit_fen=1_000)
    assert allocate_funding([whole, half], budget_fen=50_000) == (0, 100_000)
    assert allocate_funding([whole, whole], budget_fen=100_000) == (100_000, 0)
    small = replace(whole, expected_profit_fen=500, limit_fen=10_000)
    assert allocate_funding([whole, small], budget_fen=10_000) == (0, 10_000)
    assert allocate_funding([whole], budget_fen=0) == (0,)
    lost = replace(whole, churn=D(1))
    assert allocate_funding([lost, whole], budget_fen=100_000) == (0, 100_000)


@pytest.mark.parametrize(
    ("act", "code"),
    [
        (lambda: ChurnCurve(rates=(D("0.05"), D("0.04")), churn=(D(0), D(1))), "credit.churn_curve_invalid"),
        (lambda: ChurnCurve(rates=(D("0.04"),), churn=(D("1.2"),)), "credit.churn_curve_invalid"),
        (lambda: ChurnCurve(rates=(), churn=()), "credit.churn_curve_invalid"),
        (lambda: ChurnCurve(rates=(D("0.04"), D("0.04")), churn=(D(0), D(1))), "credit.churn_curve_invalid"),
        (lambda: ChurnCurve(rates=(D("0.04"),), churn=(D(0), D(1))), "credit.churn_curve_invalid"),
        (lambda: ChurnCurve(rates=(D("0.04"),), churn=(D("-0.1"),)), "credit.churn_curve_invalid"),
        (lambda: price("0.1", terms=replace(TERMS, rate_to=D("0.0399"))), "credit.rate_grid_invalid"),
        (lambda: price("0.1", terms=replace(TERMS, rate_from=D("-0.01"))), "credit.rate_grid_invalid"),
        (lambda: price("0.1", terms=replace(TERMS, rate_step=D("-0.01"))), "credit.rate_grid_invalid"),
        (lambda: price("1.5"), "credit.probability_invalid"),
        (lambda: price("0.1", terms=replace(TERMS, rate_step=D(0))), "credit.rate_grid_invalid"),
        (lambda: price("0.1", terms=replace(TERMS, rate_step=D("0.000001"))), "credit.rate_grid_invalid"),
        (lambda: allocate_funding([], budget_fen=-1), "credit.budget_invalid"),
    ],
)
def test_impossible_input_is_refused(act, code):
    with pytest.raises(InvalidInput) as refused:
        act()
    assert refused.value.code == code
