"""A bank's loan products: the rules that decide, the model in use, the curves by which loans are priced."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints

from shuiqiao.client.operation import Operation
from shuiqiao.client.pages import Page, PageQuery
from shuiqiao.client.wire import Count, Hex, Name, Nothing, Wire, example

MAX_RULES_CHARS: Final = 16_384
"""Of the text of a product's rules; those of the catalogue have under 2,000."""

MAX_CURVES: Final = 26
MAX_CURVE_RATES: Final = 1_000

ProductId = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{1,31}$")]
Band = Annotated[str, StringConstraints(pattern=r"^[A-Z]$")]
RateText = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,3}(\.[0-9]{1,9})?$")]

_PRODUCT = {
    "product": "tax-credit-loan",
    "name": "Tax credit loan",
    "name_zh": "税信贷",
    "mode": "disclose",
    "model": "6c" * 32,
    "since": "2026-01-05T08:00:00.000Z",
}

_OFFERED = {
    "product": "tax-credit-loan",
    "name": "Tax credit loan",
    "name_zh": "税信贷",
    "from_fen": 1_000_000,
    "to_fen": 500_000_000,
    "rate_from": "0.0315",
    "rate_to": "0.1500",
    "min_age_months": 24,
    "mode": "score",
    "outputs": ["band", "yes_no"],
    "items": {"invoice_issued@2": ["amounts", "core"]},
    "answers": 4,
}


class ProductRecord(Wire):
    """A product and what decides for it."""

    model_config = example(**_PRODUCT)

    product: ProductId
    name: Name
    name_zh: Name
    mode: Name
    """How the bureau answers: ``disclose``, with records, or ``score``, with outputs of models that run there."""
    model: Hex | None
    """The model that decides on records, none before one was chosen."""
    since: Name | None


class ProductPage(Page[ProductRecord]):
    """Products by id."""

    model_config = example(items=[_PRODUCT], next=None)


class OfferedProduct(Wire):
    """A product that a bank offers, as anybody may read it: amounts in fen, annual rates as texts."""

    model_config = example(**_OFFERED)

    product: ProductId
    name: Name
    name_zh: Name
    from_fen: Count
    to_fen: Count
    rate_from: Name
    rate_to: Name
    min_age_months: Count
    """How long a business must exist."""
    mode: Name
    """How the bureau answers: ``disclose``, with records, or ``score``, with outputs of models that run there."""
    outputs: tuple[Name, ...] = ()
    """In the mode score: what a consent lets leave the bureau."""
    items: dict[str, tuple[str, ...]] = Field(default_factory=dict[str, tuple[str, ...]])
    """The groups of each record type that the assessment reads, which a consent names [LENDING-17]."""
    answers: Count = 1
    """How many answers a consent allows at least."""


class OfferedPage(Page[OfferedProduct]):
    """What a bank offers, by id."""

    model_config = example(items=[_OFFERED], next=None)


class ProductQuestion(Wire):
    """One product."""

    model_config = example(product="tax-credit-loan")

    product: ProductId


class ProductRules(ProductRecord):
    """A product with the rules that are in force, as numbers and as the text that says them."""

    model_config = example(
        **_PRODUCT,
        min_age_months=24,
        max_days_without_sales=92,
        refer_above="0.12",
        limit={"cap_fen": 500_000_000, "floor_fen": 1_000_000},
        price={"rate_from": "0.0315", "rate_to": "0.1500"},
        churn_bands={"A": "A", "B": "B"},
        other_churn_band="C",
        score=None,
        digest="3e" * 32,
        changed=None,
        rules='id = "tax-credit-loan"\n',
    )

    min_age_months: int
    max_days_without_sales: int | None
    refer_above: Name
    limit: dict[str, Any]
    price: dict[str, Any]
    churn_bands: dict[str, str]
    other_churn_band: str
    score: dict[str, Any] | None
    """In the mode score: the outputs of the bank's models that it asks for, and how old the data may be, in days."""
    digest: Hex
    """Of the text, by which a change says what it replaces."""
    changed: Name | None
    """Since when they are in force, none for those of the catalogue."""
    rules: str
    """TOML; a change sends it whole."""


class RulesChange(Wire):
    """New rules in the place of the ones in force. replaces: the digest of those, none for whatever they are."""

    model_config = example(product="tax-credit-loan", rules='id = "tax-credit-loan"\n', replaces="3e" * 32)

    product: ProductId
    rules: Annotated[str, Field(min_length=1, max_length=MAX_RULES_CHARS)]
    replaces: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None


class CurveRecord(Wire):
    """Which share of offers is not taken up, at rising annual rates."""

    rates: Annotated[tuple[RateText, ...], Field(min_length=1, max_length=MAX_CURVE_RATES)]
    churn: Annotated[tuple[RateText, ...], Field(min_length=1, max_length=MAX_CURVE_RATES)]


class ChurnChange(Wire):
    """The bank's churn curves by risk band, in the place of all before."""

    model_config = example(curves={"A": {"rates": ["0.03", "0.15"], "churn": ["0", "0.5"]}})

    curves: Annotated[dict[Band, CurveRecord], Field(min_length=1, max_length=MAX_CURVES)]


class ChurnBands(Wire):
    """The bands of which curves are kept."""

    model_config = example(bands=["A", "B", "C"])

    bands: tuple[str, ...]


LIST_PRODUCTS: Final = Operation(method="GET", path="/products", sent=PageQuery, told=ProductPage)
LIST_OFFERED: Final = Operation(method="GET", path="/offered-products", sent=Nothing, told=OfferedPage)
READ_PRODUCT: Final = Operation(method="GET", path="/products/{product}", sent=ProductQuestion, told=ProductRules)
CHANGE_RULES: Final = Operation(
    path="/products/rules",
    sent=RulesChange,
    told=ProductRules,
    act="products.change",
    subject=lambda asked: f"product/{asked.product}",
)
CHANGE_CHURN: Final = Operation(path="/products/churn", sent=ChurnChange, told=ChurnBands, act="products.churn")
