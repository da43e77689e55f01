"""A member's witness beside its copy of the ledger: it cosigns what it could check, and raises its alarm on a fork.

Every follower of an embedded network runs one, whether or not the policy of today names it: who is asked follows from
the epoch, and a member that becomes a witness by vote need not start anything. In a cometbft network the validators'
votes carry the cosignatures instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuiqiao.ledger.witness.witness import Witness

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shuiqiao.base.clock import Clock
    from shuiqiao.base.ids import MemberId
    from shuiqiao.crypto.model import CipherSuite, SigningKey
    from shuiqiao.ledger.engine.follower import FollowerLedger
    from shuiqiao.ledger.engine.port import LedgerPeer
    from shuiqiao.node.home.keys import MemberKeys
    from shuiqiao.node.home.settings import Home


def open_witness(
    home: Home,
    *,
    member: MemberId,
    keys: MemberKeys,
    suite: CipherSuite,
    clock: Clock,
    follower: FollowerLedger,
    writer: LedgerPeer,
    former_keys: Iterable[SigningKey] = (),
) -> Witness:
    """Open a home's witness and tell the writer of it; close it before the follower.

    former_keys: other signing keys of the member, of epochs before and to come. It judges by the epochs that its own
    copy has seen. Raises what ``Witness`` raises.
    """
    witness = Witness(
        home.ledger / "witness",
        member=member,
        key=keys.signing,
        suite=suite,
        clock=clock,
        former_keys=former_keys,
    )
    policy = follower.parameters.policy
    try:
        witness.watch(policy, policy_at=follower.policy_at, time_at=follower.time_at)
        writer.add_witness(witness)
    except BaseException:
        witness.close()
        raise
    return witness
