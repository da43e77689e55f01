"""Proposes, shows, approves and rejects acts of two people for a message of the API.

What is proposed becomes exact bytes here, of which the second person approves the digest.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from shuiqiao.base.ids import OwnedId
from shuiqiao.client.resources import approvals
from shuiqiao.members.model import KeyPurpose, Role
from shuiqiao.node.accounts.approvals import acts
from shuiqiao.node.accounts.approvals import bank as bank_acts
from shuiqiao.node.accounts.model import ActName
from shuiqiao.node.home.settings import require_role
from shuiqiao.node.operations.governance import named_proposal

if TYPE_CHECKING:
    import msgspec

    from shuiqiao.client.resources import products
    from shuiqiao.client.resources.models import LedgerModelChoice, ModelOffer, ModelUse
    from shuiqiao.client.wire import Nothing
    from shuiqiao.node.operations.calling import Call


def list_approvals(call: Call, asked: approvals.ApprovalQuestion) -> approvals.ApprovalPage:
    """Return acts that the caller may make or check, the newest first."""
    rows, following = call.accounts.approvals.page(
        call.caller, only_for_me=asked.for_me, after=asked.cursor, at_most=asked.limit
    )
    return approvals.ApprovalPage(items=tuple(approvals.ApprovalRecord(**row) for row in rows), next=following)


def read_approval(call: Call, chosen: approvals.ApprovalChoice) -> approvals.ApprovalRecord:
    """Return one act; raises InvalidInput ``node.approval_unknown``."""
    return approvals.ApprovalRecord(**call.accounts.approvals.row(call.caller, chosen.approval))


def approve(call: Call, given: approvals.ApprovalGiven) -> approvals.ApprovalRecord:
    """Approve an act and carry it out; raises what ``ApprovalService.approve`` raises."""
    row = call.accounts.approvals.approve(call.caller, given.approval, digest=given.digest, request=call.request)
    return approvals.ApprovalRecord(**row)


def reject(call: Call, refused: approvals.ApprovalRefused) -> approvals.ApprovalRecord:
    """Reject an act, or withdraw one's own; raises what ``ApprovalService.reject`` raises."""
    row = call.accounts.approvals.reject(call.caller, refused.approval, reason=refused.reason, request=call.request)
    return approvals.ApprovalRecord(**row)


def propose_freeze(call: Call, asked: approvals.FreezeProposal) -> approvals.ApprovalRecord:
    """Propose a freeze of the network; raises InvalidInput ``node.act_invalid``."""
    body = acts.freeze_of_days(
        call.institution, days=asked.days, reason_digest=bytes.fromhex(asked.reason_digest), reason=asked.reason
    )
    return _proposed(call, ActName.FREEZE, body)


def propose_unfreeze(call: Call, _asked: Nothing) -> approvals.ApprovalRecord:
    """Propose to lift the freeze in force; raises Denied ``node.not_frozen``."""
    return _proposed(call, ActName.UNFREEZE, acts.unfreeze_of_now(call.institution))


def propose_suspension(call: Call, asked: approvals.SuspensionProposal) -> approvals.ApprovalRecord:
    """Propose to put a suspension to the vote."""
    body = acts.suspension_proposal(call.institution, asked.member, days=asked.days)
    return _proposed(call, ActName.PROPOSE_SUSPENSION, body)


def propose_suspension_vote(call: Call, asked: approvals.SuspensionVoteProposal) -> approvals.ApprovalRecord:
    """Propose to vote for a suspension; raises InvalidInput ``node.proposal_unclear``, ``node.act_invalid``."""
    body = acts.suspension_vote(call.institution, named_proposal(call.institution, asked.proposal))
    return _proposed(call, ActName.VOTE_SUSPENSION, body)


def propose_emergency(call: Call, asked: approvals.EmergencyProposal) -> approvals.ApprovalRecord:
    """Propose a suspension by a regulator alone; raises InvalidInput ``node.act_invalid``."""
    evidence = bytes.fromhex(asked.evidence_digest)
    body = acts.emergency_suspension(
        call.institution, asked.member, days=asked.days, evidence_digest=evidence, evidence=asked.evidence
    )
    return _proposed(call, ActName.SUSPEND, body)


def propose_rotation(call: Call, asked: approvals.RotationProposal) -> approvals.ApprovalRecord:
    """Propose to replace one of the institution's keys; raises InvalidInput ``node.not_validator``."""
    return _proposed(call, ActName.ROTATE_KEY, acts.key_rotation(call.institution, KeyPurpose(asked.purpose)))


def propose_erasure(call: Call, asked: approvals.ErasureProposal) -> approvals.ApprovalRecord:
    """Propose to destroy records; raises InvalidInput ``node.act_invalid``."""
    return _proposed(call, ActName.ERASE, acts.record_erasure(asked.batch, indexes=asked.leaves, reason=asked.reason))


def propose_decision(call: Call, asked: approvals.DecisionProposal) -> approvals.ApprovalRecord:
    """Propose a decision on a referred application; raises what ``lending.review.propose_decision`` raises."""
    from shuiqiao.lending.model import Outcome, PersonsReason
    from shuiqiao.lending.review import decode_review, propose_decision
    from shuiqiao.node.applications import find_application

    bank = call.institution
    file = bank.application_store.file(find_application(bank.application_store, asked.application))
    product = bank.products.product(file.application.product)
    raw = propose_decision(
        file,
        product=product,
        outcome=Outcome(asked.outcome),
        reason=asked.reason,
        limit_fen=asked.limit_fen,
        annual_rate=None if asked.annual_rate is None else Decimal(asked.annual_rate),
        codes=[PersonsReason(code) for code in asked.codes],
    )
    return _proposed(call, ActName.DECIDE, decode_review(raw, file=file, product=product))


def propose_model(call: Call, asked: ModelUse) -> approvals.ApprovalRecord:
    """Propose which model decides for a product, or that none does; raises what finds product and model."""
    bank = call.institution
    product = bank.products.product(asked.product).id
    model = None if asked.model is None else bank.lending_models.models.find(asked.model).digest
    return _proposed(call, ActName.APPROVE_MODEL, bank_acts.ModelUse(product=product, model=model))


def propose_offer(call: Call, asked: ModelOffer) -> approvals.ApprovalRecord:
    """Propose to offer a model to a provider; raises what ``prepare_offer`` raises."""
    from shuiqiao.node.operations.models import prepare_offer

    return _proposed(call, ActName.OFFER_MODEL, prepare_offer(call.institution, asked))


def propose_run(call: Call, asked: LedgerModelChoice) -> approvals.ApprovalRecord:
    """Propose that a reviewed model may run here; raises what ``ModelRegistry.approval_of`` raises."""
    require_role(call.institution.settings, Role.TAX_BUREAU)
    return _proposed(
        call, ActName.APPROVE_RUN, call.institution.model_registry.approval_of(OwnedId(asked.ledger_model))
    )


def propose_rules(call: Call, asked: products.RulesChange) -> approvals.ApprovalRecord:
    """Propose new rules of a product; raises InvalidInput ``lending.product_unknown``, ``lending.product_invalid``."""
    from shuiqiao.lending.product_rules import require_rules
    from shuiqiao.node.operations.products import replaced_rules

    bank = call.institution
    product = bank.products.product(asked.product).id
    require_rules(product, asked.rules)
    change = bank_acts.RulesChange(product=product, rules=asked.rules, replaces=replaced_rules(bank, asked))
    return _proposed(call, ActName.CHANGE_PRODUCT, bank_acts.ProductChange(change=change))


def propose_churn(call: Call, asked: products.ChurnChange) -> approvals.ApprovalRecord:
    """Propose the bank's churn curves; raises InvalidInput ``credit.churn_curve_invalid``."""
    from shuiqiao.node.operations.products import churn_of

    require_role(call.institution.settings, Role.BANK)
    churn_of(asked)
    curves = {band: dict(zip(curve.rates, curve.churn, strict=True)) for band, curve in asked.curves.items()}
    change = bank_acts.ProductChange(change=bank_acts.ChurnChange(curves=curves))
    return _proposed(call, ActName.CHANGE_PRODUCT, change)


def _proposed(call: Call, name: ActName, body: msgspec.Struct) -> approvals.ApprovalRecord:
    row = call.accounts.approvals.propose(call.caller, name, body, request=call.request, act=call.act)
    return approvals.ApprovalRecord(**row)
