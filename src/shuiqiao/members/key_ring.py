"""What the ledger asks about members, answered from the state.

It asks for keys, for whose signatures a checkpoint needs, and for the version of a kind's rules that is accepted at a
height [MEMBER-13].

::

    members/contracts    {kind: {"version": now, "next_version": later, "height": from when}, ...}

The first version of a kind (``first_version``) is accepted until governing members decide otherwise. One key holds all
decisions, so that a node that executes a block reads it once; that a node's software has a version is the ledger's
question to its kinds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shuiqiao.base.errors import Conflict, Denied, InvalidInput
from shuiqiao.ledger.checkpoints.policy import CheckpointPolicy
from shuiqiao.ledger.model import BlockContext, State, StateView, first_version
from shuiqiao.members.epoch import EPOCH_KEY, checkpoint_policy, decode_epoch, verify_follows
from shuiqiao.members.roster import signing_key


class MemberKeyRing:
    """The ledger's KeyRing over the members in the state."""

    epoch_key = EPOCH_KEY
    signing_key = staticmethod(signing_key)

    def kind_versions(self, state: StateView, *, height: int) -> Mapping[str, int]:
        """Return the version accepted at a height of every kind of which it is not the first [MEMBER-13]."""
        return active_versions(state, height=height)

    def epoch_number(self, state: StateView) -> int:
        """Return the number of the epoch in force in a state."""
        number: int = state.get(EPOCH_KEY)["number"]
        return number

    def next_policy(self, epoch: bytes, *, previous: bytes, origin: str) -> CheckpointPolicy:
        """Return what a checkpoint needs under an epoch that comes after another one [EPOCH-4], [EPOCH-5].

        Raises IntegrityError ``members.epoch_malformed``, ``members.epoch_not_later`` or
        ``members.epoch_engine_changed``.
        """
        following = decode_epoch(epoch)
        verify_follows(following, previous=decode_epoch(previous))
        return checkpoint_policy(following, origin=origin)


CONTRACTS_KEY = "members/contracts"

MAX_ACTIVATIONS = 256
"""Kinds that may ever have another version than the first, so that the value of the key stays bounded."""


def active_versions(state: StateView, *, height: int) -> Mapping[str, int]:
    """Return the version accepted at a height of every kind of which it is not the first."""
    decided: Mapping[str, Any] | None = state.get(CONTRACTS_KEY)
    if decided is None:
        return {}
    accepted = {kind: _accepted(value, height=height) for kind, value in decided.items()}
    return {kind: version for kind, version in accepted.items() if version != first_version(kind)}


def active_version(state: StateView, kind: str, *, height: int) -> int:
    """Return the version of a kind that is accepted at a height."""
    return active_versions(state, height=height).get(kind, first_version(kind))


def _accepted(value: Mapping[str, int], *, height: int) -> int:
    return value["next_version"] if height >= value["height"] else value["version"]


def plan_activation(state: StateView, kind: str, *, version: int, height: int, ctx: BlockContext) -> dict[str, Any]:
    """Return the decision that activates a version from a height on; it replaces one that has not begun yet.

    Raises InvalidInput ``members.activation_past``, Conflict ``members.version_not_higher``, Denied
    ``members.activations_full``.
    """
    if height <= ctx.height:
        raise InvalidInput(
            "members.activation_past", f"{kind} version {version} from height {height}, which block {ctx.height} passed"
        )
    current = active_version(state, kind, height=ctx.height)
    if version <= current:
        raise Conflict("members.version_not_higher", f"{kind} version {version} where version {current} is accepted")
    decided: Mapping[str, Any] = state.get(CONTRACTS_KEY) or {}
    if kind not in decided and len(decided) >= MAX_ACTIVATIONS:
        raise Denied(
            "members.activations_full", f"{MAX_ACTIVATIONS} kinds have other versions already, the most there may"
        )
    return {"version": current, "next_version": version, "height": height}


def put_activation(state: State, kind: str, *, version: int, height: int, ctx: BlockContext) -> None:
    """Write an allowed activation."""
    decided: Mapping[str, Any] = state.get(CONTRACTS_KEY) or {}
    planned = plan_activation(state, kind, version=version, height=height, ctx=ctx)
    state.put(CONTRACTS_KEY, {**decided, kind: planned})
