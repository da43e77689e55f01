"""How much work a transaction may make, and a block: bounded alike on every node, by no clock [LEDGER-WORK-1].

Bytes bound a block badly: a list item of three bytes can cost two reads and a write of the state. So work is counted,
in units of one state key read or written, about a microsecond each. ``expected_work`` follows from the transaction, so
that whoever makes or judges a block can add it up before anything is executed; what the rules really read and wrote
is counted beside it (``state``), and the larger of the two is charged (``machine``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from shuiqiao.ledger.model import Transaction

SIGNATURE_WORK: Final = 64
"""Units for a signature: verifying one takes as long as so many reads of the state."""

ITEM_WORK: Final = 8
"""Units for an item of a list in the body: what any kind reads and writes for one at most."""

MAX_BLOCK_WORK: Final = 1 << 19
"""Units in a block: half a second where they are signatures, up to two where all are keys written.

8,192 transactions of one signature, or 15 that erase 4,096 leaves each.
"""


def expected_work(tx: Transaction) -> int:
    """Return the units that a transaction is charged at least: for its signatures and for its body."""
    return SIGNATURE_WORK * len(tx.signatures) + body_work(tx.body)


def body_work(value: object) -> int:
    """Return the units for the items of all lists in a body, and what its parts declare as ``WORK`` besides.

    A part declares it where its rules read or verify more than the signature and the items pay for.
    """
    if isinstance(value, list | tuple):
        return ITEM_WORK * len(value) + sum(map(body_work, value))
    if isinstance(value, msgspec.Struct):
        declared: int = getattr(type(value), "WORK", 0)
        return declared + sum(body_work(getattr(value, name)) for name in value.__struct_fields__)
    return 0
