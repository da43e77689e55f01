"""Products are data; a file that breaks a rule is refused with its name."""

from __future__ import annotations

from decimal import Decimal
from importlib import resources

import pytest

from scored_loans import LOAN, product_text
from shuiqiao.base.errors import InvalidInput
from shuiqiao.consent.model import Mode
from shuiqiao.credit.limit import RiskBand
from shuiqiao.credit.pricing import PricingTerms
from shuiqiao.lending.catalogue import MAX_BANDS, load_products, product_from_toml
from shuiqiao.lending.model import ScoreRules

D = Decimal
GOOD = resources.files("shuiqiao.lending").joinpath("products", "tax-credit-loan.toml").read_text(encoding="utf-8")
FIRST_BAND = '{ to_probability = "0.02", tax_multiple = "12", revenue_share = "0.20" }'


def test_all_products_are_published():
    products = load_products()
    assert sorted(products) == ["invoice-loan", "tax-credit-loan", "tax-credit-score-loan"]
    assert all(product.id == name for name, product in products.items())
    assert products["invoice-loan"].limit.grade_multiples is None
    assert [products[name].names.zh for name in sorted(products)] == [
        "发票贷",
        "税信贷",
        "税信贷(可用不可见)",
    ]
    assert [products[name].names.en for name in sorted(products)] == [
        "Invoice loan",
        "Tax credit loan",
        "Tax credit loan without records",
    ]


def test_the_products_ask_what_their_files_say():
    tax, invoice = (load_products()[name] for name in ("tax-credit-loan", "invoice-loan"))
    assert (tax.min_age_months, tax.max_days_without_sales, tax.refer_above) == (24, 92, D("0.12"))
    assert (invoice.min_age_months, invoice.max_days_without_sales, invoice.refer_above) == (0, 92, D("0.12"))


@pytest.mark.parametrize("name", ["tax-credit-loan", "invoice-loan"])
def test_the_products_are_priced_with_what_their_files_say(name):
    assert load_products()[name].pricing == PricingTerms(
        rate_from=D("0.0315"),
        rate_to=D("0.1500"),
        rate_step=D("0.0005"),
        lgd=D("0.50"),
        funding_rate=D("0.0180"),
        operating_rate=D("0.0050"),
    )


def test_numbers_are_exact():
    bands = product_from_toml(GOOD, where="a.toml").limit.bands
    assert bands[0] == RiskBand(to_probability=D("0.02"), tax_multiple=D(12), revenue_share=D("0.20"))
    assert str(bands[0].revenue_share) == "0.20"


def bands(count):
    return ", ".join(
        f'{{ to_probability = "0.{2000 + place}", tax_multiple = "1", revenue_share = "0.1" }}'
        for place in range(count)
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("= 24", "= 0"),
        ("= 24", "= 1200"),
        ('refer_above = "0.12"', 'refer_above = "0"'),
        ('refer_above = "0.12"', 'refer_above = "0.20"'),
        ("floor_fen = 1_000_000", "floor_fen = 500_000_000"),
        ("step_fen = 1_000_000", "step_fen = 1"),
        ('lgd = "0.50"', 'lgd = "1"'),
        ('debt_ceiling = "0.70"', 'debt_ceiling = "1.000000"'),
        ('revenue_share = "0.20"', 'revenue_share = "1"'),
        (f"{FIRST_BAND},", f"{FIRST_BAND.replace('0.02', '0.019999')},"),
    ],
)
def test_an_edge_is_allowed(old, new):
    assert old in GOOD
    assert product_from_toml(GOOD.replace(old, new), where="a.toml").id == "tax-credit-loan"


def with_bands(count):
    start, end = GOOD.index("bands = ["), GOOD.index("debt_ceiling")
    return f"{GOOD[:start]}bands = [{bands(count)}]\n{GOOD[end:]}"


def test_a_product_has_so_many_risk_bands_and_no_more():
    assert len(product_from_toml(with_bands(MAX_BANDS), where="a.toml").limit.bands) == 16
    for count in (0, MAX_BANDS + 1):
        with pytest.raises(InvalidInput, match=r"a\.toml: "):
            product_from_toml(with_bands(count), where="a.toml")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('id = "tax-credit-loan"', 'id = "Tax Credit"'),
        ('id = "tax-credit-loan"\n', ""),
        ('zh = "税信贷"', 'zh = ""'),
        ("= 24", "= -1"),
        ("= 24", "= 1201"),
        ("= 24", '= "24"'),
        ("max_days_without_sales = 92", "max_days_without_sales = 0"),
        ("max_days_without_sales = 92", "max_days_without_sales = 3661"),
        ('others = "C"', 'others = ""'),
        ('others = "C"\n', ""),
        ('by_grade = { A = "A"', 'by_grade = { E = "A"'),
        ('refer_above = "0.12"', "refer_above = 0.12"),
        ('refer_above = "0.12"', 'refer_above = "a lot"'),
        ('refer_above = "0.12"', 'refer_above = "NaN"'),
        ('refer_above = "0.12"', 'refer_above = "-0.01"'),
        ('refer_above = "0.12"', 'refer_above = "0.200001"'),
        ('refer_above = "0.12"', 'refer_above = "0.1200000"'),
        ("refer_above", "fee"),
        ("min_age_months =", "min_age_months"),
        ('A = "12"', 'E = "12"'),
        ('A = "12"', 'A = "1000"'),
        ('{ A = "12", B = "10", M = "6" }', "{}"),
        ("uses_tax = true", "uses_tax = false"),
        ("cap_fen = 500_000_000", "cap_fen = 999_999"),
        ("cap_fen = 500_000_000", "cap_fen = 10_000_000_000_000_000_001"),
        ("floor_fen = 1_000_000", "floor_fen = -1"),
        ("step_fen = 1_000_000", "step_fen = 0"),
        ("minimum_tax_fen = 1_000_000\n", ""),
        ('debt_ceiling = "0.70"', 'debt_ceiling = "1.01"'),
        ('revenue_share = "0.20"', 'revenue_share = "1.2"'),
        ('to_probability = "0.20"', 'to_probability = "1.2"'),
        ('to_probability = "0.05"', 'to_probability = "0.02"'),
        ('tax_multiple = "12"', "tax_multiple = 12"),
        ('rate_to = "0.1500"', 'rate_to = "0.0314"'),
        ('rate_step = "0.0005"', 'rate_step = "0"'),
        ('rate_step = "0.0005"', 'rate_step = "0.000001"'),
        ('lgd = "0.50"', 'lgd = "1.5"'),
        ('lgd = "0.50"', 'lgd = "0.50"\nfee = "0.1"'),
    ],
)
def test_a_file_that_breaks_a_rule_is_refused_by_name(old, new):
    assert old in GOOD
    with pytest.raises(InvalidInput) as caught:
        product_from_toml(GOOD.replace(old, new), where="a.toml")
    assert caught.value.code == "lending.product_invalid"
    assert caught.value.message.startswith("a.toml: ")


ASKS = {"risk": "bank/" + "0" * 32, "tax": "bank/" + "1" * 32}


def test_a_product_in_the_mode_score_asks_the_risk_first_and_the_catalogues_one_has_no_models_yet():
    assert load_products()[LOAN].score == ScoreRules(asks=(), max_days_old=31)
    found = product_from_toml(product_text(dict(reversed(ASKS.items()))), where="test")
    assert [(ask.job, ask.model) for ask in found.score.asks] == list(ASKS.items())
    assert (found.mode, load_products()["tax-credit-loan"].mode) == (Mode.SCORE, Mode.DISCLOSE)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({'mode = "score"\n': ""}, "mode is disclose"),
        ({"risk =": "danger ="}, "the job risk"),
        ({'"band" }\ntax': '"yes_no" }\ntax'}, "the job risk"),
        ({"1" * 32: "0" * 32}, "twice"),
        ({'tax_multiple = "6"': 'tax_multiple = "9"'}, "higher risk"),
        ({'revenue_share = "0.15"': 'revenue_share = "0.11"'}, "higher risk"),
        ({'M = "6"': 'M = "11"'}, "lower grade"),
        ({"max_days_old = 31": "max_days_old = 400"}, "max_days_old"),
        ({"bank/": "bank"}, "model"),
    ],
)
def test_rules_that_would_make_a_lower_edge_imprudent_are_refused(changes, says):
    with pytest.raises(InvalidInput, match=says) as refused:
        product_from_toml(product_text(ASKS, **changes), where="test")
    assert refused.value.code == "lending.product_invalid"
