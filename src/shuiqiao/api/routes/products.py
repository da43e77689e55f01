"""``/products``: a bank's loan products, their rules and what decides for them.

Where people have accounts a change is proposed under ``/approvals`` and approved by a second person; here the owner of
a home without users acts alone.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Path

from shuiqiao.api.access import OPEN
from shuiqiao.api.door import Running
from shuiqiao.api.journaling import performed
from shuiqiao.api.routing import DEFAULT_LIMIT, Caller, Cursor, Limit, Routes
from shuiqiao.client.pages import PageQuery
from shuiqiao.client.resources import products as api
from shuiqiao.node.operations import products as offered

products = Routes("products")

Product = Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]{1,31}$", examples=["tax-credit-loan"])]

_OF_CHANGE = ("node.role_wrong", "node.two_people_needed")


@products.perform(api.LIST_PRODUCTS, permission="products.read", codes=("node.role_wrong",))
def list_products(
    running: Running, caller: Caller, limit: Limit = DEFAULT_LIMIT, cursor: Cursor | None = None
) -> api.ProductPage:
    """List the products and which model decides for each."""
    return performed(running, caller, api.LIST_PRODUCTS, PageQuery(limit=limit, cursor=cursor))


@products.get(api.LIST_OFFERED.path, permission=OPEN)
def list_offered(running: Running) -> api.OfferedPage:
    """List what this bank offers, for anybody: an enterprise names one of these in its consent."""
    return offered.list_offered(running.institution)


@products.perform(api.READ_PRODUCT, permission="products.read", codes=("node.role_wrong", "lending.product_unknown"))
def read_product(product: Product, running: Running, caller: Caller) -> api.ProductRules:
    """Tell the rules of a product that are in force, as numbers and as the text that a change begins with."""
    return performed(running, caller, api.READ_PRODUCT, api.ProductQuestion(product=product))


@products.perform(
    api.CHANGE_RULES,
    permission="products.make",
    codes=(*_OF_CHANGE, "lending.product_unknown", "lending.product_invalid", "lending.product_changed"),
)
def change_rules(asked: api.RulesChange, running: Running, caller: Caller) -> api.ProductRules:
    """Let new rules of a product be in force, where nobody has an account."""
    told = performed(running, caller, api.CHANGE_RULES, asked)
    running.process_open_soon()
    return told


@products.perform(api.CHANGE_CHURN, permission="products.make", codes=(*_OF_CHANGE, "credit.churn_curve_invalid"))
def change_churn(asked: api.ChurnChange, running: Running, caller: Caller) -> api.ChurnBands:
    """Keep the bank's churn curves in the place of all before, where nobody has an account."""
    told = performed(running, caller, api.CHANGE_CHURN, asked)
    running.process_open_soon()
    return told
