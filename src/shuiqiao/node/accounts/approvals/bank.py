"""The acts of two people at a bank: decisions on what was referred, which model decides, the rules of a product."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from msgspec import Meta

from shuiqiao.base.wire import Digest
from shuiqiao.credit.pricing import ChurnCurve
from shuiqiao.lending.openings import ProductId
from shuiqiao.lending.product_rules import MAX_RULES_CHARS
from shuiqiao.lending.review import ReviewedDecision
from shuiqiao.node.accounts.approvals.model import ApprovedAct, RegisteredAct, encode_body
from shuiqiao.node.accounts.model import ActName

if TYPE_CHECKING:
    from shuiqiao.node.institution import Institution


MAX_CURVE_RATES: Final = 1_000
"""Points of one churn curve."""

Band = Annotated[str, Meta(pattern=r"^[A-Z]\Z", max_length=1)]
Share = Annotated[str, Meta(pattern=r"^[0-9]{1,3}(\.[0-9]{1,9})?\Z", max_length=13)]

PROCESS_WAIT_S: Final = 30.0
"""How long a decision waits while another thread is at work on its application, in seconds."""


class ModelUse(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Let a kept model decide for a product from then on, or, without one, retire the one that does."""

    product: ProductId
    model: Digest | None


class RulesChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="rules"):
    """Let new rules be in force. replaces: the digest of the rules in force when this is proposed."""

    product: ProductId
    rules: Annotated[str, Meta(min_length=1, max_length=MAX_RULES_CHARS)]
    replaces: Digest


class ChurnChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="churn"):
    """Keep churn curves, by risk band, in the place of all before: rates to shares of offers not taken up."""

    curves: Annotated[
        dict[Band, Annotated[dict[Share, Share], Meta(min_length=1, max_length=MAX_CURVE_RATES)]], Meta(min_length=1)
    ]


class ProductChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Change what a product is decided or priced by."""

    change: RulesChange | ChurnChange


def bank_acts(institution: Institution) -> list[RegisteredAct[Any]]:
    """Return what a bank carries out once two people wanted it.

    What a maker proposes on an application comes from ``lending.review.propose_decision``; carried out, it stands in
    the application's file and on the ledger.
    """
    return [
        RegisteredAct(
            name=ActName.DECIDE,
            body=ReviewedDecision,
            execute=partial(_review, institution),
            describe=_describe_review,
            about=lambda body: f"application {body.application.hex()}",
        ),
        RegisteredAct(
            name=ActName.APPROVE_MODEL,
            body=ModelUse,
            execute=partial(_use_model, institution),
            describe=_describe_model_use,
        ),
        RegisteredAct(
            name=ActName.CHANGE_PRODUCT,
            body=ProductChange,
            execute=partial(_change_product, institution),
            describe=_describe_product_change,
        ),
    ]


def _review(institution: Institution, act: ApprovedAct[ReviewedDecision]) -> Mapping[str, Any]:
    body = act.body
    application = institution.application_store.file(body.application).application
    institution.lending.review(
        body.application,
        encode_body(body),
        product=institution.products.product(application.product),
        maker=act.maker,
        checker=act.checker,
    )
    file = institution.applications.process(body.application, wait_s=PROCESS_WAIT_S).file
    return {"application": body.application.hex(), "outcome": str(body.outcome), "status": str(file.status)}


def _describe_review(body: ReviewedDecision) -> Mapping[str, Any]:
    return {
        "application": body.application.hex(),
        "outcome": str(body.outcome),
        "limit_fen": body.limit_fen,
        "annual_rate": body.annual_rate,
        "reason": body.reason,
        "codes": [str(code) for code in body.codes],
    }


def _use_model(institution: Institution, act: ApprovedAct[ModelUse]) -> Mapping[str, Any]:
    if act.body.model is None:
        institution.lending_models.retire(act.body.product)
    else:
        institution.lending_models.use(act.body.model, product=act.body.product)
    return _describe_model_use(act.body)


def _describe_model_use(body: ModelUse) -> Mapping[str, Any]:
    return {"product": body.product, "model": "" if body.model is None else body.model.hex()}


def _change_product(institution: Institution, act: ApprovedAct[ProductChange]) -> Mapping[str, Any]:
    change = act.body.change
    if isinstance(change, ChurnChange):
        curves = curves_of(change)
        institution.products.set_churn(curves)
        return {"bands": sorted(curves)}
    found = institution.products.change(change.product, change.rules, replaces=change.replaces)
    return {"product": change.product, "digest": found.digest.hex()}


def curves_of(change: ChurnChange) -> Mapping[str, ChurnCurve]:
    """Return the curves that a change keeps; raises InvalidInput ``credit.churn_curve_invalid``."""
    found: dict[str, ChurnCurve] = {}
    for band, points in change.curves.items():
        in_order = sorted((Decimal(rate), Decimal(share)) for rate, share in points.items())
        found[band] = ChurnCurve(rates=tuple(rate for rate, _ in in_order), churn=tuple(share for _, share in in_order))
    return found


def _describe_product_change(body: ProductChange) -> Mapping[str, Any]:
    change = body.change
    if isinstance(change, ChurnChange):
        return {"curves": change.curves}
    return {"product": change.product, "replaces": change.replaces.hex(), "rules": change.rules}
