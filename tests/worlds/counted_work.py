"""What a proposer adds up is never less than what execution counts: asked of all that worlds had accepted.

[LEDGER-WORK-1] A block that was full at its proposal would else refuse some of what it holds.
"""

from __future__ import annotations

from typing import Any

from shuiqiao.ledger.replay.replay import Level, MemoryLedger, replay_block
from shuiqiao.ledger.state.machine import BlockResult, StateMachine
from shuiqiao.ledger.transactions.kinds import KindTable, expected_work
from shuiqiao.members.key_ring import MemberKeyRing


def require_counted(result: BlockResult) -> None:
    """Require that no transaction of a block read and wrote more than it was expected to."""
    for outcome in result.outcomes:
        assert outcome.work <= expected_work(outcome.transaction), (outcome.transaction.kind, outcome.work)


def require_all_counted(ledger: Any, *, kinds: KindTable, suite: Any) -> None:
    """Execute the blocks of an open ledger once more, and require that of each."""
    machine = StateMachine(ledger.parameters, kinds=kinds, key_ring=MemberKeyRing(), suite=suite)
    memory = MemoryLedger(machine)
    for block in ledger.blocks(from_height=1):
        execution = replay_block(memory, block, level=Level.EXECUTED)
        require_counted(execution.result)
        memory.follow(execution, block)
