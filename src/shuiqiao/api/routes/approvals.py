"""``/approvals``: acts that one person proposes and another approves by the digest of their exact bytes [API-17].

Who may see and check which act follows from the act: the permission of these routes is asked where it is known.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query

from shuiqiao.api.access import ANY_CALLER
from shuiqiao.api.door import Running
from shuiqiao.api.journaling import performed
from shuiqiao.api.routing import DEFAULT_LIMIT, Caller, Cursor, Limit, Routes
from shuiqiao.client.resources import approvals as api
from shuiqiao.client.resources.models import LedgerModelChoice, ModelOffer, ModelUse
from shuiqiao.client.resources.products import ChurnChange, RulesChange
from shuiqiao.client.wire import Nothing
from shuiqiao.node.accounts.model import ActName

approvals = Routes("approvals")

ApprovalId = Annotated[str, Path(pattern=r"^[0-9A-Za-z]{1,64}$", examples=["9c" * 16])]
ForMe = Annotated[bool, Query(description="Only what waits for the caller to check")]

_OF_PROPOSAL = ("node.act_unregistered", "node.act_invalid", "node.approval_repeated", "node.approvals_full")
_UNBLOCKS = frozenset({ActName.APPROVE_MODEL, ActName.CHANGE_PRODUCT})
"""Acts after which applications that waited for a model or for prices can go on."""

_CHECKED = {"checker": "4d" * 16, "checker_name": "li.na", "decided": "2026-02-22T09:40:00Z"}
_MEMBER = {"member": "third-bank", "role": "bank", "name": "Third Bank", "name_zh": "第三银行"}


def _example(**changed: Any) -> dict[int, Any]:
    """Return what an answer of a route shows: the act of its body, or what became of it."""
    return {200: {"content": {"application/json": {"example": api.EXAMPLE | changed}}}}


def _proposed(act: ActName, **what: Any) -> dict[int, Any]:
    return _example(act=str(act), what=what)


_OF_CHECK = ("node.approval_unknown", "node.approval_closed", "node.same_person", "node.permission_missing")


@approvals.perform(api.LIST_APPROVALS, permission=ANY_CALLER)
def list_approvals(
    running: Running,
    caller: Caller,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor | None = None,
    for_me: ForMe = False,  # noqa: FBT002 - FastAPI passes it by name
) -> api.ApprovalPage:
    """List the acts that the caller may make or check, the newest first."""
    asked = api.ApprovalQuestion(limit=limit, cursor=cursor, for_me=for_me)
    return performed(running, caller, api.LIST_APPROVALS, asked)


@approvals.perform(api.READ_APPROVAL, permission=ANY_CALLER, codes=("node.approval_unknown",))
def read_approval(approval: ApprovalId, running: Running, caller: Caller) -> api.ApprovalRecord:
    """Show one act: what its bytes say, their digest, and what became of it."""
    return performed(running, caller, api.READ_APPROVAL, api.ApprovalChoice(approval=approval))


@approvals.perform(
    api.APPROVE,
    permission=ANY_CALLER,
    codes=(*_OF_CHECK, "node.digest_differs", "node.act_taken"),
    responses=_example(state="done", outcome={"height": 812}, **_CHECKED),
)
def approve_act(given: api.ApprovalGiven, running: Running, caller: Caller) -> api.ApprovalRecord:
    """Approve an act that another person made, by the digest of its bytes, and carry it out."""
    record = performed(running, caller, api.APPROVE, given)
    if record.act in _UNBLOCKS:
        running.process_open_soon()
    return record


@approvals.perform(
    api.REJECT,
    permission=ANY_CALLER,
    codes=(*_OF_CHECK, "node.act_invalid"),
    responses=_example(state="rejected", reason="the evidence is of another member", **_CHECKED),
)
def reject_act(refused: api.ApprovalRefused, running: Running, caller: Caller) -> api.ApprovalRecord:
    """Reject an act for good, or withdraw one's own."""
    return performed(running, caller, api.REJECT, refused)


@approvals.perform(api.PROPOSE_FREEZE, permission="oversight.freeze", codes=_OF_PROPOSAL)
def propose_freeze(asked: api.FreezeProposal, running: Running, caller: Caller) -> api.ApprovalRecord:
    """Propose to stop the network for a time, as a regulator."""
    return performed(running, caller, api.PROPOSE_FREEZE, asked)


@approvals.perform(
    api.PROPOSE_UNFREEZE,
    permission="oversight.unfreeze",
    codes=(*_OF_PROPOSAL, "node.not_frozen"),
    responses=_proposed(
        ActName.UNFREEZE,
        freeze="5f" * 32,
        ordered_by="regulator",
        in_force_until="2026-03-01T08:15:00Z",
        reason_digest="5c" * 32,
        proposal="",
    ),
)
def propose_unfreeze(asked: Nothing, running: Running, caller: Caller) -> api.ApprovalRecord:
    """Propose to lift the freeze in force."""
    return performed(running, caller, api.PROPOSE_UNFREEZE, asked)


@approvals.perform(
    api.PROPOSE_SUSPENSION,
    permission="members.propose",
    codes=_OF_PROPOSAL,
    responses=_proposed(ActName.PROPOSE_SUSPENSION, member="third-bank", vote_until="2026-03-08T08:15:00Z"),
)
def propose_suspension(asked: api.SuspensionProposal, running: Running, caller: Caller) -> api.ApprovalRecord:
    """Propose to put the suspension of a member to the vote."""
    return performed(running, caller, api.PROPOSE_SUSPENSION, asked)


@approvals.perform(
    api.PROPOSE_SUSPENSION_VOTE,
    permission="members.propose",
    codes=(*_OF_PROPOSAL, "node.proposal_unclear"),
    responses=_proposed(ActName.VOTE_SUSPENSION, member="third-bank", proposal="77" * 32),
)
def propose_suspension_vote(asked: api.SuspensionVoteProposal, running: Running, caller: Caller) -> api.ApprovalRecord:
    """Propose to vote for a suspension that is put to the vote."""
    return performed(running, caller, api.PROPOSE_SUSPENSION_VOTE, asked)


@approvals.perform(
    api.PROPOSE_EMERGENCY,
    permission="members.propose",
    codes=_OF_PROPOSAL,
    responses=_proposed(
        ActName.SUSPEND, **_MEMBER, until="2026-03-01T08:15:00Z", reason="its key was stolen", evidence_digest="5c" * 32
    ),
)
def propose_emergency(asked: api.EmergencyProposal, running: Running, caller: Caller) -> api.ApprovalRecord:
    """Propose to suspend a member for some days, as a regulator."""
    return performed(running, caller, api.PROPOSE_EMERGENCY, asked)


@approvals.perform(
    api.PROPOSE_ROTATION,
    permission="keys.rotate",
    codes=(*_OF_PROPOSAL, "node.not_validator"),
    responses=_proposed(ActName.ROTATE_KEY, purpose="signing", replaces="7a" * 32),
)
def propose_rotation(asked: api.RotationProposal, running: Running, caller: Caller) -> api.ApprovalRecord:
    """Propose to replace one of the institution's keys."""
    return performed(running, caller, api.PROPOSE_ROTATION, asked)


@approvals.perform(
    api.PROPOSE_ERASURE,
    permission="erasures.make",
    codes=_OF_PROPOSAL,
    responses=_proposed(ActName.ERASE, batch="5e" * 16, leaves=[0, 3], reason="taxpayer_request"),
)
def propose_erasure(asked: api.ErasureProposal, running: Running, caller: Caller) -> api.ApprovalRecord:
    """Propose to destroy records of a batch, as a bureau."""
    return performed(running, caller, api.PROPOSE_ERASURE, asked)


@approvals.perform(
    api.PROPOSE_DECISION,
    permission="decisions.make",
    problems=(404,),
    codes=(
        *_OF_PROPOSAL,
        "node.role_wrong",
        "node.application_unclear",
        "node.approval_contradicts",
        "lending.not_referred",
        "lending.review_invalid",
    ),
    responses=_proposed(
        ActName.DECIDE,
        application="6a" * 16,
        outcome="approved",
        limit_fen=50_000_000,
        annual_rate="0.0485",
        reason="order book seen",
        codes=["business_confirmed"],
    ),
)
def propose_decision(asked: api.DecisionProposal, running: Running, caller: Caller) -> api.ApprovalRecord:
    """Propose a decision on an application that was referred to a person, as a bank."""
    return performed(running, caller, api.PROPOSE_DECISION, asked)


@approvals.perform(
    api.PROPOSE_MODEL,
    permission="models.make",
    problems=(404,),
    codes=(*_OF_PROPOSAL, "node.role_wrong", "lending.product_unknown", "credit.model_unclear"),
    responses=_proposed(ActName.APPROVE_MODEL, product="tax-credit-loan", model="6c" * 32),
)
def propose_model(asked: ModelUse, running: Running, caller: Caller) -> api.ApprovalRecord:
    """Propose which of the bank's models decides for a product, or that none does any more."""
    return performed(running, caller, api.PROPOSE_MODEL, asked)


@approvals.perform(
    api.PROPOSE_OFFER,
    permission="models.make",
    problems=(404,),
    codes=(*_OF_PROPOSAL, "node.role_wrong", "credit.model_unclear", "credit.content_malformed", "members.role_wrong"),
    responses=_proposed(
        ActName.OFFER_MODEL,
        model="first-bank/" + "6c" * 16,
        provider="tax-bureau",
        digest="6c" * 32,
        form="scorecard",
        outputs=["band", "yes_no"],
        purpose="underwriting",
    ),
)
def propose_offer(asked: ModelOffer, running: Running, caller: Caller) -> api.ApprovalRecord:
    """Propose to put a model on the ledger and hand it to a provider."""
    return performed(running, caller, api.PROPOSE_OFFER, asked)


@approvals.perform(
    api.PROPOSE_RUN,
    permission="models.review",
    problems=(404,),
    codes=(*_OF_PROPOSAL, "node.role_wrong", "models.unknown", "models.retired", "models.step_invalid"),
    responses=_proposed(ActName.APPROVE_RUN, model="first-bank/" + "6c" * 16, report_digest="4e" * 32),
)
def propose_run(asked: LedgerModelChoice, running: Running, caller: Caller) -> api.ApprovalRecord:
    """Propose that a model, which was reviewed, may run on this bureau's records."""
    return performed(running, caller, api.PROPOSE_RUN, asked)


@approvals.perform(
    api.PROPOSE_RULES,
    permission="products.make",
    problems=(404,),
    codes=(*_OF_PROPOSAL, "node.role_wrong", "lending.product_unknown", "lending.product_invalid"),
    responses=_proposed(
        ActName.CHANGE_PRODUCT, product="tax-credit-loan", replaces="3e" * 32, rules='id = "tax-credit-loan"\n'
    ),
)
def propose_rules(asked: RulesChange, running: Running, caller: Caller) -> api.ApprovalRecord:
    """Propose new rules of a product."""
    return performed(running, caller, api.PROPOSE_RULES, asked)


@approvals.perform(
    api.PROPOSE_CHURN,
    permission="products.make",
    codes=(*_OF_PROPOSAL, "node.role_wrong", "credit.churn_curve_invalid"),
    responses=_proposed(ActName.CHANGE_PRODUCT, curves={"A": {"0.03": "0", "0.15": "0.5"}}),
)
def propose_churn(asked: ChurnChange, running: Running, caller: Caller) -> api.ApprovalRecord:
    """Propose the bank's churn curves, in the place of all before."""
    return performed(running, caller, api.PROPOSE_CHURN, asked)
