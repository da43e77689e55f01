"""The epochs of one log in order: by which policy a checkpoint of any size is judged, and how a receipt shows it.

A block that writes a new epoch is still closed under the epoch before [EPOCH-4]: the checkpoint that ends with its
entry carries the old signatures, and every larger one the new. So the size of a checkpoint alone tells its policy.
Pure: what is stored of an epoch is in ``engine/epoch_keeping``.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shuiqiao.base.encoding import encode_cbor

if TYPE_CHECKING:
    from shuiqiao.ledger.checkpoints.policy import CheckpointPolicy
    from shuiqiao.ledger.model import KeyRing, NetworkParameters
    from shuiqiao.ledger.state.state_map import StateProof


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochChange:
    """An epoch that a block began."""

    size: int
    """Leaves up to the entry of the block that wrote it: the checkpoint of this size closes the epoch before."""
    epoch: bytes
    """The epoch document, an encoded state value."""
    proof: StateProof
    """That the state behind that entry holds it."""


class EpochTrail:
    """The walk from the genesis to today, for one thread that adds and any that read."""

    def __init__(self, parameters: NetworkParameters, *, key_ring: KeyRing) -> None:
        """Begin with the policy of the genesis."""
        self._key_ring = key_ring
        self._origin = parameters.origin
        self._genesis = encode_cbor(parameters.initial_state.get(key_ring.epoch_key))
        self._walked: tuple[tuple[int, ...], tuple[CheckpointPolicy, ...]] = ((), (parameters.policy,))
        self.changes: tuple[EpochChange, ...] = ()

    def add(self, change: EpochChange) -> None:
        """Go on to the next epoch; raises what ``KeyRing.next_policy`` raises for one that does not follow."""
        policy = self._key_ring.next_policy(change.epoch, previous=self.newest_epoch, origin=self._origin)
        sizes, policies = self._walked
        self.changes = (*self.changes, change)
        # One assignment: a reader sees sizes and policies of the same length.
        self._walked = ((*sizes, change.size), (*policies, policy))

    @property
    def newest_epoch(self) -> bytes:
        """The epoch document in force for the next block, encoded."""
        return self.changes[-1].epoch if self.changes else self._genesis

    @property
    def newest_policy(self) -> CheckpointPolicy:
        """The policy of the next block's checkpoint."""
        return self._walked[1][-1]

    def policy_at(self, size: int) -> CheckpointPolicy:
        """Return the policy that judges the checkpoint of a size [EPOCH-4], of those known so far."""
        sizes, policies = self._walked
        return policies[bisect_left(sizes, size)]

    def closes_epoch(self, size: int) -> bool:
        """Tell whether the checkpoint of a size is the last one of an epoch."""
        return size in self._walked[0]
