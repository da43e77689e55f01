"""Amounts, rates and Chinese capitals as invoices write them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from shuiqiao.base.errors import InvalidInput
from shuiqiao.invoices.amounts import read_capitals, read_fen, read_rate


@pytest.mark.parametrize(
    ("text", "fen"),
    [
        *(("0", 0), ("1", 100), ("1.5", 150), ("-0.01", -1), ("1,234.50", 123_450), ("¥12.00", 1_200), ("-¥3", -300)),
        *(("1.2300000", 123), ("", None), ("***", None), ("—", None)),
    ],
)
def test_amounts(text, fen):
    assert read_fen(text) == fen


@pytest.mark.parametrize("text", ["1.001", "1e3", "NaN", "１2", "0x10", "1" * 16, "1.", ".5", "1.2.3", "--1"])
def test_what_is_no_amount_is_refused(text):
    with pytest.raises(InvalidInput) as refused:
        read_fen(text)
    assert refused.value.code == "invoices.amount_malformed"


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("0.13", "0.13"),
        ("13%", "0.13"),
        ("0.130000", "0.13"),
        ("0", "0"),
        ("1.5%", "0.015"),
        ("免税", None),
        ("1e1", None),
    ],
)
def test_rates(text, rate):
    assert read_rate(text) == (None if rate is None else Decimal(rate))


@pytest.mark.parametrize(
    ("text", "fen"),
    [
        ("壹仟零陆拾圆伍角整", 106_050),
        ("壹仟零陆拾元伍角正", 106_050),
        ("⊗壹仟零陆拾圆伍角整", 106_050),
        ("人民币贰佰圆整", 20_000),
        ("拾叁圆整", 1_300),
        ("壹拾叁圆整", 1_300),
        ("伍分", 5),
        ("零圆整", 0),
        ("壹亿零壹圆整", 10_000_000_100),
        ("壹万亿圆整", 100_000_000_000_000),
        ("（负数）伍佰圆整", -50_000),
        ("负伍佰圆整", -50_000),
        ("(负数)¥伍佰圆整", -50_000),
    ],
)
def test_capitals(text, fen):
    assert read_capitals(text) == fen


@pytest.mark.parametrize(
    "text", ["", "整", "圆", "伍佰", "伍佰美元", "伍伍圆整", "500圆整", "圆伍", "伍角陆", "壹" * 100]
)
def test_what_is_no_amount_in_capitals(text):
    assert read_capitals(text) is None
