"""What all engines do alike: answer questions from their own copy of the ledger, and tell listeners of new blocks.

The embedded writer, the follower and the validator are a ``LocalLedger`` each; how a transaction comes into a block and
which checkpoint counts is their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from shuiqiao.base.errors import Unavailable
from shuiqiao.base.memory import collect_seldom
from shuiqiao.ledger.checkpoints.policy import CheckpointPolicy
from shuiqiao.ledger.engine.ledger_copy import LedgerCopy
from shuiqiao.ledger.engine.port import Listener, ListenerFailure, Listeners
from shuiqiao.ledger.model import Block, NetworkParameters, StateView
from shuiqiao.ledger.store.recovery import Recovery


class LocalLedger:
    """An engine's own copy of the ledger, from any thread."""

    def __init__(self, copy: Callable[[], LedgerCopy]) -> None:
        """copy: the copy that is open now; a validator that joins by a snapshot opens another one."""
        self._opened = copy
        self._listeners = Listeners()
        collect_seldom()

    @property
    def parameters(self) -> NetworkParameters:
        """The network this engine serves."""
        return self._opened().parameters

    @property
    def recovery(self) -> Recovery:
        """What opening found: blocks replayed, a torn tail cut."""
        return self._opened().recovery

    def state(self) -> StateView:
        """Return a view of the state after the last block here, unaffected by later ones."""
        return self._opened().view()[1]

    def last_block(self) -> tuple[int, int]:
        """Return height and time (ms) of the last block here; (0, genesis time) before the first."""
        head, _ = self._opened().view()
        return head.height, head.time_ms

    def blocks(self, *, from_height: int) -> Iterator[Block]:
        """Iterate over the blocks here when iteration starts, in order from a height (1 is the first)."""
        return self._opened().blocks(from_height=from_height)

    def consistency_proof(self, *, old_size: int, new_size: int) -> tuple[bytes, ...]:
        """Return the RFC 6962 consistency proof between two sizes; InvalidInput ``ledger.size_unknown`` beyond."""
        return self._opened().consistency_proof(old_size=old_size, new_size=new_size)

    def policy_at(self, size: int) -> CheckpointPolicy:
        """Return the policy that judges the checkpoint of a size, of the epochs that this copy knows."""
        return self._opened().epochs.trail.policy_at(size)

    def subscribe(self, listener: Listener) -> None:
        """Call a listener after each block, on the engine's own thread; that one raised is kept, and ends nothing."""
        self._listeners.add(listener)

    def listener_failures(self) -> list[ListenerFailure]:
        """Return the newest failure of each listener that ever raised, since the ledger was opened."""
        return self._listeners.failures()

    def _block_awaited(self, height: int) -> Unavailable:
        """Return the error of a copy that does not hold a block in time."""
        return Unavailable(
            "ledger.block_awaited",
            f"this copy holds {self.last_block()[0]} blocks and did not come to hold block {height}",
            next_step="check that this node reaches the others, then try again",
            retry_after_s=1.0,
        )
