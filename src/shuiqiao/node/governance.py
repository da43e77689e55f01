"""What an institution does to govern its network: look who is a member, propose, vote, carry out, freeze.

The rules are those of ``members`` and ``oversight``: the ledger judges every act. What stands here is what only a node
can know: that its software has the version that is voted on, what a file holds, which proposal is meant.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from shuiqiao.base.clock import MS_PER_DAY, iso_from_ms
from shuiqiao.base.encoding import encode_cbor, encode_json
from shuiqiao.base.errors import Denied, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.files import read_regular
from shuiqiao.base.ids import MemberId
from shuiqiao.ledger.checkpoints.signed_note import decode_signed_note
from shuiqiao.ledger.receipts.receipt import decode_receipt
from shuiqiao.ledger.state.machine import NETWORK_GATE
from shuiqiao.members.action import (
    ActivateContract,
    ChangeFlags,
    PublishStandard,
    Reinstate,
    Suspend,
    Unfreeze,
    act_digest,
    action_state,
)
from shuiqiao.members.contract import (
    ENDPOINT,
    PROPOSE,
    REINSTATE,
    SUSPEND,
    VOTE,
    ByVote,
    Emergency,
    EmergencyOver,
    MemberEndpointBody,
    MemberProposeBody,
    MemberReinstateBody,
    MemberSuspendBody,
    MemberVoteBody,
)
from shuiqiao.members.endpoint import decode_endpoint, decode_pin
from shuiqiao.members.epoch import Epoch, decode_epoch, read_epoch
from shuiqiao.members.gate import executed_key, member_gate_key, read_suspension
from shuiqiao.members.model import PROOF_BYTES, VALIDATOR_KEY_BYTES
from shuiqiao.members.proposal import Proposal, ProposalStatus, listed_proposals, read_proposal, tally
from shuiqiao.members.roster import endpoint_key, member_record, roster, validator_of
from shuiqiao.oversight.contract import FREEZE, UNFREEZE, OversightFreezeBody, OversightUnfreezeBody

if TYPE_CHECKING:
    from shuiqiao.crypto.model import CipherSuite
    from shuiqiao.ledger.model import Committed, StateView
    from shuiqiao.members.action import Action
    from shuiqiao.node.institution import Institution
    from shuiqiao.node.member_copy import MemberCopy

DEFAULT_VOTE_DAYS = 14
"""How long a proposal is open where nobody says otherwise, in days."""

MAX_EVIDENCE_BYTES = 64 * 1024 * 1024
"""Largest file that an act may commit to."""

CLOCK_MARGIN_MS = 60_000
"""How much earlier than asked for a time ends, since the block's clock may be behind ours and the limit is strict."""

COPY_WAIT_S: Final = 10.0
"""How long an act waits for this home's copy of the ledger to come to hold what it is about, in seconds."""

_NOT_HERE_YET: Final = frozenset(
    {
        "members.not_suspended",
        "members.proposal_unknown",
        "node.not_approved",
        "node.not_frozen",
        "node.proposal_unclear",
        "oversight.freeze_lasts",
    }
)
"""What is said of something that another node may have put on the ledger a moment ago."""

_COPY_POLL_S: Final = 0.1

_Found = TypeVar("_Found")

_PROPOSAL_HEX = 64
_SHORTEST_PREFIX = 4


def member_rows(state: StateView) -> list[dict[str, Any]]:
    """Return every member there ever was as a JSON object, by id.

    suspended_until: empty if it is not, ``vote`` if it is by vote, else a time.
    """
    epoch = read_epoch(state)
    return [_member_row(state, MemberId(member), epoch) for member in sorted(roster(state))]


def _member_row(state: StateView, member: MemberId, epoch: Epoch) -> dict[str, Any]:
    record = member_record(state, member)
    gate = state.get(member_gate_key(member))
    endpoint = state.get(endpoint_key(member))
    return {
        "member": member,
        "role": record["role"],
        "name": record["name"],
        "name_zh": record["name_zh"],
        "is_governing": member in epoch.governing,
        "is_witness": member in epoch.witnesses,
        "is_operator": member == epoch.operator,
        "validator_key": (validator_of(state, member) or b"").hex(),
        "signing_key": record["sign"].hex(),
        "endpoint": "" if endpoint is None else endpoint["url"],
        "pin": "" if endpoint is None else endpoint["pin"].hex(),
        "suspended_until": "" if gate is None else iso_from_ms(gate["until_ms"]) if gate["until_ms"] else "vote",
    }


def freeze_of(state: StateView) -> dict[str, Any] | None:
    """Return who froze the network until when, None if it is open."""
    gate = state.get(NETWORK_GATE)
    return None if gate is None else {"author": gate["author"], "until": iso_from_ms(gate["until_ms"])}


def epoch_rows(copy: MemberCopy) -> list[dict[str, Any]]:
    """Return the epochs of which a checkpoint was closed, and the one in force, as JSON objects in order.

    closed_at: the size of the checkpoint that closed an epoch, None for the one in force. Raises what the engine's
    ``receipt`` raises: the chain is taken from the newest receipt, where a verifier would find it.
    """
    engine = copy.engine
    genesis = decode_epoch(encode_cbor(copy.parameters.initial_state["members/epoch"]))
    known, closed = [genesis], list[int | None]()
    height, _ = engine.last_block()
    last = next(engine.blocks(from_height=height), None) if height else None
    if last is not None:
        receipt = decode_receipt(engine.receipt(last.first_index), hash_name=copy.suite.hash_name)
        known += [decode_epoch(step.epoch) for step in receipt.epochs]
        closed += [decode_signed_note(step.checkpoint).head.size for step in receipt.epochs]
    present = read_epoch(engine.state())
    if present.number > known[-1].number:
        known.append(present)
    return [
        {
            "number": epoch.number,
            "operator": epoch.operator,
            "quorum": epoch.quorum,
            "witnesses": list(epoch.witnesses),
            "governing": list(epoch.governing),
            "closed_at": closed_at,
        }
        for epoch, closed_at in zip_longest(known, closed)
    ]


def look_up(institution: Institution, find: Callable[[StateView], _Found]) -> _Found:
    """Return what an act finds, or does, by this home's copy of the ledger.

    A copy that others fill may be a moment behind the node at which a proposal was made, a vote was given or a freeze
    was set: what is not there is looked for again for ``COPY_WAIT_S`` seconds. Raises what ``find`` raises, with how
    far the copy is.
    """
    engine = institution.engine
    is_own = institution.parameters.operator == institution.member
    end = time.monotonic() + (0 if is_own else COPY_WAIT_S)
    while True:
        try:
            return find(engine.state())
        except ShuiqiaoError as error:
            if error.code not in _NOT_HERE_YET or is_own:
                raise
            if time.monotonic() >= end:
                height, time_ms = engine.last_block()
                raise error.followed_by(
                    f"; this home's copy of the ledger ends with block {height} of {iso_from_ms(time_ms)}, and in "
                    f"{COPY_WAIT_S:g} s nothing came that says otherwise"
                ) from error
        time.sleep(_COPY_POLL_S)


# Proposals and votes


def proposal_rows(state: StateView, *, now_ms: int) -> list[dict[str, Any]]:
    """Return the listed proposals as JSON objects, oldest first."""
    return [proposal_row(proposal, state, now_ms=now_ms) for proposal in listed_proposals(state)]


def proposal_row(proposal: Proposal, state: StateView, *, now_ms: int) -> dict[str, Any]:
    """Return a proposal as a JSON object. is_executed: of a suspension or reinstatement, whether it was carried out."""
    counted = tally(proposal, state)
    return {
        "proposal": proposal.id.hex(),
        "action": _shown(action_state(proposal.action)),
        "proposer": proposal.proposer,
        "deadline": iso_from_ms(proposal.deadline_ms),
        "status": str(proposal.status_at(now_ms)),
        "reason": proposal.reason,
        "votes": {member: "approve" if approve else "reject" for member, approve in proposal.votes.items()},
        "approvals": counted.approvals,
        "rejections": counted.rejections,
        "governing": counted.governing,
        "is_executed": state.get(executed_key(proposal.id)) is not None,
    }


def _shown(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in fields.items()}


def propose(institution: Institution, action: Action, *, days: int = DEFAULT_VOTE_DAYS) -> dict[str, Any]:
    """Put an action to the vote, which is the proposer's approval, and return the proposal as it stands then.

    E.g. ``propose(institution, Suspend(member="bank-east"), days=7)["proposal"]`` is what others vote on.

    Raises Unavailable ``node.version_unknown``, and what the ledger refuses.
    """
    _require_known(institution, action)
    outbox = institution.outbox
    body = MemberProposeBody(action=action, deadline_ms=outbox.now_ms() + days * MS_PER_DAY - CLOCK_MARGIN_MS)
    committed = outbox.submit(PROPOSE, body)
    proposal = act_digest(
        body,
        kind=PROPOSE,
        author=institution.member,
        network=institution.parameters.network,
        suite=institution.suite,
    )
    return _after(institution, proposal, height=committed.height)


def vote(institution: Institution, proposal: bytes, *, approve: bool) -> dict[str, Any]:
    """Vote on a proposal and return it as it stands then.

    E.g. ``vote(institution, find_proposal(institution.engine.state(), "5f3a"), approve=True)``.

    Raises Unavailable ``node.version_unknown`` where this node could not go on if it passed, and what the ledger
    refuses.
    """
    if approve:
        _require_known(institution, proposed_action(institution, proposal))
    committed = institution.outbox.submit(VOTE, MemberVoteBody(proposal=proposal, approve=approve))
    return _after(institution, proposal, height=committed.height)


def proposed_action(institution: Institution, proposal: bytes) -> Action:
    """Return what a proposal would do; raises InvalidInput ``members.proposal_unknown``."""
    return look_up(institution, lambda state: read_proposal(state, proposal)).action


def _after(institution: Institution, proposal: bytes, *, height: int) -> dict[str, Any]:
    state = institution.engine.state()
    row = proposal_row(read_proposal(state, proposal), state, now_ms=institution.outbox.now_ms())
    return {**row, "height": height}


def find_proposal(state: StateView, name: str) -> bytes:
    """Return the proposal that a hex text names: whole, or the beginning of exactly one that is listed.

    Raises InvalidInput ``node.proposal_unclear``.
    """
    text = name.lower()
    if len(text) == _PROPOSAL_HEX and _is_hex(text):
        return bytes.fromhex(text)
    found = [each.id for each in listed_proposals(state) if each.id.hex().startswith(text)]
    if len(text) < _SHORTEST_PREFIX or len(found) != 1:
        raise InvalidInput(
            "node.proposal_unclear",
            f"{name[:_PROPOSAL_HEX]!r} begins the digest of {len(found)} proposals; {_SHORTEST_PREFIX} or more of its "
            "hex characters that begin no other are needed",
            next_step="shuiqiao members proposals",
        )
    return found[0]


def _is_hex(text: str) -> bool:
    return all(character in "0123456789abcdef" for character in text)


def _require_known(institution: Institution, action: Action) -> None:
    """Return if this program could go on once an action has taken effect."""
    if not isinstance(action, ActivateContract):
        return
    if not any((kind.name, kind.version) == (action.kind, action.version) for kind in institution.kinds):
        raise Unavailable(
            "node.version_unknown",
            f"this program does not know version {action.version} of kind {action.kind}: it would stop at block "
            f"{action.height}",
            next_step="install the release that has it, then vote",
        )


def publication(institution: Institution, standard: str) -> PublishStandard:
    """Return the action that publishes a record type as this program has it: the digest of its canonical JSON Schema.

    Raises InvalidInput ``standards.type_unknown`` for another name or version.
    """
    from shuiqiao.standards.reference import record_schema

    record_type = institution.catalogue.get(standard)
    digest = institution.suite.digest(encode_json(record_schema(record_type)))
    return PublishStandard(standard=record_type.standard_id, digest=digest)


def changed_flags(
    state: StateView,
    member: str,
    *,
    governing: bool | None,
    witness: bool | None,
    validator_key: str | None,
    validator_proof: str,
) -> ChangeFlags:
    """Return the action that changes what is given of a member's duties, and leaves the rest as it is.

    validator_key: hex, empty for none. validator_proof: hex, of a new one, as ``keys show`` prints it at its holder's.
    Raises InvalidInput ``node.key_invalid``.
    """
    name, epoch = MemberId(member), read_epoch(state)
    key = validator_of(state, name) or b""
    if validator_key is not None:
        if not _is_hex(validator_key) or len(validator_key) not in {0, 2 * VALIDATOR_KEY_BYTES}:
            raise InvalidInput(
                "node.key_invalid", f"a validator key is {2 * VALIDATOR_KEY_BYTES} lower-case hex characters, or none"
            )
        key = bytes.fromhex(validator_key)
    if not _is_hex(validator_proof) or len(validator_proof) not in {0, 2 * PROOF_BYTES}:
        raise InvalidInput(
            "node.key_invalid", f"the proof of a key is {2 * PROOF_BYTES} lower-case hex characters, or none"
        )
    return ChangeFlags(
        member=member,
        governing=name in epoch.governing if governing is None else governing,
        witness=name in epoch.witnesses if witness is None else witness,
        validator_key=key,
        validator_proof=bytes.fromhex(validator_proof),
    )


# Endpoints


def put_endpoint(institution: Institution, url: str, *, pin: str) -> dict[str, Any]:
    """Say where this member's server is reached, for all others to read [MEMBER-28]; an empty url takes it back.

    pin: SHA-256 of the SubjectPublicKeyInfo of its certificate in hex, empty where an authority vouches for it. Raises
    InvalidInput ``members.endpoint_invalid``, and what the ledger refuses.
    """
    found = decode_pin(pin, url=url)
    if url:
        decode_endpoint(url, pin=found)
    committed = institution.outbox.submit(ENDPOINT, MemberEndpointBody(url=url, pin=found))
    return {"member": institution.member, "endpoint": url, "pin": pin, "height": committed.height}


# Suspension and freeze


def suspend(
    institution: Institution, member: str, *, proposal: bytes | None, days: int, evidence_digest: bytes | None
) -> dict[str, Any]:
    """Close a member's gate: as a vote approved, or, with evidence, as a regulator for some days.

    proposal: None takes the newest approved one of this act that was not carried out. evidence_digest: of the file that
    says why, which stays with the regulator.
    """
    outbox = institution.outbox
    ground: ByVote | Emergency
    if evidence_digest is None:
        wanted = Suspend(member=member)
        ground = ByVote(proposal=proposal or look_up(institution, lambda state: _approved(state, wanted)))
    else:
        until_ms = outbox.now_ms() + days * MS_PER_DAY - CLOCK_MARGIN_MS
        ground = Emergency(until_ms=until_ms, evidence_digest=evidence_digest)
    committed = outbox.submit(SUSPEND, MemberSuspendBody(member=member, ground=ground))
    return {"member": member, "suspended": True, "height": committed.height}


def reinstate(institution: Institution, member: str, *, proposal: bytes | None) -> dict[str, Any]:
    """Open a member's gate: as a vote approved, or where the time of a regulator's suspension is over.

    Raises Conflict ``members.not_suspended``, Denied ``node.not_approved``, and what the ledger refuses.
    """
    gate = look_up(institution, lambda state: read_suspension(state, MemberId(member)))
    ground: ByVote | EmergencyOver = EmergencyOver()
    if proposal is not None or not gate["until_ms"]:
        wanted = Reinstate(member=member, suspension=gate["suspension"])
        ground = ByVote(proposal=proposal or look_up(institution, lambda state: _approved(state, wanted)))
    body = MemberReinstateBody(member=member, suspension=gate["suspension"], ground=ground)
    committed = institution.outbox.submit(REINSTATE, body)
    return {"member": member, "suspended": False, "height": committed.height}


def reinstatement_of(state: StateView, member: str) -> Reinstate:
    """Return the action that lifts the suspension in force; raises Conflict ``members.not_suspended``."""
    return Reinstate(member=member, suspension=read_suspension(state, MemberId(member))["suspension"])


def _waiting(state: StateView, action: Action) -> list[bytes]:
    """Return the listed proposals of an action that are approved and were not carried out, oldest first."""
    return [
        each.id
        for each in listed_proposals(state)
        if each.status is ProposalStatus.APPROVED and each.action == action and state.get(executed_key(each.id)) is None
    ]


def _approved(state: StateView, action: Action) -> bytes:
    found = _waiting(state, action)
    if not found:
        raise Denied(
            "node.not_approved",
            f"no listed proposal to {' '.join(map(str, _shown(action_state(action)).values()))} is approved and waits "
            "to be carried out",
            next_step="put it to the vote: shuiqiao members propose --help lists the acts; "
            "a regulator may act alone with --evidence",
        )
    return found[-1]


def freeze(institution: Institution, *, days: int, reason_digest: bytes) -> dict[str, Any]:
    """Freeze the network for some days, as a regulator, on the ground of a file that stays with it."""
    until_ms = institution.outbox.now_ms() + days * MS_PER_DAY - CLOCK_MARGIN_MS
    body = OversightFreezeBody(until_ms=until_ms, reason_digest=reason_digest)
    committed = institution.outbox.submit(FREEZE, body)
    return {"frozen": True, "until": iso_from_ms(until_ms), "height": committed.height}


def unfreeze(institution: Institution) -> dict[str, Any]:
    """Lift the freeze in force: as a vote approved, else as a regulator or after its time.

    Raises Denied ``node.not_frozen``, and what the ledger refuses.
    """
    action = look_up(institution, freeze_in_force)

    def lift(state: StateView) -> Committed:
        proposal = next(reversed(_waiting(state, action)), None)
        return institution.outbox.submit(UNFREEZE, OversightUnfreezeBody(freeze=action.freeze, proposal=proposal))

    return {"frozen": False, "height": look_up(institution, lift).height}


def freeze_in_force(state: StateView) -> Unfreeze:
    """Return the action that lifts the freeze in force; raises Denied ``node.not_frozen``."""
    gate = state.get(NETWORK_GATE)
    if gate is None:
        raise Denied("node.not_frozen", "the network is not frozen")
    return Unfreeze(freeze=gate["freeze"])


def file_digest(path: Path, *, suite: CipherSuite) -> bytes:
    """Return the suite hash of a file that an act commits to.

    Raises Unavailable ``node.file_unreadable``, InvalidInput ``node.file_large``.
    """
    try:
        data = read_regular(path, max_bytes=MAX_EVIDENCE_BYTES)
    except OSError as error:
        raise Unavailable("node.file_unreadable", f"{path} cannot be read: {error.strerror}") from error
    if len(data) > MAX_EVIDENCE_BYTES:
        raise InvalidInput("node.file_large", f"{path} is larger than {MAX_EVIDENCE_BYTES} bytes")
    return suite.digest(data)
