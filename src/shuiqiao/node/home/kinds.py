"""Which kinds of transactions exist: the contracts of all rooms, collected once in a closed table.

``members``: member.*, witness.register, journal.anchor · ``vault``: anchor.* · ``consent``: consent.* · ``models``:
model.* · ``privacy``: credential.* · ``exchange``: access.* · ``lending``: application.submit, decision.record ·
``oversight``: oversight.*.

Each is in its room's ``contract.py``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from shuiqiao.consent import contract as consent
from shuiqiao.crypto.suites import get_suite
from shuiqiao.exchange import contract as exchange
from shuiqiao.ledger.model import NetworkParameters
from shuiqiao.ledger.state.machine import StateMachine
from shuiqiao.ledger.transactions.kinds import GATE_ROOM, KindTable
from shuiqiao.lending import contract as lending
from shuiqiao.members import contract as members
from shuiqiao.members.key_ring import MemberKeyRing
from shuiqiao.models import contract as models
from shuiqiao.oversight import contract as oversight
from shuiqiao.privacy.credentials import contract as privacy
from shuiqiao.vault import contract as vault

KEY_ROOMS: Final = frozenset({"members", GATE_ROOM})
"""The rooms whose kinds decide on members, keys and who may act; a contract writes under its own room only."""


@lru_cache(maxsize=1)
def network_kinds() -> KindTable:
    """Return the table that every node of a network shares."""
    rooms = (members, vault, consent, models, privacy, exchange, lending, oversight)
    return KindTable(kind for room in rooms for kind in room.KINDS)


def network_machine(parameters: NetworkParameters, *, kinds: KindTable | None = None) -> StateMachine:
    """Return the state machine of a network. kinds: another table than that of every node."""
    suite = get_suite(parameters.suite)
    return StateMachine(parameters, kinds=kinds or network_kinds(), key_ring=MemberKeyRing(), suite=suite)
