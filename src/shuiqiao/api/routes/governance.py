"""``/governance``: what a member does to govern its network: propose, vote, suspend, freeze, replace its keys.

Acts of two people are refused to one alone.
"""

from __future__ import annotations

from shuiqiao.api.door import Running
from shuiqiao.api.journaling import journaled
from shuiqiao.api.routing import Caller, Routes
from shuiqiao.client.resources import governance as api
from shuiqiao.node.operations import governance as acts

governance = Routes("governance")

_DRAFT_CODES = ("node.member_file_invalid", "standards.type_unknown")
_PROPOSAL_CODES = ("node.proposal_unclear", "node.version_unknown")


@governance.post(api.PROPOSE.path, permission="members.propose", codes=_DRAFT_CODES)
def propose_action(draft: api.ProposalDraft, running: Running, caller: Caller) -> api.ProposalStanding:
    """Put an action to the vote, which is one's own approval."""
    with journaled(running, caller, act="members.propose"):
        return acts.propose(running.institution, draft)


@governance.post(api.VOTE.path, permission="members.propose", codes=_PROPOSAL_CODES)
def vote_on_proposal(given: api.Vote, running: Running, caller: Caller) -> api.ProposalStanding:
    """Vote on a proposal, once and for good."""
    with journaled(running, caller, act="members.vote"):
        return acts.vote(running.institution, given)


@governance.post(api.SUSPEND.path, permission="members.propose", codes=("node.proposal_unclear", "node.not_approved"))
def suspend_member(asked: api.Suspension, running: Running, caller: Caller) -> api.MemberGate:
    """Close a member's gate, as a vote approved or as a regulator for some days."""
    with journaled(running, caller, act="members.suspend"):
        return acts.suspend(running.institution, asked)


@governance.post(api.REINSTATE.path, permission="members.propose", codes=("node.not_approved",))
def reinstate_member(asked: api.Reinstatement, running: Running, caller: Caller) -> api.MemberGate:
    """Open a member's gate, as a vote approved or once a regulator's suspension is over."""
    with journaled(running, caller, act="members.reinstate"):
        return acts.reinstate(running.institution, asked)


@governance.post(api.FREEZE.path, permission="oversight.freeze")
def freeze_network(asked: api.Freeze, running: Running, caller: Caller) -> api.Frozen:
    """Stop the network for a time, as a regulator."""
    with journaled(running, caller, act="oversight.freeze"):
        return acts.freeze(running.institution, asked)


@governance.post(api.UNFREEZE.path, permission="oversight.unfreeze", codes=("node.not_frozen",))
def unfreeze_network(asked: api.Unfreeze, running: Running, caller: Caller) -> api.Unfrozen:
    """Lift the freeze in force."""
    with journaled(running, caller, act="oversight.unfreeze"):
        return acts.unfreeze(running.institution, asked)


@governance.post(api.PUBLISH_ENDPOINT.path, permission="members.propose", codes=("members.endpoint_invalid",))
def publish_endpoint(endpoint: api.MemberEndpoint, running: Running, caller: Caller) -> api.PublishedEndpoint:
    """Say on the ledger where other members reach this institution's server."""
    with journaled(running, caller, act="members.endpoint"):
        return acts.publish_endpoint(running.institution, endpoint)


@governance.post(api.ROTATE_KEY.path, permission="keys.rotate", codes=("node.key_switch_failed",))
def rotate_key(asked: api.KeyRotation, running: Running, caller: Caller) -> api.RotatedKey:
    """Replace one of this institution's keys; the old one is kept as retired."""
    with journaled(running, caller, act="keys.rotate"):
        return acts.rotate_key(running.institution, asked)
