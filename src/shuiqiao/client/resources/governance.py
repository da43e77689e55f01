"""Acts of a member on its network: proposals, votes, suspension, freeze, keys, endpoints.

What the rules of the ledger judge, they judge: the forms here bound what is sent, and leave its refusal to the ledger.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from shuiqiao.client.operation import Operation
from shuiqiao.client.resources.members import PROPOSAL_EXAMPLE, ProposalRecord
from shuiqiao.client.wire import MAX_EXACT, Count, Hex, Name, Wire, example

MAX_MEMBER_FILE: Final = 16_384
"""Longest member file, in characters."""

MAX_LISTED: Final = 64
"""Most members that one set names."""

MAX_VOTE_DAYS: Final = 30
MAX_EMERGENCY_DAYS: Final = 7
"""How long a regulator acts alone, in days."""

Url = Annotated[str, Field(max_length=2_000)]
ShortText = Annotated[str, Field(max_length=1_000)]
ProposalName = Annotated[str, Field(max_length=200, description="Its digest in hex, or enough of its beginning")]
Days = Annotated[int, Field(ge=1, le=MAX_EMERGENCY_DAYS)]


class AdmitMember(Wire):
    """Take in an institution by the file with which it asks for it."""

    action: Literal["admit"]
    member_file: Annotated[str, Field(max_length=MAX_MEMBER_FILE)]
    governing: bool
    witness: bool


class ChangeMemberFlags(Wire):
    """Say anew whether a member governs, witnesses and validates; what is left out stays as it is."""

    action: Literal["change_flags"]
    member: Name
    governing: bool | None = None
    witness: bool | None = None
    validator_key: ShortText | None = None
    """Key of CometBFT in hex, empty for none."""
    validator_proof: ShortText = ""


class SuspendMember(Wire):
    """Close a member's gate until it is reinstated by vote."""

    action: Literal["suspend"]
    member: Name


class ReinstateMember(Wire):
    """Open a member's gate again."""

    action: Literal["reinstate"]
    member: Name


class LiftFreeze(Wire):
    """Lift the freeze in force before its time."""

    action: Literal["unfreeze"]


class ChangeQuorum(Wire):
    """Change how many cosignatures a checkpoint needs."""

    action: Literal["set_quorum"]
    quorum: Annotated[int, Field(ge=0, le=MAX_LISTED)]


class NameWitnesses(Wire):
    """Name all witnesses of an embedded network anew."""

    action: Literal["set_witnesses"]
    members: Annotated[tuple[Name, ...], Field(max_length=MAX_LISTED)]


class NameGoverning(Wire):
    """Name all governing members anew."""

    action: Literal["set_governing"]
    members: Annotated[tuple[Name, ...], Field(max_length=MAX_LISTED)]


class HandOver(Wire):
    """Another member becomes the operator of an embedded network."""

    action: Literal["hand_operator"]
    member: Name


class PublishRecordType(Wire):
    """Fix the digest of one version of a record type."""

    action: Literal["publish_standard"]
    standard: Name


class SetFairUse(Wire):
    """Say anew what fair use is for a purpose; of what is named, or of all. Four zeros lift that rule."""

    action: Literal["set_ceiling"]
    purpose: Annotated[str, Field(pattern=r"^(underwriting|loan_monitoring|model_development|one_time)$")]
    recipient: Annotated[str, Field(max_length=32)] = ""
    product: Annotated[str, Field(max_length=64)] = ""
    record_type: Annotated[str, Field(max_length=48)] = ""
    max_period_months: Annotated[int, Field(ge=0, le=240)]
    max_answers_per_year: Annotated[int, Field(ge=0, le=1000)]
    max_data_life_days: Annotated[int, Field(ge=0, le=3660)]
    max_validity_days: Annotated[int, Field(ge=0, le=3660)]


class ActivateKind(Wire):
    """From a height on, accept another version of a kind of transaction."""

    action: Literal["activate_contract"]
    kind: Name
    version: Annotated[int, Field(ge=2, le=9_999)]
    height: Annotated[int, Field(ge=1, le=MAX_EXACT)]


DraftedAction = (
    AdmitMember
    | ChangeMemberFlags
    | SuspendMember
    | ReinstateMember
    | LiftFreeze
    | ChangeQuorum
    | NameWitnesses
    | NameGoverning
    | HandOver
    | PublishRecordType
    | SetFairUse
    | ActivateKind
)


class ProposalDraft(Wire):
    """An action to put to the vote, which is the proposer's approval."""

    model_config = example(action={"action": "suspend", "member": "third-bank"}, days=14)

    action: Annotated[DraftedAction, Field(discriminator="action")]
    days: Annotated[int, Field(ge=1, le=MAX_VOTE_DAYS)]
    """How long it is open to vote."""


class Vote(Wire):
    """A vote on a proposal, once and for good."""

    model_config = example(proposal="77" * 32, approve=True)

    proposal: ProposalName
    approve: bool


class ProposalStanding(ProposalRecord):
    """How a proposal stands after an act, and the block that has the act."""

    model_config = example(**PROPOSAL_EXAMPLE, height=42)

    height: Count


class Suspension(Wire):
    """Close a member's gate: as a vote approved, or, with evidence, as a regulator for some days."""

    model_config = example(member="third-bank", proposal=None, days=7, evidence_digest=None)

    member: Name
    proposal: ProposalName | None = None
    """Left out, the newest approved one that fits."""
    days: Days = MAX_EMERGENCY_DAYS
    evidence_digest: Hex | None = None
    """The network's hash of the file that says why, which stays with the regulator."""


class Reinstatement(Wire):
    """Open a member's gate: as a vote approved, or once a regulator's suspension is over."""

    model_config = example(member="third-bank", proposal=None)

    member: Name
    proposal: ProposalName | None = None


class MemberGate(Wire):
    """Whether a member's gate is closed, and by which block."""

    model_config = example(member="third-bank", suspended=True, height=43)

    member: Name
    suspended: bool
    height: Count


class Freeze(Wire):
    """Stop the network for a time, as a regulator."""

    model_config = example(days=1, reason_digest="5c" * 32)

    days: Days
    reason_digest: Hex
    """The network's hash of the file that says why, which stays with the regulator."""


class Unfreeze(Wire):
    """Lift the freeze in force."""

    model_config = example()


class Frozen(Wire):
    """Until when the network stands still."""

    model_config = example(frozen=True, until="2026-03-01T00:00:00Z", height=44)

    frozen: bool
    until: Name
    height: Count


class Unfrozen(Wire):
    """That the network goes on."""

    model_config = example(frozen=False, height=45)

    frozen: bool
    height: Count


class MemberEndpoint(Wire):
    """Where other members reach this one's server; an empty url takes it back."""

    model_config = example(url="https://bank.example:8601", pin="9b" * 32)

    url: Url
    pin: ShortText = ""
    """SHA-256 of the public key (SPKI) of its certificate, in hex."""


class PublishedEndpoint(Wire):
    """What the ledger says of a member's endpoint now."""

    model_config = example(member="first-bank", endpoint="https://bank.example:8601", pin="9b" * 32, height=46)

    member: Name
    endpoint: Url
    pin: ShortText
    height: Count


class KeyRotation(Wire):
    """Which of the institution's keys to replace. validator: the one that its CometBFT node votes with."""

    model_config = example(purpose="signing")

    purpose: Literal["signing", "sealing", "validator"]


class RotatedKey(Wire):
    """A key that was replaced. resumed: an earlier attempt had put it on the ledger already."""

    model_config = example(member="first-bank", purpose="signing", public_key="5c" * 32, height=47, resumed=False)

    member: Name
    purpose: Name
    public_key: Hex
    height: Count
    resumed: bool


PROPOSE: Final = Operation(
    path="/governance/proposals", sent=ProposalDraft, told=ProposalStanding, act="members.propose"
)
VOTE: Final = Operation(path="/governance/votes", sent=Vote, told=ProposalStanding, act="members.vote")
SUSPEND: Final = Operation(path="/governance/suspensions", sent=Suspension, told=MemberGate, act="members.suspend")
REINSTATE: Final = Operation(
    path="/governance/reinstatements", sent=Reinstatement, told=MemberGate, act="members.reinstate"
)
FREEZE: Final = Operation(path="/governance/freezes", sent=Freeze, told=Frozen, act="oversight.freeze")
UNFREEZE: Final = Operation(path="/governance/unfreezes", sent=Unfreeze, told=Unfrozen, act="oversight.unfreeze")
PUBLISH_ENDPOINT: Final = Operation(
    path="/governance/endpoint", sent=MemberEndpoint, told=PublishedEndpoint, act="members.endpoint"
)
ROTATE_KEY: Final = Operation(path="/governance/key-rotations", sent=KeyRotation, told=RotatedKey, act="keys.rotate")
