"""Puts what two people wanted on the ledger once, however often it is carried out: after a crash it is again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import msgspec

    from shuiqiao.ledger.model import Transaction
    from shuiqiao.node.institution import Institution


def submit_once(institution: Institution, kind: str, body: msgspec.Struct, *, after: int) -> int:
    """Put a body on the ledger unless this member did so since a block; return the height of the block that has it."""
    outbox = institution.outbox
    if any(row.kind == kind for row in outbox.rows()):
        # An earlier attempt may have got so far: what it signed is sent, or known to be refused, before anything else.
        outbox.resend()
        for row in outbox.rows():
            if row.refusal_code and outbox.decode(row.raw).body == body:
                outbox.abandon(row)
    found = own_since(institution, kind, after=after, fits=lambda tx: tx.body == body)
    return outbox.submit(kind, body).height if found is None else found


def own_since(institution: Institution, kind: str, *, after: int, fits: Callable[[Transaction], bool]) -> int | None:
    """Return the height of the first block above one in which this member has a fitting transaction of a kind."""
    for block in institution.engine.blocks(from_height=after + 1):
        for raw in block.transactions:
            if kind.encode() not in raw:
                continue
            tx = institution.outbox.decode(raw)
            if (tx.kind, tx.author) == (kind, institution.member) and fits(tx):
                return block.height
    return None
