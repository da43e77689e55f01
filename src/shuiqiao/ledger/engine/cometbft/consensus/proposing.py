"""What a block may hold: made by PrepareProposal, judged by ProcessProposal [ABCI-16] [ABCI-28].

Everything a correct proposer makes is accepted, by the block's bytes and the last committed state alone. What a
contract may refuse stays in: the block gives it its refusal, and only so it leaves every mempool.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from shuiqiao.ledger.engine.cometbft.consensus.closing import MAX_CARRIED, ClosingNotes, carried_in
from shuiqiao.ledger.engine.cometbft.mempool.bundle import transactions_in
from shuiqiao.ledger.engine.cometbft.mempool.checking import TransactionChecker
from shuiqiao.ledger.engine.cometbft.mempool.pool import within
from shuiqiao.ledger.model import StateView
from shuiqiao.ledger.transactions.kinds import MAX_BLOCK_WORK

MAX_PROPOSED: Final = 4_096
"""Transactions of the ledger that we put into a block: a second or two of work, in which CometBFT takes no new ones."""

MAX_UNPACKED_BYTES: Final = 32 * 1024 * 1024
"""Bytes of the ledger's transactions in a block, bundles unpacked: packing makes no block without bounds."""


def make_proposal(
    waiting: Sequence[bytes], *, checker: TransactionChecker, closing: ClosingNotes, max_bytes: int
) -> list[bytes]:
    """Return a block: closing notes that are due, then what waits, but what cannot be decoded or stands twice.

    A transaction stands once, however it is bundled: of the same ones a stranger makes any number of bundles. What has
    no place in this block any more waits for the next one.
    """
    chosen: list[bytes] = []
    taken: set[bytes] = set()
    count = size = work = 0
    for whole in waiting:
        raws = transactions_in(whole)
        if not taken.isdisjoint(raws):
            continue
        units = checker.work_of(raws)
        if units is None or units > MAX_BLOCK_WORK:
            continue
        count += len(raws)
        size += sum(map(len, raws))
        work += units
        if count > MAX_PROPOSED or size > MAX_UNPACKED_BYTES or work > MAX_BLOCK_WORK:
            break
        chosen.append(whole)
        taken.update(raws)
    return within([*closing.waiting(), *chosen], max_bytes=max_bytes)


def is_proper(wholes: Sequence[bytes], *, checker: TransactionChecker, closing: ClosingNotes, state: StateView) -> bool:
    """Tell whether a correct proposer can have made a block.

    Signatures not met in CheckTx are verified now, while votes travel, and remembered.
    """
    notes = [whole for whole in wholes if carried_in(whole) is not None]
    if len(set(wholes)) < len(wholes) or len(notes) > MAX_CARRIED:
        return False
    carried = closing.found_in(notes)
    if len({each.size for each in carried.values()}) < len(notes):
        return False
    raws: dict[bytes, None] = {}
    size = work = 0
    for whole in wholes:
        found = () if whole in carried else transactions_in(whole)
        if not raws.keys().isdisjoint(found):
            return False
        size += sum(map(len, found))
        if size > MAX_UNPACKED_BYTES or (units := checker.work_of(found)) is None:
            return False
        work += units
        if work > MAX_BLOCK_WORK:
            return False
        raws.update(dict.fromkeys(found))
    checker.candidates(list(raws), state)
    return True
