"""The limit table: every part in turn is the one that binds, every refusal has its case."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from shuiqiao.base.errors import InvalidInput
from shuiqiao.credit.limit import INVOICE_LOAN, TAX_CREDIT_LOAN, LimitRefusal, LimitRequest, compute_limit
from shuiqiao.credit.model import Grade

WAN = 1_000_000  # 10,000 yuan in fen

GOOD = LimitRequest(
    requested_fen=500 * WAN,
    default_probability=Decimal("0.015"),
    grade=Grade.A,
    annual_tax_fen=10 * WAN,
    annual_sales_fen=1_000 * WAN,
    arrears_owed_fen=0,
    other_debt_fen=0,
)


@pytest.mark.parametrize(
    ("changes", "limit_wan", "bound_by"),
    [
        ({}, 120, "tax"),  # 10 x 12
        ({"grade": Grade.B}, 100, "tax"),
        ({"grade": Grade.M}, 60, "tax"),
        ({"default_probability": Decimal("0.05")}, 100, "tax"),  # a good grade does not undo a bad score
        ({"default_probability": Decimal("0.20")}, 60, "tax"),
        ({"annual_tax_fen": 60 * WAN}, 200, "revenue"),  # 1,000 x 20 %
        ({"annual_tax_fen": 60 * WAN, "other_debt_fen": 600 * WAN}, 100, "debt"),
        ({"annual_tax_fen": 60 * WAN, "other_debt_fen": 600 * WAN, "arrears_owed_fen": 20 * WAN}, 80, "debt"),
        ({"requested_fen": 50 * WAN}, 50, "request"),
        ({"annual_tax_fen": 900 * WAN, "annual_sales_fen": 9_000 * WAN, "requested_fen": 900 * WAN}, 500, "cap"),
        ({"annual_tax_fen": 10 * WAN + 83_333}, 120, "tax"),  # rounded down to 10,000 yuan
        ({"annual_tax_fen": 10 * WAN + 83_334}, 121, "tax"),
    ],
)
def test_the_least_part_is_the_limit(changes, limit_wan, bound_by):
    found = compute_limit(TAX_CREDIT_LOAN, request=replace(GOOD, **changes))
    assert (found.limit_fen, found.bound_by, found.refusal) == (limit_wan * WAN, bound_by, None)


def test_every_part_shows_its_numbers():
    parts = {part.name: part for part in compute_limit(TAX_CREDIT_LOAN, request=GOOD).parts}
    assert list(parts) == ["tax", "revenue", "debt", "cap", "request"]
    assert parts["tax"].formula == "100,000.00 × 12"
    assert parts["debt"].formula == "10,000,000.00 × 0.70 - 0.00 - 0.00"
    assert parts["revenue"].names.zh == "销售收入比例"


@pytest.mark.parametrize(
    ("product", "changes", "refusal"),
    [
        (TAX_CREDIT_LOAN, {"grade": None}, LimitRefusal.GRADE_UNKNOWN),
        (TAX_CREDIT_LOAN, {"grade": Grade.D}, LimitRefusal.GRADE_EXCLUDED),
        (TAX_CREDIT_LOAN, {"grade": Grade.C}, LimitRefusal.GRADE_EXCLUDED),
        (TAX_CREDIT_LOAN, {"default_probability": Decimal("0.200001")}, LimitRefusal.RISK_TOO_HIGH),
        (TAX_CREDIT_LOAN, {"annual_tax_fen": None}, LimitRefusal.TAX_UNKNOWN),
        (TAX_CREDIT_LOAN, {"annual_tax_fen": WAN - 1}, LimitRefusal.TAX_TOO_LOW),
        (TAX_CREDIT_LOAN, {"annual_tax_fen": -WAN}, LimitRefusal.TAX_TOO_LOW),
        (TAX_CREDIT_LOAN, {"annual_sales_fen": None}, LimitRefusal.SALES_UNKNOWN),
        (TAX_CREDIT_LOAN, {"other_debt_fen": 800 * WAN}, LimitRefusal.BELOW_FLOOR),
        (TAX_CREDIT_LOAN, {"annual_sales_fen": -5 * WAN}, LimitRefusal.BELOW_FLOOR),
        (INVOICE_LOAN, {"annual_sales_fen": 49 * WAN}, LimitRefusal.BELOW_FLOOR),  # 20 % is under 100,000 yuan
    ],
)
def test_refusals(product, changes, refusal):
    found = compute_limit(product, request=replace(GOOD, **changes))
    assert (found.limit_fen, found.refusal) == (0, refusal)


def test_a_product_without_a_grade_gate_asks_for_neither_grade_nor_tax():
    found = compute_limit(INVOICE_LOAN, request=replace(GOOD, grade=None, annual_tax_fen=None))
    assert (found.limit_fen, found.bound_by) == (100 * WAN, "cap")
    assert "tax" not in {part.name for part in found.parts}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"requested_fen": -1}, "credit.limit_amount_invalid"),
        ({"other_debt_fen": -1}, "credit.limit_amount_invalid"),
        ({"annual_sales_fen": 10**18}, "credit.limit_amount_invalid"),
        ({"default_probability": Decimal("1.1")}, "credit.probability_invalid"),
        ({"default_probability": Decimal("NaN")}, "credit.probability_invalid"),
    ],
)
def test_impossible_input_is_refused(changes, code):
    with pytest.raises(InvalidInput) as refused:
        compute_limit(TAX_CREDIT_LOAN, request=replace(GOOD, **changes))
    assert refused.value.code == code
