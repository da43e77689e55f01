"""Reads a ledger from its genesis and verifies all of it: who its members are, with which keys, and who signed it.

What leads to what:

1. the genesis, which the caller pins or recognises by its fingerprint, names the first keys and the first policy;
2. every leaf is hashed, in blocks that follow each other;
3. every transaction that can change who is a member, with which keys, is executed on the members' state again, its
   signatures verified by the keys of the state before it: so nobody but a member itself, or a vote, replaces its keys;
4. each epoch follows from that state, and every note is verified under the policy of its epoch, its root against the
   leaves: a quorum signed this log, and no other;
5. the state so reached names the members' keys.

What other rooms write does not lead to a key: it is hashed, and not executed. The audit does that.

LIMIT: a ledger that was cut off before a key was replaced is a true ledger of that time, in which the old key counts.
A thief of that key can show it, and go on from there. A checkpoint that is known from later (``since``) refuses it.

    members = MembersReplay(machine, notes={LATEST_NOTE: note}, rooms=KEY_ROOMS)
    for block in blocks:
        members.take(block.transactions, block.entry)
    members.require_met()
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.ledger.checkpoints.note import verify_log_signature, verify_note
from shuiqiao.ledger.checkpoints.signed_note import Checkpoint, decode_signed_note
from shuiqiao.ledger.log.entry import decode_entry
from shuiqiao.ledger.model import Block
from shuiqiao.ledger.replay.replay import Level, MemoryLedger, replay_transactions
from shuiqiao.ledger.store.checkpoint_file import CHECKPOINTS_FOLDER, LATEST_NAME

if TYPE_CHECKING:
    from shuiqiao.ledger.state.machine import StateMachine

LATEST_NOTE: Final = f"{CHECKPOINTS_FOLDER}/{LATEST_NAME}"
"""Name of the one note that needs the log's own signature only."""


class MembersReplay(MemoryLedger):
    """A ledger followed as far as it was read: its leaves, the members' state, the policy of its notes."""

    def __init__(
        self,
        machine: StateMachine,
        *,
        rooms: frozenset[str],
        notes: Mapping[str, bytes],
        since: Checkpoint | None = None,
    ) -> None:
        """rooms: whose kinds decide on members, keys and who may act. notes: by name, of any sizes.

        since: a checkpoint that is known to be true, which the ledger must contain. Raises what
        ``decode_signed_note``, and for notes of no leaves ``verify_note``, raise.
        """
        super().__init__(machine)
        self._rooms = rooms
        self.state_root: bytes | None = None
        self._since = since
        self._notes: dict[int, dict[str, bytes]] = {}
        for name, note in notes.items():
            self._notes.setdefault(decode_signed_note(note).head.size, {})[name] = note
        self._meet_notes()

    def take(self, transactions: Sequence[bytes], entry: bytes) -> None:
        """Go on behind the next block.

        Raises IntegrityError ``node.history_contradicted``, ``node.key_forged``, ``ledger.pin_contradicted``,
        ``ledger.entry_malformed``, and what ``decode_transaction``, ``execute_block`` and ``verify_note`` raise.
        """
        self.begin_block()
        said = decode_entry(entry)
        if (said.height, said.count) != (self.height + 1, len(transactions)):
            raise contradicted(
                f"block {self.height + 1} of {len(transactions)} transactions says that it is block {said.height} of "
                f"{said.count}"
            )
        if said.epoch != self.policy.epoch:
            raise contradicted(
                f"block {said.height} says that epoch {said.epoch} is in force, the blocks before it lead to epoch "
                f"{self.policy.epoch}"
            )
        self.state_root = said.state_root
        block = Block(
            height=said.height,
            time_ms=said.time_ms,
            first_index=self.size,
            transactions=tuple(transactions),
            entry=entry,
        )
        self._execute(block)
        self._meet_notes()

    def _execute(self, block: Block) -> None:
        """Execute what decides on keys, every signature verified; the other rooms never write there."""
        machine = self.machine
        decoded = [machine.decode(raw) for raw in block.transactions]
        chosen = [tx for tx in decoded if machine.kinds.get(tx.kind, tx.version).room in self._rooms]
        if not chosen:
            self.skip(block, time_ms=block.time_ms)
            return
        execution = replay_transactions(self, chosen, time_ms=block.time_ms, level=Level.VERIFIED)
        for outcome in execution.result.outcomes:
            if outcome.refusal is not None:
                raise IntegrityError(
                    "node.key_forged",
                    f"block {block.height} holds a {outcome.transaction.kind} by {outcome.transaction.author} that the "
                    f"ledger before it does not allow: {outcome.refusal}",
                    next_step="do not use it: the ledger in it was altered, or made by somebody else",
                ) from outcome.refusal
        self.follow(execution, block)

    def _meet_notes(self) -> None:
        """Verify the notes of this size under the policy of its epoch, and the known checkpoint."""
        size = self.size
        for name, note in self._notes.pop(size, {}).items():
            # The writer stores this one before witnesses have seen it; every other note carries its quorum.
            verify = verify_log_signature if name == LATEST_NOTE else verify_note
            found = verify(note, policy=self.policy, suite=self.machine.suite)
            if found.root != self.root:
                raise contradicted(
                    f"{name} says root {found.root.hex()} at {size} leaves, the blocks give {self.root.hex()}"
                )
        if self._since is not None and self._since.size == size:
            self._meet_known(self._since)

    def _meet_known(self, since: Checkpoint) -> None:
        if (since.origin, since.root) != (self.machine.parameters.origin, self.root):
            raise IntegrityError(
                "ledger.pin_contradicted",
                f"the known checkpoint is of {since.origin[:100]!r}, {since.size} leaves, root {since.root.hex()}; "
                f"this ledger is of {self.machine.parameters.origin!r}, root {self.root.hex()}",
                next_step="do not use it: its ledger is another one than that of the known checkpoint",
            )
        self._since = None

    def require_met(self) -> None:
        """Return if the blocks met every note, and the known checkpoint.

        Raises IntegrityError ``node.history_contradicted``, InvalidInput ``node.history_older``.
        """
        self.begin_block()
        if self._notes:
            size, names = min((size, [*names]) for size, names in self._notes.items())
            raise contradicted(f"{names[0]} is of {size} leaves, and no block ends there")
        if self._since is not None and self._since.size > self.size:
            raise InvalidInput(
                "node.history_older",
                f"the ledger has {self.size} leaves, the known checkpoint {self._since.size}: it is of before",
                next_step="take a newer one, or name an older checkpoint that you know",
            )
        if self._since is not None:
            raise contradicted(f"no block ends at the {self._since.size} leaves of the known checkpoint")


def contradicted(reason: str) -> IntegrityError:
    """Return what is raised for a ledger that is not one history."""
    return IntegrityError(
        "node.history_contradicted",
        f"the ledger does not hold together: {reason}",
        next_step="take another copy of it; if that does not hold either, keep both and ask its members",
    )
