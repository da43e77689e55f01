"""The acts of two people at a bank: a decision on a referred application, and which model decides for a product."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from shuiqiao.base.wire import Digest
from shuiqiao.lending.openings import ProductId
from shuiqiao.lending.review import ReviewedDecision
from shuiqiao.node.accounts.approvals.model import ApprovedAct, RegisteredAct, encode_body
from shuiqiao.node.accounts.model import ActName

if TYPE_CHECKING:
    from shuiqiao.node.institution import Institution


class ModelUse(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Let a kept model decide for a product from then on."""

    product: ProductId
    model: Digest


def bank_acts(institution: Institution) -> list[RegisteredAct[Any]]:
    """Return what a bank carries out once two people wanted it.

    What a maker proposes on an application comes from ``lending.review.propose_decision``; carried out, it stands in
    the application's file, and whoever processes that records it.
    """
    return [
        RegisteredAct(
            name=ActName.DECIDE,
            body=ReviewedDecision,
            execute=partial(_review, institution),
            describe=_describe_review,
        ),
        RegisteredAct(
            name=ActName.APPROVE_MODEL,
            body=ModelUse,
            execute=partial(_use_model, institution),
            describe=lambda body: {"product": body.product, "model": body.model.hex()},
        ),
    ]


def _review(institution: Institution, act: ApprovedAct[ReviewedDecision]) -> Mapping[str, Any]:
    body = act.body
    application = institution.application_store.file(body.application).application
    institution.lending.review(
        body.application,
        encode_body(body),
        product=institution.lending_models.product(application.product),
        maker=act.maker,
        checker=act.checker,
    )
    return {"application": body.application.hex(), "outcome": str(body.outcome)}


def _describe_review(body: ReviewedDecision) -> Mapping[str, Any]:
    return {
        "application": body.application.hex(),
        "outcome": str(body.outcome),
        "limit_fen": body.limit_fen,
        "annual_rate": body.annual_rate,
        "reason": body.reason,
    }


def _use_model(institution: Institution, act: ApprovedAct[ModelUse]) -> Mapping[str, Any]:
    institution.lending_models.use(act.body.model, product=act.body.product)
    return {"product": act.body.product, "model": act.body.model.hex()}
