"""Products are data; a file that breaks a rule is refused with its name."""

from __future__ import annotations

from decimal import Decimal

import pytest

from shuiqiao.base.errors import InvalidInput
from shuiqiao.lending.catalogue import load_products, product_from_toml

GOOD = 'limit_rules = "tax-credit-loan"\nmin_age_months = 24\nneeds_recent_sales = true\nrefer_above = "0.12"\n'


def test_both_products_are_published():
    products = load_products()
    assert sorted(products) == ["invoice-loan", "tax-credit-loan"]
    assert all(product.id == name for name, product in products.items())
    assert products["tax-credit-loan"].min_age_months == 24
    assert products["invoice-loan"].limit.grade_multiples is None


@pytest.mark.parametrize(("old", "new"), [("= 24", "= 0"), ("= 24", "= 1200"), ("0.12", "0"), ("0.12", "0.20")])
def test_an_edge_is_allowed(old, new):
    assert product_from_toml(GOOD.replace(old, new), where="a.toml").id == "tax-credit-loan"


def test_the_products_ask_what_their_files_say():
    tax, invoice = (load_products()[name] for name in ("tax-credit-loan", "invoice-loan"))
    assert (tax.min_age_months, tax.needs_recent_sales, tax.refer_above) == (24, True, Decimal("0.12"))
    assert (invoice.min_age_months, invoice.needs_recent_sales, invoice.refer_above) == (0, True, Decimal("0.12"))


def test_a_product_is_what_its_file_says():
    product = product_from_toml(GOOD, where="a.toml")
    assert (product.id, product.min_age_months, product.needs_recent_sales, product.refer_above) == (
        "tax-credit-loan",
        24,
        True,
        Decimal("0.12"),
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("tax-credit-loan", "unknown-loan"),
        ("= 24", "= -1"),
        ("= 24", "= 1201"),
        ("= 24", '= "24"'),
        ("= true", "= 1"),
        ('"0.12"', "0.12"),
        ('"0.12"', '"a lot"'),
        ('"0.12"', '"NaN"'),
        ('"0.12"', '"-0.01"'),
        ('"0.12"', '"0.2001"'),
        ("needs_recent_sales = true\n", ""),
        ("refer_above", "fee"),
        ("limit_rules =", "limit_rules"),
    ],
)
def test_a_file_that_breaks_a_rule_is_refused_by_name(old, new):
    assert old in GOOD
    with pytest.raises(InvalidInput) as caught:
        product_from_toml(GOOD.replace(old, new), where="a.toml")
    assert caught.value.code == "lending.product_invalid"
    assert caught.value.message.startswith("a.toml: ")
