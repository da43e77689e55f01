"""What the ledger asks about members, answered from the state: their keys, and whose signatures a checkpoint needs."""

from __future__ import annotations

from collections.abc import Mapping

from shuiqiao.base.ids import MemberId
from shuiqiao.ledger.checkpoints.policy import CheckpointPolicy
from shuiqiao.ledger.model import StateView
from shuiqiao.members.contract_version import active_versions
from shuiqiao.members.epoch import EPOCH_KEY, checkpoint_policy, decode_epoch, verify_follows
from shuiqiao.members.roster import member_record


class MemberKeyRing:
    """The ledger's KeyRing over the members in the state."""

    epoch_key = EPOCH_KEY

    def signing_key(self, state: StateView, member: MemberId) -> bytes:
        """Return the member's raw signing key; raises Denied ``members.unknown``."""
        key: bytes = member_record(state, member)["sign"]
        return key

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
