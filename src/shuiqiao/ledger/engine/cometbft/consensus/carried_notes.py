"""Checkpoints that closed an epoch, carried in CometBFT's blocks for nodes that did not run when it closed [ABCI-28].

The note that closed an epoch is made of votes, which only the nodes that ran at that time met. A proposer that holds
one which no block carried yet puts it before its transactions, as a byte string, which no transaction and no bundle is.
A node that executes the block, now or years later, finds it there, and judges it by the policy of its size and its own
log alone. It is no transaction: it enters neither log nor state and changes no hash. The first one carried for an epoch
is kept as it was, for snapshots; receipts take any that holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from shuiqiao.base.durable import Disk
from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor
from shuiqiao.base.errors import IntegrityError, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.crypto.model import CipherSuite
from shuiqiao.ledger.checkpoints.note import verify_note
from shuiqiao.ledger.checkpoints.signed_note import MAX_SIGNED_NOTE_BYTES, Checkpoint, decode_signed_note
from shuiqiao.ledger.engine.ledger_copy import LedgerCopy
from shuiqiao.ledger.store.epochs import store_note

CARRIED_FOLDER: Final = "closing"
MAX_CARRIED: Final = 4
"""Epoch notes in one block: each may have 64 signatures, which every validator checks before it votes."""

_BYTE_STRING: Final = 2
_MAJOR_SHIFT: Final = 5
_HEAD_BYTES: Final = 3
"""CBOR head of the longest note."""


def encode_carried(note: bytes) -> bytes:
    """Return what carries a note in a block."""
    return encode_cbor(note)


def carried_in(whole: bytes) -> bytes | None:
    """Return the note that one of CometBFT's transactions carries, None for one of any other form."""
    if not whole or whole[0] >> _MAJOR_SHIFT != _BYTE_STRING:
        return None
    try:
        found: bytes = decode_cbor_strict(whole, max_bytes=MAX_SIGNED_NOTE_BYTES + _HEAD_BYTES)
    except InvalidInput:
        return None
    return found


class CarriedNotes:
    """The notes that blocks carried, in ``consensus/closing``, and those that the next block should carry.

    Its methods are for the consensus thread.
    """

    def __init__(self, folder: Path, *, copy: Callable[[], LedgerCopy], suite: CipherSuite, disk: Disk) -> None:
        """folder: that of the consensus files. copy: the copy of the ledger that is open now."""
        self.folder = folder / CARRIED_FOLDER
        self._copy = copy
        self._suite = suite
        self._disk = disk
        self._carried: set[int] = set()
        self.load()

    def load(self) -> None:
        """Begin with what the folder holds."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._carried = {int(path.name) for path in self.files()}

    def files(self) -> list[Path]:
        """Return the files of the notes that blocks carried, oldest first."""
        return sorted(path for path in self.folder.iterdir() if path.name.isdigit())

    def due(self) -> list[bytes]:
        """Return what the next block should carry: notes that this node holds and no block carried, newest first."""
        epochs = self._copy().epochs
        found: list[bytes] = []
        for change in reversed(epochs.trail.changes):
            if change.size in self._carried:
                continue
            try:
                found.append(encode_carried(epochs.note(change.size)))
            except ShuiqiaoError:
                # Not here, or damaged: another proposer has it.
                continue
            if len(found) == MAX_CARRIED:
                break
        return found

    def judge(self, note: bytes) -> Checkpoint:
        """Return the note of an epoch of this log that closed; raises IntegrityError for any other bytes [ABCI-28].

        Raises Unavailable ``ledger.index_failed`` where this node cannot tell. Nothing enters the judgement but the
        bytes and the last committed state, so all nodes judge alike.
        """
        copy = self._copy()
        head = decode_signed_note(note).head
        if not copy.epochs.trail.closes_epoch(head.size):
            raise IntegrityError("ledger.closing_note_foreign", f"no epoch of this log closed at {head.size} leaves")
        found = verify_note(note, policy=copy.epochs.trail.policy_at(head.size), suite=self._suite)
        try:
            root = copy.root_at(found.size)
        except IntegrityError as error:
            # What this node's own index has lost is no verdict on the note [LEDGER-SIGN-4].
            raise Unavailable(
                "ledger.index_failed", f"the index gives no root of {found.size} leaves: {error.message}"
            ) from error
        if found.root != root:
            raise IntegrityError(
                "ledger.closing_note_foreign",
                f"the note says root {found.root.hex()} at {found.size} leaves, this log has {root.hex()}",
            )
        return found

    def found_in(self, wholes: Iterable[bytes]) -> dict[bytes, Checkpoint]:
        """Return the epoch notes that a block carries, by what carries them; what is none is left out."""
        found: dict[bytes, Checkpoint] = {}
        for whole in wholes:
            note = carried_in(whole)
            if note is None or len(found) == MAX_CARRIED:
                continue
            try:
                found[whole] = self.judge(note)
            except IntegrityError:
                continue
        return found

    def take(self, carried: Iterable[Checkpoint]) -> None:
        """Keep what a decided block carried; raises Unavailable ``ledger.checkpoint_not_stored``.

        The first for an epoch counts: all nodes then hold the same bytes, and offer the same snapshots.
        """
        epochs = self._copy().epochs
        for checkpoint in carried:
            if checkpoint.size in self._carried:
                continue
            if checkpoint.size in epochs.missing_notes():
                epochs.keep_note(checkpoint)
            self._keep(checkpoint)

    def _keep(self, checkpoint: Checkpoint) -> None:
        store_note(self.folder / f"{checkpoint.size:020}", checkpoint.note, disk=self._disk)
        self._carried.add(checkpoint.size)

    def receive(self, notes: Sequence[bytes]) -> None:
        """Take the notes of a snapshot; raises IntegrityError for one that is none of this log [ABCI-21]."""
        self.load()
        self.take([self.judge(note) for note in notes])
