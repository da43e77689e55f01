"""The digest by which an approval names the act that it approves [MEMBER-23].

A vote, the execution of a vote, a reinstatement and an unfreeze name what they are about by a digest over the whole
act and its author. So an approval of one act is never good for another one, whatever ids their authors chose, and
nobody can take the name of somebody else's act.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from shuiqiao.base.encoding import encode_cbor
from shuiqiao.members.roster import network_suite

if TYPE_CHECKING:
    from shuiqiao.base.ids import MemberId
    from shuiqiao.crypto.model import CipherSuite
    from shuiqiao.ledger.model import StateView, Transaction


def act_digest(body: msgspec.Struct, *, kind: str, author: MemberId, network: bytes, suite: CipherSuite) -> bytes:
    """Return the digest that names an act: what one member says in one kind of transaction on one network."""
    fields = msgspec.to_builtins(body, builtin_types=(bytes,))
    return suite.digest(encode_cbor({"author": str(author), "body": fields, "kind": kind, "network": network}))


def transaction_act(tx: Transaction, state: StateView) -> bytes:
    """Return the digest that names the act of a transaction."""
    return act_digest(tx.body, kind=tx.kind, author=tx.author, network=tx.network, suite=network_suite(state))
