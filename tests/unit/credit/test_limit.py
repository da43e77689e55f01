"""The limit table: every part in turn is the one that binds, every refusal has its case."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.money import MAX_FEN
from shuiqiao.credit.limit import LimitRefusal, LimitRequest, compute_limit
from shuiqiao.lending.catalogue import load_products
from shuiqiao.standards.tax_credit_grade import Grade

TAX_CREDIT_LOAN = load_products()["tax-credit-loan"].limit
INVOICE_LOAN = load_products()["invoice-loan"].limit
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


@pytest.mark.parametrize(
    ("product", "cap_wan", "floor_wan", "minimum_tax_wan"), [(TAX_CREDIT_LOAN, 500, 1, 1), (INVOICE_LOAN, 100, 10, 0)]
)
def test_the_products_are_what_their_descriptions_say(product, cap_wan, floor_wan, minimum_tax_wan):
    assert (product.cap_fen, product.floor_fen) == (cap_wan * WAN, floor_wan * WAN)
    assert (product.minimum_tax_fen, product.step_fen) == (minimum_tax_wan * WAN, WAN)
    assert product.debt_ceiling == Decimal("0.70")
    assert [(band.to_probability, band.tax_multiple, band.revenue_share) for band in product.bands] == [
        (Decimal("0.02"), Decimal(12), Decimal("0.20")),
        (Decimal("0.05"), Decimal(10), Decimal("0.15")),
        (Decimal("0.10"), Decimal(8), Decimal("0.12")),
        (Decimal("0.20"), Decimal(6), Decimal("0.08")),
    ]


def test_the_grades_of_the_tax_credit_loan_and_their_multiples():
    assert TAX_CREDIT_LOAN.grade_multiples == {Grade.A: Decimal(12), Grade.B: Decimal(10), Grade.M: Decimal(6)}
    assert (INVOICE_LOAN.grade_multiples, INVOICE_LOAN.uses_tax) == (None, False)


@pytest.mark.parametrize(
    ("probability", "limit_wan"),
    [("0.02", 200), ("0.020001", 150), ("0.05", 150), ("0.050001", 120), ("0.10", 120), ("0.100001", 80), ("0.20", 80)],
)
def test_a_band_holds_up_to_and_including_its_end(probability, limit_wan):
    found = compute_limit(
        TAX_CREDIT_LOAN,
        request=replace(GOOD, annual_tax_fen=100 * WAN, default_probability=Decimal(probability)),
    )
    assert (found.limit_fen, found.bound_by) == (limit_wan * WAN, "revenue")


@pytest.mark.parametrize(
    ("product", "changes", "limit_wan"),
    [
        (TAX_CREDIT_LOAN, {"annual_tax_fen": WAN}, 12),  # the floor of tax itself is enough
        (TAX_CREDIT_LOAN, {"requested_fen": WAN}, 1),  # and so is the floor of the loan
        (INVOICE_LOAN, {"requested_fen": 10 * WAN}, 10),
        (INVOICE_LOAN, {"annual_sales_fen": 50 * WAN}, 10),
        (TAX_CREDIT_LOAN, {"annual_tax_fen": 500 * WAN, "other_debt_fen": 699 * WAN}, 1),
    ],
)
def test_an_edge_belongs_to_what_is_allowed(product, changes, limit_wan):
    found = compute_limit(product, request=replace(GOOD, **changes))
    assert (found.limit_fen, found.refusal) == (limit_wan * WAN, None)


@pytest.mark.parametrize(
    ("product", "changes"),
    [
        (TAX_CREDIT_LOAN, {"requested_fen": WAN - 1}),
        (INVOICE_LOAN, {"requested_fen": 10 * WAN - 1}),
        (TAX_CREDIT_LOAN, {"annual_tax_fen": 500 * WAN, "other_debt_fen": 699 * WAN + 1}),
        (TAX_CREDIT_LOAN, {"requested_fen": 0}),
        (TAX_CREDIT_LOAN, {"annual_sales_fen": 0}),
    ],
)
def test_one_fen_below_the_floor_there_is_no_offer_and_the_part_is_named(product, changes):
    found = compute_limit(product, request=replace(GOOD, **changes))
    assert (found.limit_fen, found.refusal) == (0, LimitRefusal.BELOW_FLOOR)
    assert found.bound_by == min(found.parts, key=lambda part: part.amount_fen).name
    assert found.parts


def test_a_product_without_a_floor_lends_no_nothing():
    found = compute_limit(replace(TAX_CREDIT_LOAN, floor_fen=0, step_fen=1), request=replace(GOOD, requested_fen=0))
    assert (found.limit_fen, found.refusal) == (0, LimitRefusal.BELOW_FLOOR)
    one = compute_limit(replace(TAX_CREDIT_LOAN, floor_fen=0, step_fen=1), request=replace(GOOD, requested_fen=1))
    assert (one.limit_fen, one.refusal) == (1, None)


def test_a_product_that_uses_tax_without_a_grade_gate_takes_the_multiple_of_the_band():
    product = replace(TAX_CREDIT_LOAN, grade_multiples=None)
    assert compute_limit(product, request=replace(GOOD, grade=None)).limit_fen == 120 * WAN


def test_sums_of_returns_count_as_nothing_and_amounts_reach_to_the_national_total():
    product = replace(TAX_CREDIT_LOAN, minimum_tax_fen=-(10**18))
    parts = {
        part.name: part.amount_fen
        for part in compute_limit(product, request=replace(GOOD, annual_tax_fen=-WAN, annual_sales_fen=-WAN)).parts
    }
    assert (parts["tax"], parts["revenue"], parts["debt"]) == (0, 0, 0)
    largest = {"requested_fen": MAX_FEN, "annual_tax_fen": MAX_FEN, "annual_sales_fen": MAX_FEN}
    assert compute_limit(TAX_CREDIT_LOAN, request=replace(GOOD, **largest)).bound_by == "cap"
    least = {"annual_tax_fen": -MAX_FEN, "annual_sales_fen": -MAX_FEN}
    assert compute_limit(TAX_CREDIT_LOAN, request=replace(GOOD, **least)).refusal is LimitRefusal.TAX_TOO_LOW


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
        ({"requested_fen": MAX_FEN + 1}, "credit.limit_amount_invalid"),
        ({"arrears_owed_fen": -1}, "credit.limit_amount_invalid"),
        ({"arrears_owed_fen": MAX_FEN + 1}, "credit.limit_amount_invalid"),
        ({"annual_tax_fen": -MAX_FEN - 1}, "credit.limit_amount_invalid"),
        ({"annual_sales_fen": -MAX_FEN - 1}, "credit.limit_amount_invalid"),
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
