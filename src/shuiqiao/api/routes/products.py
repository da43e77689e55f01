"""``/products``: a bank's loan products, their rules and what decides for them.

Where people have accounts a change is proposed under ``/approvals`` and approved by a second person; here the owner of
a home without users acts alone.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Path

from shuiqiao.api.door import Running
from shuiqiao.api.journaling import journaled
from shuiqiao.api.routing import Caller, Routes
from shuiqiao.client.resources import products as api
from shuiqiao.client.wire import Nothing
from shuiqiao.node.operations import products as acts

products = Routes("products")

Product = Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]{1,31}$", examples=["tax-credit-loan"])]

_OF_CHANGE = ("node.role_wrong", "node.two_people_needed")


@products.get(api.LIST_PRODUCTS.path, permission="products.read", codes=("node.role_wrong",))
def list_products(running: Running) -> api.ProductPage:
    """List the products and which model decides for each."""
    return acts.list_products(running.institution, Nothing())


@products.get(api.READ_PRODUCT.path, permission="products.read", codes=("node.role_wrong", "lending.product_unknown"))
def read_product(product: Product, running: Running) -> api.ProductRules:
    """Tell the rules of a product that are in force, as numbers and as the text that a change begins with."""
    return acts.read_product(running.institution, api.ProductQuestion(product=product))


@products.post(
    api.CHANGE_RULES.path,
    permission="products.make",
    codes=(*_OF_CHANGE, "lending.product_unknown", "lending.product_invalid", "lending.product_changed"),
)
def change_rules(asked: api.RulesChange, running: Running, caller: Caller) -> api.ProductRules:
    """Let new rules of a product be in force, where nobody has an account."""
    with journaled(running, caller, act="products.change", subject=f"product/{asked.product}"):
        return acts.change_rules(running.institution, asked)


@products.post(api.CHANGE_CHURN.path, permission="products.make", codes=(*_OF_CHANGE, "credit.churn_curve_invalid"))
def change_churn(asked: api.ChurnChange, running: Running, caller: Caller) -> api.ChurnBands:
    """Keep the bank's churn curves in the place of all before, where nobody has an account."""
    with journaled(running, caller, act="products.churn"):
        return acts.change_churn(running.institution, asked)
