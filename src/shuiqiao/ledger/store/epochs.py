"""The epochs of one log in order: the policy for a checkpoint of any size, and the note that closed each epoch.

A block that writes a new epoch is still closed under the epoch before [EPOCH-4]: the checkpoint that ends with its
entry carries the old signatures, and every larger one the new. So the size of a checkpoint alone tells its policy
(``EpochTrail``).

A change is derived from the blocks and stands in the index. The note that closed an epoch cannot be derived, for it
carries the signatures of keys that may be gone: it is kept in ``checkpoints/epochs``, one file for each, named by its
size [STORE-24]. Receipts lead over both from the genesis to today.
"""

from __future__ import annotations

from bisect import bisect_left
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shuiqiao.base.durable import Disk, replace_file
from shuiqiao.base.encoding import encode_cbor
from shuiqiao.base.errors import IntegrityError, Unavailable
from shuiqiao.base.files import open_regular
from shuiqiao.ledger.checkpoints.note import verify_note
from shuiqiao.ledger.checkpoints.signed_note import MAX_SIGNED_NOTE_BYTES
from shuiqiao.ledger.store.index import EpochChange
from shuiqiao.ledger.store.state_tree import prove

if TYPE_CHECKING:
    from shuiqiao.ledger.checkpoints.policy import CheckpointPolicy
    from shuiqiao.ledger.checkpoints.signed_note import Checkpoint
    from shuiqiao.ledger.model import KeyRing, NetworkParameters
    from shuiqiao.ledger.state.machine import StateMachine
    from shuiqiao.ledger.store.index import Head, Index, Snapshot

EPOCHS_FOLDER: Final = "epochs"


class EpochTrail:
    """The walk from the genesis to today, for one thread that adds and any that read."""

    def __init__(self, parameters: NetworkParameters, *, key_ring: KeyRing) -> None:
        """Begin with the policy of the genesis."""
        self._key_ring = key_ring
        self._origin = parameters.origin
        self._genesis = encode_cbor(parameters.initial_state.get(key_ring.epoch_key))
        self._walked: tuple[tuple[int, ...], tuple[CheckpointPolicy, ...]] = ((), (parameters.policy,))
        self.changes: tuple[EpochChange, ...] = ()

    def add(self, change: EpochChange) -> None:
        """Go on to the next epoch; raises what ``KeyRing.next_policy`` raises for one that does not follow."""
        policy = self._key_ring.next_policy(change.epoch, previous=self.newest_epoch, origin=self._origin)
        sizes, policies = self._walked
        self.changes = (*self.changes, change)
        # One assignment: a reader sees sizes and policies of the same length.
        self._walked = ((*sizes, change.size), (*policies, policy))

    @property
    def newest_epoch(self) -> bytes:
        """The epoch document in force for the next block, encoded."""
        return self.changes[-1].epoch if self.changes else self._genesis

    @property
    def newest_policy(self) -> CheckpointPolicy:
        """The policy of the next block's checkpoint."""
        return self._walked[1][-1]

    def policy_at(self, size: int) -> CheckpointPolicy:
        """Return the policy that judges the checkpoint of a size [EPOCH-4], of those known so far."""
        sizes, policies = self._walked
        return policies[bisect_left(sizes, size)]

    def closes_epoch(self, size: int) -> bool:
        """Tell whether the checkpoint of a size is the last one of an epoch."""
        return size in self._walked[0]


def trail_of(snapshot: Snapshot, *, head: Head, parameters: NetworkParameters, key_ring: KeyRing) -> EpochTrail:
    """Return the epochs that an index knows, with the one that its last block began."""
    trail = EpochTrail(parameters, key_ring=key_ring)
    for change in snapshot.epochs():
        trail.add(change)
    begun = change_begun(snapshot, trail, head=head, key=key_ring.epoch_key)
    if begun is not None:
        trail.add(begun)
    return trail


def change_begun(snapshot: Snapshot, trail: EpochTrail, *, head: Head, key: str) -> EpochChange | None:
    """Return the epoch that the last indexed block began, None if it began none or the trail has it."""
    epoch = snapshot.state_value(key) if head.height else None
    if epoch is None or epoch == trail.newest_epoch:
        return None
    return EpochChange(size=head.size, epoch=epoch, proof=prove(snapshot, key, hash_name=head.hash_name))


class StoredEpochs:
    """The trail of an open ledger folder, and the notes that closed its epochs."""

    def __init__(self, folder: Path, *, machine: StateMachine, disk: Disk) -> None:
        """folder: that of the checkpoints."""
        self._folder = folder / EPOCHS_FOLDER
        self._parameters = machine.parameters
        self._key_ring = machine.key_ring
        self.key = machine.key_ring.epoch_key
        self._suite = machine.suite
        self._disk = disk
        self.trail = EpochTrail(self._parameters, key_ring=self._key_ring)

    # What the index holds

    def load(self, index: Index, snapshot: Snapshot, *, head: Head) -> None:
        """Load what the index holds, and what it had not received before it was closed."""
        self.trail = EpochTrail(self._parameters, key_ring=self._key_ring)
        for change in snapshot.epochs():
            self.trail.add(change)
        self.record(index, snapshot, head=head)

    def record(self, index: Index, snapshot: Snapshot, *, head: Head) -> None:
        """Note the epoch that the last indexed block began, if it did; nothing lies between that block and this."""
        begun = change_begun(snapshot, self.trail, head=head, key=self.key)
        if begun is not None:
            self.trail.add(begun)
            index.put_epoch(begun)

    # What closed each epoch

    def missing_notes(self) -> tuple[int, ...]:
        """Return the sizes of checkpoints that closed an epoch and whose notes are not kept yet, in order."""
        return tuple(change.size for change in self.trail.changes if not self._path(change.size).exists())

    def keep_note(self, checkpoint: Checkpoint) -> None:
        """Keep the note that closed an epoch, verified before; raises Unavailable ``ledger.checkpoint_not_stored``."""
        store_note(self._path(checkpoint.size), checkpoint.note, disk=self._disk)

    def note(self, size: int) -> bytes:
        """Return the note that closed the epoch at a size, verified.

        Raises Unavailable ``ledger.epoch_pending`` while its signatures are missing, IntegrityError
        ``ledger.epoch_note_damaged`` for a file that is not that note.
        """
        path = self._path(size)
        if not self.trail.closes_epoch(size) or not path.exists():
            raise Unavailable(
                "ledger.epoch_pending",
                f"the checkpoint of {size} leaves, which closes an epoch, has not all signatures that it needs",
                next_step="wait until enough witnesses or validators of that epoch answer",
                retry_after_s=1.0,
            )
        with open_regular(path) as file:
            note = file.read(MAX_SIGNED_NOTE_BYTES + 1)
        try:
            found = verify_note(note, policy=self.trail.policy_at(size), suite=self._suite)
        except IntegrityError as error:
            raise _damaged(path, str(error)) from error
        if found.size != size:
            raise _damaged(path, f"it is of {found.size} leaves")
        return note

    def _path(self, size: int) -> Path:
        return self._folder / f"{size:020}"


def _damaged(path: Path, reason: str) -> IntegrityError:
    return IntegrityError(
        "ledger.epoch_note_damaged",
        f"{path} is not the note that closed its epoch: {reason}",
        next_step="restore the file from another member's copy",
    )


def store_note(path: Path, note: bytes, *, disk: Disk) -> None:
    """Put the note that closed an epoch in place; raises Unavailable ``ledger.checkpoint_not_stored``."""
    try:
        replace_file(path, note, disk=disk)
    except OSError as error:
        raise Unavailable(
            "ledger.checkpoint_not_stored",
            f"{path} could not be written: {error.strerror or error}",
            next_step="free disk space or check the disk, then ask again; a validator is started again",
        ) from error
