"""Finds blocks and leaves of a log through the one port that every engine has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuiqiao.base.errors import InvalidInput

if TYPE_CHECKING:
    from shuiqiao.ledger.model import Block, LedgerEngine


def block_at(engine: LedgerEngine, height: int) -> Block:
    """Return a block by its height; raises InvalidInput ``ledger.height_unknown`` for one that is not here.

    ::

        block_at(engine, 1).first_index == 0
    """
    last, _ = engine.last_block()
    found = next(iter(engine.blocks(from_height=height)), None) if 1 <= height <= last else None
    if found is None:
        raise InvalidInput("ledger.height_unknown", f"block {height} is not here, the last one is {last}")
    return found


def newest_index(engine: LedgerEngine) -> int:
    """Return the index of a transaction in the newest block: a receipt of it proves the state as it is now."""
    return block_at(engine, height_of(engine, max(0, engine.checkpoint().size - 1))).first_index


def height_of(engine: LedgerEngine, index: int) -> int:
    """Return the height of the block that holds a leaf, its entry included; one beyond the last for a later leaf.

    It halves what is left: some twenty blocks are read of a million.
    """
    low, high = 1, engine.last_block()[0]
    while low <= high:
        middle = (low + high) // 2
        block = block_at(engine, middle)
        if index < block.first_index:
            high = middle - 1
        elif index > block.first_index + len(block.transactions):
            low = middle + 1
        else:
            return middle
    return low
