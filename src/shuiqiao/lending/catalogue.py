"""Products are data: TOML files beside this module, read and checked once, over the limit rules of credit."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from importlib import resources
from typing import Annotated

import msgspec
from msgspec import Meta

from shuiqiao.base.encoding import decode_toml, typed
from shuiqiao.base.errors import InvalidInput
from shuiqiao.credit.limit import INVOICE_LOAN, TAX_CREDIT_LOAN
from shuiqiao.lending.model import Product

_LIMIT_RULES = {rules.id: rules for rules in (TAX_CREDIT_LOAN, INVOICE_LOAN)}


class _ProductFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    limit_rules: str
    min_age_months: Annotated[int, Meta(ge=0, le=1200)]
    needs_recent_sales: bool
    refer_above: str


@lru_cache(maxsize=1)
def load_products() -> Mapping[str, Product]:
    """Return every product by id; raises InvalidInput ``lending.product_invalid`` for a file that breaks a rule."""
    folder = resources.files("shuiqiao.lending").joinpath("products")
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".toml")), key=lambda file: file.name)
    products = [product_from_toml(file.read_text(encoding="utf-8-sig"), where=file.name) for file in files]
    return {product.id: product for product in products}


def product_from_toml(text: str, *, where: str) -> Product:
    """Return the product a TOML text describes; raises InvalidInput ``lending.product_invalid``."""
    try:
        found = typed(decode_toml(text), _ProductFile)
        limit = _LIMIT_RULES[found.limit_rules]
        refer_above = Decimal(found.refer_above)
    except (InvalidInput, msgspec.ValidationError, KeyError, InvalidOperation) as error:
        raise InvalidInput("lending.product_invalid", f"{where}: {error}") from error
    if not refer_above.is_finite() or not 0 <= refer_above <= limit.bands[-1].to_probability:
        raise InvalidInput(
            "lending.product_invalid",
            f"{where}: refer_above is {refer_above} where 0 to {limit.bands[-1].to_probability} is allowed",
        )
    return Product(
        limit=limit,
        min_age_months=found.min_age_months,
        needs_recent_sales=found.needs_recent_sales,
        refer_above=refer_above,
    )
