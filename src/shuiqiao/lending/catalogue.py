"""Products are data: TOML files beside this module, read and checked once."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from importlib import resources
from typing import Any

from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.money import fen_from_yuan
from shuiqiao.credit.model import Grade
from shuiqiao.lending.model import Product

_FIELDS = {
    "id", "name", "name_zh", "min_age_months", "min_annual_tax_yuan", "needs_recent_sales", "min_limit_yuan",
    "max_limit_yuan", "refer_above", "refuse_above",
}  # fmt: skip


@lru_cache(maxsize=1)
def load_products() -> Mapping[str, Product]:
    """Return every product by id; raises InvalidInput ``lending.product_invalid`` for a file that breaks a rule."""
    folder = resources.files("shuiqiao.lending").joinpath("products")
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".toml")), key=lambda file: file.name)
    products = [product_from_toml(file.read_text(encoding="utf-8"), where=file.name) for file in files]
    return {product.id: product for product in products}


def product_from_toml(text: str, *, where: str) -> Product:
    """Return the product a TOML text describes."""
    try:
        fields = tomllib.loads(text)
        _require_fields(fields, where=where)
        product = _product(fields)
    except (tomllib.TOMLDecodeError, ValueError, TypeError, InvalidOperation) as error:
        raise InvalidInput("lending.product_invalid", f"{where}: {error}") from error
    if not 0 < product.min_limit_fen <= product.max_limit_fen:
        raise InvalidInput("lending.product_invalid", f"{where}: limits do not rise from {product.min_limit_fen} fen")
    if not 0 <= product.refer_above <= product.refuse_above <= 1:
        raise InvalidInput("lending.product_invalid", f"{where}: refer_above {product.refer_above} and refuse_above")
    return product


def _require_fields(fields: Mapping[str, Any], *, where: str) -> None:
    found = set(fields) - {"grades"}
    if found != _FIELDS:
        raise InvalidInput(
            "lending.product_invalid", f"{where}: fields {sorted(found ^ _FIELDS)} are missing or not known"
        )


def _product(fields: Mapping[str, Any]) -> Product:
    grades = fields.get("grades")
    return Product(
        id=fields["id"],
        name=fields["name"],
        name_zh=fields["name_zh"],
        grades=None if grades is None else frozenset(Grade(grade) for grade in grades),
        min_age_months=int(fields["min_age_months"]),
        min_annual_tax_fen=fen_from_yuan(fields["min_annual_tax_yuan"]),
        needs_recent_sales=bool(fields["needs_recent_sales"]),
        min_limit_fen=fen_from_yuan(fields["min_limit_yuan"]),
        max_limit_fen=fen_from_yuan(fields["max_limit_yuan"]),
        refer_above=Decimal(fields["refer_above"]),
        refuse_above=Decimal(fields["refuse_above"]),
    )
