"""Invoices of the economy: exact sums, linked red letters, one invoice for both sides, nothing from the future."""

from __future__ import annotations

import numpy as np

from shuiqiao.sandbox.economy.generation import Economy
from shuiqiao.sandbox.economy.invoices import SERIALS_PER_PARTY, invoice_numbers, join_rows
from shuiqiao.sandbox.economy.model import NEIGHBOURHOOD, Case, InvoiceRows, day_number, first_day
from shuiqiao.sandbox.economy.taxpayers import PUBLIC_FIRST

TAXPAYERS = 60


def every(cases: tuple[Case, ...]) -> InvoiceRows:
    return join_rows(tuple(rows for case in cases for rows in (case.facts.issued, case.facts.received)))


def keys(rows: InvoiceRows, at: np.ndarray) -> set[tuple[int, ...]]:
    columns = (rows.serial, rows.day, rows.seller, rows.buyer, rows.total_fen, rows.tax_fen, rows.is_void)
    return set(zip(*(column[at].tolist() for column in columns), strict=True))


def test_amount_and_tax_make_the_total_and_tax_follows_the_rate(cases: tuple[Case, ...]) -> None:
    rows = every(cases)

    assert np.array_equal(rows.total_fen, rows.amount_fen + rows.tax_fen)
    assert np.abs(rows.tax_fen * 100 - rows.amount_fen * rows.rate).max() <= 100
    assert {1, 3, 6, 9, 13} == set(rows.rate.tolist())


def test_red_letters_are_exactly_the_negative_rows_and_none_is_void(cases: tuple[Case, ...]) -> None:
    rows = every(cases)

    assert np.array_equal(rows.is_red, rows.total_fen < 0)
    assert rows.is_red.sum() > 50
    assert not (rows.is_red & rows.is_void).any()
    assert (rows.total_fen != 0).all()


def test_each_red_letter_names_a_valid_blue_invoice_of_the_same_parties(cases: tuple[Case, ...]) -> None:
    checked = 0
    for case in cases:
        rows = case.facts.issued
        blue = {int(serial): at for at, serial in enumerate(rows.serial) if not rows.is_red[at]}
        for at in np.flatnonzero(rows.is_red).tolist():
            original = blue[int(rows.original_serial[at])]
            assert not rows.is_void[original]
            assert rows.day[original] == rows.original_day[at]
            assert rows.day[original] < rows.day[at]
            assert rows.buyer[original] == rows.buyer[at]
            assert rows.rate[original] == rows.rate[at]
            assert -rows.total_fen[at] <= rows.total_fen[original]
            checked += 1
    assert checked > 20


def test_an_invoice_between_taxpayers_is_the_same_on_both_sides(cases: tuple[Case, ...]) -> None:
    whole = cases[: 2 * NEIGHBOURHOOD]
    sold, bought = set(), set()
    for case in whole:
        issued, received = case.facts.issued, case.facts.received
        sold |= keys(issued, np.flatnonzero(issued.buyer < PUBLIC_FIRST))
        bought |= keys(received, np.flatnonzero(received.seller < PUBLIC_FIRST))

    assert len(sold) > 100
    assert sold == bought


def test_nobody_trades_with_itself_and_only_with_neighbours(cases: tuple[Case, ...]) -> None:
    for case in cases:
        buyers = case.facts.issued.buyer
        inside = buyers[buyers < PUBLIC_FIRST]
        assert case.taxpayer.index not in inside
        assert set((inside // NEIGHBOURHOOD).tolist()) <= {case.taxpayer.index // NEIGHBOURHOOD}


def test_no_invoice_lies_outside_the_window_or_before_registration(economy: Economy, cases: tuple[Case, ...]) -> None:
    window = economy.window
    first = day_number(first_day(window.first_month))
    last = day_number(window.as_of)
    for case in cases:
        issued = case.facts.issued
        if len(issued):
            assert first <= issued.day.min()
            assert issued.day.max() <= last
            assert day_number(case.taxpayer.registered_on) <= issued.day.min()


def test_invoice_numbers_are_unique_per_file_and_have_twenty_digits(cases: tuple[Case, ...]) -> None:
    rows = join_rows(tuple(case.facts.issued for case in cases))
    numbers = invoice_numbers(rows.day, rows.serial)

    assert len(numbers) == len(set(numbers))
    assert {20} == {len(number) for number in numbers}
    assert {"991"} == {number[2:5] for number in numbers}


def test_received_numbers_are_unique_too(cases: tuple[Case, ...]) -> None:
    rows = join_rows(tuple(case.facts.received for case in cases))

    assert len(rows) == len(set(rows.serial.tolist()))


def test_serials_stay_in_the_sellers_range(cases: tuple[Case, ...]) -> None:
    for case in cases:
        assert {case.taxpayer.index} >= set((case.facts.issued.serial // SERIALS_PER_PARTY).tolist())
