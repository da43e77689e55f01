"""``/governance``: what a member does to govern its network: propose, vote, suspend, freeze, replace its keys.

Acts of two people are refused to one alone.
"""

from __future__ import annotations

from shuiqiao.api.door import Running
from shuiqiao.api.journaling import performed
from shuiqiao.api.routing import Caller, Routes
from shuiqiao.client.resources import governance as api

governance = Routes("governance")

_DRAFT_CODES = ("node.member_file_invalid", "standards.type_unknown")
_PROPOSAL_CODES = ("node.proposal_unclear", "node.version_unknown")
_KEY_CODES = (
    "node.key_switch_failed",
    "node.two_people_needed",
    "node.not_validator",
    "node.validator_key_awaited",
    "node.cometbft_elsewhere",
)


@governance.perform(api.PROPOSE, permission="members.propose", codes=_DRAFT_CODES)
def propose_action(draft: api.ProposalDraft, running: Running, caller: Caller) -> api.ProposalStanding:
    """Put an action to the vote, which is one's own approval."""
    return performed(running, caller, api.PROPOSE, draft)


@governance.perform(api.VOTE, permission="members.propose", codes=(*_PROPOSAL_CODES, "node.two_people_needed"))
def vote_on_proposal(given: api.Vote, running: Running, caller: Caller) -> api.ProposalStanding:
    """Vote on a proposal, once and for good; for a suspension two people do, where there are users."""
    return performed(running, caller, api.VOTE, given)


@governance.perform(api.SUSPEND, permission="members.propose", codes=("node.proposal_unclear", "node.not_approved"))
def suspend_member(asked: api.Suspension, running: Running, caller: Caller) -> api.MemberGate:
    """Close a member's gate, as a vote approved or as a regulator for some days."""
    return performed(running, caller, api.SUSPEND, asked)


@governance.perform(api.REINSTATE, permission="members.propose", codes=("node.not_approved",))
def reinstate_member(asked: api.Reinstatement, running: Running, caller: Caller) -> api.MemberGate:
    """Open a member's gate, as a vote approved or once a regulator's suspension is over."""
    return performed(running, caller, api.REINSTATE, asked)


@governance.perform(api.FREEZE, permission="oversight.freeze")
def freeze_network(asked: api.Freeze, running: Running, caller: Caller) -> api.Frozen:
    """Stop the network for a time, as a regulator."""
    return performed(running, caller, api.FREEZE, asked)


@governance.perform(api.UNFREEZE, permission="oversight.unfreeze", codes=("node.not_frozen",))
def unfreeze_network(asked: api.Unfreeze, running: Running, caller: Caller) -> api.Unfrozen:
    """Lift the freeze in force."""
    return performed(running, caller, api.UNFREEZE, asked)


@governance.perform(api.PUBLISH_ENDPOINT, permission="members.propose", codes=("members.endpoint_invalid",))
def publish_endpoint(endpoint: api.MemberEndpoint, running: Running, caller: Caller) -> api.PublishedEndpoint:
    """Say on the ledger where other members reach this institution's server."""
    return performed(running, caller, api.PUBLISH_ENDPOINT, endpoint)


@governance.perform(api.ROTATE_KEY, permission="keys.rotate", codes=_KEY_CODES)
def rotate_key(asked: api.KeyRotation, running: Running, caller: Caller) -> api.RotatedKey:
    """Replace one of this institution's keys; the old one is kept as retired."""
    return performed(running, caller, api.ROTATE_KEY, asked)
