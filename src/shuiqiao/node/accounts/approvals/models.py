"""The acts of two people about models on the ledger: an owner offers one to a provider, a provider lets one run.

At a provider the one who reviewed a model does not approve it, whoever proposed that: reviewer, maker and checker of an
approval are at least two people, and the checker is not the reviewer [MODEL-4].
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from shuiqiao.base.errors import Conflict, Denied
from shuiqiao.base.ids import MemberId, OwnedId, owned_id
from shuiqiao.base.wire import MemberName
from shuiqiao.members.model import Role
from shuiqiao.models.contract import APPROVE, REGISTER, ModelApproveBody, ModelRegisterBody
from shuiqiao.models.model import ReviewStatus
from shuiqiao.models.roster import model_at
from shuiqiao.node.accounts.approvals.model import ApprovedAct, RegisteredAct
from shuiqiao.node.accounts.approvals.submission import submit_once
from shuiqiao.node.accounts.model import ActName

if TYPE_CHECKING:
    from shuiqiao.node.institution import Institution


class ModelOffer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Register a model of this institution, unless the ledger has it, and hand its content to a provider."""

    model: ModelRegisterBody
    provider: MemberName


def model_acts(institution: Institution) -> list[RegisteredAct[Any]]:
    """Return what an institution of this role carries out about models on the ledger once two people wanted it."""
    role, acts = institution.settings.role, list[RegisteredAct[Any]]()
    if role in {Role.BANK, Role.TAX_BUREAU}:
        acts.append(
            RegisteredAct(
                name=ActName.OFFER_MODEL,
                body=ModelOffer,
                execute=partial(_offer, institution),
                describe=partial(_describe_offer, institution.member),
            )
        )
    if role is Role.TAX_BUREAU:
        acts.append(
            RegisteredAct(
                name=ActName.APPROVE_RUN,
                body=ModelApproveBody,
                execute=partial(_approve_run, institution),
                describe=lambda body: {"model": body.model, "report_digest": body.report_digest.hex()},
            )
        )
    return acts


def offer_model(institution: Institution, offer: ModelOffer, *, after: int) -> OwnedId:
    """Register a model once, and hand its content to the provider; raises what refuses it.

    after: the height of a block before which it was not registered by this act.
    """
    model = owned_id(institution.member, offer.model.model)
    if not institution.model_registry.is_registered(offer.model):
        submit_once(institution, REGISTER, offer.model, after=after)
    if offer.provider != institution.member:
        institution.hand_over_model(model, provider=MemberId(offer.provider))
    return model


def approve_run(institution: Institution, body: ModelApproveBody, *, after: int) -> None:
    """Let a reviewed model run here, once.

    Raises what ``ModelRegistry.approval_of`` raises; Conflict ``models.report_wrong``.
    """
    model = OwnedId(body.model)
    standing = model_at(institution.engine.state(), model, provider=institution.member)
    if standing is not None and (standing.status, standing.report_digest) == (
        ReviewStatus.APPROVED,
        body.report_digest,
    ):
        return
    if institution.model_registry.approval_of(model) != body:
        raise Conflict("models.report_wrong", f"model {model} was reviewed by another report than the one approved")
    submit_once(institution, APPROVE, body, after=after)


def _offer(institution: Institution, act: ApprovedAct[ModelOffer]) -> Mapping[str, Any]:
    model = offer_model(institution, act.body, after=act.height)
    return {"model": model, "provider": act.body.provider}


def _describe_offer(member: MemberId, body: ModelOffer) -> Mapping[str, Any]:
    return {
        "model": owned_id(member, body.model.model),
        "provider": body.provider,
        "digest": body.model.digest.hex(),
        "form": str(body.model.form),
        "outputs": [str(output) for output in body.model.outputs],
        "purpose": str(body.model.purpose),
    }


def _approve_run(institution: Institution, act: ApprovedAct[ModelApproveBody]) -> Mapping[str, Any]:
    report = institution.model_registry.kept_report(act.body.report_digest)
    if report.reviewer == act.checker:
        raise Denied("node.same_person", f"model {act.body.model} was reviewed by its checker: another person approves")
    approve_run(institution, act.body, after=act.height)
    return {"model": act.body.model}
