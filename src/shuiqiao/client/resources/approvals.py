"""Acts of two people: what one proposes, what waits for a second person, and what became of it."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints

from shuiqiao.client.operation import Operation
from shuiqiao.client.pages import Page, PageQuery
from shuiqiao.client.resources.governance import MAX_VOTE_DAYS, Days, ProposalName
from shuiqiao.client.resources.models import LedgerModelChoice, ModelOffer, ModelUse
from shuiqiao.client.resources.products import ChurnChange, RulesChange
from shuiqiao.client.wire import MAX_EXACT, Id, Name, Nothing, Wire, example

MAX_ERASED_LEAVES: Final = 4_096
"""As ``node.accounts.approvals.acts``: leaves of one batch that one act erases."""

MAX_REASON: Final = 500
"""As ``node.accounts.approvals.model``: characters of a reason."""

MAX_TEXT: Final = 4_000
"""As ``node.accounts.approvals.acts``: characters of a reason in words that travels with a proposal."""

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
PersonsReasonName = Literal[
    "business_confirmed",
    "papers_insufficient",
    "business_unclear",
    "debts_too_high",
    "cash_flow_weak",
    "outside_policy",
    "decided_by_persons",
]
"""As ``lending.model.PersonsReason``."""

Leaf = Annotated[int, Field(ge=0, le=65_535)]
Amount = Annotated[int, Field(ge=0, le=MAX_EXACT)]

EXAMPLE: Final[dict[str, Any]] = {
    "approval": "9c" * 16,
    "act": "oversight.freeze",
    "digest": "3e" * 32,
    "what": {"until": "2026-03-01T08:15:00Z", "reason": "records of 3 May contradict", "reason_digest": "5c" * 32},
    "state": "waiting",
    "maker": "2f" * 16,
    "maker_name": "chen.wei",
    "proposed": "2026-02-22T08:15:00Z",
    "until": "2026-03-01T08:15:00Z",
    "checker": "",
    "checker_name": "",
    "decided": "",
    "reason": "",
    "outcome": {},
}
"""An act that waits, as its maker was told of it."""


class ApprovalRecord(Wire):
    """An act that one person proposed, and what became of it."""

    model_config = example(**EXAMPLE)

    approval: Id
    act: Name
    digest: Digest
    """Of the exact bytes that are carried out; who approves names it."""
    what: dict[str, Any]
    """What those bytes say, in words."""
    state: Name
    """waiting, then rejected, expired or approved; approved, then done or failed."""
    maker: Name
    maker_name: Name
    proposed: Name
    until: Name
    """How long it waits for a second person."""
    checker: Name
    checker_name: Name
    decided: Name
    reason: Annotated[str, Field(max_length=MAX_REASON)]
    """Why it was rejected."""
    outcome: dict[str, Any]
    """What it returned, or the code and message of what refused it when it was carried out."""


class ApprovalPage(Page[ApprovalRecord]):
    """Acts that the caller may make or check, the newest first. A page may be empty and name a next one."""

    model_config = example(items=[EXAMPLE], next=None)


class ApprovalQuestion(PageQuery):
    """Asks for a page of acts. for_me: only what waits for the caller to check."""

    model_config = example(limit=100, cursor=None, for_me=True)

    for_me: bool = False


class ApprovalChoice(Wire):
    """Names an act."""

    model_config = example(approval="9c" * 16)

    approval: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z]{1,64}$")]


class ApprovalGiven(Wire):
    """Approves an act by the digest of its bytes, as its checker saw it."""

    model_config = example(approval="9c" * 16, digest="3e" * 32)

    approval: Annotated[str, Field(max_length=64)]
    digest: Annotated[str, Field(max_length=200)]


class ApprovalRefused(Wire):
    """Rejects an act for good, or withdraws one's own."""

    model_config = example(approval="9c" * 16, reason="the evidence is of another member")

    approval: Annotated[str, Field(max_length=64)]
    reason: Annotated[str, Field(max_length=4 * MAX_REASON)]


class FreezeProposal(Wire):
    """Stop the network for some days, as a regulator."""

    model_config = example(days=7, reason_digest="5c" * 32, reason="records of 3 May contradict")

    days: Days
    reason_digest: Digest
    """The network's hash of the file that says why, which stays with the regulator."""
    reason: Annotated[str, Field(max_length=MAX_TEXT)] = ""
    """The text of that file, for the second person; left out where it is no text, or a longer one."""


class SuspensionProposal(Wire):
    """Put the suspension of a member to the vote."""

    model_config = example(member="third-bank", days=14)

    member: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{1,31}$")]
    days: Annotated[int, Field(ge=1, le=MAX_VOTE_DAYS)]
    """How long it is open to vote."""


class SuspensionVoteProposal(Wire):
    """Vote for a suspension that is proposed, once and for good."""

    model_config = example(proposal="77" * 32)

    proposal: ProposalName


class EmergencyProposal(Wire):
    """Suspend a member for some days, as a regulator."""

    model_config = example(member="third-bank", days=7, evidence_digest="5c" * 32, evidence="its key was stolen")

    member: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{1,31}$")]
    days: Days
    evidence_digest: Digest
    """The network's hash of the file that says why, which stays with the regulator."""
    evidence: Annotated[str, Field(max_length=MAX_TEXT)] = ""
    """The text of that file, for the second person; left out where it is no text, or a longer one."""


class RotationProposal(Wire):
    """Replace one of the institution's keys. validator: the one that its CometBFT node votes with."""

    model_config = example(purpose="signing")

    purpose: Literal["signing", "sealing", "validator"]


class ErasureProposal(Wire):
    """Destroy records of a batch, all of it where no leaf is named."""

    model_config = example(batch="5e" * 16, leaves=[0, 3], reason="taxpayer_request")

    batch: Annotated[str, Field(max_length=200)]
    leaves: Annotated[tuple[Leaf, ...], Field(max_length=MAX_ERASED_LEAVES)] = ()
    reason: Literal["data_life_over", "retention_over", "taxpayer_request", "legal_order"]


class DecisionProposal(Wire):
    """Decide on a referred application. limit_fen, annual_rate: left out, what the rules could offer."""

    model_config = example(
        application="6a" * 16,
        outcome="approved",
        reason="order book seen",
        limit_fen=None,
        annual_rate=None,
        codes=["business_confirmed"],
    )

    application: Annotated[str, Field(max_length=64)]
    """Its id, or the beginning of exactly one."""
    outcome: Literal["approved", "refused"]
    reason: Annotated[str, Field(min_length=1, max_length=MAX_REASON)]
    """For the second person and the file."""
    codes: Annotated[tuple[PersonsReasonName, ...], Field(max_length=4)] = ()
    """Why, for the applicant, who is not told the reason's words; none tells that persons decided so."""
    limit_fen: Amount | None = None
    annual_rate: Annotated[str, StringConstraints(pattern=r"^0\.[0-9]{1,6}$")] | None = None


LIST_APPROVALS: Final = Operation(method="GET", path="/approvals", sent=ApprovalQuestion, told=ApprovalPage)
READ_APPROVAL: Final = Operation(method="GET", path="/approvals/{approval}", sent=ApprovalChoice, told=ApprovalRecord)
APPROVE: Final = Operation(path="/approvals/checks", sent=ApprovalGiven, told=ApprovalRecord)
REJECT: Final = Operation(path="/approvals/rejections", sent=ApprovalRefused, told=ApprovalRecord)
PROPOSE_FREEZE: Final = Operation(path="/approvals/freezes", sent=FreezeProposal, told=ApprovalRecord)
PROPOSE_UNFREEZE: Final = Operation(path="/approvals/unfreezes", sent=Nothing, told=ApprovalRecord)
PROPOSE_SUSPENSION: Final = Operation(path="/approvals/suspensions", sent=SuspensionProposal, told=ApprovalRecord)
PROPOSE_SUSPENSION_VOTE: Final = Operation(
    path="/approvals/suspension-votes", sent=SuspensionVoteProposal, told=ApprovalRecord
)
PROPOSE_EMERGENCY: Final = Operation(path="/approvals/emergencies", sent=EmergencyProposal, told=ApprovalRecord)
PROPOSE_ROTATION: Final = Operation(path="/approvals/key-rotations", sent=RotationProposal, told=ApprovalRecord)
PROPOSE_ERASURE: Final = Operation(path="/approvals/erasures", sent=ErasureProposal, told=ApprovalRecord)
PROPOSE_DECISION: Final = Operation(path="/approvals/decisions", sent=DecisionProposal, told=ApprovalRecord)
PROPOSE_MODEL: Final = Operation(path="/approvals/models", sent=ModelUse, told=ApprovalRecord)
PROPOSE_OFFER: Final = Operation(path="/approvals/model-offers", sent=ModelOffer, told=ApprovalRecord)
PROPOSE_RUN: Final = Operation(path="/approvals/model-runs", sent=LedgerModelChoice, told=ApprovalRecord)
PROPOSE_RULES: Final = Operation(path="/approvals/product-rules", sent=RulesChange, told=ApprovalRecord)
PROPOSE_CHURN: Final = Operation(path="/approvals/churn-curves", sent=ChurnChange, told=ApprovalRecord)
