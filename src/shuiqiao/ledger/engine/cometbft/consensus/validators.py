"""Gives CometBFT its validator set, which follows the state keys ``members/validator/<member id>``.

A value is {"key": 32-byte Ed25519 key, "power": int}. The set is that of the members that the checkpoint policy names
as cosigners. Updates are given so that CometBFT can always take them: no key twice, none removed that was not there,
and never the last one [ABCI-19].
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from shuiqiao.base.encoding import decode_cbor
from shuiqiao.base.ids import MemberId
from shuiqiao.ledger.engine.cometbft.abci.messages import PublicKey, ValidatorUpdate
from shuiqiao.ledger.engine.cometbft.comet.home import address_of
from shuiqiao.ledger.engine.cometbft.consensus.extensions import PolicyOf
from shuiqiao.ledger.model import StateView

VALIDATOR_KEYS: Final = "members/validator/"
MAX_TOTAL_POWER: Final = 2**60
"""CometBFT's bound on the sum of all powers."""

_KEY_BYTES: Final = 32


class WrittenState:
    """A state with what a finalized block writes to it."""

    def __init__(self, state: StateView, writes: Mapping[str, bytes | None]) -> None:
        self._state = state
        self._writes = writes

    def get(self, key: str) -> Any:
        """Return the value of a key after the block."""
        if key not in self._writes:
            return self._state.get(key)
        data = self._writes[key]
        return None if data is None else decode_cbor(data)


def validators_of(state: StateView, members: Iterable[MemberId]) -> dict[bytes, int]:
    """Return the voting power of each validator key of the members; the first member by id keeps a key named twice."""
    powers: dict[bytes, int] = {}
    total = 0
    for member in sorted(members):
        key, power = _entry(state.get(VALIDATOR_KEYS + member))
        if power > 0 and key not in powers and total + power <= MAX_TOTAL_POWER:
            powers[key] = power
            total += power
    return powers


def member_by_address(state: StateView, members: Iterable[MemberId]) -> dict[bytes, MemberId]:
    """Return the member that votes under each CometBFT address."""
    found: dict[bytes, MemberId] = {}
    for member in sorted(members):
        key, _ = _entry(state.get(VALIDATOR_KEYS + member))
        if key:
            found.setdefault(address_of(key), member)
    return found


def updates_between(before: Mapping[bytes, int], after: Mapping[bytes, int]) -> list[ValidatorUpdate]:
    """Return what makes one validator set of another, in order of keys; nothing if none would be left."""
    if not after:
        return []
    gone = {key: 0 for key in before if key not in after}
    changed = {key: power for key, power in after.items() if before.get(key) != power}
    return [
        ValidatorUpdate(pub_key=PublicKey(ed25519=key), power=power)
        for key, power in sorted({**gone, **changed}.items())
    ]


def _entry(value: Any) -> tuple[bytes, int]:
    """Return key and power of a state value, no key for anything that is none."""
    if not isinstance(value, dict):
        return b"", 0
    key, power = value.get("key"), value.get("power")
    if not isinstance(key, bytes) or len(key) != _KEY_BYTES or type(power) is not int or power < 0:
        return b"", 0
    return key, power


def updates_of(before: StateView, writes: Mapping[str, bytes | None], *, policy_of: PolicyOf) -> list[ValidatorUpdate]:
    """Return how the validator set changes by a block, looking only where the block wrote something of members."""
    if not any(key.startswith("members/") for key in writes):
        return []
    after = WrittenState(before, writes)
    old = validators_of(before, policy_of(before).witnesses)
    # A network whose genesis names no validators keeps those of CometBFT's genesis.
    return updates_between(old, validators_of(after, policy_of(after).witnesses)) if old else []
