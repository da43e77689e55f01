"""The closed table of transaction kinds of this version: every room's contract, collected once."""

from __future__ import annotations

from functools import lru_cache

from shuiqiao.consent import contract as consent
from shuiqiao.exchange import contract as exchange
from shuiqiao.ledger.transactions.kinds import KindTable
from shuiqiao.lending import contract as lending
from shuiqiao.members import contract as members
from shuiqiao.oversight import contract as oversight
from shuiqiao.vault import contract as vault


@lru_cache(maxsize=1)
def network_kinds() -> KindTable:
    """Return the table that every node of a network shares."""
    rooms = (members.KINDS, vault.KINDS, consent.KINDS, exchange.KINDS, lending.KINDS, oversight.KINDS)
    return KindTable(kind for kinds in rooms for kind in kinds)
