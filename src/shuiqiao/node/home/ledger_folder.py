"""The ledger folder of a home and the rules it is read by, for acts that look at a ledger without opening it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from shuiqiao.base.errors import IntegrityError, InvalidInput, Unavailable
from shuiqiao.base.files import open_regular
from shuiqiao.base.progress import Progress
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.checkpoints.note import verify_log_signature, verify_note
from shuiqiao.ledger.checkpoints.signed_note import (
    MAX_SIGNED_NOTE_BYTES,
    Checkpoint,
    decode_signed_note,
    read_checkpoint,
)
from shuiqiao.ledger.engine.cometbft.consensus.app_state import CONSENSUS_FOLDER
from shuiqiao.ledger.engine.ledger_copy import open_scratch
from shuiqiao.ledger.replay.members import LATEST_NOTE
from shuiqiao.ledger.replay.replay import EntryDifference, reexecute
from shuiqiao.ledger.state.machine import StateMachine
from shuiqiao.ledger.store.checkpoint_file import CHECKPOINTS_FOLDER, COSIGNED_NAME
from shuiqiao.ledger.store.epochs import EPOCHS_FOLDER, EpochTrail, trail_of
from shuiqiao.ledger.store.frame import EMPTY_TAIL, Broken, StoredFrame
from shuiqiao.ledger.store.index import INDEX_FOLDER
from shuiqiao.ledger.store.segments import SegmentFiles, WatchedFiles
from shuiqiao.members.genesis import network_parameters
from shuiqiao.members.key_ring import MemberKeyRing
from shuiqiao.node.home.kinds import network_machine
from shuiqiao.node.home.settings import load_genesis

if TYPE_CHECKING:
    from shuiqiao.ledger.model import NetworkParameters
    from shuiqiao.ledger.store.frame import HashName
    from shuiqiao.ledger.store.index import IndexReader
    from shuiqiao.node.home.settings import Home

COSIGNED_NOTE: Final = f"{CHECKPOINTS_FOLDER}/{COSIGNED_NAME}"
CONSENSUS_NOTE: Final = f"{CONSENSUS_FOLDER}/note"
EPOCH_NOTES: Final = f"{CHECKPOINTS_FOLDER}/{EPOCHS_FOLDER}"

MAX_EPOCH_NOTES: Final = 4096
"""Notes of epochs that are kept in memory, of 16 kB each at most: one for each vote or key that changes who signs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerFolder:
    """A ledger folder and the network it is of."""

    folder: Path
    parameters: NetworkParameters

    @classmethod
    def of_home(cls, home: Home) -> LedgerFolder:
        """Return the ledger folder of a home; raises what ``load_genesis`` and ``network_parameters`` raise."""
        return cls(folder=home.ledger, parameters=network_parameters(load_genesis(home.genesis)))

    @property
    def hash_name(self) -> HashName:
        """The suite's hash."""
        return cast("HashName", get_suite(self.parameters.suite).hash_name)

    @property
    def index(self) -> Path:
        """The index's folder."""
        return self.folder / INDEX_FOLDER

    @property
    def has_blocks(self) -> bool:
        """Whether a block was ever written here."""
        return bool(self.files().segments())

    def files(self) -> WatchedFiles:
        """Return the segment files, to be looked at."""
        return WatchedFiles.in_ledger(self.folder, network=self.parameters.network, hash_name=self.hash_name)

    def stored_notes(self) -> dict[str, bytes]:
        """Return the notes that lie in the folder, by their names below it.

        Take them before the index: that then covers at least what they say. Raises InvalidInput
        ``node.backup_notes_many`` and what ``open_regular`` raises.
        """
        epochs = sorted(path.name for path in (self.folder / EPOCH_NOTES).glob("[0-9]*") if path.name.isdigit())
        if len(epochs) > MAX_EPOCH_NOTES:
            raise InvalidInput("node.backup_notes_many", f"{len(epochs)} epochs where {MAX_EPOCH_NOTES} are followed")
        notes: dict[str, bytes] = {}
        for name in (LATEST_NOTE, COSIGNED_NOTE, CONSENSUS_NOTE, *(f"{EPOCH_NOTES}/{name}" for name in epochs)):
            with suppress(FileNotFoundError), open_regular(self.folder / name) as file:
                notes[name] = file.read(MAX_SIGNED_NOTE_BYTES + 1)
        return notes

    def newest_note(self) -> bytes | None:
        """Return the stored note of the most leaves, None before the first; raises as ``decode_signed_note``."""
        return max(self.stored_notes().values(), key=lambda note: decode_signed_note(note).head.size, default=None)

    def checkpoint_of(self, note: bytes, *, index: IndexReader | None) -> Checkpoint:
        """Return what a stored note says, the log's own signature verified under the epoch of its size.

        Without an index the epochs are not known, and the note is taken as it is. Raises what ``decode_signed_note``
        and ``verify_log_signature`` raise.
        """
        said = read_checkpoint(note)
        if index is None:
            return said
        policy = self.trail(index).policy_at(said.size)
        return verify_log_signature(note, policy=policy, suite=get_suite(self.parameters.suite))

    def confirmed(self, notes: Mapping[str, bytes], *, index: IndexReader, trail: EpochTrail) -> Checkpoint | None:
        """Return the newest of some notes that an index covers and that has every signature its epoch asks for."""
        suite, found = get_suite(self.parameters.suite), None
        for note in notes.values():
            size = decode_signed_note(note).head.size
            if size > index.head.size or (found is not None and size < found.size):
                continue
            # The writer's own checkpoint, which no witness has confirmed, is nothing that others could rely on.
            with suppress(IntegrityError):
                found = verify_note(note, policy=trail.policy_at(size), suite=suite)
        return found

    def trail(self, index: IndexReader) -> EpochTrail:
        """Return the epochs that an index knows, with the one that its last block began."""
        return trail_of(index.view, head=index.head, parameters=self.parameters, key_ring=MemberKeyRing())

    def machine(self) -> StateMachine:
        """Return the state machine of the network."""
        return network_machine(self.parameters)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reexecuted:
    """What a log gives. index: of the scratch state. first: the first block that does not follow, None if all do."""

    index: Path
    height: int
    first: EntryDifference | None


def reexecute_log(ledger: LedgerFolder, scratch: Path, *, until_height: int | None, progress: Progress) -> Reexecuted:
    """Execute a ledger's log again up to a height, or as far as it can be read; open the index with ``IndexReader``."""
    copy = open_scratch(scratch, machine=ledger.machine())
    try:
        first = reexecute(_frames(ledger.files(), until_height=until_height), copy, progress=progress)
        return Reexecuted(index=scratch / INDEX_FOLDER, height=copy.head.height, first=first)
    finally:
        copy.close()


def _frames(files: SegmentFiles, *, until_height: int | None) -> Iterator[StoredFrame]:
    for found in files.scan(EMPTY_TAIL) if until_height != 0 else ():
        if isinstance(found, Broken):
            return
        yield found
        if found.frame.height == until_height:
            return


def no_checkpoint(folder: Path) -> Unavailable:
    """Return the error of blocks without any signed checkpoint: they may be some of them, or somebody else's."""
    return Unavailable(
        "ledger.checkpoint_missing",
        f"no signed checkpoint lies beside the blocks in {folder}: nothing shows that they are all of them",
    )
