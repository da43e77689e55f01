"""What governing members may decide: the closed list of actions, when each is allowed, and what it writes.

Rule: docs/spec/members.md, [MEMBER-6] to [MEMBER-12]. An action is judged when it is proposed and again in the
transaction that decides it, since others may have been decided in between. ``Suspend``, ``Reinstate`` and ``Unfreeze``
write nothing here: gates are another room, whose kinds carry them out.

Pure. Who votes and when a proposal passes is ``proposal``.

A vote, the execution of a vote, a reinstatement and an unfreeze name the act that they are about by a digest over the
whole act and its author [MEMBER-23]. So an approval of one act is never good for another one, whatever
ids their authors chose, and nobody can take the name of somebody else's act.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated, Any, assert_never

import msgspec
from msgspec import Meta

from shuiqiao.base.encoding import encode_cbor
from shuiqiao.base.errors import Conflict, Denied, InvalidInput
from shuiqiao.base.ids import MemberId
from shuiqiao.base.wire import Digest, MemberName, PublicKey
from shuiqiao.crypto.model import CipherSuite
from shuiqiao.ledger.model import BlockContext, State, StateView, Transaction
from shuiqiao.members.epoch import Epoch, is_majority, pick, put_epoch, read_epoch, verify_epoch
from shuiqiao.members.gate import verify_lifting, verify_reinstatement, verify_suspension
from shuiqiao.members.key_ring import plan_activation, put_activation
from shuiqiao.members.model import (
    MAX_GOVERNING,
    MAX_MEMBERS,
    MAX_WITNESSES,
    DisplayName,
    EngineName,
    KeyProof,
    KeyPurpose,
    Member,
    Role,
    ValidatorKey,
)
from shuiqiao.members.roster import (
    is_suspended,
    may_vote,
    member_key,
    member_record,
    network_engine,
    network_suite,
    put_key,
    put_member,
    registration_of,
    roster,
    signing_key,
    validator_key,
    validator_of,
    verify_new_key,
    verify_validator_key_length,
)
from shuiqiao.standards.model import StandardId


def act_digest(body: msgspec.Struct, *, kind: str, author: MemberId, network: bytes, suite: CipherSuite) -> bytes:
    """Return the digest that names an act: what one member says in one kind of transaction on one network."""
    fields = msgspec.to_builtins(body, builtin_types=(bytes,))
    return suite.digest(encode_cbor({"author": str(author), "body": fields, "kind": kind, "network": network}))


def transaction_act(tx: Transaction, state: StateView) -> bytes:
    """Return the digest that names the act of a transaction."""
    return act_digest(tx.body, kind=tx.kind, author=tx.author, network=tx.network, suite=network_suite(state))


KindName = Annotated[str, Meta(pattern=r"^[a-z][a-z_]{0,31}\.[a-z][a-z_]{0,31}\Z", max_length=65)]


class _Action(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="action"):
    """One thing that governing members may decide."""


class Admit(_Action, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="admit"):
    """Take in a member, with all its keys, the proof of each [MEMBER-24], and what it is to be."""

    member: MemberName
    role: Role
    name: DisplayName
    name_zh: DisplayName
    signing_key: PublicKey
    sealing_key: PublicKey
    validator_key: ValidatorKey
    signing_proof: KeyProof
    sealing_proof: KeyProof
    validator_proof: KeyProof
    witness: bool
    governing: bool


class ChangeFlags(_Action, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="change_flags"):
    """Say anew whether a member witnesses, governs and validates. validator_proof: of a new key, else empty."""

    member: MemberName
    witness: bool
    governing: bool
    validator_key: ValidatorKey
    validator_proof: KeyProof


class Suspend(_Action, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="suspend"):
    """Close a member's gate; carried out by member.suspend."""

    member: MemberName


class Reinstate(_Action, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="reinstate"):
    """Open a member's gate after one suspension, named by the digest of its act; carried out by member.reinstate."""

    member: MemberName
    suspension: Digest


class Unfreeze(_Action, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="unfreeze"):
    """Lift one freeze, named by the digest of its act; carried out by oversight.unfreeze."""

    freeze: Digest


class SetQuorum(_Action, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="set_quorum"):
    """Change how many cosignatures a checkpoint needs."""

    quorum_count: Annotated[int, Meta(ge=0, le=MAX_WITNESSES)]


class SetWitnesses(_Action, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="set_witnesses"):
    """Name all witnesses of an embedded network anew."""

    witnesses: Annotated[list[MemberName], Meta(max_length=MAX_WITNESSES)]


class SetGoverning(_Action, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="set_governing"):
    """Name all governing members anew."""

    governing: Annotated[list[MemberName], Meta(max_length=MAX_GOVERNING)]


class HandOperator(_Action, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="hand_operator"):
    """Another member becomes the operator of an embedded network, and stops to witness."""

    member: MemberName


class PublishStandard(_Action, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="publish_standard"):
    """Fix the digest of one version of a record type."""

    standard: StandardId
    digest: Digest


class ActivateContract(_Action, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="activate_contract"):
    """From a height on, another version of a kind's rules is the one that is accepted."""

    kind: KindName
    version: Annotated[int, Meta(ge=2, le=9999)]
    height: Annotated[int, Meta(ge=1, le=2**53 - 1)]


class SetCeiling(_Action, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="set_ceiling"):
    """Say anew what fair use is for a purpose: for all, or for one bank, product or record type, where these are named.

    Whoever reads the rules takes the most specific that fits; ``consent.ceilings`` does. Four zeros lift the rule.
    """

    purpose: Annotated[str, Meta(pattern=r"^[a-z][a-z_]{0,31}\Z", max_length=32)]
    recipient: Annotated[str, Meta(pattern=r"^([a-z][a-z0-9-]{1,31})?\Z", max_length=32)]
    product: Annotated[str, Meta(max_length=64)]
    record_type: Annotated[str, Meta(pattern=r"^([a-z][a-z0-9_]{1,47})?\Z", max_length=48)]
    max_period_months: Annotated[int, Meta(ge=0, le=240)]
    max_answers_per_year: Annotated[int, Meta(ge=0, le=1000)]
    max_data_life_days: Annotated[int, Meta(ge=0, le=3660)]
    max_validity_days: Annotated[int, Meta(ge=0, le=3660)]

    @property
    def about(self) -> tuple[str, str, str]:
        """What the rule is about: bank, product and record type, each empty for any."""
        return self.recipient, self.product, self.record_type

    @property
    def bounds(self) -> dict[str, int]:
        """The numbers of the rule."""
        return {name: getattr(self, name) for name in CEILING_BOUNDS}


CEILING_BOUNDS = ("max_period_months", "max_answers_per_year", "max_data_life_days", "max_validity_days")

MAX_CEILINGS = 64
"""Rules of fair use for one purpose: each grant under it looks through them."""

Action = (
    Admit
    | ChangeFlags
    | Suspend
    | Reinstate
    | Unfreeze
    | SetQuorum
    | SetWitnesses
    | SetGoverning
    | HandOperator
    | PublishStandard
    | SetCeiling
    | ActivateContract
)
"""The closed union [MEMBER-6]; the field ``action`` names which one it is."""


def action_state(action: Action) -> dict[str, Any]:
    """Return an action as a state value."""
    fields: dict[str, Any] = msgspec.to_builtins(action, builtin_types=(bytes,))
    return fields


def standard_key(standard: str) -> str:
    """Return the state key of a published standard version."""
    return f"members/standard/{standard}"


def ceiling_key(purpose: str) -> str:
    """Return the state key of the rules of fair use that were voted for a purpose."""
    return f"members/ceiling/{purpose}"


def verify_action(action: Action, state: StateView, ctx: BlockContext) -> None:
    """Return if an action would be allowed now; raises Denied, Conflict or InvalidInput with the rule's code."""
    match action:
        case Admit():
            _verify_admission(action, state)
        case ChangeFlags():
            _verify_flags(action, state)
        case Suspend():
            verify_suspension(state, MemberId(action.member), by_vote=True)
        case Reinstate():
            verify_reinstatement(state, MemberId(action.member), suspension=action.suspension)
        case Unfreeze():
            verify_lifting(state, freeze=action.freeze)
        case SetQuorum() | SetWitnesses() | SetGoverning() | HandOperator():
            _verify_change(read_epoch(state), _next_epoch(action, state), state)
        case PublishStandard():
            _verify_unpublished(action, state)
        case SetCeiling():
            _verify_ceiling(action, state)
        case ActivateContract():
            plan_activation(state, action.kind, version=action.version, height=action.height, ctx=ctx)
        case _:  # pragma: no cover - the union is closed
            assert_never(action)


def perform_action(action: Action, state: State, ctx: BlockContext) -> None:
    """Write what an allowed action changes."""
    match action:
        case Admit():
            epoch = _epoch_with_admitted(action, read_epoch(state))
            put_member(state, _member(action))
            put_epoch(state, epoch)
        case ChangeFlags():
            epoch = _epoch_with_flags(action, state)
            _put_validator(action, state)
            put_epoch(state, epoch)
        case Suspend() | Reinstate() | Unfreeze():
            return
        case SetQuorum() | SetWitnesses() | SetGoverning() | HandOperator():
            put_epoch(state, _next_epoch(action, state))
        case PublishStandard():
            state.put(standard_key(action.standard), {"digest": action.digest, "height": ctx.height})
        case SetCeiling():
            state.put(ceiling_key(action.purpose), _ceilings_with(action, state))
        case ActivateContract():
            put_activation(state, action.kind, version=action.version, height=action.height, ctx=ctx)
        case _:  # pragma: no cover - the union is closed
            assert_never(action)


def _member(action: Admit) -> Member:
    return Member(
        id=MemberId(action.member),
        role=action.role,
        name=action.name,
        name_zh=action.name_zh,
        signing_key=action.signing_key,
        sealing_key=action.sealing_key,
        signing_proof=action.signing_proof,
        sealing_proof=action.sealing_proof,
        validator_key=action.validator_key or None,
        validator_proof=action.validator_proof or None,
    )


def _verify_admission(action: Admit, state: StateView) -> None:
    """[MEMBER-7]: a new id, new keys that it holds, room for one more, and sets that still work with it."""
    if state.get(member_key(MemberId(action.member))) is not None:
        raise Conflict("members.member_exists", f"{action.member} is or was a member already; no id is given twice")
    if len(roster(state)) >= MAX_MEMBERS:
        raise Denied("members.roster_full", f"the network has {MAX_MEMBERS} members, the most there may be")
    _verify_validator_flag(action, state)
    member = _member(action)
    keys = dict(zip(KeyPurpose, (member.signing_key, member.sealing_key, member.validator_key), strict=True))
    given = {purpose: key for purpose, key in keys.items() if key is not None}
    if len(set(given.values())) != len(given):
        raise InvalidInput("members.key_repeated", f"{action.member} is given one key for two purposes")
    for purpose, key in given.items():
        verify_new_key(state, key, purpose=purpose)
    registration_of(state, member.id).verify_member(member, suite=network_suite(state))
    verify_epoch(_epoch_with_admitted(action, read_epoch(state)))


def _epoch_with_admitted(action: Admit, epoch: Epoch) -> Epoch:
    key = {MemberId(action.member): action.signing_key}
    return replace(
        epoch,
        witnesses={**epoch.witnesses, **key} if action.witness else epoch.witnesses,
        governing={**epoch.governing, **key} if action.governing else epoch.governing,
    )


def _verify_flags(action: ChangeFlags, state: StateView) -> None:
    member = MemberId(action.member)
    member_record(state, member)
    _verify_validator_flag(action, state)
    current = validator_of(state, member) or b""
    is_new = action.validator_key not in {b"", current}
    if is_new:
        verify_new_key(state, action.validator_key, purpose=KeyPurpose.VALIDATOR)
    registration_of(state, member).verify_validator(action.validator_proof, action.validator_key if is_new else None)
    before, after = read_epoch(state), _epoch_with_flags(action, state)
    _verify_change(before, after, state, other_change=action.validator_key != current)


def _epoch_with_flags(action: ChangeFlags, state: StateView) -> Epoch:
    epoch, member = read_epoch(state), MemberId(action.member)
    witnesses = (set(epoch.witnesses) - {member}) | ({member} if action.witness else set())
    governing = (set(epoch.governing) - {member}) | ({member} if action.governing else set())
    return replace(epoch, witnesses=_with_keys(state, witnesses), governing=_with_keys(state, governing))


def _put_validator(action: ChangeFlags, state: State) -> None:
    member = MemberId(action.member)
    current = validator_of(state, member)
    if action.validator_key:
        put_key(state, member, action.validator_key, purpose=KeyPurpose.VALIDATOR)
    elif current is not None:
        state.delete(validator_key(member))


def _verify_validator_flag(action: Admit | ChangeFlags, state: StateView) -> None:
    """[MEMBER-10]: a validator is a witness of a cometbft network, and the other way round."""
    verify_validator_key_length(action.validator_key)
    is_validator, engine = bool(action.validator_key), network_engine(state)
    if is_validator and engine is not EngineName.COMETBFT:
        raise Denied("members.engine_wrong", f"{action.member} is given a validator key; the engine is {engine}")
    if engine is EngineName.COMETBFT and is_validator is not action.witness:
        raise InvalidInput(
            "members.validator_flag_wrong",
            f"{action.member} is to be a {'validator' if is_validator else 'witness'} only; validators are the "
            "witnesses of this network, so both flags go together",
        )


def _next_epoch(action: SetQuorum | SetWitnesses | SetGoverning | HandOperator, state: StateView) -> Epoch:
    """Return the epoch an action asks for, before it is judged."""
    epoch = read_epoch(state)
    match action:
        case SetQuorum():
            return replace(epoch, quorum=action.quorum_count)
        case SetWitnesses():
            _require_embedded(state, "witnesses follow the validators; change a member's flags")
            return replace(epoch, witnesses=_with_keys(state, _distinct(action.witnesses)))
        case SetGoverning():
            return replace(epoch, governing=_with_keys(state, _distinct(action.governing)))
        case HandOperator():
            return _handed(epoch, MemberId(action.member), state)
        case _:  # pragma: no cover - the union is closed
            assert_never(action)


def _handed(epoch: Epoch, member: MemberId, state: StateView) -> Epoch:
    """[MEMBER-11]: the new operator may act, and is no witness of its own log."""
    _require_embedded(state, "no single member orders transactions")
    key = signing_key(state, member)
    if is_suspended(state, member):
        raise Denied("members.operator_suspended", f"{member} is suspended and cannot be the operator")
    witnesses = {other: known for other, known in epoch.witnesses.items() if other != member}
    return replace(epoch, operator=member, operator_key=key, witnesses=witnesses)


def _require_embedded(state: StateView, reason: str) -> None:
    if (engine := network_engine(state)) is not EngineName.EMBEDDED:
        raise Denied("members.engine_wrong", f"the engine is {engine}: {reason}")


def _distinct(members: Iterable[str]) -> set[MemberId]:
    named = list(members)
    if sorted(set(named)) != named:
        raise InvalidInput("members.list_unsorted", "the members of a set are named in rising order, each once")
    return {MemberId(member) for member in named}


def _with_keys(state: StateView, members: Iterable[MemberId]) -> dict[MemberId, bytes]:
    return pick(lambda member: signing_key(state, member), members)


def _verify_change(before: Epoch, after: Epoch, state: StateView, *, other_change: bool = False) -> None:
    """[EPOCH-3] the new sets work, [MEMBER-12] enough governing members may vote, and something does change."""
    if after == before and not other_change:
        raise Conflict("members.nothing_changes", "the network is as this proposal wants it already")
    verify_epoch(after)
    active = sum(may_vote(state, member) for member in after.governing)
    if after.governing != before.governing and not is_majority(active, governing=len(after.governing)):
        raise Denied(
            "members.governing_deadlock",
            f"only {active} of {len(after.governing)} governing members could vote: nothing could be decided",
        )


def _verify_ceiling(action: SetCeiling, state: StateView) -> None:
    """[MEMBER-31]: all four bounds or none, something changes, and the rules stay few."""
    given = [bound > 0 for bound in action.bounds.values()]
    if any(given) and not all(given):
        raise InvalidInput("members.ceiling_invalid", "a ceiling has four bounds from 1 on; four zeros lift it")
    before, after = state.get(ceiling_key(action.purpose)) or [], _ceilings_with(action, state)
    if before == after:
        raise Conflict("members.nothing_changes", "the network is as this proposal wants it already")
    if len(after) > MAX_CEILINGS:
        raise Denied("members.ceilings_full", f"{action.purpose} has {MAX_CEILINGS} ceilings, the most there may be")


def _ceilings_with(action: SetCeiling, state: StateView) -> list[dict[str, Any]]:
    names = ("recipient", "product", "record_type")
    rules: list[dict[str, Any]] = state.get(ceiling_key(action.purpose)) or []
    kept = {tuple(rule[name] for name in names): rule for rule in rules}
    kept.pop(action.about, None)
    if any(action.bounds.values()):
        kept[action.about] = dict(zip(names, action.about, strict=True)) | action.bounds
    return [kept[about] for about in sorted(kept)]


def _verify_unpublished(action: PublishStandard, state: StateView) -> None:
    if state.get(standard_key(action.standard)) is not None:
        raise Conflict("members.standard_published", f"{action.standard} is published; a version never changes")
