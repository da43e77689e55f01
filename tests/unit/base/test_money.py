"""Computed amounts become whole fen, and fen are shown."""

from __future__ import annotations

from decimal import Decimal

import pytest

from shuiqiao.base.money import format_yuan, format_yuan_short, round_fen


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
