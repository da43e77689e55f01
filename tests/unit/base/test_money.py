"""Amounts become whole fen exactly or not at all."""

from __future__ import annotations

from decimal import Decimal

import pytest

from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.money import MAX_FEN, fen_from_yuan, format_yuan, format_yuan_short, round_fen


@pytest.mark.parametrize(
    ("yuan", "fen"),
    [
        ("0", 0),
        ("-0.00", 0),
        ("12.3", 1230),
        ("-1234.56", -123456),
        (0.1, 10),
        (1.15, 115),
        (4.35, 435),
        (-203.7, -20370),
        (1e15, MAX_FEN),
        (Decimal("1E+3"), 100_000),
        (7, 700),
    ],
)
def test_an_amount_in_yuan_is_exact_in_fen(yuan, fen):
    assert fen_from_yuan(yuan) == fen


@pytest.mark.parametrize(
    "yuan",
    [
        "",
        "abc",
        "1.005",
        0.1 + 0.2,
        float("nan"),
        float("inf"),
        "-Infinity",
        "sNaN",
        "1000000000000000.01",
        "1e400",
        "1e999999999999999999",
        None,
        "1" * 100_000,
    ],
)
def test_what_is_no_exact_amount_is_refused(yuan):
    with pytest.raises(InvalidInput) as caught:
        fen_from_yuan(yuan)
    assert caught.value.code == "base.amount_invalid"
    assert len(caught.value.message) < 200


@pytest.mark.parametrize("places", [26, 27, 28, 29, 30, 60])
def test_the_smallest_part_of_a_fen_is_not_rounded_away(places):
    with pytest.raises(InvalidInput):
        fen_from_yuan("10." + "0" * places + "1")


@pytest.mark.parametrize(
    ("amount", "fen"), [("0.5", 0), ("1.5", 2), ("2.5", 2), ("-0.5", 0), ("-1.5", -2), ("2.500001", 3)]
)
def test_computed_amounts_round_half_to_even(amount, fen):
    assert round_fen(Decimal(amount)) == fen


@pytest.mark.parametrize(
    ("fen", "text"), [(0, "0.00"), (5, "0.05"), (-5, "-0.05"), (123456789, "1,234,567.89"), (-100, "-1.00")]
)
def test_fen_are_shown_as_yuan(fen, text):
    assert format_yuan(fen) == text


@pytest.mark.parametrize(
    ("fen", "text"),
    [
        (99_900, "999"),
        (123_500_000, "123.5万"),
        (1_000_000, "1.0万"),
        (12_000_000_000, "1.20亿"),
        (-1_000_000, "-1.0万"),
        (0, "0"),
    ],
)
def test_fen_are_shown_short_in_wan_and_yi(fen, text):
    assert format_yuan_short(fen) == text
