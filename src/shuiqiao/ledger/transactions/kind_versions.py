"""Which version of each kind a block accepts, and what a program does that does not know it [LEDGER-KIND-3].

The members decide (``KeyRing.kind_versions``); exactly the version of a block's height is accepted in it, the first
where nothing was decided. It is looked up once a block, since no block changes it for itself. A program that lacks a
version stops at the block from which it counts: to go on would be to refuse what all others accept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from shuiqiao.base.errors import InvalidInput, Unavailable
from shuiqiao.ledger.model import first_version

if TYPE_CHECKING:
    from shuiqiao.ledger.model import KeyRing, StateView, Transaction
    from shuiqiao.ledger.transactions.kinds import KindTable


def known_versions(key_ring: KeyRing, state: StateView, *, kinds: KindTable, height: int) -> Mapping[str, int]:
    """Return the version that counts in a block of every kind of which it is not the first.

    Raises Unavailable ``ledger.version_missing`` if the program does not have one of them.
    """
    versions = key_ring.kind_versions(state, height=height)
    for kind in sorted(versions):
        if not kinds.has(kind, versions[kind]):
            raise Unavailable(
                "ledger.version_missing",
                f"this program does not know version {versions[kind]} of kind {kind}, which block {height} asks for",
                next_step="install the release that has it and start the node again: it goes on where it stopped",
            )
    return versions


def refused_version(tx: Transaction, versions: Mapping[str, int]) -> InvalidInput | None:
    """Return what refuses a transaction of another version than the one that counts, None if it is of that one.

    It comes before every other question: a program that does not know the version refuses in the same class, so that
    results agree [ABCI-12].
    """
    active = versions.get(tx.kind, first_version(tx.kind))
    if tx.version == active:
        return None
    return InvalidInput(
        "ledger.kind_version_inactive",
        f"the transaction is of version {tx.version} of {tx.kind}, version {active} is accepted in this block",
        next_step="write it anew with the version that is accepted",
    )
