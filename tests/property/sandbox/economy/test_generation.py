"""Draws that must hold for any seed."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shuiqiao.sandbox.economy.behaviour import draw_defaults, stratified_normals
from shuiqiao.sandbox.economy.generation import generate_economy
from shuiqiao.sandbox.economy.model import NEIGHBOURHOOD, date_of, day_number, due_day, first_day, last_day, month_of

risks = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=NEIGHBOURHOOD)


@given(risks, st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_the_number_of_defaults_is_the_rounded_sum_of_the_risks(risk: list[float], seed: int) -> None:
    drawn = draw_defaults(np.random.Generator(np.random.PCG64(seed)), np.array(risk))
    total = float(np.sum(risk))

    assert np.floor(total - 1e-9) <= drawn.sum() <= np.ceil(total + 1e-9)


def test_each_firm_is_drawn_with_its_own_risk() -> None:
    generator = np.random.Generator(np.random.PCG64(9))
    risk = np.array([0.02, 0.1, 0.5, 0.9, 0.3])
    share = np.mean([draw_defaults(generator, risk) for _ in range(20_000)], axis=0)

    # Four standard errors of a share near one half.
    assert np.abs(share - risk).max() < 4 * 0.5 / 20_000**0.5


@given(st.integers(0, 2**63 - 1))
@settings(max_examples=50, deadline=None)
def test_strata_cover_the_distribution(seed: int) -> None:
    draws = np.sort(stratified_normals(np.random.Generator(np.random.PCG64(seed))))

    assert np.isfinite(draws).all()
    assert abs(draws.mean()) < 0.2
    assert (draws[: NEIGHBOURHOOD // 2] < 0).all()
    assert (draws[NEIGHBOURHOOD // 2 + 1 :] > 0).all()


@given(st.dates(date(1990, 1, 1), date(2060, 12, 31)))
def test_months_and_days_are_consistent(day: date) -> None:
    month = month_of(day)

    assert first_day(month) <= day <= last_day(month)
    assert first_day(month + 1) == last_day(month) + timedelta(days=1)
    assert day == date_of(day_number(day))
    assert due_day(month).day == 15


@given(
    st.integers(0, 2**63 - 1),
    st.dates(date(2020, 1, 1), date(2060, 12, 31)),
    st.integers(12, 60),
)
@settings(max_examples=6, deadline=None)
def test_any_seed_and_day_give_sound_invoices(seed: int, as_of: date, months: int) -> None:
    for case in generate_economy(taxpayers=3, seed=seed, as_of=as_of, months=months).cases():
        for rows in (case.facts.issued, case.facts.received):
            assert np.array_equal(rows.total_fen, rows.amount_fen + rows.tax_fen)
            assert np.array_equal(rows.is_red, rows.total_fen < 0)
            assert (rows.day <= day_number(as_of)).all()
            assert len(rows) == len(set(rows.serial.tolist()))
