"""The ledger in a backup: followed from the genesis up to the moment that the manifest says.

``ledger_walk`` says what leads to what. Here the blocks come from segment files, whose chain is verified as they are
read, and the notes are those that lie beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from shuiqiao.base.errors import InvalidInput
from shuiqiao.ledger.engine.cometbft.keeper import CONSENSUS_FOLDER
from shuiqiao.ledger.engine.epoch_keeping import EPOCHS_FOLDER
from shuiqiao.ledger.engine.replica import CHECKPOINTS_FOLDER, COSIGNED_NAME
from shuiqiao.ledger.signed_note import MAX_SIGNED_NOTE_BYTES
from shuiqiao.ledger.store.place import EMPTY_TAIL, Broken
from shuiqiao.node.ledger_walk import LATEST_NOTE, LedgerMember, LedgerWalk, contradicted

if TYPE_CHECKING:
    from shuiqiao.base.ids import MemberId
    from shuiqiao.ledger.model import Checkpoint
    from shuiqiao.node.backup_manifest import LedgerMoment
    from shuiqiao.node.ledger_place import LedgerPlace

COSIGNED_NOTE: Final = f"{CHECKPOINTS_FOLDER}/{COSIGNED_NAME}"
CONSENSUS_NOTE: Final = f"{CONSENSUS_FOLDER}/note"
EPOCH_NOTES: Final = f"{CHECKPOINTS_FOLDER}/{EPOCHS_FOLDER}"

MAX_EPOCH_NOTES: Final = 4096
"""Notes of epochs that are kept in memory, of 16 kB each at most: one for each vote or key that changes who signs."""

_TELL_EVERY: Final = 500
"""Blocks between two calls of a progress listener."""

Progress = Callable[[str, int, "int | None"], None]


def stored_notes(place: LedgerPlace) -> dict[str, bytes]:
    """Return the notes that lie in a ledger folder, by their names below it.

    Raises InvalidInput ``node.backup_notes_many``.
    """
    epochs = sorted(path.name for path in (place.folder / EPOCH_NOTES).glob("[0-9]*") if path.name.isdigit())
    if len(epochs) > MAX_EPOCH_NOTES:
        raise InvalidInput("node.backup_notes_many", f"{len(epochs)} epochs where {MAX_EPOCH_NOTES} are followed")
    notes: dict[str, bytes] = {}
    for name in (LATEST_NOTE, COSIGNED_NOTE, CONSENSUS_NOTE, *(f"{EPOCH_NOTES}/{name}" for name in epochs)):
        path = place.folder / name
        if path.is_file():
            with path.open("rb") as file:
                notes[name] = file.read(MAX_SIGNED_NOTE_BYTES + 1)
    return notes


def follow_member(
    place: LedgerPlace,
    member: MemberId,
    *,
    moment: LedgerMoment,
    notes: Mapping[str, bytes],
    since: Checkpoint | None = None,
    progress: Progress = lambda _step, _done, _total: None,
) -> LedgerMember | None:
    """Follow a ledger from its genesis to a moment and return what it says of a member there, None of a stranger.

    notes: what ``stored_notes`` returns, or as much of it as was copied. since: a checkpoint that is known to be true,
    which the ledger must contain.

    Raises IntegrityError ``node.history_contradicted`` where the blocks do not lead to the moment, or to a note;
    ``node.key_forged`` for a change of members or keys that the rules do not allow; ``ledger.pin_contradicted``;
    InvalidInput ``node.history_older``; and what ``verify_note`` raises.
    """
    walk = LedgerWalk(place.parameters, notes=notes, since=since)
    files = place.files()
    for found in files.scan(EMPTY_TAIL) if moment.height else ():
        if isinstance(found, Broken):
            name = files.path(found.segment).name
            raise contradicted(f"segments/{name} cannot be read from byte {found.offset} on: {found.reason}")
        walk.take(found.frame.transactions, found.frame.entry)
        if walk.height % _TELL_EVERY == 0:
            progress("follow the members' keys 核对成员密钥", walk.height, moment.height)
        if walk.height == moment.height:
            break
    state_root = None if walk.state_root is None else walk.state_root.hex()
    led_to = (walk.height, walk.size, walk.root.hex(), state_root)
    said = (moment.height, moment.size, moment.root, moment.state_root)
    if led_to != said:
        raise contradicted(f"the blocks lead to {led_to}, the manifest says {said}: height, leaves, root, state root")
    walk.require_met()
    return walk.member(member)
