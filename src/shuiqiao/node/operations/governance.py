"""Governs the network for a message of the API: each function is one operation of ``client.resources.governance``."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from shuiqiao.base.ids import system_entropy
from shuiqiao.client.resources import governance as api
from shuiqiao.members.action import (
    ActivateContract,
    HandOperator,
    SetCeiling,
    SetGoverning,
    SetQuorum,
    SetWitnesses,
    Suspend,
)
from shuiqiao.members.model import KeyPurpose
from shuiqiao.node import governance, rotation
from shuiqiao.node.accounts.opening import require_no_users
from shuiqiao.node.member_file import decode_admission

if TYPE_CHECKING:
    from shuiqiao.members.action import Action
    from shuiqiao.node.institution import Institution


def propose(institution: Institution, draft: api.ProposalDraft) -> api.ProposalStanding:
    """Put an action to the vote; raises what ``governance.propose`` raises."""
    row = governance.propose(institution, _action(institution, draft.action), days=draft.days)
    return api.ProposalStanding(**row)


def _action(institution: Institution, drafted: api.DraftedAction) -> Action:
    """Return the action that a draft stands for, what it leaves out taken from the ledger."""
    match drafted:
        case api.ChangeMemberFlags():
            return _changed_flags(institution, drafted)
        case api.ReinstateMember(member=member):
            return governance.look_up(institution, lambda state: governance.reinstatement_of(state, member))
        case api.LiftFreeze():
            return governance.look_up(institution, governance.freeze_in_force)
        case api.PublishRecordType():
            return governance.publication(institution, drafted.standard)
        case api.SuspendMember():
            require_no_users(institution, f"suspension {drafted.member}")
            return Suspend(member=drafted.member)
        case _:
            return _complete_action(drafted)


_Complete = (
    api.AdmitMember
    | api.ChangeQuorum
    | api.NameWitnesses
    | api.NameGoverning
    | api.HandOver
    | api.SetFairUse
    | api.ActivateKind
)


def _complete_action(drafted: _Complete) -> Action:
    """Return the action of a draft that says all of it."""
    match drafted:
        case api.AdmitMember():
            return decode_admission(drafted.member_file, governing=drafted.governing, witness=drafted.witness)
        case api.ChangeQuorum():
            return SetQuorum(quorum_count=drafted.quorum)
        case api.NameWitnesses() | api.NameGoverning():
            return _named(drafted)
        case api.HandOver():
            return HandOperator(member=drafted.member)
        case api.SetFairUse():
            return SetCeiling(**drafted.model_dump(exclude={"action"}))
        case api.ActivateKind():
            return ActivateContract(kind=drafted.kind, version=drafted.version, height=drafted.height)
        case _:  # pragma: no cover - the union is closed
            assert_never(drafted)


def _named(drafted: api.NameWitnesses | api.NameGoverning) -> Action:
    members = [*drafted.members]
    is_witness = isinstance(drafted, api.NameWitnesses)
    return SetWitnesses(witnesses=members) if is_witness else SetGoverning(governing=members)


def _changed_flags(institution: Institution, drafted: api.ChangeMemberFlags) -> Action:
    return governance.changed_flags(
        institution.engine.state(),
        drafted.member,
        governing=drafted.governing,
        witness=drafted.witness,
        validator_key=drafted.validator_key,
        validator_proof=drafted.validator_proof,
    )


def vote(institution: Institution, given: api.Vote) -> api.ProposalStanding:
    """Vote on a proposal; raises InvalidInput ``node.proposal_unclear``, what ``governance.vote`` raises.

    For a suspension two people vote, where there are users.
    """
    proposal = named_proposal(institution, given.proposal)
    if given.approve and isinstance(governance.proposed_action(institution, proposal), Suspend):
        require_no_users(institution, f"suspension-vote {given.proposal}")
    return api.ProposalStanding(**governance.vote(institution, proposal, approve=given.approve))


def named_proposal(institution: Institution, name: str) -> bytes:
    """Return the digest of the proposal that a name means; raises InvalidInput ``node.proposal_unclear``."""
    return governance.look_up(institution, lambda state: governance.find_proposal(state, name))


def suspend(institution: Institution, asked: api.Suspension) -> api.MemberGate:
    """Close a member's gate; raises what ``governance.suspend`` raises."""
    if asked.evidence_digest is not None:
        require_no_users(institution, f"emergency {asked.member} --evidence FILE")
    row = governance.suspend(
        institution,
        asked.member,
        proposal=None if asked.proposal is None else named_proposal(institution, asked.proposal),
        days=asked.days,
        evidence_digest=None if asked.evidence_digest is None else bytes.fromhex(asked.evidence_digest),
    )
    return api.MemberGate(**row)


def reinstate(institution: Institution, asked: api.Reinstatement) -> api.MemberGate:
    """Open a member's gate; raises what ``governance.reinstate`` raises."""
    ground = None if asked.proposal is None else named_proposal(institution, asked.proposal)
    return api.MemberGate(**governance.reinstate(institution, asked.member, proposal=ground))


def freeze(institution: Institution, asked: api.Freeze) -> api.Frozen:
    """Freeze the network; raises what refuses it."""
    require_no_users(institution, "freeze --reason FILE")
    row = governance.freeze(institution, days=asked.days, reason_digest=bytes.fromhex(asked.reason_digest))
    return api.Frozen(**row)


def unfreeze(institution: Institution, _asked: api.Unfreeze) -> api.Unfrozen:
    """Lift the freeze in force; raises what ``governance.unfreeze`` raises."""
    require_no_users(institution, "unfreeze")
    return api.Unfrozen(**governance.unfreeze(institution))


def publish_endpoint(institution: Institution, endpoint: api.MemberEndpoint) -> api.PublishedEndpoint:
    """Say on the ledger where this institution's server is reached; raises what ``put_endpoint`` raises."""
    return api.PublishedEndpoint(**governance.put_endpoint(institution, endpoint.url, pin=endpoint.pin))


def rotate_key(institution: Institution, asked: api.KeyRotation) -> api.RotatedKey:
    """Replace one of this institution's keys and work with the new one from now on.

    One rotation at a time; raises what ``rotation.rotate_key`` raises.
    """
    require_no_users(institution, f"rotation --purpose {asked.purpose}")
    with institution.replacing_keys() as passphrase:
        rotated = rotation.rotate_key(
            institution, purpose=KeyPurpose(asked.purpose), passphrase=passphrase, entropy=system_entropy
        )
    return api.RotatedKey(**rotated.as_json())
