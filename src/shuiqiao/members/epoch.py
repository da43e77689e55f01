"""The epoch: whose signatures a checkpoint needs and who governs, from one change of them to the next.

Rule: docs/spec/members.md, [EPOCH-1] to [EPOCH-5]. Epoch 0 follows from the genesis; every change of the operator, of
a witness's or governing member's key, of these sets or of the quorum writes the next number with the full new set under
``members/epoch``. A verifier walks from the genesis to today over these documents.

Pure. It does not verify notes or proofs of state: those are the ledger's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from shuiqiao.base.encoding import decode_cbor_strict
from shuiqiao.base.errors import Denied, IntegrityError, InvalidInput
from shuiqiao.base.ids import MemberId
from shuiqiao.ledger.checkpoints.policy import CheckpointPolicy
from shuiqiao.ledger.model import State, StateView
from shuiqiao.members.model import (
    MAX_GOVERNING,
    MAX_MEMBERS,
    MAX_WITNESSES,
    MEMBER_ID,
    EngineName,
    Genesis,
)

EPOCH_KEY = "members/epoch"

MAX_EPOCH_BYTES = 16_384
"""Largest epoch document: two sets of 64 members with keys of 65 bytes are 13 kB."""

_FIELDS = {"number", "operator", "operator_key", "quorum", "witnesses", "governing"}
_NO_OPERATOR = MemberId("")
_MAX_NUMBER = 2**53 - 1
_KEY_LENGTHS = {32, 65}


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """Who signs, who witnesses and who governs from one moment to the next."""

    number: int
    operator: MemberId | None
    """The member whose signature stands first on every checkpoint; None where validators order by consensus."""
    operator_key: bytes | None
    quorum: int
    witnesses: Mapping[MemberId, bytes]
    """Raw suite signing key by member; in a cometbft network these are the validators."""
    governing: Mapping[MemberId, bytes]

    @property
    def engine(self) -> EngineName:
        """The engine such an epoch is of."""
        return EngineName.COMETBFT if self.operator is None else EngineName.EMBEDDED


def genesis_epoch(genesis: Genesis) -> Epoch:
    """Return epoch 0 [EPOCH-1]."""
    keys = {member.id: member.signing_key for member in genesis.members}
    is_embedded = genesis.engine is EngineName.EMBEDDED
    return Epoch(
        number=0,
        operator=genesis.writer if is_embedded else None,
        operator_key=keys[genesis.writer] if is_embedded else None,
        quorum=genesis.quorum,
        witnesses={member: keys[member] for member in genesis.witnesses},
        governing={member: keys[member] for member in genesis.governing},
    )


def epoch_document(epoch: Epoch) -> dict[str, Any]:
    """Return the state value of an epoch [EPOCH-1]."""
    return {
        "number": epoch.number,
        "operator": str(epoch.operator or ""),
        "operator_key": epoch.operator_key or b"",
        "quorum": epoch.quorum,
        "witnesses": {str(member): key for member, key in epoch.witnesses.items()},
        "governing": {str(member): key for member, key in epoch.governing.items()},
    }


def checkpoint_policy(epoch: Epoch, *, origin: str) -> CheckpointPolicy:
    """Return what a checkpoint of this log needs while an epoch is in force [EPOCH-5].

    Raises InvalidInput ``ledger.policy_invalid`` for an origin that is no key name.
    """
    return CheckpointPolicy(
        origin=origin,
        operator=epoch.operator,
        operator_key=epoch.operator_key,
        witnesses=epoch.witnesses,
        quorum=epoch.quorum,
        epoch=epoch.number,
    )


def read_epoch(state: StateView) -> Epoch:
    """Return the epoch in force in a state."""
    return _from_document(state.get(EPOCH_KEY))


def decode_epoch(data: bytes) -> Epoch:
    """Return the epoch in the bytes of a state value from outside, as a receipt carries it [EPOCH-5].

    Raises IntegrityError ``members.epoch_malformed`` for anything but the one encoding of a sound epoch.
    """
    try:
        epoch = _from_untrusted(decode_cbor_strict(data, max_bytes=MAX_EPOCH_BYTES))
        verify_epoch(epoch)
    except (InvalidInput, Denied) as error:
        raise _malformed(error.message) from error
    return epoch


def verify_follows(following: Epoch, *, previous: Epoch) -> None:
    """Return if an epoch may come after another on a verifier's walk [EPOCH-4].

    Numbers rise, by more than one where one block changed several things: no checkpoint was ever signed under the
    epochs in between. Raises IntegrityError ``members.epoch_not_later``, ``members.epoch_engine_changed``.
    """
    if following.number <= previous.number:
        raise IntegrityError(
            "members.epoch_not_later", f"epoch {following.number} is put after epoch {previous.number}"
        )
    if following.engine is not previous.engine:
        raise IntegrityError(
            "members.epoch_engine_changed",
            f"epoch {following.number} is of engine {following.engine}, epoch {previous.number} of {previous.engine}",
        )


def put_epoch(state: State, epoch: Epoch) -> None:
    """Write the next epoch, unless it says what the one in force says [EPOCH-2]."""
    current = read_epoch(state)
    if replace(epoch, number=current.number) != current:
        state.put(EPOCH_KEY, epoch_document(replace(epoch, number=current.number + 1)))


def with_signing_key(epoch: Epoch, member: MemberId, key: bytes) -> Epoch:
    """Return the epoch in which a member's signing key is another, wherever the member stands [EPOCH-2]."""
    return replace(
        epoch,
        operator_key=key if epoch.operator == member else epoch.operator_key,
        witnesses=_with_key(epoch.witnesses, member, key),
        governing=_with_key(epoch.governing, member, key),
    )


def verify_epoch(epoch: Epoch) -> None:
    """Return if the sets and the quorum can work [EPOCH-3].

    Raises Denied ``members.governing_empty``, ``members.quorum_too_high``, ``members.quorum_too_low``,
    ``members.witness_is_operator``, InvalidInput ``members.set_too_large``.
    """
    for name, members, limit in (
        ("witnesses", epoch.witnesses, MAX_WITNESSES),
        ("governing members", epoch.governing, MAX_GOVERNING),
    ):
        if len(members) > limit:
            raise InvalidInput("members.set_too_large", f"{len(members)} {name} where at most {limit} are allowed")
    if not epoch.governing:
        raise Denied("members.governing_empty", "a network without governing members could never change again")
    if epoch.operator is not None and epoch.operator in epoch.witnesses:
        raise Denied(
            "members.witness_is_operator", f"{epoch.operator} is the operator: it cannot witness its own checkpoints"
        )
    _verify_quorum(epoch)


def smallest_quorum(engine: EngineName, *, witnesses: int) -> int:
    """Return the fewest cosignatures a quorum may ask for: among validators, one more than may be faulty."""
    return witnesses // 3 + 1 if engine is EngineName.COMETBFT else 0


def _verify_quorum(epoch: Epoch) -> None:
    count = len(epoch.witnesses)
    if epoch.quorum > count:
        raise Denied("members.quorum_too_high", f"a quorum of {epoch.quorum} where there are {count} witnesses")
    least = smallest_quorum(epoch.engine, witnesses=count)
    if epoch.quorum < least:
        raise Denied(
            "members.quorum_too_low", f"a quorum of {epoch.quorum} of {count} validators, where {least} are needed"
        )


def is_majority(approvals: int, *, governing: int) -> bool:
    """Return whether approvals are MORE than two thirds of the governing members [MEMBER-3]."""
    return 3 * approvals > 2 * governing


def pick(keys: Callable[[MemberId], bytes], members: Iterable[MemberId]) -> dict[MemberId, bytes]:
    """Return the key of each member, in order of id: one set has one document."""
    return {member: keys(member) for member in sorted(members)}


def _with_key(members: Mapping[MemberId, bytes], member: MemberId, key: bytes) -> Mapping[MemberId, bytes]:
    return {**members, member: key} if member in members else members


def _from_document(value: Mapping[str, Any]) -> Epoch:
    operator = MemberId(value["operator"])
    return Epoch(
        number=value["number"],
        operator=None if operator == _NO_OPERATOR else operator,
        operator_key=value["operator_key"] or None,
        quorum=value["quorum"],
        witnesses={MemberId(member): key for member, key in sorted(value["witnesses"].items())},
        governing={MemberId(member): key for member, key in sorted(value["governing"].items())},
    )


def _from_untrusted(value: Any) -> Epoch:
    if type(value) is not dict or set(value) != _FIELDS:
        raise _malformed(f"it has not exactly the fields {', '.join(sorted(_FIELDS))}")
    for name, most in (("number", _MAX_NUMBER), ("quorum", MAX_MEMBERS)):
        if type(value[name]) is not int or not 0 <= value[name] <= most:
            raise _malformed(f"{name} is not 0 to {most}")
    for name in ("witnesses", "governing"):
        if type(value[name]) is not dict or not all(_is_member(*entry) for entry in value[name].items()):
            raise _malformed(f"{name} is not a map of member ids to keys")
    operator, key = value["operator"], value["operator_key"]
    if (operator, key) != (_NO_OPERATOR, b"") and not _is_member(operator, key):
        raise _malformed("the operator is not a member id with a key, nor empty")
    return _from_document(value)


def _is_member(member: Any, key: Any) -> bool:
    is_name = type(member) is str and MEMBER_ID.match(member) is not None
    return is_name and type(key) is bytes and len(key) in _KEY_LENGTHS


def _malformed(reason: str) -> IntegrityError:
    return IntegrityError("members.epoch_malformed", f"the bytes are not an epoch document: {reason}")
