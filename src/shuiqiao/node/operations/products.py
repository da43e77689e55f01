"""Works on a bank's products for a message of the API: each function is one operation of the resource's file."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from shuiqiao.client.resources import products as api
from shuiqiao.credit.pricing import ChurnCurve
from shuiqiao.lending.outputs import score_needs
from shuiqiao.members.model import Role
from shuiqiao.node.accounts.opening import require_no_users
from shuiqiao.node.operations.paging import page_after

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shuiqiao.client.pages import PageQuery
    from shuiqiao.lending.product_rules import ProductInUse
    from shuiqiao.node.institution import Institution


def list_products(institution: Institution, asked: PageQuery) -> api.ProductPage:
    """List the products and which model decides for each."""
    rows = [api.ProductRecord(**use.as_json()) for use in institution.products.in_use()]
    found, following = page_after(rows, asked, name=lambda row: row.product)
    return api.ProductPage(items=found, next=following)


def list_offered(institution: Institution) -> api.OfferedPage:
    """List what this bank offers, for anybody: what a consent may name here; others than banks offer nothing."""
    is_bank = institution.settings.role is Role.BANK
    rows = institution.products.in_use() if is_bank else []
    items = [
        api.OfferedProduct(
            product=product.id,
            name=product.names.en,
            name_zh=product.names.zh,
            from_fen=product.limit.floor_fen,
            to_fen=product.limit.cap_fen,
            rate_from=str(product.pricing.rate_from),
            rate_to=str(product.pricing.rate_to),
            min_age_months=product.min_age_months,
            mode=product.mode.value,
            **_asked(institution, use),
        )
        for use in rows
        for product in [use.rules.product]
        if product.score is None or product.score.asks
    ]
    return api.OfferedPage(items=tuple(items), next=None)


def _asked(institution: Institution, use: ProductInUse) -> dict[str, Any]:
    """Return what a consent has to grant for a product: what its assessment reads, on records or by outputs."""
    product = use.rules.product
    if product.score is None:
        # What features read is known to the libraries that compute them: a server has them when it first needs them.
        from shuiqiao.lending.assessment import record_needs

        model = None if use.model is None else institution.lending_models.models.load(use.model)
        read = record_needs(model).items()
        return {"items": {institution.catalogue.get(name).standard_id: groups for name, groups in read}}
    needs = score_needs(product.score, recipient=institution.recipient)
    return {"outputs": tuple(map(str, needs.outputs)), "items": dict(needs.items), "answers": needs.answers}


def read_product(institution: Institution, asked: api.ProductQuestion) -> api.ProductRules:
    """Tell the rules of a product that are in force; raises InvalidInput ``lending.product_unknown``."""
    return api.ProductRules.model_validate(product_in_use(institution, asked.product).as_json(whole=True))


def product_in_use(institution: Institution, name: str) -> ProductInUse:
    """Return a product with the model that decides for it; raises InvalidInput ``lending.product_unknown``."""
    wanted = institution.products.product(name).id
    (found,) = [use for use in institution.products.in_use() if use.rules.product.id == wanted]
    return found


def change_rules(institution: Institution, asked: api.RulesChange) -> api.ProductRules:
    """Let new rules of a product be in force, where the owner of the home acts alone.

    Raises Denied ``node.two_people_needed``, what ``BankProducts.change`` raises.
    """
    require_no_users(institution, f"rules {asked.product} FILE")
    institution.products.change(asked.product, asked.rules, replaces=replaced_rules(institution, asked))
    return read_product(institution, api.ProductQuestion(product=asked.product))


def replaced_rules(institution: Institution, asked: api.RulesChange) -> bytes:
    """Return the digest of the rules that a change replaces: the ones that it names, else those in force."""
    if asked.replaces is not None:
        return bytes.fromhex(asked.replaces)
    return institution.products.in_force(asked.product).digest


def change_churn(institution: Institution, asked: api.ChurnChange) -> api.ChurnBands:
    """Keep the bank's churn curves, where the owner of the home acts alone.

    Raises Denied ``node.two_people_needed``, InvalidInput ``credit.churn_curve_invalid``.
    """
    require_no_users(institution, "churn FILE")
    curves = churn_of(asked)
    institution.products.set_churn(curves)
    return api.ChurnBands(bands=tuple(sorted(curves)))


def churn_of(asked: api.ChurnChange) -> Mapping[str, ChurnCurve]:
    """Return the curves that a message tells; raises InvalidInput ``credit.churn_curve_invalid``."""
    return {
        band: ChurnCurve(rates=tuple(map(Decimal, curve.rates)), churn=tuple(map(Decimal, curve.churn)))
        for band, curve in asked.curves.items()
    }
