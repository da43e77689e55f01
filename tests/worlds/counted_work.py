"""What a proposer adds up is never less than what execution counts: asked of all that worlds had accepted.

[LEDGER-WORK-1] A block that was full at its proposal would else refuse some of what it holds.
"""

from __future__ import annotations

from typing import Any

from shuiqiao.ledger.log.entry import decode_entry
from shuiqiao.ledger.model import BlockContext
from shuiqiao.ledger.state.machine import BlockResult, StateMachine
from shuiqiao.ledger.state.memory_state import MemoryState
from shuiqiao.ledger.state.overlay import OverlayState, genesis_writes
from shuiqiao.ledger.store.execution import trusted_candidates
from shuiqiao.ledger.transactions.kinds import KindTable, expected_work
from shuiqiao.members.key_ring import MemberKeyRing


class _Nothing:
    def expiry_hour(self, author: Any, transaction_id: bytes) -> int | None:
        return None


def require_counted(result: BlockResult) -> None:
    """Require that no transaction of a block read and wrote more than it was expected to."""
    for outcome in result.outcomes:
        assert outcome.work <= expected_work(outcome.transaction), (outcome.transaction.kind, outcome.work)


def require_all_counted(ledger: Any, *, kinds: KindTable, suite: Any) -> None:
    """Execute the blocks of an open ledger once more, and require that of each."""
    machine = StateMachine(ledger.parameters, kinds=kinds, key_ring=MemberKeyRing(), suite=suite)
    state, last_ms = MemoryState(genesis_writes(ledger.parameters)), ledger.parameters.genesis_time_ms
    for block in ledger.blocks(from_height=1):
        overlay, time_ms = OverlayState(state), decode_entry(block.entry).time_ms
        candidates = trusted_candidates(map(machine.decode, block.transactions), overlay, machine=machine)
        ctx = BlockContext(height=block.height, time_ms=time_ms)
        require_counted(machine.execute_block(candidates, overlay, ctx, previous_time_ms=last_ms, replay=_Nothing()))
        state.write(overlay.writes)
        last_ms = time_ms
