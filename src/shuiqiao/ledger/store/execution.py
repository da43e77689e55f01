"""An executed block between the machine and the store: what it writes, and what its leaves make of the tree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from shuiqiao.ledger.log.tree import Frontier, leaf_hashes
from shuiqiao.ledger.state.machine import BlockResult
from shuiqiao.ledger.store.state_tree import PlannedUpdate


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """A block executed on the state after the block before it, not yet stored."""

    result: BlockResult
    writes: Mapping[str, bytes | None]
    plan: PlannedUpdate | None
    """The state map after the block; None where nothing was accepted."""


class Growth(NamedTuple):
    """What a block makes of the tree."""

    frontier: Frontier
    """The tree with this block."""
    nodes: Sequence[bytes]
    """The complete nodes that came into being, in the order in which they are stored ([STORE-15])."""


def grow(frontier: Frontier, leaves: Iterable[bytes], *, hash_name: str) -> Growth:
    """Return what the leaves of a block make of a tree; the frontier given stays as it is."""
    grown = frontier.copy()
    made = grown.append(leaf_hashes(leaves, hash_name=hash_name))
    return Growth(frontier=grown, nodes=[node for _, _, node in made])
