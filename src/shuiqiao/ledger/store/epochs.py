"""What a copy of the ledger keeps of its epochs: each change, with the checkpoint that closed the epoch before.

A change is derived from the blocks and stands in the index. The note that closed an epoch cannot be derived, for it
carries the signatures of keys that may be gone: it is kept in ``checkpoints/epochs``, one file for each, named by its
size ([STORE-24]). Receipts lead over both from the genesis to today.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from shuiqiao.base.durable import Disk, replace_file
from shuiqiao.base.errors import IntegrityError, Unavailable
from shuiqiao.base.files import open_regular
from shuiqiao.ledger.checkpoints.note import verify_note
from shuiqiao.ledger.checkpoints.signed_note import MAX_SIGNED_NOTE_BYTES
from shuiqiao.ledger.state.epoch_trail import EpochChange, EpochTrail
from shuiqiao.ledger.store.state_tree import prove

if TYPE_CHECKING:
    from shuiqiao.ledger.checkpoints.signed_note import Checkpoint
    from shuiqiao.ledger.state.machine import StateMachine
    from shuiqiao.ledger.store.index import Head, Index, Snapshot

EPOCHS_FOLDER: Final = "epochs"


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
        """Take over what the index knows, and what it was not told before it was closed."""
        self.trail = EpochTrail(self._parameters, key_ring=self._key_ring)
        for change in snapshot.epochs():
            self.trail.add(change)
        if head.height:
            self.record(index, snapshot, head=head)

    def record(self, index: Index, snapshot: Snapshot, *, head: Head) -> None:
        """Note the epoch that the last indexed block began, if it did; nothing lies between that block and this."""
        epoch = snapshot.state_value(self.key)
        if epoch is None or epoch == self.trail.newest_epoch:
            return
        proof = prove(snapshot, self.key, hash_name=self._suite.hash_name)
        change = EpochChange(size=head.size, epoch=epoch, proof=proof)
        self.trail.add(change)
        index.put_epoch(change)

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
