"""What a product asks of a credential, and what it does not take."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from shuiqiao.base.errors import InvalidInput
from shuiqiao.lending.catalogue import load_product_texts, product_from_toml
from shuiqiao.privacy.credentials.claims import CLAIMS
from shuiqiao.privacy.credentials.presentation import ClaimName, ProveRules
from shuiqiao.standards.tax_credit_grade import Grade

RULES = ProveRules(grades=(Grade.A, Grade.B), least={"sales_12m_band": 3}, flags=("no_arrears",))
GOOD = {"tax_credit_grade": "B", "sales_12m_band": 3, "no_arrears": True}


def test_a_product_asks_for_the_claims_that_its_rules_read_and_no_other():
    """[CREDENTIAL-9]"""
    assert RULES.claims == ("no_arrears", "sales_12m_band", "tax_credit_grade")
    assert ProveRules().claims == ()
    assert ProveRules(names_taxpayer=True).claims == ("taxpayer",)
    assert set(get_args(ClaimName)) == {claim.name for claim in CLAIMS} | {"taxpayer"}


@pytest.mark.parametrize(
    ("changed", "unmet"),
    [
        ({}, ()),
        ({"tax_credit_grade": "A", "sales_12m_band": 8}, ()),
        ({"tax_credit_grade": "M"}, ("tax_credit_grade",)),
        ({"sales_12m_band": 2}, ("sales_12m_band",)),
        ({"no_arrears": False}, ("no_arrears",)),
        ({"no_arrears": 1}, ("no_arrears",)),
        (dict.fromkeys(GOOD), ("no_arrears", "sales_12m_band", "tax_credit_grade")),
    ],
)
def test_a_value_that_will_not_do_is_named(changed, unmet):
    """[CREDENTIAL-9]"""
    assert RULES.unmet({**GOOD, **changed}) == unmet


@pytest.mark.parametrize(
    "table",
    ["least = { amount_fen = 1 }", "least = { sales_12m_band = 0 }", 'flags = ["rich"]', 'grades = ["E"]', "cut = 5"],
)
def test_a_product_asks_for_nothing_that_no_credential_has(table):
    """[CREDENTIAL-9]"""
    text = load_product_texts()["invoice-loan"]
    assert product_from_toml(text, where="x").prove == ProveRules()
    assert product_from_toml(f"{text}\n[prove]\n", where="x").prove == ProveRules()
    with pytest.raises(InvalidInput, match=r"lending\.product_invalid"):
        product_from_toml(f"{text}\n[prove]\n{table}\n", where="x")
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"cuts": []}, ProveRules)
