"""The economy as a whole: repeatable, independent of its size, calibrated, and honest about what it hides."""

from __future__ import annotations

import dataclasses
from datetime import date
from statistics import median

import numpy as np
import pytest

from shuiqiao.base.errors import InvalidInput
from shuiqiao.sandbox.economy.bank_side import THIN_FILE_SHARE
from shuiqiao.sandbox.economy.behaviour import default_risk, draw_defaults, live, stratified_normals
from shuiqiao.sandbox.economy.generation import Economy, generate_economy
from shuiqiao.sandbox.economy.model import NEIGHBOURHOOD, Case, ForgeryKind, InvoiceRows, first_day, window_before
from shuiqiao.sandbox.economy.seeds import Purpose, stream

AS_OF = date(2026, 6, 30)


def rows_equal(left: InvoiceRows, right: InvoiceRows) -> bool:
    return all(np.array_equal(getattr(left, name), getattr(right, name)) for name in InvoiceRows.__slots__)


def same_case(left: Case, right: Case) -> bool:
    invoices = rows_equal(left.facts.issued, right.facts.issued) and rows_equal(
        left.facts.received, right.facts.received
    )
    rest = ("filings", "payments", "arrears", "violations", "grades")
    return (
        invoices
        and all(getattr(left.facts, name) == getattr(right.facts, name) for name in rest)
        and (left.taxpayer, left.bank_view, left.papers, left.defaulted)
        == (right.taxpayer, right.bank_view, right.papers, right.defaulted)
    )


def test_reading_it_twice_gives_the_same(economy: Economy, cases: tuple[Case, ...]) -> None:
    again = tuple(economy.cases())

    assert len(cases) == len(again)
    assert all(same_case(left, right) for left, right in zip(cases, again, strict=True))


@pytest.mark.parametrize("taxpayers", [1, 7, 26])
def test_a_taxpayer_does_not_depend_on_the_size_of_the_economy(
    economy: Economy, cases: tuple[Case, ...], taxpayers: int
) -> None:
    smaller = tuple(generate_economy(taxpayers=taxpayers, seed=economy.seed, as_of=AS_OF).cases())

    assert taxpayers == len(smaller)
    assert all(same_case(left, right) for left, right in zip(smaller, cases, strict=False))


def test_another_seed_gives_other_lives(economy: Economy, cases: tuple[Case, ...]) -> None:
    other = next(generate_economy(taxpayers=1, seed=economy.seed + 1, as_of=AS_OF).cases())

    assert not same_case(cases[0], other)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"taxpayers": 0}, "sandbox.taxpayers_out_of_range"),
        ({"taxpayers": 1_000_001}, "sandbox.taxpayers_out_of_range"),
        ({"seed": -1}, "sandbox.seed_out_of_range"),
        ({"seed": 2**63}, "sandbox.seed_out_of_range"),
        ({"months": 11}, "sandbox.months_out_of_range"),
        ({"months": 121}, "sandbox.months_out_of_range"),
        ({"as_of": date(2019, 12, 31)}, "sandbox.as_of_out_of_range"),
    ],
)
def test_settings_out_of_range_are_refused(change: dict[str, object], code: str) -> None:
    settings: dict[str, object] = {"taxpayers": 10, "seed": 1, "as_of": AS_OF, "months": 36}
    with pytest.raises(InvalidInput) as refusal:
        generate_economy(**{**settings, **change})  # type: ignore[arg-type]

    assert code == refusal.value.code


@pytest.mark.parametrize(
    ("as_of", "first", "last"),
    [
        (date(2026, 6, 30), date(2023, 7, 1), date(2026, 6, 1)),
        (date(2026, 6, 29), date(2023, 6, 1), date(2026, 5, 1)),
        (date(2024, 2, 29), date(2021, 3, 1), date(2024, 2, 1)),
    ],
)
def test_the_window_holds_whole_months_that_have_ended(as_of: date, first: date, last: date) -> None:
    window = window_before(as_of, months=36)

    assert (first, last) == (first_day(window.first_month), first_day(window.first_month + 35))


@pytest.mark.parametrize("months", [12, 13, 48])
def test_other_lengths_work_too(months: int) -> None:
    cases = tuple(generate_economy(taxpayers=3, seed=4, as_of=date(2026, 2, 3), months=months).cases())

    assert len(cases) == 3
    assert all(case.facts.filings for case in cases)


def test_the_shape_is_that_of_the_real_invoices(cases: tuple[Case, ...]) -> None:
    # Bounds are wide on purpose: sixty firms; the page about the synthetic economy compares a thousand.
    issued = [case.facts.issued for case in cases]
    counts = [len(rows) for rows in issued]
    void = np.concatenate([rows.is_void for rows in issued]).mean()
    red = np.concatenate([rows.is_red for rows in issued]).mean()
    spread = np.std(np.log([count for count in counts if count]))

    assert 40 <= median(counts) <= 220
    assert 0.9 <= spread <= 1.8
    assert 0.03 <= void <= 0.16
    assert 0.003 <= red <= 0.05


def top_share(rows: InvoiceRows, partners: int) -> float:
    valid = ~rows.is_void & ~rows.is_red
    _, position = np.unique(rows.buyer[valid], return_inverse=True)
    sums = np.sort(np.bincount(position, weights=rows.total_fen[valid].astype(float)))[::-1]
    return float(sums[:partners].sum() / sums.sum())


def test_few_customers_make_most_of_the_sales(cases: tuple[Case, ...]) -> None:
    shares = [top_share(case.facts.issued, 5) for case in cases if len(case.facts.issued) > 20]

    assert 0.5 <= median(shares) <= 0.85


def population(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Final health, risk and outcome of many neighbourhoods, without their invoices."""
    final, risk, defaulted = [], [], []
    for first in range(0, count, NEIGHBOURHOOD):
        firm = stratified_normals(stream(11, first, Purpose.STRATA))
        health = [live(11, first + at, firm=float(firm[at]), months=36).final for at in range(NEIGHBOURHOOD)]
        draws = stream(11, first, Purpose.OUTCOME)
        chance = default_risk(draws, np.array(health))
        final += health
        risk += chance.tolist()
        defaulted += draw_defaults(draws, chance).tolist()
    return np.array(final), np.array(risk), np.array(defaulted)


def auc(score: np.ndarray, bad: np.ndarray) -> float:
    ranks = np.empty(len(score))
    ranks[np.argsort(score)] = np.arange(1, len(score) + 1)
    positives = bad.sum()
    return float((ranks[bad].sum() - positives * (positives + 1) / 2) / (positives * (len(bad) - positives)))


def test_defaults_follow_hidden_health_at_the_base_rate() -> None:
    final, risk, defaulted = population(4000)

    assert 0.12 <= defaulted.mean() <= 0.18
    assert abs(risk.mean() - defaulted.mean()) < 0.01
    assert 0.88 <= auc(-final, defaulted) <= 0.97


def test_every_run_of_two_hundred_has_enough_bad_ones() -> None:
    _, _, defaulted = population(4000)
    runs = defaulted.reshape(20, 200).sum(axis=1)

    assert runs.min() >= 22
    assert runs.max() <= 38


def test_sales_alone_tell_much_less_than_health(economy: Economy) -> None:
    cases = tuple(generate_economy(taxpayers=300, seed=3, as_of=AS_OF, months=24).cases())
    bad = np.array([case.defaulted for case in cases])
    sales = np.array([case.facts.issued.total_fen[~case.facts.issued.is_void].sum() for case in cases])
    health = np.array([case.life.final for case in cases])

    assert auc(-sales, bad) + 0.1 < auc(-health, bad)


def test_weak_firms_are_late_more_often_but_not_they_alone(cases: tuple[Case, ...]) -> None:
    late = np.array(
        [np.mean([f.filed_on is None or f.filed_on > f.due_on for f in case.facts.filings]) for case in cases]
    )
    health = np.array([case.life.monthly.mean() for case in cases])

    assert late[health < np.median(health)].mean() > 1.3 * late[health >= np.median(health)].mean()
    assert (late[health >= np.median(health)] > 0).any()


def test_most_applicants_have_no_credit_history(cases: tuple[Case, ...]) -> None:
    thin = np.mean([case.bank_view.history_months is None for case in cases])

    assert abs(thin - THIN_FILE_SHARE) < 0.2
    for case in cases:
        assert (case.bank_view.history_months is None) == (case.bank_view.overdue_count is None)


def test_genuine_copies_match_the_records_and_forged_ones_do_not(cases: tuple[Case, ...]) -> None:
    from shuiqiao.sandbox.economy.invoices import invoice_numbers

    found = dict.fromkeys((None, ForgeryKind.INFLATED_INVOICE, ForgeryKind.INVENTED_INVOICE), 0)
    for case in cases:
        rows = case.facts.issued
        totals = dict(zip(invoice_numbers(rows.day, rows.serial), rows.total_fen.tolist(), strict=True))
        for copy in case.papers.invoice_copies:
            assert copy.amount_fen + copy.tax_fen == copy.total_fen
            recorded = totals.get(copy.invoice_no)
            if copy.forgery is None:
                assert recorded == copy.total_fen
            elif copy.forgery is ForgeryKind.INFLATED_INVOICE:
                assert recorded is not None
                assert recorded < copy.total_fen
            else:
                assert recorded is None
            found[copy.forgery] += 1
    assert all(count > 0 for count in found.values())


def test_health_is_not_in_the_printed_form_of_anything(cases: tuple[Case, ...]) -> None:
    assert repr(cases[0].life) == "HiddenLife()"
    assert {"monthly", "firm", "final"} == {entry.name for entry in dataclasses.fields(cases[0].life)}
