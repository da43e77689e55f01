"""Members of the network, and the network as one of them sees it."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field

from shuiqiao.client.operation import Operation
from shuiqiao.client.pages import Page, PageQuery
from shuiqiao.client.wire import Count, Hex, Name, Nothing, TimeMs, Wire, example

_MEMBER = {
    "member": "first-bank",
    "role": "bank",
    "name": "First Bank",
    "name_zh": "第一银行",
    "is_governing": True,
    "is_witness": True,
    "is_operator": False,
    "validator_key": "",
    "signing_key": "5c" * 32,
    "endpoint": "https://bank.example:8601",
    "pin": "9b" * 32,
    "suspended_until": "",
}


class MemberRecord(Wire):
    """One institution of the network."""

    model_config = example(**_MEMBER)

    member: Name
    role: Name
    name: Name
    name_zh: Name
    is_governing: bool
    is_witness: bool
    is_operator: bool
    """Whether it runs the embedded writer."""
    validator_key: Hex
    signing_key: Hex
    endpoint: Annotated[str, Field(max_length=2_000)]
    """URL of its server for other members, empty where it has told none."""
    pin: Hex
    """SHA-256 of that server's public key."""
    suspended_until: Name
    """Empty if it is not suspended, ``vote`` until a vote ends it, else a time."""


class MemberPage(Page[MemberRecord]):
    """Members by id."""

    model_config = example(items=[_MEMBER], next=None)


class NetworkStatus(Wire):
    """The network, and how far this institution's copy of the ledger is."""

    model_config = example(
        network="8f" * 32,
        suite="intl",
        engine="embedded",
        member="tax-bureau",
        role="tax_bureau",
        members=5,
        epoch=0,
        quorum=2,
        frozen_until=None,
        height=42,
        block_time_ms=1_767_225_600_000,
        entries=130,
        root="2a" * 32,
        waits_for="",
    )

    network: Hex
    """SHA-256 or SM3 of the genesis, by suite."""
    suite: Name
    engine: Name
    member: Name
    """Whose server this is."""
    role: Name
    members: Count
    epoch: Count
    quorum: Count
    frozen_until: Name | None
    height: Count
    block_time_ms: TimeMs
    entries: Count
    root: Hex
    waits_for: Annotated[str, Field(max_length=2_100)]
    """What it waits for before its copy goes on, e.g. a writer that cannot be reached; empty where it does not."""


PROPOSAL_EXAMPLE = {
    "proposal": "77" * 32,
    "action": {"act": "suspend", "member": "third-bank"},
    "proposer": "regulator",
    "deadline": "2026-03-01T00:00:00Z",
    "status": "open",
    "reason": "",
    "votes": {"regulator": "approve"},
    "approvals": 1,
    "rejections": 0,
    "governing": 5,
    "is_executed": False,
}


class ProposalRecord(Wire):
    """A proposal to change the network, and how its vote stands."""

    model_config = example(**PROPOSAL_EXAMPLE)

    proposal: Hex
    action: dict[str, Any]
    proposer: Name
    deadline: Name
    status: Name
    reason: Annotated[str, Field(max_length=10_000)]
    votes: dict[str, str]
    approvals: Count
    rejections: Count
    governing: Count
    is_executed: bool


class ProposalPage(Page[ProposalRecord]):
    """The newest proposals, oldest first."""

    model_config = example(items=[PROPOSAL_EXAMPLE], next=None)


_FREEZE = {"author": "regulator", "until": "2026-03-01T00:00:00Z"}


class FreezeStanding(Wire):
    """Who froze the network, and until when."""

    model_config = example(**_FREEZE)

    author: Name
    until: Name


class GovernanceStanding(Wire):
    """Which epoch is in force, how many cosignatures a checkpoint needs, and whether the network stands still."""

    model_config = example(epoch=0, quorum=2, frozen=None)

    epoch: Count
    quorum: Count
    frozen: FreezeStanding | None


_EPOCH = {
    "number": 0,
    "operator": "tax-bureau",
    "quorum": 2,
    "witnesses": ["first-bank", "regulator"],
    "governing": ["first-bank", "regulator", "tax-bureau"],
    "closed_at": None,
}


class EpochRecord(Wire):
    """Whose signatures counted for a time."""

    model_config = example(**_EPOCH)

    number: Count
    operator: Name | None
    quorum: Count
    witnesses: tuple[Name, ...]
    governing: tuple[Name, ...]
    closed_at: Count | None
    """Size of the checkpoint that closed it, none for the one in force."""


class EpochPage(Page[EpochRecord]):
    """Epochs, the first one first."""

    model_config = example(items=[_EPOCH], next=None)


READ_STANDING: Final = Operation(method="GET", path="/governance/standing", sent=Nothing, told=GovernanceStanding)
LIST_MEMBERS: Final = Operation(method="GET", path="/members", sent=PageQuery, told=MemberPage)
LIST_EPOCHS: Final = Operation(method="GET", path="/governance/epochs", sent=PageQuery, told=EpochPage)
LIST_PROPOSALS: Final = Operation(method="GET", path="/governance/proposals", sent=PageQuery, told=ProposalPage)
